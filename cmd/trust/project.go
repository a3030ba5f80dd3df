package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
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

	// A login that may not do this work is refused at once. The worker waits for a
	// database that is away.
	asking, done := context.WithTimeout(ctx, time.Second)
	defer done()
	if refused, ok := errors.AsType[*exit.Error](exit.Explain(checkServes(asking, o.pool))); ok &&
		refused.Code == exit.CodeUsage {
		return refused
	}

	c := o.config
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

	err = worker.Run(ctx)
	if errors.Is(err, follow.ErrWrongLogin) {
		return exit.WrongUsage(
			"the login of DATABASE_URL_PROJECTOR is not in the role trust_projector, so it may not follow the log; " +
				"set a login that is")
	}
	if err != nil {
		return explainKey(c, err)
	}
	return whyEnded(told, ctx)
}
