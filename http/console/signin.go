package console

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/salga-trust/engine/http/client"
)

// signInForm is the page to sign in on.
type signInForm struct {
	Next  string // where to go then
	Ended bool   // an earlier session has ended
	// Kept is a form that arrived when the session had ended; nil: none.
	Kept *keptForm
}

// keptForm is a posted form that waits until its sender has signed in again. It travels
// through the pages between, so that nothing is stored, and holds no secrets.
type keptForm struct {
	Action string
	By     string // the id of its sender
	Fields []keptField
}

type keptField struct{ Name, Value string }

// isSecret reports whether a field is never sent back to a browser. A code is one where
// it proves something; a purpose's code is a name.
func isSecret(action, field string) bool {
	switch field {
	case "password", "current_password", "new_password", "totp":
		return true
	case "code":
		return !strings.HasPrefix(action, "/console/purposes/")
	default:
		return false
	}
}

// keptPrefix begins the names of a kept form's fields.
const keptPrefix = "kept."

// askToSignIn answers somebody without an open session.
func (v *Visit) askToSignIn(err error) {
	ended := v.former.access != "" || client.CodeOf(err) == client.ProblemCodeSessionEnded
	v.session.access, v.session.refresh, v.session.position = "", "", 0
	form := signInForm{Ended: ended}

	if v.r.Method == http.MethodGet || v.r.Method == http.MethodHead {
		v.redirect(link("/console/sign-in", "next", v.ownAddress(), "ended", map[bool]string{true: "yes"}[ended],
			"lang", string(known(v.r.URL.Query().Get("lang")))))
		return
	}
	form.Kept = keep(v.r.URL.Path, cmp.Or(v.Value("form_by"), subjectOf(v.former.access)), v.Form)
	if err := v.answer(http.StatusUnauthorized, "sign_in", form, nil); err != nil {
		panic(err)
	}
}

func (v *Visit) ownAddress() string { return v.r.URL.RequestURI() }

// keep makes a kept form of a posted one.
func keep(action, by string, form url.Values) *keptForm {
	kept := &keptForm{Action: action, By: by}
	for name, values := range form {
		for _, value := range values {
			if !isSecret(action, name) && name != onlyLanguage {
				kept.Fields = append(kept.Fields, keptField{name, value})
			}
		}
	}
	slices.SortFunc(kept.Fields, func(a, b keptField) int { return strings.Compare(a.Name, b.Name) })
	return kept
}

// same returns the form that leads to this page again, with the form that it keeps.
func (f signInForm) same() *keptForm {
	same := &keptForm{Action: "/console/sign-in", Fields: []keptField{
		{"next", f.Next}, {"kept_action", f.Kept.Action}, {"kept_by", f.Kept.By},
	}}
	for _, field := range f.Kept.Fields {
		same.Fields = append(same.Fields, keptField{keptPrefix + field.Name, field.Value})
	}
	return same
}

// Shown returns the fields that their sender filled in.
func (k *keptForm) Shown() []keptField {
	return slices.DeleteFunc(slices.Clone(k.Fields), func(f keptField) bool {
		return f.Name == "form_key" || f.Name == "form_by" || f.Name == "lang" || f.Value == ""
	})
}

// of returns the form if it is this account's. What one person wrote is not shown to
// another who signs in at the same browser.
func (k *keptForm) of(account string) *keptForm {
	if k.By == "" || k.By != account {
		return nil
	}
	return k
}

// subjectOf reads whose an access token is. It is not verified: it decides only whose
// words are shown to whom.
func subjectOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	_ = json.Unmarshal(payload, &claims) // of anything else: nobody's
	return claims.Subject
}

// kept reads a kept form out of the form to sign in with.
func (v *Visit) kept() *keptForm {
	action := localPath(v.Value("kept_action"))
	if action == "" {
		return nil
	}

	form := url.Values{}
	for name, values := range v.Form {
		if name, is := strings.CutPrefix(name, keptPrefix); is {
			form[name] = values
		}
	}
	return keep(action, v.Value("kept_by"), form)
}

// localPath returns an address if it is one of a page of ours; else nothing, so that
// nobody can be sent to another site.
func localPath(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.IsAbs() || u.Host != "" || path.Clean(u.Path) != u.Path ||
		strings.ContainsAny(address, "\\\r\n") {
		return ""
	}
	if u.Path == "/me" || strings.HasPrefix(u.Path, "/me/") || strings.HasPrefix(u.Path, "/console/") {
		return address
	}
	return ""
}

// Start leads to the first page.
func (c *Console) Start(v *Visit) error {
	if v.session.access == "" {
		v.redirect("/console/sign-in")
		return nil
	}
	me, err := v.API.GetMe(v.r.Context(), nil)
	if err != nil {
		return err
	}
	v.redirect(home(me.Body))
	return nil
}

// home returns the first page of an account.
func home(me client.UserBody) string {
	switch me.Role {
	case client.UserBodyRoleManager, client.UserBodyRoleAdmin:
		return "/console/overview"
	case client.UserBodyRoleFieldWorker:
		return "/console/people"
	default:
		return "/me"
	}
}

// SignInForm shows the page to sign in on.
func (c *Console) SignInForm(v *Visit) error {
	return v.render("sign_in", signInForm{Next: localPath(v.Value("next")), Ended: v.Value("ended") != ""})
}

// SignIn opens a session, and goes on where its visitor was.
func (c *Console) SignIn(v *Visit) error {
	form := signInForm{Next: localPath(v.Value("next")), Kept: v.kept()}
	if v.onlyShows && form.Kept != nil {
		return v.render("sign_in", form)
	}

	tokens, err := v.API.Login(v.r.Context(), client.LoginBody{
		Email: v.Form.Get("email"), Password: v.Form.Get("password"),
		MunicipalityCode: v.optional("municipality_code"), Totp: v.optional("totp"),
	}, nil)
	if code := client.CodeOf(err); code == client.ProblemCodeTotpRequired ||
		code == client.ProblemCodeInvalidCredentials {
		refused, _ := errors.AsType[*client.Error](err)
		return v.answer(http.StatusUnauthorized, "sign_in", form, refused)
	}
	if err != nil {
		return v.again("sign_in", form, err)
	}

	v.use(tokens.Body)
	v.session.position = 0
	me, err := v.API.GetMe(v.r.Context(), nil)
	if err != nil {
		return err
	}
	if chosen := known(v.Value("lang")); chosen != "" {
		v.Lang = chosen
	} else {
		v.Lang = known(string(me.Body.PreferredLanguage))
	}
	v.session.lang = v.Lang

	if form.Kept != nil {
		return v.render("resume", form.Kept.of(me.Body.ID.String()))
	}
	if form.Next != "" {
		v.redirect(form.Next)
		return nil
	}
	v.redirect(home(me.Body))
	return nil
}

// SignOut ends the session, here and in the API.
func (c *Console) SignOut(v *Visit) error {
	if v.session.refresh != "" {
		_, err := v.API.Logout(v.r.Context(), client.RefreshBody{RefreshToken: v.session.refresh}, nil)
		if err != nil && client.CodeOf(err) != client.ProblemCodeInvalidToken {
			return err
		}
	}
	v.session.access, v.session.refresh = "", ""
	v.redirect(link("/console/sign-in", "lang", string(v.Lang)))
	return nil
}
