package main

import (
	"context"
	"strings"

	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore/follow"
)

type projectCmd struct {
	Names []string `arg:"" name:"name" help:"${followers}, or all."`
}

// Run follows the log until a signal comes. A second process for the same follower stands
// by, and takes over when the first one ends.
func (pr projectCmd) Run(ctx context.Context, p *program) error {
	outliveReaders()
	chosen, err := choose("follower", followers(), pr.Names)
	if err != nil {
		return err
	}

	sealer := sealerAmong(chosen)
	o, err := p.open(ctx, needs{
		as: (*settings.Config).NeedProjector, keys: settings.Secrets{Master: true}, pool: 3,
	})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if err := refuseLogin(ctx, o); err != nil {
		return err
	}

	c := o.config
	nameLog(chosen, c.LogOrigin)
	log := newLogger(p.stderr, c, "project-"+strings.Join(pr.Names, "+"))
	signing := signing{opened: o, sealer: sealer, log: log, grown: make(chan struct{}, 1)}
	worker := follow.NewWorker(follow.Config{
		DatabaseURL: o.address, MasterKey: []byte(c.MasterKey), PageSize: c.PageSize, Logger: log,
		Committed: signing.committed,
	}, chosen...)

	told := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	switch {
	case sealer == nil:
	case c.LogSeeds == nil: // a read table must not wait for a key that it has no use for
		log.WarnContext(ctx, "LOG_SIGNING_KEY is not set: the log is sealed, and no checkpoint is signed")
	default:
		go func() { stop(signing.run(ctx)) }()
		go askWitnesses(ctx, o.pool, c, log)
	}
	go func() { stop(watchMasterKey(ctx, o.pool, c, false)) }()

	return explainFollowing(c, worker.Run(ctx), told, ctx)
}
