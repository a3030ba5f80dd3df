package projections

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
)

// Projection is a follower that folds the log into one read table, which has its name.
// Applying a range twice leaves the same rows as applying it once.
type Projection interface {
	follow.Follower

	// into returns the same projection onto one version of its table. Without it, a
	// projection writes to the view, and so to the version in use.
	into(version string) Projection
	// source returns what makes the rows anew.
	source() source
	// forget blanks, in all versions of the table, the people that the log erases at the
	// positions after < p ≤ upTo.
	forget(ctx context.Context, tx pgx.Tx, after, upTo int64) error
}

// source says what makes the rows of a read table: each stream of one kind makes its own
// rows, and no other kind makes any.
type source struct {
	kind    domain.StreamType
	columns []string
	key     []string  // columns of the primary key
	stream  [2]string // columns that name the stream that made a row: its tenant, its id

	// rows returns a stream's rows, made from all its events, as COPY takes them: in the
	// order of columns.
	rows func(history []domain.Recorded) ([][]any, error)

	// verify compares the rows of whole streams, one after another, with those of the
	// table, and returns how many there are. Rows of people being erased may lag behind.
	verify func(ctx context.Context, tx pgx.Tx, events []domain.Recorded, erasing map[stream]bool) (int64, error)
}

// sourceOf makes a source from whole, which makes a stream's rows. ease adapts the row
// that is wanted for somebody who is being erased; nil if there is no need.
func sourceOf[R any](
	kind domain.StreamType, t readTable[R], whole func(history []domain.Recorded) ([]R, error),
	ease func(want, have R) R,
) source {
	return source{
		kind: kind, columns: t.names(), key: t.key, stream: t.stream,
		rows: func(history []domain.Recorded) ([][]any, error) {
			rows, err := whole(history)
			return t.values(rows), err
		},
		verify: func(ctx context.Context, tx pgx.Tx, events []domain.Recorded, erasing map[stream]bool) (int64, error) {
			histories, streams := byStream(events)

			var wanted []R
			for _, history := range histories {
				rows, err := whole(history)
				if err != nil {
					what := t.name + " cannot fold this stream: " + follow.Describe(err)
					return 0, &Difference{Position: history[0].Position, What: what, cause: err}
				}
				wanted = append(wanted, rows...)
			}

			return t.verify(ctx, tx, streams, wanted, func(want, have R) R {
				if ease != nil && erasing[t.keyOf(want)] {
					return ease(want, have)
				}
				return want
			})
		},
	}
}

// All lists every projection.
func All() []Projection {
	return []Projection{municipalities{view("municipalities")}, users{view("users")}, consents{view("consents")}}
}

// Followers lists every projection as a follower of the log.
func Followers() []follow.Follower {
	all := All()
	followers := make([]follow.Follower, len(all))
	for i, p := range all {
		followers[i] = p
	}
	return followers
}

// view names the view on the version of a read table that is in use.
func view(projection string) string { return "trust." + projection }

// ByName finds a projection.
func ByName(name string) (Projection, bool) {
	for _, p := range All() {
		if p.Name() == name {
			return p, true
		}
	}
	return nil, false
}

// row is one aggregate's state as its newest event left it.
type row[S any] struct {
	State    S
	Version  int
	Position int64
}

// evolver is an aggregate's state.
type evolver[S any] interface {
	Evolve(r domain.Recorded) S
	Exists() bool
}

// next returns the row after an event. An event that does not follow the row's version
// means that the table and the log have diverged; it is never folded.
func next[S evolver[S]](r row[S], e domain.Recorded) (row[S], error) {
	if e.Version == 1 {
		r = row[S]{}
	}
	if e.IsVoid() && !r.State.Exists() {
		return r, nil // a stream that begins with a disowned event makes no row
	}
	if e.Version != r.Version+1 {
		return r, outOfOrder(e, r.Version)
	}
	return row[S]{State: r.State.Evolve(e), Version: e.Version, Position: e.Position}, nil
}

// evolve folds events into the rows of their streams.
func evolve[S evolver[S]](rows map[stream]row[S], events []domain.Recorded) error {
	for _, e := range events {
		key := streamOf(e)
		after, err := next(rows[key], e)
		if err != nil {
			return err
		}
		if after.State.Exists() {
			rows[key] = after
		}
	}
	return nil
}

// evolveWhole returns the one row of a stream from all its events.
func evolveWhole[S evolver[S]](history []domain.Recorded) ([]row[S], error) {
	var r row[S]
	var err error
	for _, e := range history {
		if r, err = next(r, e); err != nil {
			return nil, err
		}
	}

	if !r.State.Exists() {
		return nil, nil
	}
	return []row[S]{r}, nil
}

// outOfOrder says that an event does not follow the version that its read table holds.
func outOfOrder(e domain.Recorded, held int) error {
	return &follow.PlainError{Text: fmt.Sprintf(
		"event %d is version %d of its stream, but the read table holds version %d", e.Position, e.Version, held)}
}

// stream names a stream of one kind across tenants.
type stream struct{ tenant, id [16]byte }

func streamOf(e domain.Recorded) stream { return stream{e.Tenant.UUID, e.Stream.ID} }

// byStream cuts events into the histories of their streams, which come one after another.
func byStream(events []domain.Recorded) (histories [][]domain.Recorded, streams []stream) {
	for len(events) > 0 {
		n := 1
		for n < len(events) && streamOf(events[n]) == streamOf(events[0]) {
			n++
		}

		histories, streams = append(histories, events[:n]), append(streams, streamOf(events[0]))
		events = events[n:]
	}
	return histories, streams
}

// older lists the streams whose first event in the page is not their first event ever:
// their rows must be loaded.
func older(events []domain.Recorded) []stream {
	seen := make(map[stream]bool, len(events))
	var found []stream
	for _, e := range events {
		key := streamOf(e)
		if seen[key] {
			continue
		}

		seen[key] = true
		if e.Version > 1 {
			found = append(found, key)
		}
	}
	return found
}
