package main

import (
	"context"

	"github.com/salga-trust/engine/cmd/trust/internal/importer"
)

type importMunicipalitiesCmd struct {
	File string `arg:"" help:"CSV file with the columns code, name, province and, if known, category, district_code, population, contact_email."`
}

// Run registers what the file lists, through the same command as HTTP.
func (i importMunicipalitiesCmd) Run(ctx context.Context, p *program) error {
	rows, bad, err := importer.ReadFile(i.File, importer.MunicipalityColumns())
	if err != nil {
		return err
	}

	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	return p.carryOut(ctx, importer.Municipalities(o.handler, rows, bad))
}

type importPurposesCmd struct {
	File string `arg:"" help:"CSV file with the columns code, lawful_basis, special_personal_information, retention, description_en, description_zu, description_af."`
}

// Run defines what the file lists as defaults for all municipalities, through the same
// command as HTTP.
func (i importPurposesCmd) Run(ctx context.Context, p *program) error {
	rows, bad, err := importer.ReadFile(i.File, importer.PurposeColumns())
	if err != nil {
		return err
	}

	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	return p.carryOut(ctx, importer.Purposes(o.handler, rows, bad))
}

// carryOut imports the rows that were read, with a progress bar, and prints what became
// of them and of the bad rows.
func (p *program) carryOut(ctx context.Context, i importer.Import) error {
	bar := newProgress(p.stderr, int64(i.Len()), i.What)
	done, err := i.CarryOut(ctx, func() { _ = bar.Add(1) })
	_ = bar.Finish() // drawing is all it does
	if err != nil {
		return err
	}

	return done.Tell(p.stdout, p.stderr)
}
