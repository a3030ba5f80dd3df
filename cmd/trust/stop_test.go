package main

import (
	"syscall"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestAServerThatIsAskedToStopRecordsTheFailuresItHasCounted(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	s.feed("a good password\n", "admin", "create", "--municipality", "SALGA", "--email", "admin@salga.example").
		expect(t, exit.CodeDone, "SALGA")
	serve := s.start("serve")
	pgtest.Eventually(t, "it serves", func() bool { return s.get("/ready", nil) == 200 })

	const guesses = 4
	for range guesses {
		if status := s.signIn("admin@salga.example", "a wrong password", "SALGA"); status != 401 {
			t.Errorf("status %d, want 401", status)
		}
	}
	if code := serve.stop(t, syscall.SIGTERM); code != exit.CodeDone {
		t.Errorf("exit code %d", code)
	}

	var events, failures int
	must(t, db.Superuser(t).QueryRow(t.Context(), `select count(*), sum((payload ->> 'count')::int)
		from trust.events where event_type = 'session.sign_in_failed.v1'`).Scan(&events, &failures))
	if failures != guesses || events > 2 {
		t.Errorf("%d failures are recorded in %d events, want %d in two at most", failures, events, guesses)
	}
}
