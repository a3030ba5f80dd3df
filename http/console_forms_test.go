package http_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// twice sends the form on the page twice, as a second click on its button does, and
// returns how many events that made besides looks.
func (b *browser) twice(action string, filled ...string) (made int) {
	b.w.t.Helper()
	fields := b.form(action)
	for i := 0; i+1 < len(filled); i += 2 {
		fields.Set(filled[i], filled[i+1])
	}
	before := b.w.changes()
	for range 2 {
		b.post(action, fields).want(200)
	}
	return b.w.changes() - before
}

// changes counts the events that are no looks.
func (w *world) changes() (n int) {
	for _, e := range w.store.events() {
		if e.Event.EventType() != "personal_data.read.v1" {
			n++
		}
	}
	return n
}

// resident records a person on the page for it, and returns the address of their page.
func (b *browser) resident(name, meter string) string {
	b.w.t.Helper()
	b.get("/console/people/new").want(200)
	n := b.twice("/console/people/new", "full_name", name, "phone", "082 123 4567", "external_type", "meter",
		"external_id", meter)
	if n != 1 || !strings.HasPrefix(b.path, "/console/people/0") {
		b.w.t.Fatalf("recorded by %d events, at %s", n, b.path)
	}
	return b.path
}

func TestAResidentIsRecordedCorrectedAndMergedOnPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	b.get("/console/people/new")
	b.send("/console/people/new", "full_name", "!Kheis Ṱhaba").want(422)
	b.says("There is a problem", "Fill this in.")
	first := b.resident("!Kheis Ṱhaba", "04-123")
	second := b.resident("Ṱhaba", "04-124")
	b.get("/console/people/new")
	b.send("/console/people/new", "full_name", "Somebody", "external_type", "meter", "external_id", "04123").want(409)

	b.get(first + "/details").want(200)
	stale := b.form(first + "/details")
	n := b.twice(first+"/details", "full_name", "Thandi Ṱhaba", "external_type", "other", "external_id", "7")
	if n != 1 {
		t.Errorf("corrected by %d events", n)
	}
	b.says("Thandi Ṱhaba", "other")
	stale.Set("full_name", "Another")
	stale.Set("form_key", uuid.NewString())
	b.post(first+"/details", stale).want(412)
	b.says("Somebody else changed this")

	b.get(first + "/merge").want(200)
	b.send(first+"/merge", "into", "").want(422)
	b.send(first+"/merge", "into", uuid.NewString()).want(422)
	into := strings.TrimPrefix(second, "/console/people/")
	b.send(first+"/merge", "into", into, "reason", "one meter").want(200)
	if b.path != second {
		t.Errorf("merged, at %s", b.path)
	}
	b.says("Records merged into this one")
	b.get(first).want(200)
	b.says("This record was merged into another")
	b.get(first + "/unmerge").want(200)
	b.send(first+"/unmerge", "reason", "mother and daughter").want(200)
	b.hides("This record was merged into another")
}

func TestCodesAreShownOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.staff(domain.FieldWorker, "KZN225").browserOf("KZN225")
	p := w.citizen("thandi@example.org")
	recorded := b.resident("Nomsa Dlamini", "04-123")
	for _, form := range []string{recorded + "/sign-in-code", "/console/people/" + p.id + "/reset-code"} {
		b.get(form).want(200)
		b.send(form, "identity_document", "").want(422)
		sent := b.form(form)
		sent.Set("identity_document", "ID card, number ending in 083")
		a := b.post(form, sent).want(200)
		b.says("It is shown only once")
		if b.path != form || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("the code is at %s, %v", b.path, a.header)
		}
		b.post(form, sent).want(200)
		b.says("This code was already shown.")
	}
}

func TestRequestsAndHoldsBeginOnThePageOfAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	p := w.citizen("thandi@example.org")
	page := "/console/people/" + p.id

	b.get(page + "/requests").want(200)
	b.send(page+"/requests", "details", "My surname is spelt Ṋemavhola.").want(422)
	if !strings.Contains(b.page.raw, "My surname is spelt Ṋemavhola.") {
		t.Error("the form lost what was written in it")
	}
	if n := b.twice(page+"/requests", "kind", "correction"); n != 1 || b.path != page {
		t.Errorf("lodged by %d events, at %s", n, b.path)
	}

	b.get(page + "/requests").want(200)
	b.send(page+"/requests", "kind", "access", "received_at", "the day before yesterday").want(422)
	b.says("When their letter arrived: This was not understood.")
	b.send(page+"/requests", "kind", "access", "received_at", "2026-02-26T08:00").want(200)
	b.get(page).want(200)
	b.says("26 February 2026, 08:00")

	b.get(page + "/holds").want(200)
	b.send(page+"/holds", "reason", "").want(422)
	if n := b.twice(page+"/holds", "reason", "case 114/2026"); n != 1 || b.path != page {
		t.Errorf("placed by %d events, at %s", n, b.path)
	}

	// Somebody erased while a form about them is open is not resurrected by it.
	other := w.citizen("sipho@example.org")
	form := "/console/people/" + other.id + "/consents"
	b.get(form).want(200)
	w.erase(other)
	b.send(form, "purpose", "newsletter", "consented", "yes").want(409)
	b.says("data was erased")

	stranger := w.staff(domain.Admin, "CPT").browserOf("CPT")
	for _, form := range []string{
		"/details", "/reset-code", "/sign-in-code", "/merge", "/unmerge", "/requests", "/holds", "/role", "/deactivate",
		"/reactivate",
	} {
		stranger.get(page + form).want(404)
		if a := stranger.post(page+form, url.Values{}); a.status != 404 {
			t.Errorf("%s of another municipality's person: %d", form, a.status)
		}
	}
	for _, form := range []string{
		"/details", "/reset-code", "/sign-in-code", "/merge", "/unmerge", "/requests", "/holds",
	} {
		for _, lang := range []string{"zu", "af"} {
			b.get(page + form + "?lang=" + lang).want(200)
		}
	}
}

func TestAdminsLookAfterAccountsOnPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.staff(domain.Admin, "KZN225").browserOf("KZN225")
	const form = "/console/people/staff"
	b.get(form).want(200)
	b.send(form, "full_name", "Sipho Zulu", "email", "no address", "password", "staple of another battery").want(422)
	b.hides("staple of another battery")
	n := b.twice(form, "email", "sipho@example.org", "role", "field_worker", "password", "staple of another battery")
	if n == 0 || !strings.HasPrefix(b.path, "/console/people/0") {
		t.Fatalf("created by %d events, at %s", n, b.path)
	}

	page := b.path
	for _, step := range []struct {
		form   string
		filled []string
		says   string
	}{
		{"/role", []string{"role", "manager"}, "Role manager"},
		{"/deactivate", nil, "Account Closed"},
		{"/reactivate", nil, "Account Open"},
	} {
		for _, lang := range []string{"zu", "af", "en"} {
			b.get(page + step.form + "?lang=" + lang).want(200)
		}
		if n := b.twice(page+step.form, step.filled...); n == 0 || b.path != page {
			t.Errorf("%s made %d events, at %s", step.form, n, b.path)
		}
		b.says(step.says)
	}
	for _, lang := range []string{"zu", "af"} {
		b.get(form + "?lang=" + lang).want(200)
		b.get("/console/people/new?lang=" + lang).want(200)
	}
}
