package console

import (
	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// codeView is a one-time code, shown once.
type codeView struct {
	Person client.UserBody
	client.CodeBody
}

// codeKind is a kind of one-time code that staff hand over: the name of the form for it,
// and the last part of that form's address.
type codeKind struct{ Name, Page string }

func signInCode() codeKind { return codeKind{"sign_in_code", "sign-in-code"} }

func resetCode() codeKind { return codeKind{"reset_code", "reset-code"} }

// codeForm asks which identity document was seen before a code is made.
func (v *Visit) codeForm(kind codeKind, refused error) error {
	return v.formAbout("issue_code", refused, func(_ *Visit, form *personForm) error {
		form.Code = kind
		return nil
	})
}

// handOver shows a code. It is the one answer to a form that leads nowhere else: a code
// that travelled on would be kept.
func (v *Visit) handOver(id uuid.UUID, made client.CodeBody) error {
	return v.render("code", codeView{Person: client.UserBody{ID: id}, CodeBody: made})
}

// SignInCodeForm asks which identity document was seen.
func (c *Console) SignInCodeForm(v *Visit) error { return v.codeForm(signInCode(), nil) }

// SignInCode shows a code with which a recorded person gets an account.
func (c *Console) SignInCode(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	made, err := v.API.IssueSignInCode(v.r.Context(), id,
		client.SignInCodeBody{IdentityDocument: v.Value("identity_document")},
		&client.IssueSignInCodeParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.codeForm(signInCode(), err)
	}
	return v.handOver(id, made.Body)
}

// ResetCodeForm asks which identity document was seen.
func (c *Console) ResetCodeForm(v *Visit) error { return v.codeForm(resetCode(), nil) }

// ResetCode shows a code for a new password.
func (c *Console) ResetCode(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	made, err := v.API.IssueResetCode(v.r.Context(), id,
		client.ResetCodeBody{IdentityDocument: v.Value("identity_document")},
		&client.IssueResetCodeParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.codeForm(resetCode(), err)
	}
	return v.handOver(id, made.Body)
}

// RoleForm shows the form to change the role of an account.
func (c *Console) RoleForm(v *Visit) error { return v.formAbout("change_role", nil) }

// ChangeRole changes the role of an account.
func (c *Console) ChangeRole(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	body := client.ChangeRoleBody{Role: client.ChangeRoleBodyRole(v.Value("role"))}
	_, err = v.API.ChangeRole(v.r.Context(), id, body,
		&client.ChangeRoleParams{IdempotencyKey: v.key(), IfMatch: v.optional("version")})
	if err != nil {
		return v.formAbout("change_role", err)
	}
	return v.toPerson(id)
}

// DeactivateForm asks whether an account is to be closed.
func (c *Console) DeactivateForm(v *Visit) error { return v.formAbout("deactivate", nil) }

// Deactivate closes an account.
func (c *Console) Deactivate(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	_, err = v.API.DeactivateUser(v.r.Context(), id,
		&client.DeactivateUserParams{IdempotencyKey: v.key(), IfMatch: v.optional("version")})
	if err != nil {
		return v.formAbout("deactivate", err)
	}
	return v.toPerson(id)
}

// ReactivateForm asks whether an account is to be reopened.
func (c *Console) ReactivateForm(v *Visit) error { return v.formAbout("reactivate", nil) }

// Reactivate reopens an account.
func (c *Console) Reactivate(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	_, err = v.API.ReactivateUser(v.r.Context(), id,
		&client.ReactivateUserParams{IdempotencyKey: v.key(), IfMatch: v.optional("version")})
	if err != nil {
		return v.formAbout("reactivate", err)
	}
	return v.toPerson(id)
}

// NewStaffForm shows the form for a staff account.
func (c *Console) NewStaffForm(v *Visit) error { return v.render("new_staff", nil) }

// NewStaff creates a staff account.
func (c *Console) NewStaff(v *Visit) error {
	made, err := v.API.CreateUser(v.r.Context(), client.CreateUserBody{
		Email: v.Value("email"), FullName: v.Value("full_name"), Password: v.Form.Get("password"),
		Phone: v.optional("phone"), Role: client.CreateUserBodyRole(v.Value("role")),
		PreferredLanguage: chosen[client.CreateUserBodyPreferredLanguage](v, "preferred_language"),
	}, &client.CreateUserParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.again("new_staff", nil, err)
	}
	return v.toPerson(made.Body.ID)
}
