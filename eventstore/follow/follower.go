package follow

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// Follower is something that follows the log, such as a read table.
type Follower interface {
	// Name names the follower's checkpoint and its process, also in status and in
	// metrics. Lower case, no blanks.
	Name() string

	// Kinds lists the kinds of streams whose events the follower wants; none: all. An
	// append to another kind does not wake it.
	Kinds() []domain.StreamType

	// Apply applies the events up to the position upTo in the transaction tx, which also
	// moves the checkpoint. events are those of the wanted kinds, at least one, in the
	// log's order, with personal parts opened. What Apply does outside of tx may happen
	// twice, because it is called again for events whose commit was not confirmed.
	//
	// An error rolls the transaction back. Trouble with the database is waited out. Any
	// other error narrows the range down to the event at fault, and halts the follower
	// there until Apply succeeds. Status shows operators the text of a *PlainError; of
	// any other error it shows only the type, because the text may hold personal data.
	Apply(ctx context.Context, tx Tx, events []domain.Recorded, upTo int64) error
}

// Unread is a follower that reads its ranges itself, as they are stored: Apply is called
// for every range, and is passed no events. So it is not stopped by an event that nobody
// can open or believe, and nothing is opened for it.
type Unread interface {
	Follower
	Unread()
}

// Tx is the transaction in which a follower applies events. Log reads earlier events.
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
