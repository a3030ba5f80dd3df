package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/migrations"
)

// lookAtKey is how often a running process checks that its master key is still in force.
const lookAtKey = time.Second

// watchMasterKey returns when ctx ends, or with an error when the master key is not, or
// is no longer, the one in force, or when a newer release has changed the schema. A
// process with an old key could go on with the keys it remembers, but would fail one
// request or event after another. Its supervisor starts it again, and then it reads its
// settings anew. proven says that the key was right a moment ago.
func watchMasterKey(ctx context.Context, pool *pgxpool.Pool, c *settings.Config, proven bool) error {
	for {
		err := lookAtMasterKey(ctx, pool, c)
		switch {
		case err == nil:
			proven = true
		case errors.Is(err, migrations.ErrNewerDatabase):
			return exit.Explain(err)
		case !errors.Is(err, eventstore.ErrWrongMasterKey):
			// A database that is away is reported elsewhere. A login that was refused
			// stays refused.
			if refused, ok := errors.AsType[*exit.Error](err); ok {
				return refused
			}
		case proven:
			return exit.Explain(eventstore.ErrMasterKeyChanged)
		default:
			return explainKey(c, err)
		}

		if !retry.Wait(ctx, lookAtKey) {
			return nil
		}
	}
}

// lookAtMasterKey proves the master key once, on a database that this program can serve.
// A server that hangs counts as away.
func lookAtMasterKey(ctx context.Context, pool *pgxpool.Pool, c *settings.Config) error {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()

	if err := checkServes(ctx, pool); errors.Is(err, migrations.ErrNewerDatabase) {
		return err
	}
	_, err := eventstore.NewReader(ctx, pool, []byte(c.MasterKey))
	return err
}
