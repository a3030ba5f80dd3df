package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/seed"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestSeedIsRefusedInProduction(t *testing.T) {
	t.Parallel()
	s := newSite(t, testSecret, testMaster, "ENVIRONMENT=production", "ALLOWED_ORIGINS=https://a.example",
		"DATABASE_URL=postgres://o@127.0.0.1:1/trust")
	s.run("seed", "--people", "5").expect(t, exit.CodeUsage,
		"ENVIRONMENT is production, where nobody is made up; seed a development system")
	for _, people := range []string{"0", "-3", "10000001"} {
		s.with("ENVIRONMENT=development").run("seed", "--people="+people).
			expect(t, exit.CodeUsage, "--people is not a number from 1 to 10000000")
	}
}

// A seed is refused before the import, can be stopped and repeated, and adds the rest
// when it is repeated with more people.
func TestSeed(t *testing.T) {
	t.Parallel()
	s, _ := onDatabase(t)

	again := func(people string) outcome { return s.run("seed", "--people", people, "--seed", "4") }
	again("60").expect(t, exit.CodeNotSo, "is not there; run trust up, or trust import municipalities, first")
	s.run("import", "municipalities", absolute(t, "data/municipalities.csv")).expect(t, exit.CodeDone, "257 registered")
	again("60").expect(t, exit.CodeNotSo, "is not there; run trust up, or trust import purposes, first")
	s.run("import", "purposes", absolute(t, "data/purposes.csv")).expect(t, exit.CodeDone, "20 defined")
	before := s.status().Head

	first := s.start("seed", "--people", "60", "--seed", "4")
	pgtest.Eventually(t, "some of them are there", func() bool { return s.status().Head > before+300 })
	if code := first.stop(t, syscall.SIGINT); code == exit.CodeUnreachable {
		if !strings.Contains(first.said.String(), "run it again with the same arguments to continue") {
			t.Errorf("stopped it says: %s", first.said)
		}
	} else if code != exit.CodeDone { // it may have been faster than the signal
		t.Errorf("stopped it exits with %d", code)
	}

	again("60").expect(t, exit.CodeDone, "60 people (")
	head := s.status().Head
	again("60").expect(t, exit.CodeDone, "60 people (0 new)")
	if again := s.status().Head; again != head {
		t.Errorf("repeated it appended %d events", again-head)
	}
	again("75").expect(t, exit.CodeDone, "75 people (15 new)")

	s.checkActors()
	s.checkCases()
	s.start("project", "all")
	pgtest.Eventually(t, "the read tables have caught up", s.caughtUp)
	s.run("verify").expect(t, exit.CodeDone, "events verified")
	s.start("serve")
	pgtest.Eventually(t, "the API is ready", s.ready)
	for _, official := range []string{"admin", "manager", "field.worker"} {
		if status := s.signIn(official+".jhb.4@example.org", seed.Password, "JHB"); status != http.StatusOK {
			t.Errorf("%s signs in with status %d", official, status)
		}
	}
}

// checkActors checks that residents make their own decisions, that a field worker records
// those on paper, and that the operator makes the accounts of staff.
func (s *site) checkActors() {
	s.t.Helper()
	want := map[string]string{
		"user.registered.v1 citizen by citizen": "", "consent.granted.v1 web by citizen": "",
		"consent.refused.v1 web by citizen": "", "consent.withdrawn.v1 - by citizen": "",
		"consent.granted.v1 paper by field_worker": "",
	}

	rows, err := connect(s.t, s).Query(s.t.Context(), `
		select e.event_type || ' ' || coalesce(e.payload->>'channel', e.payload->>'role', '-') || ' by ' || case
			when e.actor_id is null then e.metadata->>'actor_role' when e.actor_id = e.subject_id then 'citizen'
			else (select u.payload->>'role' from trust.events u
				where u.stream_id = e.actor_id and u.event_type = 'user.registered.v1') end,
			count(*), count(*) filter (where e.effective_at < e.recorded_at)
		from trust.events e
		where e.stream_type in ('user', 'consent') and e.event_type <> 'user.deactivated.v1' group by 1`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()

	for rows.Next() {
		var what string
		var count, earlier int
		if err := rows.Scan(&what, &count, &earlier); err != nil {
			s.t.Fatal(err)
		}
		delete(want, what)
		if paper := strings.Contains(what, "paper"); (paper && earlier != count) || (!paper && earlier != 0) {
			s.t.Errorf("%s: %d of %d were given before they were recorded", what, earlier, count)
		}
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}

	for what := range want {
		s.t.Errorf("nothing is there like: %s", what)
	}
}

// checkCases checks that what the pages of the console are about has happened once, and
// by whom, and that it was not repeated with the run.
func (s *site) checkCases() {
	s.t.Helper()
	want := map[string]int{
		"rights.request_lodged.v1 by field_worker": 5, "rights.request_lodged.v1 by citizen": 2,
		"rights.request_fulfilled.v1 by manager": 1, "rights.request_fulfilled.v1 by admin": 1,
		"rights.request_refused.v1 by manager": 1, "rights.hold_placed.v1 by manager": 2,
		"rights.hold_lifted.v1 by manager": 1, "user.erased.v1 by admin": 1,
		"resident.recorded.v1 by field_worker": 11, "resident.merged.v1 by manager": 2,
		"service_account.created.v1 by admin": 1, "purpose.notice_published.v1 by admin": 2,
	}

	rows, err := connect(s.t, s).Query(s.t.Context(), `
		select event_type || ' by ' || (metadata->>'actor_role'), count(*) from trust.events
		where metadata->>'actor_role' <> 'system' group by 1`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()

	got := map[string]int{}
	for rows.Next() {
		var what string
		var count int
		if err := rows.Scan(&what, &count); err != nil {
			s.t.Fatal(err)
		}
		got[what] = count
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}

	for what, n := range want {
		if got[what] != n {
			s.t.Errorf("%s: %d times, want %d", what, got[what], n)
		}
	}
	for role, n := range map[string]int{"field_worker": 11, "manager": 1, "admin": 1} {
		if looks := got["personal_data.read.v1 by "+role]; looks < n {
			s.t.Errorf("%s looked %d times, want at least %d", role, looks, n)
		}
	}
}

// caughtUp reports whether every read table has reached the log's head.
func (s *site) caughtUp() bool {
	for _, p := range s.status().Followers {
		if p.Lag > 0 {
			return false
		}
	}
	return true
}

// status returns the output of trust status.
func (s *site) status() follow.Status {
	s.t.Helper()
	var status follow.Status
	o := s.run("status", "--json")
	if err := json.Unmarshal([]byte(o.stdout), &status); err != nil {
		s.t.Fatal(err, o.stderr)
	}
	return status
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
