package projections

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// readTable says how rows of type R are stored in a read table.
type readTable[R any] struct {
	name    string
	key     []string  // columns of the primary key
	stream  [2]string // columns that name the stream that made a row: its tenant, its id
	columns []column[R]
	scan    pgx.RowToFunc[R] // of all columns, in their order
	keyOf   func(R) stream   // the tenant and id of a row
}

// column is one column of a read table, and how to read its value from a row.
type column[R any] struct {
	name, sqlType string
	value         func(R) any
	values        func([]R) any // a slice of the column's Go type, which pgx sends as one array
}

func col[R, V any](name, sqlType string, value func(R) V) column[R] {
	return column[R]{
		name: name, sqlType: sqlType,
		value:  func(r R) any { return value(r) },
		values: func(rows []R) any { return each(rows, value) },
	}
}

// unlessZero returns nil for the zero value, which becomes null in the table. orZeroID
// and orZeroTime read it back.
func unlessZero[V comparable](v V) *V {
	var zero V
	if v == zero {
		return nil
	}
	return &v
}

// orZeroID scans an id, and null as the zero id.
type orZeroID uuid.UUID

// ScanUUID implements pgtype.UUIDScanner.
func (id *orZeroID) ScanUUID(v pgtype.UUID) error {
	*id = orZeroID(v.Bytes)
	return nil
}

// orZeroTime scans an instant, and null as the zero time.
type orZeroTime time.Time

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (t *orZeroTime) ScanTimestamptz(v pgtype.Timestamptz) error {
	*t = orZeroTime(v.Time.UTC())
	return nil
}

// each collects one value from each row.
func each[R, V any](rows []R, value func(R) V) []V {
	values := make([]V, len(rows))
	for i, r := range rows {
		values[i] = value(r)
	}
	return values
}

// names lists the columns.
func (t readTable[R]) names() []string {
	return each(t.columns, func(c column[R]) string { return c.name })
}

// list returns the columns as a query names them.
func (t readTable[R]) list() string { return strings.Join(t.names(), ", ") }

// ofStreams reads the rows that some streams have made, from the view or from a version.
func (t readTable[R]) ofStreams(ctx context.Context, tx pgx.Tx, from string, streams []stream) (map[stream]R, error) {
	rows := make(map[stream]R, len(streams))
	if len(streams) == 0 {
		return rows, nil
	}

	sql := fmt.Sprintf(`select %s from unnest($1::uuid[], $2::uuid[]) k (of_tenant, of_stream)
		join %s t on t.%s = k.of_tenant and t.%s = k.of_stream`, t.list(), from, t.stream[0], t.stream[1])
	found, err := tx.Query(ctx, sql, each(streams, func(s stream) [16]byte { return s.tenant }),
		each(streams, func(s stream) [16]byte { return s.id }))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", from, err)
	}
	all, err := pgx.CollectRows(found, t.scan)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", from, err)
	}

	for _, r := range all {
		rows[t.keyOf(r)] = r
	}
	return rows, nil
}

// values returns rows as COPY takes them.
func (t readTable[R]) values(rows []R) [][]any {
	return each(rows, func(r R) []any {
		return each(t.columns, func(c column[R]) any { return c.value(r) })
	})
}

// atOnce is how many rows a statement writes at most, so that it ends in time.
const atOnce = 5000

// upsert writes rows, no two of which have the same key.
func (t readTable[R]) upsert(ctx context.Context, tx pgx.Tx, into string, rows []R) error {
	for some := range slices.Chunk(rows, atOnce) {
		if _, err := tx.Exec(ctx, t.upsertInto(into),
			each(t.columns, func(c column[R]) any { return c.values(some) })...); err != nil {
			return fmt.Errorf("write %s: %w", into, err)
		}
	}
	return nil
}

func (t readTable[R]) upsertInto(table string) string {
	arrays, changes := make([]string, len(t.columns)), make([]string, len(t.columns))
	for i, c := range t.columns {
		arrays[i] = fmt.Sprintf("$%d::%s[]", i+1, c.sqlType)
		changes[i] = fmt.Sprintf("%[1]s = excluded.%[1]s", c.name)
	}

	return fmt.Sprintf("insert into %s (%s) select * from unnest(%s) on conflict (%s) do update set %s", table,
		t.list(), strings.Join(arrays, ", "), strings.Join(t.key, ", "), strings.Join(changes, ", "))
}
