package main

import (
	"context"
	"fmt"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

type rekeyCmd struct {
	Again bool `help:"Read the log from its beginning, and report again what could not be re-keyed."`
}

// Run re-keys the claims of older programs by the canonical form of their text, and
// rebuilds the table of users if it shows addresses in an older form. It may be stopped
// and repeated, and run beside everything else.
func (r rekeyCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedSchemaOwner, pool: 2, reader: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseNewer(ctx, o.pool); err != nil {
		return err
	}
	if r.Again {
		if err := eventstore.RekeyAgain(ctx, o.pool); err != nil {
			return exit.Explain(err)
		}
	}

	bar := newProgress(p.stderr, -1, "rekey")
	done, err := o.reader.Rekey(ctx, o.pool, func(done, total int64) {
		bar.ChangeMax64(total)
		_ = bar.Set64(done) // drawing is all it does
	})
	_ = bar.Finish()
	if err != nil {
		return exit.Explain(err)
	}

	if _, err := fmt.Fprintf(p.stdout, "%d claims are under their canonical form now\n", done.Count); err != nil {
		return err
	}
	if err := rereadUsers(ctx, p, o); err != nil {
		return err
	}
	return collided(p, done.Collisions)
}

// rereadUsers rebuilds the read table of users if it shows addresses in A-labels, as that
// of older programs did.
func rereadUsers(ctx context.Context, p *program, o *opened) error {
	behind, err := projections.ShowsALabels(ctx, o.pool)
	if err != nil {
		return exit.Explain(err)
	}
	if !behind {
		return nil
	}

	chosen, err := choose("read table", projections.All(), []string{"users"})
	if err != nil {
		return err
	}
	return rebuild(ctx, p, o.pool, o.reader, chosen[0])
}

// collided reports the claims that stay as they were. Two accounts are never merged: only
// their owners can say which one they want to keep.
func collided(p *program, collisions []eventstore.Collision) error {
	for _, c := range collisions {
		_, err := fmt.Fprintf(p.stdout,
			"tenant %s: %s of %s is that of %s in another spelling; both are found as before\n",
			c.Tenant, c.Kind, c.Holder, c.Other)
		if err != nil {
			return err
		}
	}

	if len(collisions) > 0 {
		return exit.NotSo("%d claims could not be re-keyed; ask the people named above which account they want to "+
			"keep, and have the other one erased or its address changed", len(collisions))
	}
	return nil
}
