package eventstore

import (
	"context"
	"math"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// A tail is read in pages, each larger than the one before: the first is usually enough.
const (
	firstPage  = 64 // events
	pageGrowth = 8
)

// A history of longHistory events or more is long. At most longAtOnce of these are
// decoded at once in this process, because 100 000 events of one person take about 200
// MB. A request that does not get its turn in time is answered "unavailable".
const (
	longHistory = firstPage * pageGrowth * pageGrowth
	longAtOnce  = 2
)

const selectVersion = `select version from trust.events
	where tenant_id = $1 and stream_type = $2 and stream_id = $3 order by version desc limit 1`

// selectTail reads the newest events of a stream about one purpose, older than a version.
// If no purpose is named, it is that of a record in the stream.
const selectTail = `select ` + columns + ` from trust.events
	where tenant_id = $1 and stream_type = $2 and stream_id = $3 and version < $4
		and payload ->> 'purpose' = coalesce($5, (
			select r.payload ->> 'purpose' from trust.events r
			where r.tenant_id = $1 and r.record_id = $6 and r.stream_type = $2 and r.stream_id = $3
			order by r.position limit 1))
	order by version desc limit $7`

// LoadTail implements commands.Store. It is safe for the stream to grow meanwhile: its
// version is read first, and every page is older than the one before.
func (s *Store) LoadTail(
	ctx context.Context, tenant domain.TenantID, tail domain.Tail, beside ...domain.Stream,
) (events []domain.Recorded, version int, err error) {
	var rows []row
	others, err := s.load(ctx, tenant, beside, withheld, func(b *pgx.Batch) {
		queueVersion(b, tenant, tail.Stream, &version)
		queueTail(b, tenant, tail, math.MaxInt32, firstPage, &rows)
	})
	if err != nil {
		return nil, 0, err
	}

	grown := func(r row) bool { return r.Version > version }
	newest, err := s.withheld(ctx, tenant, slices.DeleteFunc(slices.Clone(rows), grown))
	if err != nil {
		return nil, 0, err
	}

	for page := firstPage; len(rows) == page && !tail.Enough(newest); {
		page *= pageGrowth
		if page == longHistory {
			if err := s.long.Acquire(ctx, 1); err != nil {
				return nil, 0, Unavailable(err)
			}
			defer s.long.Release(1)
		}

		oldest := rows[0].Version
		err := s.asTenant(ctx, tenant, func(b *pgx.Batch) { queueTail(b, tenant, tail, oldest, page, &rows) })
		if err != nil {
			return nil, 0, err
		}

		older, err := s.withheld(ctx, tenant, rows)
		if err != nil {
			return nil, 0, err
		}
		newest = append(older, newest...)
	}
	return append(newest, others...), version, nil
}

func queueVersion(b *pgx.Batch, tenant domain.TenantID, stream domain.Stream, dst *int) {
	b.Queue(selectVersion, [16]byte(tenant.UUID), string(stream.Type), [16]byte(stream.ID)).
		QueryRow(func(r pgx.Row) error {
			var found bool
			return optional(r.Scan(dst), &found)
		})
}

func queueTail(b *pgx.Batch, tenant domain.TenantID, tail domain.Tail, before, limit int, dst *[]row) {
	var purpose *string
	if tail.Record == uuid.Nil {
		purpose = &tail.Purpose
	}
	b.Queue(selectTail, [16]byte(tenant.UUID), string(tail.Stream.Type), [16]byte(tail.Stream.ID), before,
		purpose, [16]byte(tail.Record), limit).Query(rowsInto(dst))
}
