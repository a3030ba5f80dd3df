package follow

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A follower may be ahead of its log: an incomplete replica was promoted, or a part of
// the database was restored. Positions are then assigned again, and the events at them
// would be skipped silently. So a checkpoint records the event at its position, besides
// the position. A follower compares that event with every poll, and again in the
// statement that moves the checkpoint. If the log holds another event there, or none, the
// follower halts until its checkpoint is corrected.

// BackwardsError says that a follower has applied events that the log does not hold.
type BackwardsError struct {
	Position int64 // the follower's
	Head     int64 // the log's
}

func (e *BackwardsError) Error() string {
	if e.Position > e.Head {
		return fmt.Sprintf("the log went backwards: event %d was applied, and the log ends at %d", e.Position, e.Head)
	}
	return fmt.Sprintf("the log went backwards: the events up to %d that were applied are not those that it holds now",
		e.Position)
}

// isAhead is a condition on a checkpoint c and the head h of the log: the follower has
// applied events that the log does not hold.
const isAhead = `(c.position > h.position
	or c.event_id is not null and c.event_id is distinct from trust.event_at(c.event_position))`

// whereIs reads the checkpoint of a follower, in the columns that scanCheckpoint expects.
const whereIs = `select c.position, h.position, ` + isAhead +
	` from trust.checkpoints c, trust.head() h where c.follower = $1`

// scanCheckpoint returns a *BackwardsError if the follower is ahead of its log.
func scanCheckpoint(row pgx.Row) (position int64, err error) {
	var head int64
	var ahead bool
	if err := row.Scan(&position, &head, &ahead); err != nil {
		return 0, err
	}
	if ahead {
		return position, &BackwardsError{Position: position, Head: head}
	}
	return position, nil
}
