package console

import (
	"net/http"
	"strconv"

	"github.com/salga-trust/engine/http/client"
)

// Programs lists the accounts of programs, newest first.
func (c *Console) Programs(v *Visit) error {
	list, err := v.API.ListServiceAccounts(v.r.Context(), &client.ListServiceAccountsParams{After: v.optional("after")})
	if err != nil {
		return err
	}
	return v.render("programs", list.Body)
}

// newProgram is the form for a program.
type newProgram struct {
	Scopes []scopeChoice
}

type scopeChoice struct {
	Scope  client.ServiceAccountBodyScopes
	Chosen bool
}

// newProgramOf offers the scopes, with those chosen that the form already has.
func newProgramOf(v *Visit) newProgram {
	chosen := map[string]bool{}
	for _, scope := range v.Form["scopes"] {
		chosen[scope] = true
	}

	var form newProgram
	for _, scope := range []client.ServiceAccountBodyScopes{
		client.ServiceAccountBodyScopesConsentsCheck, client.ServiceAccountBodyScopesConsentsRecord,
		client.ServiceAccountBodyScopesConsentsRead, client.ServiceAccountBodyScopesEventsRead,
	} {
		form.Scopes = append(form.Scopes, scopeChoice{Scope: scope, Chosen: chosen[string(scope)]})
	}
	return form
}

// NewProgram asks what a program is called, and what it may do.
func (c *Console) NewProgram(v *Visit) error { return v.render("program_new", newProgramOf(v)) }

// CreateProgram makes the account of a program, and shows its secret once. A form that is
// sent again shows the account without it.
func (c *Console) CreateProgram(v *Visit) error {
	scopes := v.Form["scopes"]
	if scopes == nil {
		scopes = []string{}
	}
	made, err := v.API.CreateServiceAccount(v.r.Context(),
		client.CreateServiceAccountBody{Name: v.Value("name"), Scopes: scopes},
		&client.CreateServiceAccountParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.again("program_new", newProgramOf(v), err)
	}
	return v.render("program_secret", made.Body)
}

func (c *Console) program(v *Visit) (client.ServiceAccountBody, error) {
	id, err := v.id()
	if err != nil {
		return client.ServiceAccountBody{}, err
	}
	program, err := v.API.GetServiceAccount(v.r.Context(), id, nil)
	if err != nil {
		return client.ServiceAccountBody{}, err
	}
	return program.Body, nil
}

// Program shows the account of a program.
func (c *Console) Program(v *Visit) error {
	program, err := c.program(v)
	if err != nil {
		return err
	}
	return v.render("program", program)
}

// RotateSecret makes another secret, and shows it once.
func (c *Console) RotateSecret(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}

	overlap, wrong := strconv.ParseInt(v.Value("overlap_seconds"), 10, 64)
	if wrong != nil {
		refused := refusal(http.StatusUnprocessableEntity, client.ProblemCodeValidationFailed)
		refused.Errors = []client.FieldError{{Field: "overlap_seconds", Code: "required"}}
		return c.rotateAgain(v, refused)
	}
	made, err := v.API.RotateSecret(v.r.Context(), id, &client.RotateSecretBody{OverlapSeconds: &overlap},
		&client.RotateSecretParams{IdempotencyKey: v.key()})
	if err != nil {
		return c.rotateAgain(v, err)
	}
	return v.render("program_secret", made.Body)
}

func (c *Console) rotateAgain(v *Visit, refused error) error {
	program, err := c.program(v)
	if err != nil {
		return err
	}
	return v.again("program", program, refused)
}

// RevokeForm asks whether a program's account shall end.
func (c *Console) RevokeForm(v *Visit) error {
	program, err := c.program(v)
	if err != nil {
		return err
	}
	return v.render("program_revoke", program)
}

// Revoke ends the account of a program, with its secrets and tokens.
func (c *Console) Revoke(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	_, err = v.API.RevokeServiceAccount(v.r.Context(), id, &client.RevokeServiceAccountParams{IdempotencyKey: v.key()})
	if err != nil {
		return err
	}
	v.redirect("/console/programs/" + id.String())
	return nil
}
