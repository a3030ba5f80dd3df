package projections

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/replica"
	"github.com/salga-trust/engine/internal/pg"
)

// Queries reads the read tables. Its methods may be called from many goroutines.
type Queries struct {
	pool     *pgxpool.Pool
	replica  *replica.Replica
	observer *follow.Observer
}

// NewQueries makes queries on a pool that connects as trust_query, and on its replica;
// nil: it has none.
func NewQueries(pool *pgxpool.Pool, copied *replica.Replica) *Queries {
	return &Queries{pool: pool, replica: copied, observer: follow.NewObserver(pool, Followers()...)}
}

// WaitFor waits until a read table holds every event up to a position. After 2 s it
// returns read_model_behind. It asks the primary: a replica that queries are read from
// holds whatever the primary does.
func (q *Queries) WaitFor(ctx context.Context, table string, position int64) error {
	if _, ok := ByName(table); !ok {
		return fmt.Errorf("wait for an unknown read table %q", table)
	}
	return q.observer.WaitFor(ctx, table, position)
}

// only returns the single row that was found, or not_found.
func only[R any](rows []R, absent string) (R, error) {
	if len(rows) == 0 {
		var none R
		return none, domain.Refuse(domain.CodeNotFound, "%s", absent)
	}
	return rows[0], nil
}

// inTenant runs a query under the row-level security of one tenant.
func inTenant[R any](ctx context.Context, q *Queries, tenant domain.TenantID, sql string, args []any,
	scan pgx.RowToFunc[R],
) ([]R, error) {
	var rows []R
	err := q.replica.Read(ctx, q.pool, func(conn *pgxpool.Conn) error {
		return pg.InTenant(ctx, conn, tenant.UUID, pg.SetTenant, func(b *pgx.Batch) {
			b.Queue(sql, args...).Query(func(found pgx.Rows) (err error) {
				rows, err = pgx.CollectRows(found, scan)
				return err
			})
		})
	})
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	return rows, nil
}

// public runs a query on rows that belong to no tenant.
func public[R any](ctx context.Context, q *Queries, sql string, args []any, scan pgx.RowToFunc[R]) ([]R, error) {
	var rows []R
	err := q.replica.Read(ctx, q.pool, func(conn *pgxpool.Conn) error {
		found, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(found, scan)
		return err
	})
	return rows, eventstore.Unavailable(err)
}
