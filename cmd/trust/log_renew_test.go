package main

import (
	"strings"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// A failover to a replica that lacked some events, as an operator meets it, and the way
// on as the runbook describes it.
func TestAfterALogThatWentBackwardsTheRunbookMendsEverything(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	s.citizen("lost@example.org", "Lost Person")
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	s = s.with("DATABASE_URL=" + s.kept()["DATABASE_URL"])
	db := connect(t, s)

	_, err := db.Exec(t.Context(), `set session_replication_role = replica;
		delete from trust.events where position > (select max(position) - 3 from trust.events);
		set session_replication_role = origin`)
	must(t, err)
	var o outcome
	pgtest.Eventually(t, "a projector has halted", func() bool {
		o = s.run("status")
		return strings.Contains(o.stdout, "the log went backwards")
	})
	o.expect(t, exit.CodeNotSo, "trust log renew")
	s.run("verify").expect(t, exit.CodeNotSo, "the log went backwards")

	var was, is string
	must(t, db.QueryRow(t.Context(), "select id from trust.log").Scan(&was))
	o = s.run("log", "renew")
	must(t, db.QueryRow(t.Context(), "select id from trust.log").Scan(&is))
	o.expect(t, exit.CodeDone, "the log was "+was+" and is "+is)
	s.run("rebuild", "all").expect(t, exit.CodeDone, "users rebuilt")
	s.run("verify").expect(t, exit.CodeDone, "events verified")
	pgtest.Eventually(t, "status is content", func() bool {
		o = s.run("status")
		return strings.Contains(o.stdout, is) && o.code == exit.CodeDone
	})
	s.run("status", "--json").expect(t, exit.CodeDone, `"log":"`+is+`"`)
}
