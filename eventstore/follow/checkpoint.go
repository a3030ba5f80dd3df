package follow

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Position returns how far a follower is; 0 when it never ran.
func Position(ctx context.Context, tx pgx.Tx, name string) (position int64, err error) {
	const sql = `select coalesce(max(position), 0) from trust.checkpoints where follower = $1`
	if err := tx.QueryRow(ctx, sql, name).Scan(&position); err != nil {
		return 0, fmt.Errorf("checkpoint of %s: %w", name, err)
	}
	return position, nil
}

// Hold returns how far a follower is, and keeps it from going on until the transaction ends.
func Hold(ctx context.Context, tx pgx.Tx, name string) (position int64, err error) {
	if _, err := tx.Exec(ctx, makeCheckpoint, name); err != nil {
		return 0, fmt.Errorf("checkpoint of %s: %w", name, err)
	}

	const sql = `select position from trust.checkpoints where follower = $1 for update`
	if err := tx.QueryRow(ctx, sql, name).Scan(&position); err != nil {
		return 0, fmt.Errorf("checkpoint of %s: %w", name, err)
	}
	return position, nil
}

// Advance moves a follower that is held to a position up to which somebody else has done its work. One that had halted
// before that runs again.
func Advance(ctx context.Context, tx pgx.Tx, name string, to int64) error {
	const sql = `update trust.checkpoints set position = $2, error = null, error_since = null,
			state = case state when 'halted' then 'running' else state end
		where follower = $1`
	if _, err := tx.Exec(ctx, sql, name, to); err != nil {
		return fmt.Errorf("checkpoint of %s: %w", name, err)
	}
	return nil
}

// makeCheckpoint makes the checkpoint of a follower that has none.
const makeCheckpoint = `insert into trust.checkpoints (follower) values ($1) on conflict do nothing`
