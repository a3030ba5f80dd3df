// Package retry waits, and repeats what a database that is away for a moment made fail.
//
// Owns: one pause that a context ends, and how long a command is patient with a database.
//
// Guarantees: nothing here outlives its context.
//
// Fails how: with the last error, when the context ends or patience does.
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

// WhileAway repeats what fails because the database is away or overloaded for a while: a
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
