package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/projections"
)

type rebuildCmd struct {
	Names    []string `arg:"" name:"name" help:"${tables}, or all."`
	DropKept bool     `help:"Rebuild nothing; drop the old versions of the tables, which rebuilds have kept."`
}

// Run rebuilds read tables from the log, one after another, while they are in use.
func (r rebuildCmd) Run(ctx context.Context, p *program) error {
	chosen, err := choose("read table", projections.All(), r.Names)
	if err != nil {
		return err
	}

	o, err := p.open(ctx, needs{as: (*settings.Config).NeedSchemaOwner, pool: 2, reader: !r.DropKept})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseNewer(ctx, o.pool); err != nil {
		return err
	}
	if r.DropKept {
		return dropKept(ctx, p, o.pool, chosen)
	}

	for _, projection := range chosen {
		if err := rebuild(ctx, p, o.pool, o.reader, projection); err != nil {
			return err
		}
	}
	return nil
}

func rebuild(
	ctx context.Context, p *program, pool *pgxpool.Pool, reader *eventstore.Reader, projection projections.Projection,
) error {
	bar := newProgress(p.stderr, -1, projection.Name())
	done, err := projections.Rebuild(ctx, pool, reader, projection, func(stage projections.Stage, done, total int64) {
		bar.Describe(projection.Name() + ": " + string(stage))
		if total > 0 {
			bar.ChangeMax64(total)
			_ = bar.Set64(done) // drawing is all it does
		}
	})
	_ = bar.Finish()

	if err != nil {
		return notRebuilt(err)
	}

	_, err = fmt.Fprintf(p.stdout,
		"%s rebuilt up to position %d: %d rows; the old table %s, and is kept as %s "+
			"(to drop it: trust rebuild %[1]s --drop-kept)\n",
		projection.Name(), done.Position, done.Rows, judge(done.Wrong), done.Kept)
	return err
}

func judge(w projections.Wrong) string {
	if w.None() {
		return "was as the log says"
	}
	return fmt.Sprintf("was not as the log says (rows missing %d, too many %d, different %d; the first %s)",
		w.Missing, w.Extra, w.Changed, w.First)
}

func notRebuilt(err error) error {
	_, gap := errors.AsType[*eventstore.GapError](err)
	_, fault := errors.AsType[*follow.PlainError](err)

	switch {
	case errors.Is(err, projections.ErrRebuilding):
		return exit.NotSo("%v; wait for it to end", err)
	case gap, fault:
		return exit.NotSo("%v; nothing was changed", err)
	case errors.Is(err, context.Canceled):
		return exit.Unreachable(nil, "stopped before it was done; nothing was changed")
	default:
		return exit.Explain(err)
	}
}

func dropKept(ctx context.Context, p *program, pool *pgxpool.Pool, chosen []projections.Projection) error {
	for _, projection := range chosen {
		dropped, err := projections.DropKept(ctx, pool, projection)
		if err != nil {
			return exit.Explain(err)
		}
		for _, name := range dropped {
			if _, err := fmt.Fprintf(p.stdout, "%s dropped\n", name); err != nil {
				return err
			}
		}

		if len(dropped) == 0 {
			if _, err := fmt.Fprintf(p.stdout, "%s: nothing was kept\n", projection.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}
