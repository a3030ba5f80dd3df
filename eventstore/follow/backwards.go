package follow

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A follower may be ahead of its log: a replica was promoted that had not everything, or
// a part of the database was restored. Positions are given out again then, and what
// follows would be skipped in silence. So a checkpoint knows the event that it stands at,
// besides the position. A follower looks at it with every poll, and again in the
// statement that moves the checkpoint; it halts where the log holds another event there,
// or none, until its checkpoint is put right.

// BackwardsError says that a follower has applied what the log does not hold.
type BackwardsError struct {
	Position int64 // that the follower had reached
	Head     int64 // of the log
}

func (e *BackwardsError) Error() string {
	if e.Position > e.Head {
		return fmt.Sprintf("the log went backwards: event %d was applied, and the log ends at %d", e.Position, e.Head)
	}
	return fmt.Sprintf("the log went backwards: the events up to %d that were applied are not those that it holds",
		e.Position)
}

// isAhead is a condition on a checkpoint c and the head h of the log: the follower has
// applied what the log does not hold.
const isAhead = `(c.position > h.position
	or c.event_id is not null and c.event_id is distinct from trust.event_at(c.event_position))`

// whereIs reads the checkpoint of a follower, in the columns that scanCheckpoint takes.
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
