package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
)

type disownCmd struct {
	Position int64  `arg:"" help:"Of the forged event, as trust status and trust verify say."`
	Reason   string `required:"" placeholder:"TEXT" help:"Why, for whoever reads the audit. Names nobody."`
}

// Run says for good that the event at a position is none of ours, so that what follows the log passes it as empty.
func (d disownCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedSchemaOwner, pool: 1, reader: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseNewer(ctx, o.pool); err != nil {
		return err
	}
	var done eventstore.Disowned
	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) (err error) {
		done, err = o.reader.Disown(ctx, tx, d.Position, d.Reason)
		return err
	})
	switch {
	case errors.Is(err, eventstore.ErrCodeHolds):
		return exit.NotSo("the event at position %d cannot be disowned: %v", d.Position, err)
	case errors.Is(err, eventstore.ErrNotCoded):
		return exit.NotSo("the event at position %d cannot be disowned: %v; run trust codes first", d.Position, err)
	case err != nil:
		return exit.Explain(err)
	}
	return d.say(p, done)
}

func (d disownCmd) say(p *program, done eventstore.Disowned) error {
	if done.Position == 0 {
		_, err := fmt.Fprintf(p.stdout, "event %s at position %d was disowned before; nothing was changed\n", done.EventID, d.Position)
		return err
	}

	_, err := fmt.Fprintf(p.stdout, "event %s at position %d, which claims to be %s, is disowned by the event at position %d: "+
		"readers pass it as empty, and projectors go on by themselves\n", done.EventID, d.Position, done.Type, done.Position)
	if err == nil && !done.Password.IsZero() {
		_, err = fmt.Fprintf(p.stdout, "account %s has no password any more, because that event may have set one\n", done.Password)
	}
	return err
}
