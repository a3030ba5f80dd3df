package webhooks

import (
	"context"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/propagation"
	"github.com/salga-trust/engine/internal/pg"
)

// Propagation returns how long withdrawals take to those of a tenant's webhooks that want
// them, oldest webhook first. What the follower has not written down yet is outstanding,
// too. Error: unavailable.
func (v *View) Propagation(
	ctx context.Context, tenant domain.TenantID, now time.Time,
) (all []propagation.Recipient, err error) {
	sql := `select w.webhook_id, w.url, w.is_paused, done.*, o.n + a.n, o.overdue + a.overdue, least(o.oldest, a.oldest)
		from trust.webhooks w
		cross join (select count(*) n, count(*) filter (where a.recorded_at < $2) overdue, min(a.recorded_at) oldest
			from (select coalesce(` + follow.Reached("$3") + `, 0) here) reached
			cross join lateral trust.withdrawals_after(reached.here) a) a
		cross join lateral (select ` + propagation.Measures + ` from (
			select d.recorded_at, d.acknowledged_at from trust.webhook_deliveries d
			where d.webhook_id = w.webhook_id and d.event_type = '` + propagation.Withdrawal + `'
				and d.acknowledged_at >= $1
			order by d.acknowledged_at desc` + propagation.Sample + `) d) done
		cross join lateral (select count(*) n, count(*) filter (where d.recorded_at < $2) overdue,
				min(d.recorded_at) oldest
			from trust.webhook_deliveries d
			where d.webhook_id = w.webhook_id and d.event_type = '` + propagation.Withdrawal + `'
				and d.acknowledged_at is null) o
		where w.events = '{}' or '` + propagation.Withdrawal + `' = any(w.events)
		order by w.webhook_id`

	since, overdue := now.Add(-propagation.Window), now.Add(-propagation.OverdueAfter)
	err = pg.InTenant(ctx, v.pool, tenant.UUID, pg.SetTenant, func(b *pgx.Batch) {
		b.Queue(sql, since, overdue, Name).Query(func(rows pgx.Rows) (err error) {
			all, err = pgx.CollectRows(rows, scanRecipient)
			return err
		})
	})
	return all, eventstore.Unavailable(err)
}

func scanRecipient(row pgx.CollectableRow) (propagation.Recipient, error) {
	r := propagation.Recipient{Kind: propagation.Webhook}
	var address string
	var err error
	if r.Figures, err = propagation.Scan(row, &r.ID, &address, &r.Paused); err != nil {
		return r, err
	}

	// Of the address its host alone: the rest may be for admins only.
	if parsed, err := url.Parse(address); err == nil {
		r.Name = parsed.Host
	}
	return r, nil
}
