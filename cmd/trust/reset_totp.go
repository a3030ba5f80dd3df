package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

type adminResetTOTPCmd struct {
	Municipality string `required:"" placeholder:"CODE" help:"Code of the municipality, or SALGA."`
	Email        string `required:"" placeholder:"ADDRESS" help:"What the person signs in with."`
	Reason       string `required:"" placeholder:"TEXT" help:"How it is known that the person asked for it; the log keeps it, sealed."`
}

// Run removes the second factor and ends the person's sessions. It is for the only admin
// of a municipality: anybody else's is removed by another admin, who is named in the log.
func (a adminResetTOTPCmd) Run(ctx context.Context, p *program) error {
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

	call := commands.System(tenant)
	call.Key = uuid.NewString() // or one that was removed unheard would be one that there never was
	err = retry.WhileAway(ctx, func(ctx context.Context) error {
		_, err := o.handler.RecoverSecondFactor(ctx, call, commands.RecoverSecondFactor{User: user, Reason: a.Reason})
		return err
	})
	if err != nil {
		return exit.Explain(err)
	}
	_, err = fmt.Fprintln(p.stdout,
		"the second factor is removed and the person's sessions have ended; the next sign-in takes the password alone")
	return err
}

func accountOf(
	ctx context.Context, handler *commands.Handler, tenant domain.TenantID, email string,
) (domain.UserID, error) {
	for _, spelling := range domain.EmailSpellings(email) {
		accounts, err := handler.Store.Accounts(ctx, spelling, tenant)
		if err != nil {
			return domain.UserID{}, err
		}
		for _, account := range accounts {
			return account.User, nil
		}
	}
	return domain.UserID{}, domain.Refuse(domain.CodeNotFound,
		"No account with this e-mail address is in this municipality.")
}
