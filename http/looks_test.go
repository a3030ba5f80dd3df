package http_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
)

// seen counts the recorded reads of a person's data, by the fields that they show.
func (w *world) seen(person *person) map[string]int {
	w.t.Helper()
	found := map[string]int{}
	for _, e := range w.store.events() {
		if read, is := e.Event.(*domain.PersonalDataRead); is && e.Subject.String() == person.id {
			found[read.Fields]++
		}
	}
	return found
}

// A check tells a decision and its instant, so it is a read, recorded once an hour for
// each actor, person and purpose.
func TestACheckOfAnotherPersonIsALook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	w.define(domain.PlatformTenant(), "library")
	citizen := w.citizen("thandi@example.org")
	clerk, manager := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")

	check := func(by *person, purpose, more string) *answer {
		return by.send("GET", "/api/v1/consents/check?purpose="+purpose+"&subject_id="+citizen.id+more, "")
	}

	before := len(w.store.events())
	check(citizen, "newsletter", "").want(200)
	check(clerk, "nothing_like_it", "").wantProblem(404, domain.CodeUnknownPurpose)
	clerk.send("GET", "/api/v1/consents/check?purpose=newsletter&subject_id=019c0000-0000-7000-8000-000000000001", "").
		wantCheck(false, domain.ReasonUnknownSubject)
	if after := len(w.store.events()); after != before {
		t.Errorf("checks of oneself, an unknown purpose and an unknown person made %d events", after-before)
	}

	for range 3 {
		check(clerk, "newsletter", "").want(200)
		check(clerk, "NEWSLETTER", "&at=2026-02-01T00:00:00Z").want(200)
		check(clerk, "newsletter", "&known_at=2020-01-01T00:00:00Z").want(200)
	}
	if got := w.seen(citizen)["check"]; got != 1 {
		t.Errorf("the same check nine times in an hour is %d reads", got)
	}

	check(clerk, "library", "").want(200)
	check(manager, "newsletter", "").want(200)

	w.later(time.Hour)
	clerk = w.signIn(clerk.email, "KZN225", clerk.id, clerk.tenant)
	check(clerk, "newsletter", "").want(200)
	if got := w.seen(citizen)["check"]; got != 4 {
		t.Errorf("with another purpose, another actor and another hour there are %d reads, want 4", got)
	}

	// A read that cannot be recorded is refused.
	w.store.failAppends(domain.Refuse(domain.CodeOverloaded, "full"))
	a := check(clerk, "library", "").wantProblem(503, domain.CodeOverloaded)
	if strings.Contains(a.raw, "allowed") {
		t.Errorf("the refusal tells the decision: %s", a.raw)
	}
}

// A refusal tells the present state, and so does the answer to a command that changed
// nothing. Somebody who finds it out in this way leaves a trace.
func TestWhatARefusalOrACommandWithoutEffectTellsIsALook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	w.define(domain.PlatformTenant(), "library")

	admin, clerk := w.staff(domain.Admin, "KZN225"), w.staff(domain.FieldWorker, "KZN225")
	citizen := w.citizen("thandi@example.org")
	citizen.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	taken := citizen.send("POST", "/api/v1/consents", `{"purpose":"library","language":"zu","consented":true}`).
		want(201)
	citizen.send("POST", "/api/v1/consents/"+taken.text("id")+"/withdraw", "").want(200)

	request := citizen.send("POST", "/api/v1/data-rights/requests", `{"kind":"access","details":"all of it"}`).want(201)
	admin.send("POST", "/api/v1/data-rights/requests/"+request.text("id")+"/fulfil", "").want(200)

	user := "/api/v1/users/" + citizen.id
	record := func(consented bool) string {
		return fmt.Sprintf(
			`{"subject_id":%q,"purpose":"newsletter","language":"zu","consented":%t,"channel":"counter"}`,
			citizen.id, consented)
	}
	for what, c := range map[string]struct {
		by           *person
		method, path string
		body         string
		status       int
		fields       string
	}{
		"granted already": {clerk, "POST", "/api/v1/consents", record(true), 409, "consents"},
		"in force": {
			w.another(domain.FieldWorker, "KZN225"), "POST", "/api/v1/consents", record(false), 409, "consents",
		},
		"withdrawn already": {
			w.another(domain.FieldWorker, "KZN225"), "POST",
			"/api/v1/consents/" + taken.text("id") + "/withdraw", "", 200, "consents",
		},
		"the role that they have": {admin, "PUT", user + "/role", `{"role":"citizen"}`, 200, "profile"},
		"active already": {
			w.another(domain.Admin, "KZN225"), "POST", user + "/reactivate", "", 200, "profile",
		},
		"fulfilled already": {
			admin, "POST", "/api/v1/data-rights/requests/" + request.text("id") + "/fulfil", "", 200, "requests",
		},
		"closed, so not to be refused": {
			w.another(domain.Manager, "KZN225"), "POST",
			"/api/v1/data-rights/requests/" + request.text("id") + "/refuse", `{"ground":"unfounded"}`, 409,
			"requests",
		},
		"no requests and no holds": {
			w.another(domain.Manager, "KZN225"), "GET",
			"/api/v1/data-rights/subject?subject_id=" + clerk.id, "", 200, "",
		},
	} {
		before := w.seen(citizen)
		c.by.send(c.method, c.path, c.body).want(c.status)

		if c.fields == "" {
			if w.seen(clerk)["requests"] == 0 {
				t.Errorf("%s: no read", what)
			}
			continue
		}
		if got := w.seen(citizen)[c.fields]; got != before[c.fields]+1 {
			t.Errorf("%s: %d reads, want one more than %d", what, got, before[c.fields])
		}

		c.by.send(c.method, c.path, c.body).want(c.status)
		if got := w.seen(citizen)[c.fields]; got != before[c.fields]+1 {
			t.Errorf("%s, again within the hour: %d reads", what, got)
		}
	}
}
