package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// Difference is the first thing that is not as the log's contract or a replay says. It names ids and columns, never a value.
type Difference struct { //nolint:errname // what Verify finds, and an error only because Verify returns it
	Position   int64     // of the event; 0: it is about a row
	Projection string    // of the row
	ID         uuid.UUID // of the row
	What       string
	cause      error
}

func (d *Difference) Error() string {
	if d.Projection != "" {
		return fmt.Sprintf("read table %s, row %s: %s", d.Projection, d.ID, d.What)
	}
	return fmt.Sprintf("event %d: %s", d.Position, d.What)
}

func (d *Difference) Unwrap() error { return d.cause }

// Beginner begins transactions: a connection or a pool in the role trust_projector.
type Beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// replay is a read table in memory.
type replay interface {
	fold(events []domain.Recorded) error
	// later sees the events after the table's checkpoint.
	later(events []domain.Recorded)
	// compare finds the first row that differs.
	compare(ctx context.Context, tx pgx.Tx) error
}

// verifyPage is how many events Verify reads at once.
const verifyPage = 5000

// Verify re-reads the whole log on one snapshot, in a transaction of its own: positions and versions without a gap, time never
// running backwards, every event decodable and of a tenant, and every read table equal to a replay up to its checkpoint. The
// first difference comes back as *Difference. progress, which may be nil, is told how many of how many events are done. It takes
// memory in proportion to the streams, the rows and the consent events, not to the rest of the log.
func Verify(ctx context.Context, db Beginner, r *eventstore.Reader, progress func(done, total int64)) error {
	tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := keepVersions(ctx, tx); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	head, err := eventstore.Head(ctx, tx)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	tables, err := tablesOf(ctx, tx)
	if err != nil {
		return err
	}
	log := logCheck{versions: map[typedStream]int{}}
	for done := int64(0); done < head; {
		upTo := min(done+verifyPage, head)
		events, err := r.Range(ctx, tx, done, upTo)
		if err != nil {
			return unreadable(ctx, tx, r, done, upTo, err)
		}
		if err := log.check(events); err != nil {
			return err
		}
		for _, t := range tables {
			if err := t.feed(events); err != nil {
				return err
			}
		}
		done = upTo
		if progress != nil {
			progress(done, head)
		}
	}
	for _, t := range tables {
		if err := t.replay.compare(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// unreadable finds the event that keeps a range from being read.
func unreadable(ctx context.Context, tx pgx.Tx, r *eventstore.Reader, after, upTo int64, err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) || ctx.Err() != nil {
		return fmt.Errorf("verify: %w", err) // the transaction is over, and it is not an event's fault
	}
	for upTo-after > 1 {
		middle := after + (upTo-after)/2
		if _, e := r.Range(ctx, tx, after, middle); e != nil {
			upTo, err = middle, e
		} else {
			after = middle
		}
	}
	return &Difference{Position: upTo, What: describe(err), cause: err}
}

// table is a read table under verification.
type table struct {
	name       string
	checkpoint int64
	replay     replay
}

func tablesOf(ctx context.Context, tx pgx.Tx) ([]table, error) {
	const sql = `select c.position from trust.checkpoints c where c.projection = $1`
	var tables []table
	for _, p := range All() {
		t := table{name: p.Name(), replay: p.replay()}
		if err := tx.QueryRow(ctx, sql, t.name).Scan(&t.checkpoint); err != nil {
			return nil, fmt.Errorf("verify: checkpoint of %s: %w", t.name, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// feed folds the events up to the checkpoint and shows the others.
func (t table) feed(events []domain.Recorded) error {
	n := min(max(t.checkpoint-events[0].Position+1, 0), int64(len(events)))
	if err := t.replay.fold(events[:n]); err != nil {
		return &Difference{Position: events[0].Position, What: t.name + " cannot fold this page: " + describe(err), cause: err}
	}
	t.replay.later(events[n:])
	return nil
}

type typedStream struct {
	kind domain.StreamType
	stream
}

// logCheck checks what must hold between events.
type logCheck struct {
	position   int64
	recordedAt time.Time
	versions   map[typedStream]int
}

func (c *logCheck) check(events []domain.Recorded) error {
	for _, e := range events {
		key := typedStream{e.Stream.Type, streamOf(e)}
		what := ""
		switch {
		case e.Position != c.position+1:
			what = fmt.Sprintf("follows position %d", c.position)
		case e.Version != c.versions[key]+1:
			what = fmt.Sprintf("version %d of its stream follows version %d", e.Version, c.versions[key])
		case e.RecordedAt.Before(c.recordedAt):
			what = "recorded before the event below it"
		case e.Tenant.IsZero():
			what = "has no tenant"
		}
		if what != "" {
			return &Difference{Position: e.Position, What: what}
		}
		c.position, c.recordedAt, c.versions[key] = e.Position, e.RecordedAt, e.Version
	}
	return nil
}

// comparison says how rows of type R, known by K, are compared.
type comparison[R any, K comparable] struct {
	name string
	sql  string // every row, in order of its key
	scan pgx.RowToFunc[R]
	key  func(R) K
	id   func(K) uuid.UUID
	want map[K]R
	ease func(k K, want, have R) R // adapts what is wanted; nil: no need
}

func compare[R any, K comparable](ctx context.Context, tx pgx.Tx, c comparison[R, K]) error {
	found, err := tx.Query(ctx, c.sql)
	if err != nil {
		return fmt.Errorf("verify: read %s: %w", c.name, err)
	}
	defer found.Close()
	seen := make(map[K]bool, len(c.want))
	for found.Next() {
		have, err := c.scan(found)
		if err != nil {
			return fmt.Errorf("verify: read %s: %w", c.name, err)
		}
		key := c.key(have)
		seen[key] = true
		want, ok := c.want[key]
		if !ok {
			return &Difference{Projection: c.name, ID: c.id(key), What: "is not in the log"}
		}
		if c.ease != nil {
			want = c.ease(key, want, have)
		}
		if field := differing(reflect.ValueOf(want), reflect.ValueOf(have)); field != "" {
			return &Difference{Projection: c.name, ID: c.id(key), What: field + " differs from the log"}
		}
	}
	if err := found.Err(); err != nil {
		return fmt.Errorf("verify: read %s: %w", c.name, err)
	}
	return c.missing(seen)
}

// missing finds the first row that the table lacks.
func (c comparison[R, K]) missing(seen map[K]bool) error {
	var first *Difference
	for key := range c.want {
		id := c.id(key)
		if !seen[key] && (first == nil || bytes.Compare(id[:], first.ID[:]) < 0) {
			first = &Difference{Projection: c.name, ID: id, What: "is missing"}
		}
	}
	if first == nil {
		return nil // not a typed nil
	}
	return first
}

// differing names the first field in which two structs of one type differ; empty: none. What is not exported is no column.
func differing(a, b reflect.Value) string {
	for i := range a.NumField() {
		if !a.Type().Field(i).IsExported() {
			continue
		}
		name := a.Type().Field(i).Name
		switch x := a.Field(i).Interface().(type) {
		case time.Time:
			if !x.Equal(b.Field(i).Interface().(time.Time)) {
				return name
			}
		case domain.TenantID, domain.UserID, domain.ConsentID:
			if x != b.Field(i).Interface() {
				return name
			}
		default:
			if a.Field(i).Kind() == reflect.Struct {
				if inner := differing(a.Field(i), b.Field(i)); inner != "" {
					return inner
				}
			} else if !reflect.DeepEqual(x, b.Field(i).Interface()) {
				return name
			}
		}
	}
	return ""
}
