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
	Position int64  `arg:"" help:"Position of the forged event, as trust status and trust verify report it."`
	Through  int64  `arg:"" optional:"" help:"Position of the last of several; those between whose code holds stay."`
	Reason   string `required:"" placeholder:"TEXT" help:"Why, for readers of the audit; it must name nobody."`
}

// Run declares for good that events are not ours, so that readers of the log pass them as
// empty. Each is disowned in a transaction of its own, so that a run that was stopped can
// be repeated.
func (d disownCmd) Run(ctx context.Context, p *program) error {
	if d.Through != 0 && d.Through < d.Position {
		return exit.WrongUsage("the last position is before the first one")
	}

	o, err := p.open(ctx, needs{as: (*settings.Config).NeedSchemaOwner, pool: 1, reader: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseNewer(ctx, o.pool); err != nil {
		return err
	}

	held := 0
	for position := d.Position; position <= max(d.Position, d.Through); position++ {
		done, err := d.disown(ctx, o, position)
		switch {
		case d.Through != 0 && errors.Is(err, eventstore.ErrCodeHolds):
			held++
		case err != nil:
			return explainDisowning(position, err)
		default:
			if err := say(p, position, done); err != nil {
				return err
			}
		}
	}

	if d.Through != 0 {
		_, err = fmt.Fprintf(p.stdout, "%d of the events from %d to %d are events of this log, and stay\n", held,
			d.Position, d.Through)
	}
	return err
}

func (d disownCmd) disown(ctx context.Context, o *opened, position int64) (done eventstore.Disowned, err error) {
	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) (err error) {
		done, err = o.reader.Disown(ctx, tx, position, d.Reason)
		return err
	})
	return done, err
}

func explainDisowning(position int64, err error) error {
	switch {
	case errors.Is(err, eventstore.ErrCodeHolds):
		return exit.NotSo("the event at position %d cannot be disowned: %v", position, err)
	case errors.Is(err, eventstore.ErrNotCoded):
		return exit.NotSo("the event at position %d cannot be disowned: %v; run trust codes first", position, err)
	default:
		return exit.Explain(err)
	}
}

func say(p *program, position int64, done eventstore.Disowned) error {
	if done.Position == 0 {
		_, err := fmt.Fprintf(p.stdout, "event %s at position %d was disowned before; nothing was changed\n",
			done.EventID, position)
		return err
	}

	_, err := fmt.Fprintf(p.stdout,
		"event %s at position %d, which claims to be %s, is disowned by the event at position %d: "+
			"readers pass it as empty, and projectors go on by themselves\n", done.EventID, position, done.Type,
		done.Position)
	if err == nil && !done.Password.IsZero() {
		_, err = fmt.Fprintf(p.stdout, "account %s has no password any more, because that event may have set one\n",
			done.Password)
	}
	return err
}
