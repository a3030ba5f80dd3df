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
	Email        string `required:"" placeholder:"ADDRESS" help:"E-mail address that the person signs in with."`
	Reason       string `required:"" placeholder:"TEXT" help:"How you know that the person asked for this; the log keeps it, sealed."`
}

// Run removes the second factor and ends the person's sessions. It is for the only admin
// of a municipality; for anybody else another admin does this, whom the log then names.
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
	// Without a key, a retry after a lost answer would find no second factor to remove.
	call.Key = uuid.NewString()
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
		"This municipality has no account with this e-mail address.")
}
