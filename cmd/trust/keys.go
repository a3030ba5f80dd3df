package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/joho/godotenv"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/eventstore"
)

type keysRotateCmd struct{}

// Run re-wraps all that the master key wraps under another one, in one transaction. Where trust up keeps the master key, it keeps the
// new one there too: before the commit beside the old one, and after it in its place. So a kill at any point leaves the key that the
// database is under on disk, and running this again finishes.
func (keysRotateCmd) Run(p *program) error {
	c, err := p.config()
	if err != nil {
		return err
	}
	address, err := c.needRotation()
	if err != nil {
		return err
	}
	pool, err := openPool(p.ctx, address, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	count, err := rotate(p.ctx, c, pool)
	if err != nil {
		return err
	}
	if c.keepsMasterKey() {
		if err := keepInEnvFile(c.envFile(), pair{"MASTER_KEY", c.newMasterKey}, pair{"NEW_MASTER_KEY", ""}); err != nil {
			return exit.Unreachable(err, "the master key is changed, but could not be made MASTER_KEY in the file env in DATA_DIR; run this again")
		}
	}
	_, err = fmt.Fprintln(p.stdout, c.rotated(count))
	return err
}

// keepsMasterKey tells whether the master key in use is the one in the file env in DATA_DIR.
func (c *config) keepsMasterKey() bool {
	_, from := c.settings.find("MASTER_KEY")
	return from == fromDataDir
}

// needRotation refuses keys that cannot be changed from or to, and gives the address under which they can be.
func (c *config) needRotation() (string, error) {
	if err := c.need(secrets{master: true, newMaster: true}); err != nil {
		return "", err
	}
	if c.keepsMasterKey() {
		if kept := c.settings.kept("NEW_MASTER_KEY"); kept != "" && kept != c.newMasterKey {
			return "", exit.WrongUsage("a change to another NEW_MASTER_KEY was begun, which %s keeps; unset this one and finish that change first", c.envFile())
		}
		if read, err := godotenv.Unmarshal("K=" + c.newMasterKey); err != nil || len(read) != 1 || read["K"] != c.newMasterKey {
			return "", exit.WrongUsage("NEW_MASTER_KEY has characters that %s cannot hold; make it of letters and digits", c.envFile())
		}
	} else if c.newMasterKey == c.masterKey {
		return "", exit.WrongUsage("MASTER_KEY and NEW_MASTER_KEY are the same; give the key to change to as NEW_MASTER_KEY")
	}
	return c.needSchemaOwner()
}

// rotate re-wraps, and gives how many keys and secrets; 0: none had to be.
func rotate(ctx context.Context, c *config, pool *pgxpool.Pool) (count int, err error) {
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return 0, exit.Explain(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after the commit it does nothing
	if count, err = eventstore.Rotate(ctx, tx, []byte(c.masterKey), []byte(c.newMasterKey)); err != nil {
		return 0, rotationRefused(err)
	}
	if count > 0 && c.keepsMasterKey() {
		if err := keepInEnvFile(c.envFile(), pair{"NEW_MASTER_KEY", c.newMasterKey}); err != nil {
			return 0, exit.Unreachable(err, "the new key cannot be kept in the file env in DATA_DIR; nothing was changed")
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, exit.Unreachable(err, "it is not known whether the master key was changed; run this again with the same two keys")
	}
	return count, nil
}

func rotationRefused(err error) error {
	switch {
	case errors.Is(err, eventstore.ErrWrongMasterKey):
		return exit.WrongUsage("neither MASTER_KEY nor NEW_MASTER_KEY is the one that this database is under; nothing was changed")
	case errors.Is(err, eventstore.ErrNoKeys):
		return exit.NotSo("the database has no keys yet, so there is nothing to change; start with the master key that you want")
	case exit.IsUnmigrated(err), exit.IsAway(err), errors.Is(err, context.Canceled):
		return exit.Explain(err)
	default:
		return exit.NotSo("not every key opens, so nothing was changed: %v", err)
	}
}

// rotated says what was done and what is left to do, on one line.
func (c *config) rotated(count int) string {
	done := "nothing to do: all keys are wrapped under NEW_MASTER_KEY"
	if count > 0 {
		done = fmt.Sprintf("%d keys re-wrapped under the new master key", count)
	}
	if c.keepsMasterKey() {
		return done + ", which is MASTER_KEY in " + c.envFile() + " now"
	}
	return done + "; give it to every process as MASTER_KEY, and start them again"
}
