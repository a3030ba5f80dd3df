package projections

import (
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
	"github.com/salga-trust/engine/eventstore/follow"
)

// Difference is the first thing that breaks the log's contract or differs from a replay.
// It names ids and columns, never a value.
type Difference struct { //nolint:errname // a finding, and an error only because Verify returns it
	Position   int64     // of the event; 0: it is about a row
	Projection string    // of the row
	ID         uuid.UUID // of the row
	What       string
	cause      error
}

func (d *Difference) Error() string {
	if d.Projection != "" && d.ID == uuid.Nil {
		return fmt.Sprintf("read table %s: %s", d.Projection, d.What)
	}
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

// pageSize is how many events Verify and Rebuild read at once.
const pageSize = 5000

// Verify re-reads the whole log on one snapshot, in a transaction of its own. It checks
// that positions and versions have no gap, time never runs backwards, appends are in one
// piece, every code holds, every sealed part opens, every event can be decoded and has a
// tenant, and every read table equals a replay up to its checkpoint. It returns the first
// difference as *Difference.
//
// progress, which may be nil, is called with what is being checked ("the log", then each
// read table) and how many of how many events are done. Verify needs memory for a page of
// events and for the longest stream.
func Verify(
	ctx context.Context, db Beginner, r *eventstore.Reader, progress func(what string, done, total int64),
) error {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}

	tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()

	if err := keepVersions(ctx, tx); err != nil {
		return fmt.Errorf("verify: %w", err)
	}

	events, err := verifyLog(ctx, tx, r, progress)
	if err != nil {
		return err
	}
	for _, p := range All() {
		if err := verifyTable(ctx, tx, r, p, events[p.source().kind], progress); err != nil {
			return err
		}
	}
	return nil
}

// verifyLog checks the log alone, and returns how many events each kind of stream has.
func verifyLog(
	ctx context.Context, tx pgx.Tx, r *eventstore.Reader, progress func(string, int64, int64),
) (map[domain.StreamType]int64, error) {
	head, err := eventstore.Head(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}

	log := logCheck{events: map[domain.StreamType]int64{}}
	for done := int64(0); done < head; {
		upTo := min(done+pageSize, head)
		events, err := r.Whole(ctx, tx, done, upTo)
		if err != nil {
			return nil, unreadable(ctx, tx, r, done, upTo, err)
		}
		if err := log.check(events); err != nil {
			return nil, err
		}

		done = upTo
		progress("the log", done, head)
	}

	if _, _, err := r.Mark(ctx, tx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return log.events, verifyVersions(ctx, tx)
}

// verifyVersions finds the first stream whose versions are not 1, 2, 3 … in order of
// position. Postgres does it along the streams' index; doing it here would take memory
// for every stream.
func verifyVersions(ctx context.Context, tx pgx.Tx) error {
	const sql = `select position, version, before from (
			select position, version,
				lag(version, 1, 0) over stream as before, lag(position, 1, 0::bigint) over stream as earlier
			from trust.events window stream as (partition by tenant_id, stream_type, stream_id order by version)) e
		where version <> before + 1 or position <= earlier limit 1`

	var position int64
	var version, before int
	err := tx.QueryRow(ctx, sql).Scan(&position, &version, &before)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("verify: versions: %w", err)
	case version == before+1:
		what := fmt.Sprintf("version %d of its stream comes before version %d", version, before)
		return &Difference{Position: position, What: what}
	default:
		what := fmt.Sprintf("version %d of its stream follows version %d", version, before)
		return &Difference{Position: position, What: what}
	}
}

// unreadable finds the event that keeps a range from being read.
func unreadable(ctx context.Context, tx pgx.Tx, r *eventstore.Reader, after, upTo int64, err error) error {
	if _, refused := errors.AsType[*pgconn.PgError](err); refused || ctx.Err() != nil {
		return fmt.Errorf("verify: %w", err) // no event is to blame, and the transaction is over
	}

	for upTo-after > 1 {
		middle := after + (upTo-after)/2
		if _, e := r.Whole(ctx, tx, after, middle); e != nil {
			upTo, err = middle, e
		} else {
			after = middle
		}
	}

	return &Difference{Position: upTo, What: follow.Describe(err), cause: err}
}

// logCheck checks what must be true from one event to the next, which no code covers. The
// events of an append come one after another with one time. An event takes effect before
// it was recorded only if somebody stated so, or if the head of the log was in the
// future.
type logCheck struct {
	position   int64
	recordedAt time.Time
	append     uuid.UUID
	ordinal    int
	before     time.Time // when the append before this one was recorded
	events     map[domain.StreamType]int64
}

func (c *logCheck) check(events []eventstore.Whole) error {
	for _, e := range events {
		if e.AppendID != c.append {
			c.append, c.ordinal, c.before = e.AppendID, 0, c.recordedAt
		}
		c.ordinal++

		what := ""
		switch {
		case e.Ordinal != c.ordinal:
			what = fmt.Sprintf("is event %d of its append, but says that it is event %d", c.ordinal, e.Ordinal)
		case c.ordinal > 1 && !e.RecordedAt.Equal(c.recordedAt):
			what = "was recorded at another time than the rest of its append"
		case !e.Covered && unstated(e.Recorded) && e.EffectiveAt.Before(e.RecordedAt) && !e.RecordedAt.Equal(c.before):
			what = "takes effect before it was recorded, though nobody stated that"
		case e.Position != c.position+1:
			what = fmt.Sprintf("follows position %d", c.position)
		case e.RecordedAt.Before(c.recordedAt):
			what = "was recorded before the preceding event"
		case e.EffectiveAt.After(e.RecordedAt):
			what = "takes effect after it was recorded"
		case e.Tenant.IsZero():
			what = "has no tenant"
		}
		if what != "" {
			return &Difference{Position: e.Position, What: what}
		}

		c.position, c.recordedAt = e.Position, e.RecordedAt
		c.events[e.Stream.Type]++
	}
	return nil
}

// unstated reports whether an event takes effect at the time that the clock showed, and
// not at one that somebody stated.
func unstated(r domain.Recorded) bool {
	stated := domain.EffectiveOf(r.Event)
	return stated.IsZero() || stated.Truncate(time.Microsecond).After(r.EffectiveAt)
}

// differing names the first exported field in which two structs of one type differ; empty
// if there is none. Unexported fields are no columns.
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
