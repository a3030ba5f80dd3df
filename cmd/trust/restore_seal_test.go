package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// A backup holds what was signed. Restored whole, the log goes on under its name; behind
// a checkpoint that was published since, only under another, and an event says which
// checkpoint was lost.
func TestARestoredLogGoesOnUnderItsOriginUnlessCheckpointsWereLost(t *testing.T) {
	t.Parallel()
	s := namedLog(t)
	s.signs("log.example/1", 2)
	s.run("backup", "--to", "full").expect(t, exit.CodeDone, "2 events")

	whole := s.into(pgtest.Fresh(t))
	o := whole.run("restore", "--from", "full")
	o.expect(t, exit.CodeDone, "restored to position 2 of the backup, now at position 2")
	if strings.Contains(o.stderr, "was published") {
		t.Errorf("nothing was lost: %s", o.stderr)
	}
	whole.registers("A3")
	whole.signs("log.example/1", 3)
	whole.run("verify").expect(t, exit.CodeDone, "2 checkpoints equal to the log")
	whole.run("keys", "show").expect(t, exit.CodeDone, "log.example/1+")

	behind := s.into(pgtest.Fresh(t))
	o = behind.run("restore", "--from", "full")
	o.expect(t, exit.CodeDone, "now at position 3")
	o.expect(t, exit.CodeDone, "a checkpoint of 3 events was published, and the backup holds 2")
	refuses := behind.start("project", "seal")
	pgtest.Eventually(t, "the sealer refuses the old origin", func() bool {
		return strings.Contains(refuses.said.String(), "under this origin")
	})
	refuses.stop(t, syscall.SIGTERM)
	behind.run("status").expect(t, exit.CodeNotSo, "with another LOG_ORIGIN")

	next := behind.with("LOG_ORIGIN=log.example/2")
	next.signs("log.example/2", 3)
	next.run("verify").expect(t, exit.CodeDone, "2 checkpoints equal to the log")
	next.run("keys", "show").expect(t, exit.CodeDone, "log.example/2+")
	const named = `select payload ->> 'origin' || ' ' || (payload ->> 'size') from trust.events
		where event_type = 'log.forked.v1'`
	var lost string
	must(t, connect(t, behind).QueryRow(t.Context(), named).Scan(&lost))
	if lost != "log.example/1 3" {
		t.Errorf("the event names %q", lost)
	}
}
