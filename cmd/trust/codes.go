package main

import (
	"context"
	"fmt"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
)

type codesCmd struct{}

// Run gives a code to each event that an older program wrote without one, and then
// requires one of every event. It may be stopped and repeated, and run beside everything
// except older programs, which are refused once it is done.
func (codesCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedSchemaOwner, pool: 2, reader: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseNewer(ctx, o.pool); err != nil {
		return err
	}

	bar := newProgress(p.stderr, -1, "codes")
	given, err := o.reader.CodeOlder(ctx, o.pool, func(done, total int64) {
		bar.ChangeMax64(total)
		_ = bar.Set64(done) // drawing is all it does
	})
	_ = bar.Finish()
	if err != nil {
		return exit.Explain(err)
	}
	_, err = fmt.Fprintf(p.stdout,
		"%d older events got their code; from now on an event without one counts as forged\n", given)
	return err
}

// codesPending runs trust codes if that was not done before. A failure is only reported:
// until the codes are there, older events are believed without them.
func codesPending(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedSchemaOwner, conn: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	coded, err := eventstore.Coded(ctx, o.conn)
	if err != nil {
		return exit.Explain(err)
	}
	if coded {
		return nil
	}

	if err := (codesCmd{}).Run(ctx, p); err != nil && ctx.Err() == nil {
		_, err = fmt.Fprintf(p.stderr, "trust codes: %v\n", err)
		return err
	}
	return ctx.Err()
}
