package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// For one append the database's clock was a day ahead, and is right again.
func TestALogThatWasRecordedInTheFutureGoesOnAndSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off", "CHECKPOINT_EVERY=1h") // an event is changed below, before it is signed
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	nomsa := s.citizen("nomsa@example.org", "Nomsa Mudau")
	granted := nomsa.call("POST", "consents", `{"purpose":"sms_alert","language":"en","consented":true}`)
	consent := field(t, granted, "id")

	s = s.with("DATABASE_URL=" + s.kept()["DATABASE_URL"])
	db := connect(t, s)
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)

	head := s.status().Head
	_, err := db.Exec(t.Context(), "set session_replication_role = replica")
	must(t, err)
	_, err = db.Exec(t.Context(), `update trust.events set effective_at = effective_at + interval '1 day',
		recorded_at = recorded_at + interval '1 day' where position = $1`, head)
	must(t, err)
	s.run("rebuild", "consents").expect(t, exit.CodeDone, "consents rebuilt")

	if !s.warns("recorded_in_future") {
		t.Error("/ready does not say so")
	}
	s.run("status").expect(t, exit.CodeNotSo, "recorded in the future: the newest event by 2")
	s.run("verify").expect(t, exit.CodeNotSo, fmt.Sprintf("recorded in the future: from position %d on", head))
	s.run("verify").expect(t, exit.CodeNotSo, "restore nothing")

	allowed := func(query string) bool {
		t.Helper()
		var answer struct{ Allowed *bool }
		must(t, json.Unmarshal(nomsa.call("GET", "consents/check?purpose=sms_alert"+query, ""), &answer))
		return *answer.Allowed
	}

	dayAfter := "&at=" + time.Now().Add(48*time.Hour).UTC().Format(time.RFC3339)
	if !allowed("") {
		t.Error("what was granted is not allowed")
	}
	nomsa.call("POST", "consents/"+consent+"/withdraw", `{}`)
	for name, query := range map[string]string{"now": "", "when the day has passed": dayAfter} {
		if allowed(query) {
			t.Errorf("what was withdrawn is allowed %s", name)
		}
	}
	pgtest.Eventually(t, "the read tables follow", s.caughtUp)
	s.run("verify").expect(t, exit.CodeNotSo, "events verified")

	_, err = db.Exec(t.Context(),
		`update trust.events set
			effective_at = case when position = $1 then effective_at - interval '1 day' else effective_at end,
			recorded_at = greatest(recorded_at - interval '1 day',
				least(effective_at, recorded_at - interval '1 day'), case when position > $1 then effective_at end)
		where position >= $1 and recorded_at > now()`, head)
	must(t, err)

	s.run("rebuild", "consents", "--drop-kept").expect(t, exit.CodeDone, "dropped")
	s.run("rebuild", "consents").expect(t, exit.CodeDone, "consents rebuilt")
	pgtest.Eventually(t, "/ready is content", s.ready)
	s.run("status").expect(t, exit.CodeDone, "running")
	s.run("verify").expect(t, exit.CodeDone, "events verified")
}

// warns reports whether the API is degraded, with this warning.
func (s *site) warns(of string) bool {
	var answer struct {
		Status   string
		Warnings []string
	}
	return s.get("/ready", &answer) == http.StatusOK && answer.Status == "degraded" &&
		slices.Contains(answer.Warnings, of)
}
