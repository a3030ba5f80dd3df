package main

import (
	"context"
	"fmt"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/commands"
)

type adminResetCodeCmd struct {
	Municipality     string `required:"" placeholder:"CODE" help:"Code of the municipality, or SALGA."`
	Email            string `required:"" placeholder:"ADDRESS" help:"E-mail address that the person signs in with."`
	IdentityDocument string `required:"" placeholder:"TEXT" help:"Which document of theirs you have seen; the log keeps it, sealed."`
}

// Run prints a reset code. It is for the only admin of a municipality; for anybody else
// somebody on the staff hands one over, whom the log then names. An attempt whose answer
// was lost is not repeated: nobody could be shown its code, and the next one replaces it.
func (a adminResetCodeCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	tenant, err := o.handler.TenantOf(ctx, a.Municipality)
	if err != nil {
		return exit.Explain(err)
	}
	user, err := accountOf(ctx, o.handler, tenant, a.Email)
	if err != nil {
		return exit.Explain(err)
	}

	made, err := o.handler.IssueResetCode(ctx, commands.System(tenant), commands.IssueResetCode{
		User: user, IdentityDocument: a.IdentityDocument,
	})
	if err != nil {
		return exit.Explain(err)
	}

	// The code alone is on standard output, so that it can be passed on.
	if _, err := fmt.Fprintf(p.stderr, "reset code, good until %s; it is shown only once\n",
		made.Value.ExpiresAt.Format(time.RFC3339)); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, made.Value.Text)
	return err
}
