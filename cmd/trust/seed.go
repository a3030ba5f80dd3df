package main

import (
	"context"
	"fmt"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/seed"
)

type seedCmd struct {
	People int    `required:"" placeholder:"N" help:"How many residents, spread over metropolitan and local municipalities by population."`
	Seed   uint64 `default:"1" placeholder:"S" help:"Number that decides who is made up; another one makes up others (default 1)."`
}

// Run makes up residents and staff, only in a development system.
func (s seedCmd) Run(ctx context.Context, p *program) error {
	if p.settings.Get("ENVIRONMENT") == "production" {
		return exit.WrongUsage("ENVIRONMENT is production, where nobody is made up; seed a development system")
	}
	if s.People < 1 || s.People > seed.MaxPeople {
		return exit.WrongUsage("--people is not a number from 1 to %d; correct it", seed.MaxPeople)
	}

	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	seeder, err := seed.New(ctx, o.store, s.People, s.Seed)
	if err != nil {
		return err
	}
	bar := newProgress(p.stderr, int64(s.People), "people")
	err = seeder.Run(ctx, func() { _ = bar.Add(1) })
	_ = bar.Finish() // drawing is all it does
	if err != nil {
		return err
	}

	_, err = fmt.Fprintln(p.stdout, seeder.Summary())
	return err
}
