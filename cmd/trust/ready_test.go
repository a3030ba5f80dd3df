package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestADatabaseThatTakesNoWritesShowsInReadyAndStatusAndGoesAwayByItself(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ begin, end, why string }{
		"read-only": {
			"alter database %[1]s set default_transaction_read_only = on; " + endSessions,
			"set default_transaction_read_only = off; alter database %[1]s reset default_transaction_read_only; " +
				endSessions,
			"the database is read-only",
		},
		"a full disk": {
			"create function public.trouble() returns trigger language plpgsql as " +
				"$$begin raise sqlstate '53100'; end$$; " +
				"create trigger trouble before insert on trust.events execute function public.trouble()",
			"drop trigger trouble on trust.events",
			"the database's disk is full",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, db := onDatabase(t)
			admin := db.Superuser(t)
			s.feed("correct horse battery\n", "admin", "create", "--municipality", "SALGA", "--email", "a@example.org").
				expect(t, exit.CodeDone, "made")
			s.start("project", "all")
			s.start("serve")
			pgtest.Eventually(t, "it is ready", s.ready)
			signIn := func() int { return s.signIn("a@example.org", "correct horse battery", "SALGA") }

			execute(t, admin, c.begin, db.Name())
			if code := signIn(); code != http.StatusServiceUnavailable {
				t.Errorf("a sign-in, which is recorded, is answered %d", code)
			}
			var problem struct{ Detail string }
			if code := s.get("/ready", &problem); code != http.StatusServiceUnavailable ||
				!strings.Contains(problem.Detail, c.why) {
				t.Errorf("ready is answered %d: %s", code, problem.Detail)
			}
			s.run("status").expect(t, exit.CodeNotSo, c.why)

			execute(t, admin, c.end, db.Name())
			pgtest.Eventually(t, "a sign-in is recorded again", func() bool { return signIn() == http.StatusOK })
			pgtest.Eventually(t, "it is ready again", s.ready)
			pgtest.Eventually(t, "status is content again", func() bool {
				return s.run("status").code == exit.CodeDone
			})
		})
	}
}

// endSessions ends every session of a database except the one that runs it.
const endSessions = "select pg_terminate_backend(pid) from pg_stat_activity " +
	"where datname = '%[1]s' and pid <> pg_backend_pid()"

func execute(t *testing.T, conn *pgx.Conn, sql, database string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), strings.ReplaceAll(sql, "%[1]s", database))
	must(t, err)
}
