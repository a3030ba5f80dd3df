package console

import (
	"net/http"
	"strings"

	"github.com/salga-trust/engine/http/client"
)

// accountPage is what the page of an account shows.
type accountPage struct {
	Me client.UserBody
	// Version is that of the details shown, so that nobody's change overwrites another.
	Version string
}

func (v *Visit) account() (accountPage, error) {
	me, err := v.API.GetMe(v.r.Context(), nil)
	if err != nil {
		return accountPage{}, err
	}
	return accountPage{me.Body, me.ETag()}, nil
}

// Account shows the visitor's own account.
func (c *Console) Account(v *Visit) error {
	page, err := v.account()
	if err != nil {
		return err
	}
	return v.render("account", page)
}

// ChangeAccount changes the visitor's details. An address that stays needs no password.
func (c *Console) ChangeAccount(v *Visit) error {
	page, err := v.account()
	if err != nil {
		return err
	}

	name, phone := v.Value("full_name"), v.Value("phone")
	language := client.ChangeMeBodyPreferredLanguage(v.Value("preferred_language"))
	change := client.ChangeMeBody{FullName: &name, Phone: &phone, PreferredLanguage: &language}
	if email := v.Value("email"); !strings.EqualFold(email, plain(page.Me.Email)) {
		password := v.Form.Get("current_password")
		change.Email, change.CurrentPassword = &email, &password
	}

	changed, err := v.API.ChangeMe(v.r.Context(), change,
		&client.ChangeMeParams{IfMatch: v.optional("version"), IdempotencyKey: v.key()})
	if err != nil {
		return v.again("account", page, err)
	}
	if chosen := known(string(changed.Body.PreferredLanguage)); chosen != known(string(page.Me.PreferredLanguage)) {
		v.session.lang = chosen
	}
	v.redirect("/console/account?done=changed")
	return nil
}

// VerifyMyEmail has a code sent to the visitor's address, or takes the one that was.
func (c *Console) VerifyMyEmail(v *Visit) error {
	body, done := &client.VerifyEmailBody{}, "code_sent"
	if v.Form.Has("code") {
		code := v.Value("code")
		body.Code, done = &code, "email_verified"
	}

	_, err := v.API.VerifyEmail(v.r.Context(), body, &client.VerifyEmailParams{IdempotencyKey: v.key()})
	if err != nil {
		page, failed := v.account()
		if failed != nil {
			return failed
		}
		return v.again("account", page, err)
	}
	v.redirect(link("/console/account", "done", done))
	return nil
}

// PasswordForm asks for a new password.
func (c *Console) PasswordForm(v *Visit) error { return v.render("account_password", nil) }

// ChangeMyPassword changes the visitor's password, which ends their other sessions.
func (c *Console) ChangeMyPassword(v *Visit) error {
	_, err := v.API.ChangePassword(v.r.Context(), client.ChangePasswordBody{
		CurrentPassword: v.Form.Get("current_password"), NewPassword: v.Form.Get("new_password"),
	}, &client.ChangePasswordParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.again("account_password", nil, err)
	}
	v.redirect("/console/account?done=password")
	return nil
}

// secondFactorPage is what the page of the second factor shows.
type secondFactorPage struct {
	Set bool
	// Begun is a second factor that waits for its first code; nil: none was begun now.
	Begun *client.NewTOTPBody
	// Confirming reports that a code was refused: its secret is not shown again.
	Confirming bool
}

// Groups returns the secret in groups that are easy to type.
func (p secondFactorPage) Groups() string {
	if p.Begun == nil || p.Begun.Secret == nil {
		return ""
	}
	var groups []string
	for rest := *p.Begun.Secret; rest != ""; rest = rest[min(4, len(rest)):] {
		groups = append(groups, rest[:min(4, len(rest))])
	}
	return strings.Join(groups, " ")
}

func (v *Visit) secondFactor() (secondFactorPage, error) {
	me, err := v.API.GetMe(v.r.Context(), nil)
	if err != nil {
		return secondFactorPage{}, err
	}
	return secondFactorPage{Set: me.Body.SecondFactor != nil && *me.Body.SecondFactor}, nil
}

// secondFactorAgain shows the page with the reason why one of its forms was refused.
func (v *Visit) secondFactorAgain(refused error, confirming bool) error {
	page, err := v.secondFactor()
	if err != nil {
		return err
	}
	page.Confirming = confirming && client.CodeOf(refused) != client.ProblemCodeNotFound
	return v.again("account_second_factor", page, refused)
}

// SecondFactorForm shows whether there is a second factor, and sets one up or removes it.
func (c *Console) SecondFactorForm(v *Visit) error {
	page, err := v.secondFactor()
	if err != nil {
		return err
	}
	return v.render("account_second_factor", page)
}

// BeginSecondFactor shows the secret of a new second factor, once.
func (c *Console) BeginSecondFactor(v *Visit) error {
	begun, err := v.API.SetUpTotp(v.r.Context(),
		client.SetUpTOTPBody{CurrentPassword: v.Form.Get("current_password")},
		&client.SetUpTotpParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.secondFactorAgain(err, false)
	}
	return v.render("account_second_factor", secondFactorPage{Begun: &begun.Body})
}

// ConfirmSecondFactor makes a second factor count, with its first code.
func (c *Console) ConfirmSecondFactor(v *Visit) error {
	_, err := v.API.ConfirmTotp(v.r.Context(), client.ConfirmTOTPBody{Totp: v.Value("totp")},
		&client.ConfirmTotpParams{IdempotencyKey: v.key()})
	if client.CodeOf(err) == client.ProblemCodeNotFound { // it has expired, or was never begun
		return v.secondFactorAgain(refusal(http.StatusConflict, "second_factor_expired"), false)
	}
	if err != nil {
		return v.secondFactorAgain(err, true)
	}
	v.redirect("/console/account?done=second_factor_set")
	return nil
}

// RemoveSecondFactor removes the visitor's second factor.
func (c *Console) RemoveSecondFactor(v *Visit) error {
	_, err := v.API.RemoveTotp(v.r.Context(),
		client.RemoveTOTPBody{CurrentPassword: v.Form.Get("current_password"), Totp: v.Value("totp")},
		&client.RemoveTotpParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.secondFactorAgain(err, false)
	}
	v.redirect("/console/account?done=second_factor_removed")
	return nil
}
