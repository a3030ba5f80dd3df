package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/cloudevent"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/seal"
)

// Name is the follower's name.
const Name = "webhooks"

// Follower decides, event by event, what is sent where, and writes it down in the
// transaction that moves its checkpoint: so nothing is lost, and nothing is sent twice
// because of it. Its zero value only has a name.
type Follower struct {
	// Origin is the source of what is sent; empty: the log's own name.
	Origin string

	codes map[domain.TenantID]string // of municipalities
}

// Name implements follow.Follower.
func (*Follower) Name() string { return Name }

// Kinds implements follow.Follower: any event may be wanted.
func (*Follower) Kinds() []domain.StreamType { return nil }

// Unread implements follow.Unread: events are read without opening them.
func (*Follower) Unread() {}

// Apply implements follow.Follower.
func (f *Follower) Apply(ctx context.Context, tx follow.Tx, _ []domain.Recorded, upTo int64) error {
	after, err := follow.Position(ctx, tx, Name)
	if err != nil {
		return err
	}
	events, err := tx.Log.Closed(ctx, tx, after, upTo)
	if err != nil {
		return err
	}
	known, err := load(ctx, tx, events)
	if err != nil {
		return err
	}

	// In the log's order: an event goes to the webhooks that there were before it.
	page := page{follower: f, tx: tx, webhooks: known}
	for _, e := range events {
		if err := page.apply(ctx, e); err != nil {
			return err
		}
	}
	page.flush()

	if err := tx.SendBatch(ctx, &page.batch).Close(); err != nil {
		return fmt.Errorf("store deliveries: %w", eventstore.Unavailable(err))
	}
	return nil
}

// encode returns what leaves of an event.
func (f *Follower) encode(ctx context.Context, tx follow.Tx, e domain.Recorded) ([]byte, error) {
	if f.Origin == "" {
		origin, err := seal.DefaultOrigin(ctx, tx)
		if err != nil {
			return nil, err
		}
		f.Origin = origin
	}

	code, known := f.codes[e.Tenant]
	if !known {
		var err error
		if code, err = tx.Log.MunicipalityCode(ctx, tx, e.Tenant); err != nil {
			return nil, err
		}
		if f.codes == nil {
			f.codes = map[domain.TenantID]string{}
		}
		f.codes[e.Tenant] = code
	}

	event, err := cloudevent.Of(e, f.Origin, code)
	if err != nil {
		return nil, err
	}
	return json.Marshal(event)
}

// load returns the webhooks of the tenants of some events.
func load(ctx context.Context, tx follow.Tx, events []domain.Recorded) (map[domain.TenantID][]domain.Webhook, error) {
	const sql = `select webhook_id, tenant_id, url, events from trust.webhooks where tenant_id = any($1)
		order by webhook_id`

	var tenants [][16]byte
	for _, e := range events {
		if !slices.Contains(tenants, [16]byte(e.Tenant.UUID)) {
			tenants = append(tenants, [16]byte(e.Tenant.UUID))
		}
	}
	rows, err := tx.Query(ctx, sql, tenants)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}

	known := map[domain.TenantID][]domain.Webhook{}
	var w domain.Webhook
	_, err = pgx.ForEachRow(rows, []any{&w.ID.UUID, &w.Tenant.UUID, &w.URL, &w.Events}, func() error {
		known[w.Tenant] = append(known[w.Tenant], w)
		return nil
	})
	return known, eventstore.Unavailable(err)
}

// page collects what a range of events writes.
type page struct {
	follower *Follower
	tx       follow.Tx
	webhooks map[domain.TenantID][]domain.Webhook
	batch    pgx.Batch
	queued   deliveries
}

// deliveries are rows of a table, by column.
type deliveries struct {
	webhooks, tenants, lanes, events [][16]byte
	positions                        []int64
	types, bodies                    []string
	recorded                         []time.Time
}

func (p *page) apply(ctx context.Context, e domain.Recorded) error {
	if e.IsVoid() {
		return nil
	}
	if e.Stream.Type == domain.WebhookStream {
		p.change(e)
	}

	var body []byte
	for _, w := range p.webhooks[e.Tenant] {
		if !w.Wants(e.Event.EventType()) {
			continue
		}
		if body == nil {
			var err error
			if body, err = p.follower.encode(ctx, p.tx, e); err != nil {
				return err
			}
		}
		p.queued.add(w, e, string(body))
	}
	return nil
}

// change applies an event of a webhook's own stream. What came before it is written
// first.
func (p *page) change(e domain.Recorded) {
	p.flush()
	id := domain.WebhookID{UUID: e.Stream.ID}

	switch of := e.Event.(type) {
	case *domain.WebhookRegistered:
		w := domain.Webhook{ID: id, Tenant: e.Tenant, URL: of.URL, Events: of.Events}
		p.webhooks[e.Tenant] = append(p.webhooks[e.Tenant], w)
		p.batch.Queue(`insert into trust.webhooks (webhook_id, tenant_id, url, events) values ($1, $2, $3, $4)`,
			id.UUID, e.Tenant.UUID, of.URL, append([]string{}, of.Events...))

	case *domain.WebhookPaused:
		p.batch.Queue("update trust.webhooks set is_paused = true where webhook_id = $1", id.UUID)

	case *domain.WebhookResumed:
		p.batch.Queue("update trust.webhooks set is_paused = false where webhook_id = $1", id.UUID)
		p.batch.Queue(`update trust.webhook_lanes set next_at = $2, failures = 0, failing_since = null
			where webhook_id = $1`, id.UUID, e.RecordedAt)

	case *domain.WebhookDeleted:
		gone := func(w domain.Webhook) bool { return w.ID == id }
		p.webhooks[e.Tenant] = slices.DeleteFunc(p.webhooks[e.Tenant], gone)
		// Lanes first, as the sender locks them.
		for _, table := range []string{"trust.webhook_lanes", "trust.webhook_deliveries", "trust.webhooks"} {
			p.batch.Queue("delete from "+table+" where webhook_id = $1", id.UUID)
		}
	}
}

func (d *deliveries) add(w domain.Webhook, e domain.Recorded, body string) {
	d.webhooks, d.tenants = append(d.webhooks, w.ID.UUID), append(d.tenants, w.Tenant.UUID)
	d.lanes, d.events = append(d.lanes, laneOf(e)), append(d.events, e.EventID)
	d.positions, d.recorded = append(d.positions, e.Position), append(d.recorded, e.RecordedAt)
	d.types, d.bodies = append(d.types, e.Event.EventType()), append(d.bodies, body)
}

// laneOf returns what an event stays in order with: all that is about the same person,
// or else its stream.
func laneOf(e domain.Recorded) uuid.UUID {
	if e.Subject.IsZero() {
		return e.Stream.ID
	}
	return e.Subject.UUID
}

// flush writes the deliveries that were collected, and sees that their lanes are there.
// Lanes are locked even if they are, because the sender may be about to remove one that
// it has just emptied.
func (p *page) flush() {
	const deliver = `insert into trust.webhook_deliveries
			(webhook_id, tenant_id, lane, event_id, position, recorded_at, event_type, body)
		select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::timestamptz[],
			$7::text[], $8::text[])`
	const lanes = `insert into trust.webhook_lanes (webhook_id, tenant_id, lane, next_at)
		select d.webhook, (array_agg(d.tenant))[1], d.lane, min(d.at)
		from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[]) d (webhook, tenant, lane, at)
		group by d.webhook, d.lane order by d.webhook, d.lane
		on conflict (webhook_id, lane) do update set next_at = webhook_lanes.next_at`

	d := p.queued
	if len(d.positions) == 0 {
		return
	}
	p.queued = deliveries{}
	p.batch.Queue(lanes, d.webhooks, d.tenants, d.lanes, d.recorded)
	p.batch.Queue(deliver, d.webhooks, d.tenants, d.lanes, d.events, d.positions, d.recorded, d.types, d.bodies)
}

// Restart drops what was to be sent of events that the log lost, and follows on from its
// head, in a transaction of the role trust_owner.
func Restart(ctx context.Context, tx pgx.Tx) error {
	_, err := follow.Hold(ctx, tx, Name)
	if _, backwards := errors.AsType[*follow.BackwardsError](err); !backwards {
		return err
	}
	head, err := eventstore.Head(ctx, tx)
	if err != nil {
		return err
	}

	const deliveries = "delete from trust.webhook_deliveries where position > $1"
	const lanes = `delete from trust.webhook_lanes l where not exists (select from trust.webhook_deliveries d
		where d.webhook_id = l.webhook_id and d.lane = l.lane and d.acknowledged_at is null)`
	if _, err := tx.Exec(ctx, deliveries, head); err != nil {
		return fmt.Errorf("drop deliveries of lost events: %w", eventstore.Unavailable(err))
	}
	if _, err := tx.Exec(ctx, lanes); err != nil {
		return fmt.Errorf("drop lanes of lost events: %w", eventstore.Unavailable(err))
	}
	return follow.Advance(ctx, tx, Name, head)
}
