//go:build far

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestFarThroughAPoolerThatKeepsSessionsEverythingWorks(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	pooled := s.with("DATABASE_URL=" + s.pooler(db, "session"))

	pooled.start("project", "all")
	pooled.start("serve")
	pgtest.Eventually(t, "it is ready", pooled.ready)

	pooled.feed("correct horse battery\n", "admin", "create", "--municipality", "SALGA", "--email", "a@example.org").
		expect(t, exit.CodeDone, "made")
	if code := pooled.signIn("a@example.org", "correct horse battery", "SALGA"); code != http.StatusOK {
		t.Errorf("a sign-in is answered %d", code)
	}

	pgtest.Eventually(t, "the read tables have caught up", pooled.caughtUp)
	pooled.run("rebuild", "users").expect(t, exit.CodeDone, "users")
	pooled.run("status").expect(t, exit.CodeDone, "running")
	pooled.run("verify").expect(t, exit.CodeDone, "verified")
}

func TestFarAPoolerThatKeepsNoSessionsIsRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"transaction", "statement"} {
		s, db := onDatabase(t)
		for _, command := range [][]string{{"serve"}, {"project", "all"}, {"status"}, {"verify"}} {
			address := s.pooler(db, mode)
			s.with("DATABASE_URL="+address).run(command...).
				expect(t, exit.CodeUnreachable, "set the pooler's pool_mode to session")

			for _, session := range sessionsOf(t, address) {
				if session != `postgres with "$user", public` {
					t.Errorf("%s: after %v a stranger's session is left as %s", mode, command, session)
				}
			}
		}
	}
}

func TestFarAPoolerThatTakesNoSettingsAtTheStartIsToldFromAServerThatIsAway(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	address := s.pooler(db, "session")

	s.with("DATABASE_URL="+address+"&options=-c%20work_mem%3D8MB").run("status").
		expect(t, exit.CodeUnreachable, "take options out of it")
	s.with("DATABASE_URL="+address).run("migrate").
		expect(t, exit.CodeUnreachable, "leads to Postgres directly")
}

// keptUp runs a program again whenever it ends, as a service manager does: pgbouncer 1.18
// ends itself when a client that asked for a cancellation leaves before that was passed
// on (its issue 801).
const keptUp = `trap 'kill $program; wait; exit' TERM; while :; do "$@" & program=$!; wait $program; done`

// pooler starts a pgbouncer before a database, which lives as long as the test, and
// returns its address.
func (s *site) pooler(db *pgtest.DB, mode string) string {
	s.t.Helper()
	config, err := pgx.ParseConfig(db.URL(pgtest.Superuser))
	must(s.t, err)
	listens, err := url.Parse("tcp://" + freeAddress())
	must(s.t, err)

	ini := filepath.Join(s.t.TempDir(), "pgbouncer.ini")
	must(s.t, os.WriteFile(ini, fmt.Appendf(nil, `[databases]
* = host=%s port=%d user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 40
max_client_conn = 200
`, config.Host, config.Port, config.User, config.Password, listens.Port(), mode), 0o644))
	for dir := filepath.Dir(ini); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(s.t, os.Chmod(dir, 0o755)) //nolint:gosec // another user reads it, and it holds a test's address
	}

	args := []string{"-c", keptUp, "sh", "pgbouncer", ini}
	if os.Geteuid() == 0 { // as which it refuses to run
		args = append(args, "-u", "postgres")
	}
	s.startProgram(exec.CommandContext(context.Background(), "sh", args...))

	address := fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", config.User, listens.Host, db.Name())
	pgtest.Eventually(s.t, "the pooler answers", func() bool {
		conn, err := pgx.Connect(s.t.Context(), address)
		return err == nil && conn.Close(s.t.Context()) == nil
	})
	return address
}

// sessionsOf returns the role and the search path of the sessions that others meet at an
// address. They ask at once and take their time, so that no two are handed the same
// session.
func sessionsOf(t *testing.T, address string) []string {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	must(t, err)
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol

	sessions := make([]string, 8)
	ask := func(ctx context.Context, answer *string) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		return conn.QueryRow(ctx,
			"select current_user || ' with ' || current_setting('search_path') from pg_sleep(0.1)").Scan(answer)
	}
	pgtest.Eventually(t, "the pooler is done with what was cancelled", func() bool {
		var asked sync.WaitGroup
		errs := make([]error, len(sessions))
		for i := range sessions {
			asked.Go(func() { errs[i] = ask(t.Context(), &sessions[i]) })
		}
		asked.Wait()
		return errors.Join(errs...) == nil
	})
	return sessions
}
