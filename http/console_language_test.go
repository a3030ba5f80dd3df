package http_test

import (
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
)

// Whoever changes the language of a form that came back keeps what they typed, and
// nothing is sent by that, even if it would be accepted by now.
func TestAFormThatCameBackIsKeptInAnotherLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	const form = "/console/people/new"
	b.get(form + "?lang=en").want(200)
	b.send(form, "full_name", somethingTyped).want(422)
	b.says("There is a problem")
	before, key := w.changes(), b.form(form).Get("form_key")

	b.speak("af").want(200)
	if !strings.Contains(b.page.raw, `<html lang="af"`) || b.form(form).Get("full_name") != somethingTyped {
		t.Errorf("in Afrikaans the form has lost what was typed: %v", b.form(form))
	}
	b.hides("There is a problem", "govuk-error-summary")
	b.speak("zu").want(200)
	whole := b.form(form)
	whole.Set("phone", "082 123 4567")
	whole.Set("external_type", "meter")
	whole.Set("external_id", "04-125")
	whole.Set("only_language", "en")
	b.post(form, whole).want(200)
	if n := w.changes() - before; n != 0 {
		t.Errorf("a change of the language made %d events", n)
	}
	got := b.form(form)
	if got.Get("external_id") != "04-125" || got.Get("form_key") == "" || got.Get("form_key") == key {
		t.Errorf("the form is now %v", got)
	}

	b.send(form).want(200)
	if n := w.changes() - before; n != 1 || !strings.HasPrefix(b.path, "/console/people/0") {
		t.Errorf("sent at last, the form made %d events and leads to %s", n, b.path)
	}
}

func TestAFormWithoutAPageOfItsOwnIsNotSentByAChangeOfTheLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	b := w.citizen("thandi@example.org").browserOf("KZN225")
	b.get("/me?lang=en").want(200)
	agree := b.form("/me/consents")
	agree.Set("consented", "yes")
	agree.Set("only_language", "zu")
	before := w.changes()
	b.post("/me/consents", agree).want(200)
	b.says("Lokho ovume kukho")
	if n := w.changes() - before; n != 0 {
		t.Errorf("a change of the language made %d events", n)
	}
}

// Strangers, too, keep what they typed, but for their secrets.
func TestAStrangersFormIsKeptInAnotherLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	b.get("/console/register?lang=en").want(200)
	b.send("/console/register", "full_name", somethingTyped, "email", "thandi@example.org", "password", password,
		"consented", "yes").want(422)
	b.speak("zu").want(200)
	b.hides(password)
	got := b.form("/console/register")
	if got.Get("full_name") != somethingTyped || got.Get("email") != "thandi@example.org" ||
		got.Get("consented") != "yes" || got.Get("lang") != "zu" {
		t.Errorf("in isiZulu the form has %v", got)
	}

	b.get("/console/sign-in?lang=en").want(200)
	b.send("/console/sign-in", "email", "thandi@example.org", "password", "wrong password").want(401)
	b.speak("af").want(200)
	if got := b.form("/console/sign-in"); got.Get("email") != "thandi@example.org" || got.Get("password") != "" {
		t.Errorf("the form to sign in has %v", got)
	}
}
