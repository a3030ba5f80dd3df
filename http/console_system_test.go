package http_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

func TestTheSystemPageShowsAHaltedProjectorAndWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.system = apphttp.SystemState{
		Head: 1050, Log: uuid.New(), CheckedAt: w.clock(),
		Followers: []apphttp.FollowerState{
			{Name: "users", Position: 1050, State: "running", SeenAt: w.clock()},
			{
				Name: "consents", Position: 1043, Lag: 7, State: "halted", Error: "event 1044: malformed",
				ErrorSince: w.clock(),
			},
		},
		Warnings: []apphttp.Warning{{Code: "no_writes", Detail: "the database is read-only"}},
	}
	b := w.staff(domain.Admin, domain.PlatformCode).browserOf(domain.PlatformCode)

	b.get("/console/system").want(200)
	b.says("1050", "consents halted 1043 7 event 1044: malformed", "users up to date", "Nothing can be recorded",
		"rests on position 1050")
	b.get("/console/system?from=950&since=2026-03-01T11:59:10Z")
	b.says("2.0 a second: 100 since 1 March 2026, 13:59:10")
	for _, lang := range []string{"zu", "af"} {
		b.get("/console/system?lang=" + lang).want(200)
	}
	b.get("/console/system?from=soon&since=now").want(422)
}

func TestTheOverviewCountsWhatWasDecidedAndWhoLooked(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(w.tenants["KZN225"], "newsletter")
	for i, answer := range []string{"true", "true", "true", "false"} {
		p := w.citizen(fresh())
		c := p.send("POST", "/api/v1/consents",
			`{"purpose":"newsletter","language":"en","consented":`+answer+`}`).want(201)
		if i == 0 {
			p.send("POST", "/api/v1/consents/"+c.text("id")+"/withdraw", "").want(200)
			p.send("POST", "/api/v1/data-rights/requests", `{"kind":"access"}`).want(201)
		}
	}

	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	b.get("/console/overview").want(200)
	b.says("Open requests 1", "3 said yes, 1 said no", "Newsletter 3 1 1 75 %", "Nobody looked")
	for _, path := range []string{"?days=90&lang=zu", "?days=360&lang=af"} {
		b.get("/console/overview" + path).want(200)
	}
	b.get("/console/overview?days=31").want(422)
	b.get("/console/overview?days=many").want(422)
}

// While there are no figures, the overview says since when they are counted, in place of
// any, and a program is told when to ask again.
func TestTheOverviewSaysThatItIsBeingCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer := w.staff(domain.Manager, "KZN225")
	counting := domain.Refuse(domain.CodeBeingCounted, "These figures are still being counted.")
	counting.Since, counting.Wait = time.Date(2026, 3, 14, 7, 30, 5, 0, time.UTC), 3*time.Second
	w.reports.counts.Store(counting)

	a := officer.send("GET", "/api/v1/compliance/activity", "").want(503)
	if a.text("code") != "being_counted" || a.text("since") != "2026-03-14T07:30:05.000000Z" ||
		a.header.Get("Retry-After") != "3" {
		t.Errorf("%v %s", a.header, a.raw)
	}

	b := officer.browserOf("KZN225")
	b.get("/console/overview?days=90").want(200)
	b.says("The figures are being counted since 14 March 2026, 09:30:05.", "the last 90 days", "Look again")
	b.hides("Open requests", "Consent rate", "Withdrawals")
	for _, lang := range []string{"zu", "af"} {
		b.get("/console/overview?lang=" + lang).want(200)
	}

	w.reports.counts.Store(nil)
	b.get("/console/overview?days=90&lang=en").want(200)
	b.says("Open requests")
	b.hides("being counted")
}
