package http_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

const consoleRequests = "/console/requests"

// lodge lodges a request of a kind for oneself.
func (p *person) lodge(kind, details string) (id string) {
	p.w.t.Helper()
	body := fmt.Sprintf(`{"kind":%q,"details":%q}`, kind, details)
	return p.send("POST", requestsPath, body).want(201).text("id")
}

// events counts the events of a type in the log.
func (w *world) events(kind string) (n int) {
	w.t.Helper()
	for _, e := range w.store.events() {
		if e.Event.EventType() == kind {
			n++
		}
	}
	return n
}

func TestARequestSaysHowLongItHasAndWhenItIsOverdue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer, citizen := w.staff(domain.Manager, "KZN225"), w.citizen("thandi@example.org")
	b := officer.browserOf("KZN225")

	b.get(consoleRequests).want(200)
	b.says("No request is open.")
	first := citizen.lodge("correction", "my surname")
	b.get(consoleRequests + "/" + first)
	b.says("30 days left", "Request for correction", "the person")

	for _, late := range []struct {
		days int
		says [3]string
	}{
		{29, [3]string{"1 day left", "kusele usuku olu-1", "nog 1 dag"}},
		{1, [3]string{"due today", "kumele kwenziwe namuhla", "vandag verskuldig"}},
		{1, [3]string{"1 day overdue", "sekwedlule usuku olu-1", "1 dag te laat"}},
		{2, [3]string{"3 days overdue", "sekwedlule izinsuku ezingu-3", "3 dae te laat"}},
	} {
		w.later(time.Duration(late.days) * 24 * time.Hour)
		b = officer.browserOf("KZN225")
		for i, lang := range []string{"en", "zu", "af"} {
			b.get(consoleRequests + "/" + first + "?lang=" + lang).want(200)
			b.says(late.says[i])
			overdue := strings.Contains(b.page.raw, `class="overdue"`)
			if overdue != strings.Contains(late.says[0], "overdue") {
				t.Errorf("%s: in red: %v", late.says[0], overdue)
			}
		}
	}

	b.get(consoleRequests + "?status=refused&lang=en").want(200)
	b.says("No request has been refused.")
	b.get(consoleRequests + "?status=lost").want(422)
	b.get(consoleRequests + "/" + first).want(200)
	b.says("my surname", "What to do next", "Correct the details")

	stranger := w.staff(domain.Manager, "CPT").browserOf("CPT")
	stranger.get(consoleRequests + "/" + first).want(404)
	stranger.get(consoleRequests + "/nonsense").want(404)
}

func TestARequestIsAnsweredOnItsPageOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer, citizen := w.staff(domain.Manager, "KZN225"), w.citizen("thandi@example.org")
	b := officer.browserOf("KZN225")

	path := consoleRequests + "/" + citizen.lodge("correction", "my surname")
	b.get(path).want(200)
	form := b.form(path + "/fulfil")
	form.Set("note", "corrected at the counter")
	b.post(path+"/fulfil", form).want(200)
	if b.path != path {
		t.Errorf("afterwards the officer is at %s", b.path)
	}
	b.says("fulfilled", "corrected at the counter")
	b.hides("What to do next")
	b.post(path+"/fulfil", form).want(200)
	if n := w.events("rights.request_fulfilled.v1"); n != 1 {
		t.Errorf("sent twice, it was fulfilled %d times", n)
	}

	path = consoleRequests + "/" + citizen.lodge("objection", "no more letters")
	b.get(path).want(200)
	b.get(path + "/refuse").want(200)
	b.send(path+"/refuse", "note", "we looked into it").want(422)
	b.says("There is a problem", "we looked into it")
	b.send(path+"/refuse", "ground", "unfounded").want(200)
	b.says("refused", "unfounded", "we looked into it")
	b.get(path + "/refuse")
	if b.path != path {
		t.Errorf("what is closed can be refused again, at %s", b.path)
	}
}

func TestAnErasureNeedsTheWordAndASecondPersonAndLeavesACertificate(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	clerk, admin, citizen := w.another(domain.Manager, "KZN225"), w.another(domain.Admin, "KZN225"),
		w.citizen("thandi@example.org")
	officer, b := clerk.browserOf("KZN225"), admin.browserOf("KZN225")

	path := consoleRequests + "/" + citizen.lodge("erasure", "everything")
	officer.get(consoleRequests).want(200)
	officer.says("Open requests", "erasure", "30 days left", "the person")
	if !strings.Contains(officer.page.raw, path) || !strings.Contains(officer.page.raw, "/console/people/"+citizen.id) {
		t.Errorf("the list does not lead to the request and the person: %s", officer.page.raw)
	}
	officer.get(path).want(200)
	officer.says("Only an administrator")
	officer.get(path + "/erase").want(403)

	b.get(path + "/erase").want(200)
	b.says("What is destroyed", "What is kept, and why", "Type ERASE")
	b.send(path+"/fulfil", "confirmation", "yes", "note", "as asked").want(422)
	b.says("This is not the word", "as asked")

	hold := clerk.send("POST", holdsPath, fmt.Sprintf(`{"subject_id":%q,"reason":"case 114"}`, citizen.id)).want(201)
	b.send(path+"/fulfil", "confirmation", "ERASE").want(409)
	b.says("under a hold", "Lift the hold first")
	b.get(path + "/erase").want(200)
	b.says("Nothing can be erased: a hold is in force", "case 114")
	b.hides("Type ERASE")

	lift := "/console/holds/" + hold.text("id") + "/lift"
	b.get("/console/holds").want(200)
	b.says("case 114")
	b.get(lift).want(200)
	b.send(lift).want(422)
	late := b.form(lift)
	b.send(lift, "reason", "settled").want(200)
	b.says("The hold was lifted.", "No hold is in force.")
	late.Set("reason", "another reason")
	late.Set("form_key", uuid.NewString())
	b.post(lift, late).want(200)
	b.says("This hold was lifted on", "a reason given now is not kept")
	b.hides("another reason", "The hold was lifted.")
	b.get("/console/holds?status=lifted").want(200)
	b.says("case 114")
	absent := "/console/holds/" + uuid.NewString() + "/lift"
	b.get(absent).want(404)
	b.post(absent, url.Values{"reason": {"settled"}}).want(404)

	b.get(path + "/erase?lang=af").want(200)
	b.says("Tik WIS UIT")
	b.send(path+"/fulfil", "confirmation", "wis uit").want(200)
	if !strings.HasPrefix(b.path, "/console/certificates/") {
		t.Fatalf("afterwards the admin is at %s", b.path)
	}
	certificate := b.path
	b.says("Sertifikaat van uitwissing", "Naam, e-posadres")
	b.get("/console/certificates?lang=en").want(200)
	b.says("a request that was lodged")

	anybody := w.browser()
	anybody.get(certificate).want(200)
	anybody.says("Certificate of erasure", "What is kept, and why")
	anybody.hides("thandi", "/console/people/")
	anybody.get("/console/certificates/" + uuid.NewString()).want(404)

	own := clerk.send("POST", requestsPath,
		fmt.Sprintf(`{"kind":"access","subject_id":%q}`, w.citizen("sipho@example.org").id)).want(201)
	paper := consoleRequests + "/" + own.text("id") + "/data"
	a := b.get(paper + "?lang=zu").want(200)
	if policy := a.header.Get("Content-Security-Policy"); strings.Contains(policy, "script-src 'self'") ||
		!strings.Contains(a.raw, "Imininingwane yakho") {
		t.Errorf("the paper, under %s: %s", policy, a.raw)
	}
	b.get(consoleRequests)
	b.says("Open requests")
}

func TestAProgramGetsAnAccountWhoseSecretIsShownOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, stranger := w.staff(domain.Admin, "KZN225").browserOf("KZN225"), w.staff(domain.Admin, "CPT").browserOf("CPT")

	b.get("/console/programs").want(200)
	b.says("There is no program.")
	b.get("/console/programs/new").want(200)
	b.send("/console/programs/new", "name", "SMS alerts").want(422)
	b.says("There is a problem")
	form := b.form("/console/programs/new")
	if form.Get("name") != "SMS alerts" {
		t.Errorf("the name was lost: %v", form)
	}
	form.Set("scopes", "consents:check")
	b.post("/console/programs/new", form).want(200)
	b.says("This secret is shown only now.", "salga_secret_")
	b.post("/console/programs/new", form).want(200)
	b.hides("salga_secret_")
	b.says("cannot be shown again")
	if n := w.events("service_account.created.v1"); n != 1 {
		t.Errorf("sent twice, it was made %d times", n)
	}

	b.get("/console/programs")
	b.says("SMS alerts", "Ask whether data may be used", "active")
	b.hides("salga_secret_")
	link := b.page.raw[strings.Index(b.page.raw, `href="/console/programs/0`)+len(`href="`):]
	path := link[:strings.Index(link, `"`)]
	b.get(path + "?lang=zu").want(200)
	b.send(path+"/rotate", "overlap_seconds", "soon").want(422)
	b.send(path+"/rotate", "overlap_seconds", "3600").want(200)
	b.says("salga_secret_")
	stranger.get(path).want(404)

	b.get(path + "/revoke?lang=en").want(200)
	b.send(path + "/revoke").want(200)
	b.says("revoked")
	b.hides("Make a new secret")
	if n := w.events("service_account.revoked.v1"); n != 1 {
		t.Errorf("it was revoked %d times", n)
	}
}
