package main

import (
	"context"
	"strings"

	"github.com/salga-trust/engine/eventstore/follow"
)

type projectCmd struct {
	Names []string `arg:"" name:"name" help:"${followers}, or all."`
}

// Run works until a signal comes. A second process for the same follower stands by and takes over.
func (pr projectCmd) Run(p *program) error {
	chosen, err := choose(followers(), pr.Names)
	if err != nil {
		return err
	}
	c, err := p.config()
	if err != nil {
		return err
	}
	if err := c.need(secrets{master: true}); err != nil {
		return err
	}
	address, err := c.needProjector()
	if err != nil {
		return err
	}
	worker := follow.NewWorker(follow.Config{
		DatabaseURL: address, MasterKey: []byte(c.masterKey), PageSize: c.pageSize,
		Logger: newLogger(p.stderr, c, "project-"+strings.Join(pr.Names, "+")),
	}, chosen...)
	pool, err := openPool(p.ctx, address, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	ctx, stop := context.WithCancelCause(p.ctx)
	defer stop(nil)
	go func() { stop(watchMasterKey(ctx, pool, c, false)) }()
	if err := worker.Run(ctx); err != nil {
		return c.explain(err)
	}
	return whyEnded(ctx)
}
