package follow

import (
	"context"
	"fmt"

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
// can open or believe, and nothing is opened for it. It does not hurry: after a range
// that was not a full page it rests for PollEvery, because otherwise whoever appends one
// event at a time would pay for a transaction of this follower with each. One that is
// Watched does hurry: somebody waits for its work.
type Unread interface {
	Follower
	Unread()
}

// Watched is a follower whose work lies outside of the database, where it may be lost or
// hindered while the log is quiet. Its leader calls Check when its term begins, and then
// every few seconds between ranges, in a transaction that is rolled back. An error counts
// like one of Apply; no error ends a halt, unless there are events still to be applied.
type Watched interface {
	Follower
	Check(ctx context.Context, tx Tx) error
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

// AwayError says that what a follower writes to, outside of the database, does not take
// it now. No event is to blame: the follower halts visibly with this text, which holds no
// value of an event, and tries again in at most about five seconds.
type AwayError struct {
	Text string
	Err  error // the cause, not shown; nil: none
}

func (e *AwayError) Error() string { return e.Text }

func (e *AwayError) Unwrap() error { return e.Err }

// BehindError says that what a follower did outside of the database is not there any more
// after a position before its checkpoint. The checkpoint goes back to that position, so
// that it is done again.
type BehindError struct{ Position int64 }

func (e *BehindError) Error() string {
	return fmt.Sprintf("what was done after event %d is lost; it is done again", e.Position)
}
