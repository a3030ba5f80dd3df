// Package retry waits, and repeats calls that failed because the database was away for a
// moment.
//
// Owns: one pause that a context ends, and how long a command waits for a database.
//
// Guarantees: nothing here outlives its context.
//
// Fails how: with the last error, when the context or the patience ends.
//
// Not here: which errors mean that a database is away (package exit), and restarts of
// processes (package supervise).
package retry

import (
	"context"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pg"
)

// Wait waits, and reports false when ctx ends first.
func Wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()

	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// WhileAway repeats a call that fails because the database is away or overloaded: a
// restart of Postgres takes seconds.
func WhileAway(ctx context.Context, do func(context.Context) error) error {
	const patience = 15 * time.Second
	started, pauses := time.Now(), pg.NewBackoff(50*time.Millisecond, time.Second)

	for {
		err := do(ctx)
		if err == nil || !exit.IsAway(err) || time.Since(started) > patience {
			return err
		}

		if !pauses.Wait(ctx) {
			return err
		}
	}
}
