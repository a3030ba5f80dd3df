package projections

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
)

// Projection is a follower that folds the log into one read table of its name. Applying a
// range twice leaves the rows of applying it once.
type Projection interface {
	follow.Follower

	// into is the same projection onto a version of its table. Without it, a projection
	// writes to the view, and so to the version that is read.
	into(version string) Projection
	// source is what makes the rows anew.
	source() source
	// forget blanks, in all versions of the table, whom the log erases at the positions
	// after < p ≤ upTo.
	forget(ctx context.Context, tx pgx.Tx, after, upTo int64) error
}

// source says what makes the rows of a read table: each stream of one kind makes its own,
// and no other kind makes any.
type source struct {
	kind    domain.StreamType
	columns []string
	key     []string  // columns of the primary key
	stream  [2]string // columns that name the stream which made a row: its tenant, its id
	// rows gives a stream's rows from all its events, as COPY takes them: in the order of
	// columns.
	rows func(history []domain.Recorded) ([][]any, error)
	// verify compares the rows of whole streams, one after another, with those of the
	// table, and gives how many there are. Of who is being erased the table may be
	// behind.
	verify func(ctx context.Context, tx pgx.Tx, events []domain.Recorded, erasing map[stream]bool) (int64, error)
}

// sourceOf makes a source of what a stream's rows are. ease adapts the row wanted of
// somebody who is being erased; nil: no need.
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
					return 0, &Difference{Position: history[0].Position, What: t.name + " cannot fold this stream: " +
						follow.Describe(err), cause: err}
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

// Followers lists every projection as what it is to the log.
func Followers() []follow.Follower {
	all := All()
	followers := make([]follow.Follower, len(all))
	for i, p := range all {
		followers[i] = p
	}
	return followers
}

// view names the view that stands for the version of a read table that is read.
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
// means that the table and the log have parted; it is never folded.
func next[S evolver[S]](r row[S], e domain.Recorded) (row[S], error) {
	if e.Version == 1 {
		r = row[S]{}
	}
	if e.IsVoid() && !r.State.Exists() {
		return r, nil // a stream that begins with what was disowned makes no row
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
	return &follow.PlainError{Text: fmt.Sprintf("event %d is version %d of its stream, the read table holds version %d",
		e.Position, e.Version, held)}
}

// stream names a stream of one kind across tenants.
type stream struct{ tenant, id [16]byte }

func streamOf(e domain.Recorded) stream { return stream{e.Tenant.UUID, e.Stream.ID} }

// byStream cuts the histories of streams that stand one after another.
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
// those have rows to load.
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
