package main

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestManyForgedEventsAreDisownedAtOnceAndThoseBetweenThemStay(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	municipality := func(code string) {
		t.Helper()
		s.run("import", "municipalities", s.file("m.csv", "code,name,province\n"+code+",Town of "+code+",Gauteng\n")).
			expect(t, exit.CodeDone, "1 registered")
	}
	var tenant uuid.UUID
	forge := func() int64 {
		t.Helper()
		return db.Forge(t, pgtest.Forgery{
			Tenant: tenant, Stream: uuid.New(), StreamType: "user", Type: "user.role_changed.v1",
			Payload: `{"role":{"old":"citizen","new":"admin"}}`,
		})
	}

	municipality("A1")
	must(t, db.Superuser(t).QueryRow(t.Context(),
		"select tenant_id from trust.events where event_type = 'municipality.registered.v1'").Scan(&tenant))
	first := forge()
	municipality("A2")
	forge()
	last := forge()

	from, to := fmt.Sprint(first), fmt.Sprint(last)
	s.run("verify").expect(t, exit.CodeNotSo, "forged")
	s.run("disown", fmt.Sprint(first+1), "--reason", "an attack").expect(t, exit.CodeNotSo, "event of this log")
	s.run("disown", to, from, "--reason", "an attack").expect(t, exit.CodeUsage, "before the first")
	s.run("disown", from, to, "--reason", " ").expect(t, exit.CodeUsage, "reason")

	s.run("disown", from, to, "--reason", "an attack").
		expect(t, exit.CodeDone, fmt.Sprintf("%d of the events from %s to %s are events of this log", last-first-2,
			from, to))
	s.run("verify").expect(t, exit.CodeDone, "every code holds")
	s.run("disown", from, to, "--reason", "an attack").expect(t, exit.CodeDone, "disowned before")
	s.run("disown", to, fmt.Sprint(last+99), "--reason", "an attack").expect(t, exit.CodeUsage, "position")
}
