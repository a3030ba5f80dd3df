package main

import (
	"context"
	"slices"
	"strings"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/projections"
)

type projectCmd struct {
	Names []string `arg:"" name:"name" help:"users, consents, municipalities, or all."`
}

// Run works until a signal comes. A second process for the same projection stands by and takes over.
func (pr projectCmd) Run(ctx context.Context, p *program) error {
	chosen, err := chooseProjections(pr.Names)
	if err != nil {
		return err
	}

	o, err := p.open(ctx, needs{as: (*settings.Config).NeedProjector, keys: settings.Secrets{Master: true}, pool: 1})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	c := o.config
	worker := projections.NewWorker(projections.WorkerConfig{
		DatabaseURL: o.address, MasterKey: []byte(c.MasterKey), PageSize: c.PageSize,
		Logger: newLogger(p.stderr, c, "project-"+strings.Join(pr.Names, "+")),
	}, chosen...)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { stop(watchMasterKey(ctx, o.pool, c, false)) }()
	if err := worker.Run(ctx); err != nil {
		return explainKey(c, err)
	}
	return whyEnded(ctx)
}

// projectorNames lists the projections, each of which trust up gives a process.
func projectorNames() []string {
	var names []string
	for _, projection := range projections.All() {
		names = append(names, projection.Name())
	}
	return names
}

// chooseProjections finds projections by name, each once.
func chooseProjections(names []string) ([]projections.Projection, error) {
	if slices.Contains(names, "all") {
		return projections.All(), nil
	}
	var chosen []projections.Projection
	for i, name := range names {
		projection, ok := projections.ByName(name)
		if !ok {
			return nil, exit.WrongUsage("there is no projector %q; give some of: %s, all", name, strings.Join(projectorNames(), ", "))
		}
		if !slices.Contains(names[:i], name) {
			chosen = append(chosen, projection)
		}
	}
	return chosen, nil
}
