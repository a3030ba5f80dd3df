package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
)

type keysRotateCmd struct{}

// Run re-wraps everything that the master key wraps under a new one, in one transaction.
// Where trust up keeps the master key, the new one is kept there too: beside the old one
// before the commit, and in its place afterwards. So a kill at any point leaves the key
// in force on disk, and running this again finishes the change.
func (keysRotateCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{
		as: (*settings.Config).NeedRotation, keys: settings.Secrets{Master: true}, pool: 1,
	})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseNewer(ctx, o.pool); err != nil {
		return err
	}

	c := o.config
	count, err := rotate(ctx, c, o.pool)
	if err != nil {
		return err
	}

	if c.KeepsMasterKey() {
		err := settings.Keep(c.EnvFile(), settings.Pair{Name: "MASTER_KEY", Value: c.NewMasterKey},
			settings.Pair{Name: "NEW_MASTER_KEY"})
		if err != nil {
			return exit.Unreachable(err,
				"the master key was changed, but the new one could not be made MASTER_KEY in the file env in "+
					"DATA_DIR; run this again")
		}
	}

	_, err = fmt.Fprintln(p.stdout, rotated(c, count))
	return err
}

// rotate re-wraps, and returns how many keys and secrets that were; 0 if none had to be.
func rotate(ctx context.Context, c *settings.Config, pool *pgxpool.Pool) (count int, err error) {
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return 0, exit.Explain(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after the commit it does nothing

	if count, err = eventstore.Rotate(ctx, tx, []byte(c.MasterKey), []byte(c.NewMasterKey)); err != nil {
		return 0, rotationRefused(err)
	}
	if count > 0 && c.KeepsMasterKey() {
		if err := settings.Keep(c.EnvFile(), settings.Pair{Name: "NEW_MASTER_KEY", Value: c.NewMasterKey}); err != nil {
			return 0, exit.Unreachable(err,
				"the new key cannot be kept in the file env in DATA_DIR; nothing was changed")
		}
	}

	if err := tx.Commit(ctx); err != nil {
		return 0, exit.Unreachable(err,
			"it is not known whether the master key was changed; run this again with the same two keys")
	}
	return count, nil
}

func rotationRefused(err error) error {
	switch {
	case errors.Is(err, eventstore.ErrWrongMasterKey):
		return exit.WrongUsage(
			"neither MASTER_KEY nor NEW_MASTER_KEY is the master key of this database; nothing was changed")
	case errors.Is(err, eventstore.ErrNoKeys):
		return exit.NotSo("the database has no keys yet, so there is nothing to change; " +
			"start with the master key that you want")
	case exit.IsUnmigrated(err), exit.IsAway(err), errors.Is(err, context.Canceled):
		return exit.Explain(err)
	default:
		return exit.NotSo("not every key opens, so nothing was changed: %v", err)
	}
}

// rotated describes what was done and what is left to do, on one line.
func rotated(c *settings.Config, count int) string {
	done := "nothing to do: all keys are wrapped under NEW_MASTER_KEY"
	if count > 0 {
		done = fmt.Sprintf("%d keys re-wrapped under the new master key", count)
	}
	if c.KeepsMasterKey() {
		return done + ", which is MASTER_KEY in " + c.EnvFile() + " now"
	}
	if c.Wrapped.File != "" {
		return done + "; put the file that wraps it in the place of " + c.Wrapped.File +
			", and start every process again"
	}
	return done + "; give it to every process as MASTER_KEY, and start them again"
}
