package webhooks

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/projections"
)

// View shows what was sent and what is outstanding. It is safe for concurrent use.
type View struct{ pool *pgxpool.Pool }

// NewView returns a view on a pool that connects as trust_query.
func NewView(pool *pgxpool.Pool) *View { return &View{pool} }

// Delivery is an event on its way to a webhook.
type Delivery struct {
	Position       int64
	EventID        uuid.UUID
	EventType      string
	RecordedAt     time.Time
	Tries          int
	TriedAt        time.Time // zero: it was not tried
	Status         int       // of the last answer; 0: there was none
	Failure        Failure   // of the last try; empty: it did not fail
	NextAt         time.Time // zero: it is acknowledged, or waits for a former one
	AcknowledgedAt time.Time // zero: it is not
}

// Which chooses among deliveries.
type Which string

// The choices.
const (
	All          Which = ""
	Outstanding  Which = "outstanding"
	Acknowledged Which = "acknowledged"
)

// Deliveries lists those to a webhook, newest first. Error: unavailable.
func (v *View) Deliveries(
	ctx context.Context, tenant domain.TenantID, webhook domain.WebhookID, which Which, page projections.Page,
) (projections.Listing[Delivery], error) {
	const sql = `select d.position, d.event_id, d.event_type, d.recorded_at, d.tries, d.tried_at, d.response_status,
			d.failure, l.next_at, d.acknowledged_at
		from trust.webhook_deliveries d
		left join trust.webhook_lanes l on l.webhook_id = d.webhook_id and l.lane = d.lane
			and d.acknowledged_at is null and not exists (select from trust.webhook_deliveries f
				where f.webhook_id = d.webhook_id and f.lane = d.lane and f.acknowledged_at is null
					and f.position < d.position)
		where d.webhook_id = $1 and ($2::bigint = 0 or d.position < $2)
			and ($3 = '' or (d.acknowledged_at is null) = ($3 = 'outstanding'))
		order by d.position desc limit $4`

	var before int64
	if page.After != "" {
		var err error
		if before, err = page.AfterPosition(); err != nil {
			return projections.Listing[Delivery]{}, err
		}
	}

	var found []Delivery
	err := pg.InTenant(ctx, v.pool, tenant.UUID, pg.SetTenant, func(b *pgx.Batch) {
		b.Queue(sql, webhook.UUID, before, string(which), page.Fetch()).Query(func(rows pgx.Rows) (err error) {
			found, err = pgx.CollectRows(rows, scanDelivery)
			return err
		})
	})
	return projections.List(found, eventstore.Unavailable(err), page, func(d Delivery) (Delivery, string) {
		return d, projections.PositionCursor(d.Position)
	})
}

func scanDelivery(r pgx.CollectableRow) (d Delivery, err error) {
	var tried, next, acknowledged *time.Time
	var status *int
	var failure *string
	err = r.Scan(&d.Position, &d.EventID, &d.EventType, &d.RecordedAt, &d.Tries, &tried, &status, &failure, &next,
		&acknowledged)

	d.TriedAt, d.NextAt, d.AcknowledgedAt = instant(tried), instant(next), instant(acknowledged)
	d.RecordedAt = d.RecordedAt.UTC()
	if status != nil {
		d.Status = *status
	}
	if failure != nil {
		d.Failure = Failure(*failure)
	}
	return d, err
}

// instant returns the zero time for none.
func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// Backlog is how much is to be sent, to all webhooks of all tenants.
type Backlog struct {
	Outstanding  int64
	Oldest       time.Time // when the oldest of these events was recorded; zero: none is outstanding
	OverdueSince time.Time // since when a delivery waits although its time has come; zero: none does
	Paused       int64     // webhooks
}

// Backlog counts, for operators. Error: unavailable.
func (v *View) Backlog(ctx context.Context) (b Backlog, err error) {
	const sql = "select outstanding, oldest, overdue_since, paused from trust.webhook_backlog()"

	var oldest, overdue *time.Time
	err = v.pool.QueryRow(ctx, sql).Scan(&b.Outstanding, &oldest, &overdue, &b.Paused)
	b.Oldest, b.OverdueSince = instant(oldest), instant(overdue)
	return b, eventstore.Unavailable(err)
}
