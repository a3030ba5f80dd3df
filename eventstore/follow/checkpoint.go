package follow

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Position returns the position that a follower has reached; 0 if it never ran. With a
// *BackwardsError it is not a position of this log.
func Position(ctx context.Context, tx pgx.Tx, name string) (position int64, err error) {
	position, err = scanCheckpoint(tx.QueryRow(ctx, whereIs, name))
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return position, fmt.Errorf("checkpoint of %s: %w", name, err)
	}
	return position, nil
}

// Reached returns the SQL expression of Position, for a statement that reads the
// follower's table: so both are of one snapshot. The name is an argument, such as $1.
func Reached(name string) string {
	return "(select position from trust.checkpoints where follower = " + name + ")"
}

// Hold is Position, and stops the follower from going on until the transaction ends.
func Hold(ctx context.Context, tx pgx.Tx, name string) (position int64, err error) {
	if _, err := tx.Exec(ctx, makeCheckpoint, name); err != nil {
		return 0, fmt.Errorf("checkpoint of %s: %w", name, err)
	}

	if position, err = scanCheckpoint(tx.QueryRow(ctx, whereIs+" for update of c", name)); err != nil {
		return position, fmt.Errorf("checkpoint of %s: %w", name, err)
	}
	return position, nil
}

// Advance moves a held follower to a position up to which somebody else has done its
// work, or back to it if the follower was ahead of its log. A follower that had halted
// before the position runs again.
func Advance(ctx context.Context, tx pgx.Tx, name string, to int64) error {
	const sql = `update trust.checkpoints set position = $2, event_position = $2, event_id = trust.event_at($2),
			error = null, error_since = null,
			state = case state when 'halted' then 'running' else state end
		where follower = $1`
	if _, err := tx.Exec(ctx, sql, name, to); err != nil {
		return fmt.Errorf("checkpoint of %s: %w", name, err)
	}
	return nil
}

// Halt makes it visible that a follower cannot go on, and why, in words without a value
// of an event. Advance, or the next range that it applies, ends that.
func Halt(ctx context.Context, db Execer, name, why string) error {
	const sql = `update trust.checkpoints set state = 'halted', error = $2,
			error_since = coalesce(error_since, clock_timestamp())
		where follower = $1 and (state <> 'halted' or error is distinct from $2)`
	if _, err := db.Exec(ctx, sql, name, why); err != nil {
		return fmt.Errorf("checkpoint of %s: %w", name, err)
	}
	return nil
}

// Execer is what pools, connections and transactions have in common.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// makeCheckpoint creates the checkpoint of a follower that has none.
const makeCheckpoint = `insert into trust.checkpoints (follower) values ($1) on conflict do nothing`
