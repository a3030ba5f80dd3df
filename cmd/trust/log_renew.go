package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/propagation"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/webhooks"
)

type logRenewCmd struct{}

// Run gives the log a new id after a failover that lost events, so that positions of the
// old one are refused. An event names each checkpoint that was lost with them. It changes
// nothing else: run once too often, it only makes clients read again.
func (logRenewCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedSchemaOwner, pool: 1, reader: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseNewer(ctx, o.pool); err != nil {
		return err
	}

	held, err := heldCheckpoints(o.config)
	if err != nil {
		return err
	}

	var was, is uuid.UUID
	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) (err error) {
		if was, is, err = eventstore.RenewLog(ctx, tx); err != nil {
			return err
		}
		return nameLost(ctx, p, o, tx, held)
	})
	if err != nil {
		return exit.Explain(err)
	}

	_, err = fmt.Fprintf(p.stdout,
		"the log was %s and is %s from now on: a client that names the old one gets 409 another_log. "+
			"Run trust verify, and trust rebuild for each read table that it or trust status reports as ahead "+
			"of the log\n", was, is)
	return err
}

// nameLost appends an event for each checkpoint that the log does not begin with any
// more.
func nameLost(ctx context.Context, p *program, o *opened, tx pgx.Tx, held []proof.Checkpoint) error {
	lost, err := seal.Lost(ctx, tx, o.reader, held...)
	if err != nil {
		return err
	}
	if err := seal.Restart(ctx, tx); err != nil {
		return err
	}
	if err := webhooks.Restart(ctx, tx); err != nil {
		return err
	}
	if err := propagation.Restart(ctx, tx); err != nil {
		return err
	}

	for _, checkpoint := range lost {
		position, err := o.reader.Fork(ctx, tx, seal.ForkOf(checkpoint))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.stdout, "event %d says that a checkpoint of %d events of %s was lost\n", position,
			checkpoint.Size, checkpoint.Origin); err != nil {
			return err
		}
	}
	return nil
}
