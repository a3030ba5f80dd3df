package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/proof"
)

type verifyCmd struct{}

// Run re-reads the whole log and compares the read tables with it.
func (verifyCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedProjector, pool: 2, reader: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	// If the copy outside the database cannot be read, everything else is verified first.
	held, unread := heldCheckpoints(o.config)

	bar := newProgress(p.stderr, -1, "events")
	var events int64
	err = projections.Verify(ctx, o.pool, o.reader, func(what string, done, total int64) {
		events = max(events, total) // the log comes first, and has the most
		bar.Describe(what)
		bar.ChangeMax64(total)
		_ = bar.Set64(done) // drawing is all it does
	})
	_ = bar.Finish()

	if _, newer := errors.AsType[*domain.UnknownEventError](err); newer {
		return exit.WrongUsage("this program is older than the log and cannot judge it: %v", err)
	}
	if difference, ok := errors.AsType[*projections.Difference](err); ok && difference.Projection != "" {
		return exit.NotSo("%v; trust rebuild %s rebuilds the table from the log", difference, difference.Projection)
	} else if ok {
		return exit.NotSo("%v; copy the database before anything else: only a backup can replace the log",
			difference)
	}
	if err != nil {
		return exit.Explain(err)
	}
	sealed, err := verifySeal(ctx, p, o, held)
	if err != nil {
		return err
	}

	if _, err = fmt.Fprintf(p.stdout,
		"%d events verified: every code holds, positions and versions without a gap, read tables equal to a replay, "+
			"%d checkpoints equal to the log%s\n", events, sealed.Checkpoints, lostOf(sealed)); err != nil {
		return err
	}
	return errors.Join(unread, notInFuture(ctx, o.pool))
}

// lostOf says which checkpoints an event excuses, so that whoever verifies asks why.
func lostOf(v seal.Verified) string {
	if v.Lost == 0 {
		return ""
	}
	return fmt.Sprintf("; the log does not begin with %d other checkpoints that were signed, as events "+
		"log.forked.v1 in it say: what these cover was lost", v.Lost)
}

// verifySeal hashes the log anew, and compares it with every checkpoint, the one that is
// kept in DATA_DIR among them.
func verifySeal(ctx context.Context, p *program, o *opened, held []proof.Checkpoint) (seal.Verified, error) {
	bar := newProgress(p.stderr, -1, "events")
	bar.Describe("the tree")
	done, err := seal.Verify(ctx, o.pool, o.reader, func(done, total int64) {
		bar.ChangeMax64(total)
		_ = bar.Set64(done) // drawing is all it does
	}, held...)
	_ = bar.Finish()

	if difference, ok := errors.AsType[*seal.Difference](err); ok {
		return done, exit.NotSo("%v; copy the database before anything else: docs/operator.md, Proof, says what to do",
			difference)
	}
	return done, exit.Explain(err)
}
