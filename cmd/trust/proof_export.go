package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/wholefile"
)

type proofExportCmd struct {
	Tenant  string   `required:"" placeholder:"CODE" help:"Code of the municipality."`
	Consent identity `required:"" placeholder:"ID" help:"The consent."`
	Out     string   `required:"" placeholder:"FILE" help:"Where to write the bundle; only you can read the file."`
	Replace bool     `help:"Replace the file if it exists."`
	Reason  word     `placeholder:"TEXT" help:"Why you need it; the log records it."`
}

// Run writes the bundle of one decision to a file. The log records that an operator
// looked, before anything is written.
func (x proofExportCmd) Run(ctx context.Context, p *program) error {
	if _, err := os.Lstat(x.Out); err == nil && !x.Replace {
		return exit.WrongUsage("%s exists; give another name, or --replace", x.Out)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return exit.WrongUsage("%v", err)
	}

	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	issued, err := x.issue(ctx, o)
	if err != nil {
		return err
	}
	if err := wholefile.Write(x.Out, string(issued.File)); err != nil {
		return exit.Unreachable(err, "nothing was written")
	}
	_, err = fmt.Fprintf(p.stdout, "%s: receipt %s, %d bytes; check it with trust proof check %[1]s --policy FILE\n",
		x.Out, issued.Receipt, len(issued.File))
	return err
}

// issue has the proof made, and records that an operator saw it.
func (x proofExportCmd) issue(ctx context.Context, o *opened) (commands.IssuedProof, error) {
	tenant, err := o.handler.TenantOf(ctx, x.Tenant)
	if err != nil {
		return commands.IssuedProof{}, exit.Explain(err)
	}
	call := commands.System(tenant)

	answer, err := o.handler.IssueProof(ctx, call, commands.IssueProof{Consent: domain.ConsentID(x.Consent)})
	if err != nil {
		return commands.IssuedProof{}, exit.Explain(err)
	}

	_, err = o.handler.RecordRead(ctx, call, commands.RecordRead{
		Route: "trust proof export", Fields: "proof", Subjects: []domain.UserID{answer.Value.Subject},
		Reason: string(x.Reason),
	})
	return answer.Value, err
}
