package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/relay"
	"github.com/salga-trust/engine/internal/owned"
)

type relayCmd struct {
	From place `name:"from" placeholder:"POSITION" help:"Have the events from this position on published again, and end."`
}

// Run publishes the log until a signal comes. A second process stands by, and takes over
// when the first one ends.
func (r relayCmd) Run(ctx context.Context, p *program) error {
	outliveReaders()
	o, err := p.open(ctx, needs{
		as: (*settings.Config).NeedProjector, keys: settings.Secrets{Master: true}, pool: 3,
	})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	to, err := openRelay(o.config)
	if err != nil {
		return err
	}
	defer to.Close()
	if r.From > 0 {
		return publishAgain(ctx, p, o, to, int64(r.From))
	}
	if err := refuseLogin(ctx, o); err != nil {
		return err
	}

	c := o.config
	log := newLogger(p.stderr, c, "relay")
	log.InfoContext(ctx, "relaying", slog.String("stream", c.Relay.Stream))
	counts := newRelayMetrics(o.pool)
	if err := counts.serve(ctx, c, log); err != nil {
		return err
	}
	worker := follow.NewWorker(follow.Config{
		DatabaseURL: o.address, MasterKey: []byte(c.MasterKey), PageSize: c.PageSize, Logger: log,
		Committed: counts.committed, Failed: counts.failed,
	}, to)

	var watching sync.WaitGroup
	defer watching.Wait()
	watched, stop := context.WithCancel(ctx)
	defer stop()
	watching.Go(func() { relay.NewWatcher(to, o.pool, log).Run(watched) })
	return followUntilTold(ctx, o, worker)
}

// openRelay returns the relay to where the settings say.
func openRelay(c *settings.Config) (*relay.Relay, error) {
	if c.Relay.URL == "" {
		return nil, exit.WrongUsage(
			"RELAY_URL is not set; set it to a server of NATS, such as tls://nats.example.org:4222")
	}

	if path := c.Relay.CredsFile; path != "" {
		if _, err := owned.Read(path, owned.Secret); err != nil {
			return nil, exit.Unreachable(err,
				"cannot use the file that RELAY_CREDS_FILE names; it must be your own, and others must not read it")
		}
	}

	to, err := relay.Open(relay.Config{
		URL: c.Relay.URL, Stream: c.Relay.Stream, CredsFile: c.Relay.CredsFile, Origin: c.LogOrigin,
	})
	if away, is := errors.AsType[*follow.AwayError](err); is {
		return nil, exit.Unreachable(nil, "cannot begin to relay; %s", away.Text)
	}
	return to, err
}

// publishAgain has the events from a position on published again.
func publishAgain(ctx context.Context, p *program, o *opened, to *relay.Relay, from int64) error {
	if err := o.openReader(ctx); err != nil {
		return err
	}

	until, err := to.Again(ctx, o.pool, o.reader, from)
	if refused, is := errors.AsType[*relay.RefusedError](err); is {
		return exit.NotSo("nothing is published again: %s", refused.Why)
	}
	if away, is := errors.AsType[*follow.AwayError](err); is {
		return exit.Unreachable(nil, "nothing is published again: %s", away.Text)
	}
	if err != nil {
		return exit.Explain(err)
	}

	_, err = fmt.Fprintf(p.stdout, "the events from %d on are published again, after event %d; the relay does it, and "+
		"trust status says how far it is\n", from, until)
	return err
}

// refuseLogin refuses a login that may not do this work at once. A worker waits for a
// database that is away.
func refuseLogin(ctx context.Context, o *opened) error {
	asking, done := context.WithTimeout(ctx, time.Second)
	defer done()
	if refused, ok := errors.AsType[*exit.Error](exit.Explain(checkServes(asking, o.pool))); ok &&
		refused.Code == exit.CodeUsage {
		return refused
	}
	return nil
}

// followUntilTold runs a worker until a signal comes, or the master key is changed.
func followUntilTold(told context.Context, o *opened, worker *follow.Worker) error {
	ctx, stop := context.WithCancelCause(told)
	defer stop(nil)
	go func() { stop(watchMasterKey(ctx, o.pool, o.config, false)) }()
	return explainFollowing(o.config, worker.Run(ctx), told, ctx)
}

// explainFollowing returns why a worker ended.
func explainFollowing(c *settings.Config, err error, told, ctx context.Context) error {
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
