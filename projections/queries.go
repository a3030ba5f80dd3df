package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
)

// Queries reads the read tables. Its methods may be called from many goroutines.
type Queries struct {
	pool  *pgxpool.Pool
	await awaiter
}

// NewQueries makes queries on a pool that connects as trust_query.
func NewQueries(pool *pgxpool.Pool) *Queries {
	q := &Queries{pool: pool}
	q.await.look, q.await.wake = q.checkpoints, q.wake
	return q
}

// only gives the single row that was found, or not_found.
func only[R any](rows []R, absent string) (R, error) {
	if len(rows) == 0 {
		var none R
		return none, domain.Refuse(domain.CodeNotFound, "%s", absent)
	}
	return rows[0], nil
}

// where collects conditions and their arguments.
type where struct {
	conditions strings.Builder
	args       []any
}

// and adds a condition; %s (or %[1]s) in it stands for the argument.
func (w *where) and(condition string, arg any) {
	w.conditions.WriteString(" and " + fmt.Sprintf(condition, w.arg(arg)))
}

// arg adds an argument and gives its placeholder.
func (w *where) arg(value any) string {
	w.args = append(w.args, value)
	return fmt.Sprintf("$%d", len(w.args))
}

func (w *where) sql() string { return w.conditions.String() }

// inTenant runs a query under the row-level security of one tenant. Setting and query go as one batch: one round trip, one
// transaction, at whose end the setting is gone, so a pooled connection carries no tenant to its next user.
func inTenant[R any](ctx context.Context, q *Queries, tenant domain.TenantID, sql string, args []any,
	scan pgx.RowToFunc[R],
) ([]R, error) {
	const setTenant = `select set_config('trust.tenant', $1, true)`
	if tenant.IsZero() {
		return nil, errors.New("a query without a tenant")
	}
	var batch pgx.Batch
	batch.Queue(setTenant, tenant.String())
	var rows []R
	batch.Queue(sql, args...).Query(func(found pgx.Rows) (err error) {
		rows, err = pgx.CollectRows(found, scan)
		return err
	})
	if err := q.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, Unavailable(err)
	}
	return rows, nil
}

// public runs a query on what belongs to no tenant.
func public[R any](ctx context.Context, q *Queries, sql string, args []any, scan pgx.RowToFunc[R]) ([]R, error) {
	found, err := q.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, Unavailable(err)
	}
	rows, err := pgx.CollectRows(found, scan)
	return rows, Unavailable(err)
}
