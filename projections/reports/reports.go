package reports

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/semaphore"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/replica"
	"github.com/salga-trust/engine/internal/pg"
)

// Reports answers from the log itself, without a read table, so an answer includes every
// event that was acknowledged before the question. Its methods may be called from many
// goroutines. Each opens one read-only transaction on one snapshot. The caller must check
// who may ask, and record that they asked.
type Reports struct {
	pool    *pgxpool.Pool
	replica *replica.Replica
	reader  *eventstore.Reader
	whole   *semaphore.Weighted // bounds the reports on everything about one person

	life     context.Context //nolint:containedctx // of what goes on between questions
	end      context.CancelFunc
	counting sync.WaitGroup      // of counts that go on
	counts   *semaphore.Weighted // bounds how many of them run at once

	activity     keeper[keptCounts]    // what was counted for Activity
	activityPage int                   // how many events it folds at once
	summaries    keeper[keptSummaries] // what was counted for Summary
	rights       keeper[keptRights]    // what was folded for Requests and Holds
	mostKept     int                   // how many requests and holds are kept for a tenant
}

// wholeAtOnce is how many reports on everything about one person run at once: a person
// may have very many events, all of which are then in memory. A report that does not get
// its turn before its request times out is unavailable.
const wholeAtOnce = 2

// New makes Reports on a pool that connects as trust_query, and on its replica; nil: it
// has none. Close them before both.
func New(pool *pgxpool.Pool, copied *replica.Replica, reader *eventstore.Reader) *Reports {
	life, end := context.WithCancel(context.Background()) //nolint:forbidigo // it outlives every question
	return &Reports{
		pool: pool, replica: copied, reader: reader, whole: semaphore.NewWeighted(wholeAtOnce), life: life, end: end,
		counts: semaphore.NewWeighted(1), activityPage: activityPage, mostKept: mostKeptRights,
	}
}

// Close ends what goes on between questions.
func (r *Reports) Close() {
	r.end()
	r.counting.Wait()
}

// asTenant reads under the row-level security of one tenant. It may read twice, see
// replica.Read.
func (r *Reports) asTenant(ctx context.Context, tenant domain.TenantID, read func(pgx.Tx) error) error {
	if tenant.IsZero() {
		return errors.New("a report without a tenant")
	}
	return r.begin(ctx, pg.SetTenant, []any{tenant.String()}, read)
}

// wholePerson is asTenant for everything about one person; it waits for its turn.
func (r *Reports) wholePerson(ctx context.Context, tenant domain.TenantID, read func(pgx.Tx) error) error {
	if err := r.whole.Acquire(ctx, 1); err != nil {
		return eventstore.Unavailable(err)
	}
	defer r.whole.Release(1)

	return r.asTenant(ctx, tenant, read)
}

// asPlatform reads the events of all tenants, without the keys to open them.
func (r *Reports) asPlatform(ctx context.Context, read func(pgx.Tx) error) error {
	return r.begin(ctx, "set local role trust_audit", nil, read)
}

func (r *Reports) begin(ctx context.Context, first string, args []any, read func(pgx.Tx) error) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return eventstore.Unavailable(r.replica.Read(ctx, r.pool, func(conn *pgxpool.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, options, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, first, args...); err != nil {
				return fmt.Errorf("begin a report: %w", err)
			}
			return read(tx)
		})
	}))
}
