//go:build far

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
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
		address := s.pooler(db, mode)
		pooled := s.with("DATABASE_URL=" + address)

		for _, command := range [][]string{{"serve"}, {"project", "all"}, {"status"}, {"verify"}} {
			pooled.run(command...).expect(t, exit.CodeUnreachable, "set the pooler's pool_mode to session")
		}
		if as, path := sessionOf(t, address); as != "postgres" || path == "" {
			t.Errorf("%s: a stranger's session is left as %q with search_path %q", mode, as, path)
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

// pooler starts a pgbouncer before a database, which lives as long as the test, and returns its address.
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

	args := []string{ini}
	if os.Geteuid() == 0 { // as which it refuses to run
		args = append([]string{"-u", "postgres"}, args...)
	}
	s.startProgram(exec.CommandContext(context.Background(), "pgbouncer", args...))

	address := fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", config.User, listens.Host, db.Name())
	pgtest.Eventually(s.t, "the pooler answers", func() bool {
		conn, err := pgx.Connect(s.t.Context(), address)
		return err == nil && conn.Close(s.t.Context()) == nil
	})
	return address
}

// sessionOf returns the role and the search path that somebody else meets at an address.
func sessionOf(t *testing.T, address string) (as, path string) {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	must(t, err)
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(t.Context(), config)
	must(t, err)
	defer func() { _ = conn.Close(t.Context()) }()

	must(t, conn.QueryRow(t.Context(), "select current_user, current_setting('search_path')").Scan(&as, &path))
	return as, path
}
