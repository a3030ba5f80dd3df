package follow

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// Follower is something that follows the log, such as a read table.
type Follower interface {
	// Name is the follower's name: of its checkpoint, of its process, in status and in
	// metrics. Lower case, no blanks.
	Name() string

	// Kinds lists the kinds of streams whose events the follower wants; none: all. An
	// append of another kind does not wake it.
	Kinds() []domain.StreamType

	// Apply takes over the events up to the position upTo in the transaction tx, which
	// also moves the checkpoint. events are those of the wanted kinds, at least one, in
	// the log's order, personal parts opened. What Apply does outside of tx may be done
	// again, since it is called again for events whose commit was not heard of.
	//
	// An error undoes the transaction. Trouble with the database is waited out; any other
	// error narrows the range down to the event at fault and halts the follower there
	// until Apply succeeds. Status shows the text of a *PlainError to operators; of an
	// error of any other type it shows the type alone, since its text may hold personal
	// data.
	Apply(ctx context.Context, tx Tx, events []domain.Recorded, upTo int64) error
}

// Tx is the transaction in which a follower applies events. Log reads what came before
// them.
type Tx struct {
	pgx.Tx
	Log *eventstore.Reader
}

// PlainError is an error of a follower whose text holds no value of an event, so that
// status and logs may show it.
type PlainError struct {
	Text string
	Err  error // the cause, not shown; nil: none
}

func (e *PlainError) Error() string { return e.Text }

func (e *PlainError) Unwrap() error { return e.Err }
