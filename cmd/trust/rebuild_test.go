package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

func TestRebuild(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	s.run("seed", "--people", "60", "--seed", "3").expect(t, exit.CodeDone, "people")
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	s = s.with("DATABASE_URL=" + s.kept()["DATABASE_URL"])
	db := connect(t, s)

	o := s.run("rebuild", "all")
	for _, table := range projections.All() {
		o.expect(t, exit.CodeDone, table.Name()+" rebuilt up to position ")
		o.expect(t, exit.CodeDone, "kept as trust."+table.Name()+"_v1")
	}
	if strings.Count(o.stdout, "was as the log says") != len(projections.All()) || o.stderr != "" {
		t.Errorf("stdout: %s\nstderr: %s", o.stdout, o.stderr)
	}
	s.run("verify").expect(t, exit.CodeDone, "events verified")
	s.run("rebuild", "all", "--drop-kept").expect(t, exit.CodeDone, "trust.users_v1 dropped")
	s.run("rebuild", "users", "--drop-kept").expect(t, exit.CodeDone, "users: nothing was kept")

	_, err := db.Exec(t.Context(),
		"delete from trust.users where id = (select id from trust.users limit 1); "+
			"update trust.users set full_name = 'Omega'")
	must(t, err)
	s.run("verify").expect(t, exit.CodeNotSo, "trust rebuild users")
	o = s.run("rebuild", "users")
	o.expect(t, exit.CodeDone, "was not as the log says (rows missing 1, too many 0, different ")
	if strings.Contains(o.stdout, "Omega") {
		t.Errorf("it shows a value: %s", o.stdout)
	}
	s.run("verify").expect(t, exit.CodeDone, "events verified")
	s.run("status").expect(t, exit.CodeDone, "running")
	pgtest.Eventually(t, "the system is ready", s.ready)
	s.citizen("late@example.org", "Late Comer")
	pgtest.Eventually(t, "the read tables follow", s.caughtUp)
	s.run("verify").expect(t, exit.CodeDone, "events verified")

	s.run("rebuild", "nobody").expect(t, exit.CodeUsage, `there is no read table "nobody"`)
	s.run("rebuild").expect(t, exit.CodeUsage, "trust rebuild --help")
	s.with("MASTER_KEY="+strings.Repeat("wrong-", 8)).run("rebuild", "users").
		expect(t, exit.CodeUsage, "MASTER_KEY is not the one")
}

// A rebuild that is killed or stopped leaves nothing behind, and the old table stays in
// use.
func TestARebuildThatIsKilledLeavesWhatWas(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	s = s.with("DATABASE_URL=" + s.kept()["DATABASE_URL"])
	db, look := connect(t, s), connect(t, s)

	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		tx, err := db.BeginTx(t.Context(), pgx.TxOptions{})
		must(t, err)
		// It gets as far as the switch, and waits there.
		_, err = tx.Exec(t.Context(), "lock table trust.users in access share mode")
		must(t, err)

		going := s.start("rebuild", "users")
		pgtest.Eventually(t, "the rebuild waits for the lock", func() (waits bool) {
			must(t, look.QueryRow(t.Context(),
				"select exists (select from pg_locks where mode = 'AccessExclusiveLock' and not granted)").Scan(&waits))
			return waits
		})
		if code := going.stop(t, sig); sig == syscall.SIGTERM &&
			(code != exit.CodeUnreachable || !strings.Contains(going.said.String(), "nothing was changed")) {
			t.Errorf("exit code %d: %s", code, going.said)
		}
		pgtest.Eventually(t, "Postgres has noticed", func() (gone bool) {
			must(t, look.QueryRow(t.Context(),
				"select not exists (select from pg_locks where mode = 'AccessExclusiveLock')").Scan(&gone))
			return gone
		})
		must(t, tx.Rollback(t.Context()))

		var versions int
		must(t, look.QueryRow(t.Context(),
			`select count(*) from pg_class where relkind = 'r' and relname like 'users\_v%'`).Scan(&versions))
		if versions != 1 {
			t.Errorf("after %s there are %d versions", sig, versions)
		}
		s.run("verify").expect(t, exit.CodeDone, "events verified")
	}
	s.run("rebuild", "users").expect(t, exit.CodeDone, "kept as trust.users_v1")
}
