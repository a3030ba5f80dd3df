package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore/seal"
)

type keysSignCmd struct{}

// Run makes another key the one that signs checkpoints. Where trust up keeps the key, a
// new one is made, and kept before it is made known: a kill in between leaves a key that
// signs nothing, and running this again makes another. Elsewhere it is LOG_SIGNING_KEY.
func (keysSignCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{
		as: (*settings.Config).NeedProjector, keys: settings.Secrets{Signing: true}, pool: 1,
	})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseNewer(ctx, o.pool); err != nil {
		return err
	}

	seeds := *o.config.LogSeeds
	if o.config.KeepsSigningKey() {
		seeds = newSeeds()
		kept := settings.Pair{Name: "LOG_SIGNING_KEY", Value: settings.FormatSigningKey(seeds)}
		if err := settings.Keep(o.config.EnvFile(), kept); err != nil {
			return exit.Unreachable(err, "the new key cannot be kept in the file env in DATA_DIR; nothing was changed")
		}
	}

	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) error { return seal.Rotate(ctx, tx, seeds) })
	if errors.Is(err, seal.ErrNone) {
		_, err = fmt.Fprintln(p.stdout, "nothing was signed yet: LOG_SIGNING_KEY will be the first key")
		return err
	}
	if err != nil {
		return exit.Explain(err)
	}
	if _, err := fmt.Fprintln(p.stdout, "checkpoints are signed with LOG_SIGNING_KEY now. Give it to every process "+
		"that seals the log, and publish its public keys, which are the last of these:"); err != nil {
		return err
	}
	return showKeys(ctx, p, o)
}

type keysShowCmd struct{}

// Run prints the public keys, each with since when it was in force.
func (keysShowCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedAPI, pool: 1})
	if err != nil {
		return err
	}
	defer o.close(ctx)
	return showKeys(ctx, p, o)
}

func showKeys(ctx context.Context, p *program, o *opened) error {
	all, err := seal.AllKeys(ctx, o.pool)
	if err != nil {
		return exit.Explain(err)
	}
	if len(all) == 0 {
		return exit.NotSo("nothing was signed yet; start trust up, or trust project seal")
	}

	for _, keys := range all {
		for _, verifier := range keys.Verifiers {
			since := keys.Since.UTC().Format(time.RFC3339)
			if _, err := fmt.Fprintf(p.stdout, "%s  %s\n", since, verifier); err != nil {
				return err
			}
		}
	}
	return nil
}
