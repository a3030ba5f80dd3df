package webhooks

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/eventstore"
)

const goneStatus = http.StatusGone

// delivery is the first one of a lane, which this process may send until a time.
type delivery struct {
	webhook, lane, tenant uuid.UUID
	url                   string
	until                 time.Time

	position     int64
	event        uuid.UUID
	body         string
	failures     int
	failingSince time.Time // zero: it has not failed
}

// take takes what is due: the first delivery of each lane whose time has come, up to as
// many as there is room for. Nobody else takes it until the lease ends.
func (s *Sender) take(ctx context.Context) ([]delivery, error) {
	const sql = `with due as (
			select l.webhook_id, l.lane from trust.webhooks w
			left join unnest($3::uuid[], $4::integer[]) b (id, n) on b.id = w.webhook_id
			cross join lateral (select l.webhook_id, l.lane from trust.webhook_lanes l
				where l.webhook_id = w.webhook_id and l.next_at <= $1 order by l.next_at
				limit greatest($5::integer - coalesce(b.n, 0), 0) for update skip locked) l
			where not w.is_paused limit $6
		), taken as (
			update trust.webhook_lanes l set next_at = $2 from due
			where l.webhook_id = due.webhook_id and l.lane = due.lane
			returning l.webhook_id, l.lane, l.failures, l.failing_since
		)
		select t.webhook_id, t.lane, w.tenant_id, w.url, d.position, d.event_id, d.body, t.failures, t.failing_since
		from taken t join trust.webhooks w on w.webhook_id = t.webhook_id
		cross join lateral (select d.position, d.event_id, d.body from trust.webhook_deliveries d
			where d.webhook_id = t.webhook_id and d.lane = t.lane and d.acknowledged_at is null
			order by d.position limit 1) d`

	webhooks, counts, all := s.underWay()
	if all >= atOnce {
		return nil, nil
	}
	now := s.now()
	until := now.Add(lease)
	rows, err := s.config.Pool.Query(ctx, sql, now, until, webhooks, counts, perWebhook, atOnce-all)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}

	due, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (delivery, error) {
		d := delivery{until: until}
		var since *time.Time
		err := r.Scan(&d.webhook, &d.lane, &d.tenant, &d.url, &d.position, &d.event, &d.body, &d.failures, &since)
		if since != nil {
			d.failingSince = *since
		}
		return d, err
	})
	return due, eventstore.Unavailable(err)
}

// acknowledged records that a recipient has an event, and makes the next one of the lane
// due. The lane is locked first: the follower may be adding to it.
func (s *Sender) acknowledged(ctx context.Context, d delivery, came result) error {
	const lock = "select 1 from trust.webhook_lanes where webhook_id = $1 and lane = $2 for update"
	const done = `update trust.webhook_deliveries set acknowledged_at = $3, tried_at = $3, tries = tries + 1,
			response_status = $4, failure = null, body = null
		where webhook_id = $1 and position = $2 and acknowledged_at is null`
	const empty = `delete from trust.webhook_lanes where webhook_id = $1 and lane = $2 and not exists (
		select from trust.webhook_deliveries d where d.webhook_id = $1 and d.lane = $2 and d.acknowledged_at is null)`
	const goOn = `update trust.webhook_lanes set next_at = $4, failures = 0, failing_since = null
		where webhook_id = $1 and lane = $2 and next_at = $3`

	now := s.now()
	batch := &pgx.Batch{}
	batch.Queue(lock, d.webhook, d.lane)
	batch.Queue(done, d.webhook, d.position, now, came.status)
	batch.Queue(empty, d.webhook, d.lane)
	batch.Queue(goOn, d.webhook, d.lane, d.until, now)
	return s.config.Pool.SendBatch(ctx, batch).Close()
}

// recordFailure records a try that failed, and when to try again.
func (s *Sender) recordFailure(ctx context.Context, d delivery, came result, now, next time.Time) error {
	const lane = `update trust.webhook_lanes
		set next_at = $4, failures = failures + 1, failing_since = coalesce(failing_since, $5)
		where webhook_id = $1 and lane = $2 and next_at = $3`
	const tried = `update trust.webhook_deliveries
		set tried_at = $3, tries = tries + 1, response_status = nullif($4, 0), failure = $5
		where webhook_id = $1 and position = $2 and acknowledged_at is null`

	batch := &pgx.Batch{}
	batch.Queue(lane, d.webhook, d.lane, d.until, next, now)
	batch.Queue(tried, d.webhook, d.position, now, came.status, string(came.failure))
	return s.config.Pool.SendBatch(ctx, batch).Close()
}

// release gives up a delivery that was not tried, so that another process need not wait
// for the lease to end.
func (s *Sender) release(ctx context.Context, d delivery) error {
	const sql = "update trust.webhook_lanes set next_at = $4 where webhook_id = $1 and lane = $2 and next_at = $3"
	_, err := s.config.Pool.Exec(ctx, sql, d.webhook, d.lane, d.until, s.now())
	return err
}

// dropOld drops what was acknowledged long ago.
func (s *Sender) dropOld(ctx context.Context) error {
	const sql = "delete from trust.webhook_deliveries where acknowledged_at < $1"
	if _, err := s.config.Pool.Exec(ctx, sql, s.now().Add(-keptFor)); err != nil {
		return fmt.Errorf("drop old deliveries: %w", eventstore.Unavailable(err))
	}
	return nil
}
