package projections

import (
	"context"
	"fmt"
	"encoding/base64"
	"encoding/binary"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pg"
)

// Queries reads the read tables. Its methods may be called from many goroutines.
type Queries struct {
	pool     *pgxpool.Pool
	observer *follow.Observer
}

// NewQueries makes queries on a pool that connects as trust_query.
func NewQueries(pool *pgxpool.Pool) *Queries {
	return &Queries{pool: pool, observer: follow.NewObserver(pool, Followers()...)}
}

// WaitFor waits until a read table holds every event up to a position: at most 2 s, then read_model_behind.
func (q *Queries) WaitFor(ctx context.Context, table string, position int64) error {
	if _, ok := ByName(table); !ok {
		return fmt.Errorf("wait for an unknown read table %q", table)
	}
	return q.observer.WaitFor(ctx, table, position)
}

// Page asks for part of a list: at most Limit items (1 to 100; 0: 50) after the cursor After (empty: from the start).
type Page struct {
	Limit int
	After string
}

// Listing is part of a list. Next is the cursor of what follows; empty: nothing does.
type Listing[T any] struct {
	Items []T
	Next  string
}

const (
	defaultLimit = 50
	maxLimit     = 100
)

func (p Page) limit() int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return min(p.Limit, maxLimit)
}

// afterID decodes a cursor made by idCursor.
func (p Page) afterID() (uuid.UUID, error) {
	raw, err := base64.RawURLEncoding.DecodeString(p.After)
	if err != nil || len(raw) != len(uuid.UUID{}) {
		return uuid.UUID{}, malformedCursor()
	}
	return uuid.UUID(raw), nil
}

// afterPosition decodes a cursor made by positionCursor.
func (p Page) afterPosition() (int64, error) {
	raw, err := base64.RawURLEncoding.DecodeString(p.After)
	if err != nil || len(raw) != 8 {
		return 0, malformedCursor()
	}
	return int64(binary.BigEndian.Uint64(raw)), nil
}

func idCursor(id uuid.UUID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func positionCursor(position int64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(position)))
}

func malformedCursor() error {
	var f domain.Faults
	f.Add("after", "invalid", "Give the value of next from the page before, or nothing.")
	return f.Err()
}

// listing makes a page of rows, which are one more than the page holds if there is a next page.
func listing[R, T any](rows []R, err error, page Page, item func(R) (T, string)) (Listing[T], error) {
	if err != nil {
		return Listing[T]{}, err
	}
	l := Listing[T]{Items: make([]T, 0, len(rows))}
	for i, r := range rows {
		if i == page.limit() {
			break
		}
		value, cursor := item(r)
		l.Items = append(l.Items, value)
		l.Next = cursor
	}
	if len(rows) <= page.limit() {
		l.Next = ""
	}
	return l, nil
}

// only gives the single row that was found, or not_found.
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
	err := pg.InTenant(ctx, q.pool, tenant.UUID, pg.SetTenant, func(b *pgx.Batch) {
		b.Queue(sql, args...).Query(func(found pgx.Rows) (err error) {
			rows, err = pgx.CollectRows(found, scan)
			return err
		})
	})
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	return rows, nil
}

// public runs a query on what belongs to no tenant.
func public[R any](ctx context.Context, q *Queries, sql string, args []any, scan pgx.RowToFunc[R]) ([]R, error) {
	found, err := q.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	rows, err := pgx.CollectRows(found, scan)
	return rows, eventstore.Unavailable(err)
}
