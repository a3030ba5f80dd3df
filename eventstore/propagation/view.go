package propagation

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pg"
)

// View shows figures. It is safe for concurrent use.
type View struct{ pool *pgxpool.Pool }

// NewView returns a view on a pool that connects as trust_query.
func NewView(pool *pgxpool.Pool) *View { return &View{pool} }

// Consumers returns the consumers of the relay's stream that take a municipality's
// withdrawals, by name. Error: unavailable.
func (v *View) Consumers(ctx context.Context, tenant domain.TenantID, now time.Time) (all []Recipient, err error) {
	const sql = `select c.consumer, done.*, o.*
		from trust.relay_consumers c
		cross join lateral (select ` + Measures + ` from (
			select r.recorded_at, r.acknowledged_at from trust.relay_receipts r
			where r.consumer = c.consumer and r.tenant_id = $1 and r.acknowledged_at >= $2
			order by r.acknowledged_at desc` + Sample + `) r) done
		cross join lateral (select count(*), count(*) filter (where w.recorded_at < $3), min(w.recorded_at)
			from trust.withdrawals_after(c.position) w) o
		where trust.among(c.municipalities, $1)
		order by c.consumer`

	err = pg.InTenant(ctx, v.pool, tenant.UUID, pg.SetTenant, func(b *pgx.Batch) {
		b.Queue(sql, tenant.UUID, now.Add(-Window), now.Add(-OverdueAfter)).Query(func(rows pgx.Rows) (err error) {
			all, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (Recipient, error) {
				c := Recipient{Kind: Consumer}
				c.Figures, err = Scan(r, &c.Name)
				return c, err
			})
			return err
		})
	})
	return all, eventstore.Unavailable(err)
}

// Backlog is what has not arrived, of all tenants and at all recipients of a kind.
type Backlog struct {
	Recipients           string // webhooks or consumers
	Outstanding, Overdue int64
	Oldest               time.Time // zero: none is outstanding
}

// Backlogs returns one for each kind of recipients, for operators. Error: unavailable.
func (v *View) Backlogs(ctx context.Context, now time.Time) ([]Backlog, error) {
	const sql = "select recipients, outstanding, overdue, oldest from trust.withdrawal_backlog($1)"
	rows, err := v.pool.Query(ctx, sql, now.Add(-OverdueAfter))
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}

	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (b Backlog, err error) {
		var oldest *time.Time
		err = r.Scan(&b.Recipients, &b.Outstanding, &b.Overdue, &oldest)
		if oldest != nil {
			b.Oldest = oldest.UTC()
		}
		return b, err
	})
	return all, eventstore.Unavailable(err)
}
