package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
)

type logRenewCmd struct{}

// Run gives the log a new id after a failover that lost events, so that positions of the
// old one are refused. It changes nothing else: run once too often, it only makes clients
// read again.
func (logRenewCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedSchemaOwner, pool: 1})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseNewer(ctx, o.pool); err != nil {
		return err
	}

	var was, is uuid.UUID
	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) (err error) {
		was, is, err = eventstore.RenewLog(ctx, tx)
		return err
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
