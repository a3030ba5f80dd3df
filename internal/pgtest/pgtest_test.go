package pgtest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func scan[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	value, err := ask[T](t, conn, sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func ask[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) (value T, err error) {
	t.Helper()
	err = conn.QueryRow(t.Context(), sql, args...).Scan(&value)
	return value, err
}

func TestNewIsMigratedAndEveryRoleConnects(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, role := range []string{pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query} {
		conn := db.Conn(t, role)
		if got := scan[string](t, conn, "select current_user::text"); got != role {
			t.Errorf("asked for %s, got %s", role, got)
		}
		if got := scan[string](t, conn, "select current_setting('is_superuser')"); got != "off" {
			t.Errorf("%s is superuser: %s", role, got)
		}
	}

	have, want, err := migrations.Current(t.Context(), db.Superuser(t))
	if err != nil || have != want || want == 0 {
		t.Errorf("version %d of %d, %v", have, want, err)
	}
}

func TestRoleAndEmptySearchPathSurviveResetAll(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	super := db.Superuser(t)
	if _, err := super.Exec(t.Context(), "create table public.visible (n int)"); err != nil {
		t.Fatal(err)
	}
	if _, err := ask[int](t, super, "select count(*) from visible"); err == nil {
		t.Error("an unqualified name was found")
	}

	pool := db.Pool(t, pgtest.Query)
	if _, err := pool.Exec(t.Context(), "reset all"); err != nil {
		t.Fatal(err)
	}

	var role, path string
	const question = "select current_user::text, current_setting('search_path')"
	err := pool.QueryRow(t.Context(), question).Scan(&role, &path)
	if err != nil || role != pgtest.Query || path != "" {
		t.Errorf("got %q, %q, %v", role, path, err)
	}
}

func TestDatabasesAreApartAndGoneAfterwards(t *testing.T) {
	t.Parallel()
	watcher := pgtest.New(t).Superuser(t)
	var names []string
	t.Run("two databases", func(t *testing.T) { //nolint:paralleltest // its end is what the outer test waits for
		one, two := pgtest.New(t), pgtest.New(t)
		names = []string{one.Name(), two.Name()}
		if _, err := one.Superuser(t).Exec(t.Context(), "create table public.mine ()"); err != nil {
			t.Fatal(err)
		}
		if scan[bool](t, two.Superuser(t), "select to_regclass('public.mine') is not null") {
			t.Error("one test's table is in another's database")
		}
		leaked, err := pgx.Connect(context.Background(), one.URL(pgtest.Superuser)) // must not prevent the drop
		if err != nil {
			t.Fatal(err)
		}
		_ = leaked
	})

	const left = "select count(*) from pg_database where datname = any($1)"
	if n := scan[int](t, watcher, left, names); n != 0 {
		t.Errorf("%d of %v are left", n, names)
	}
}

func TestFreshWasNeverMigrated(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.Fresh(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })

	if have, want, err := migrations.Current(t.Context(), conn); err != nil || have != 0 || want == 0 {
		t.Errorf("version %d of %d, %v", have, want, err)
	}
	if got := scan[string](t, conn, "select current_setting('search_path')"); got != `"$user", public` {
		t.Errorf("search_path is %q", got)
	}
}

// The private cluster plays somebody else's server here: two more test binaries share it,
// and build its template at the same time.
func TestBinariesShareAServer(t *testing.T) {
	t.Parallel()
	server := pgtest.Fresh(t)
	results := make(chan string, 2)

	for range 2 {
		go func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0],
				"-test.run", "TestNewIsMigrated|TestFresh", "-test.count=1")
			cmd.Env = append(os.Environ(), "TEST_DATABASE_URL="+server)
			out, err := cmd.CombinedOutput()
			if err != nil {
				results <- err.Error() + "\n" + string(out)
				return
			}
			results <- ""
		}()
	}

	for range 2 {
		if failed := <-results; failed != "" {
			t.Error(failed)
		}
	}
}

// Not a skip: a run without a server must not look like a run without a mistake.
func TestWithoutAServerATestFails(t *testing.T) {
	t.Parallel()
	out, err := again(t, "TestFresh", "TEST_DATABASE_URL=nonsense")
	if err == nil || !strings.Contains(out, "TEST_DATABASE_URL is not a postgres:// URL") {
		t.Errorf("got %v:\n%s", err, out)
	}
	if strings.Contains(out, "SKIP") {
		t.Errorf("skipped:\n%s", out)
	}
}

func TestALeakedConnectionFailsItsTest(t *testing.T) {
	t.Parallel()
	if os.Getenv("PGTEST_LEAK") != "" {
		_, err := pgtest.New(t).Pool(t, pgtest.Query).Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return
	}

	out, err := again(t, "TestALeakedConnection", "PGTEST_LEAK=1", "TEST_DATABASE_URL="+pgtest.Fresh(t))
	if err == nil || !strings.Contains(out, "1 connections were never returned") {
		t.Errorf("got %v:\n%s", err, out)
	}
}

// A panic, like a kill, runs none of our code: the kernel ends the server, and the next
// run sweeps the folder.
func TestAPanicLeavesNoServer(t *testing.T) {
	t.Parallel()
	if os.Getenv("PGTEST_PANIC") != "" {
		pgtest.New(t)
		panic("on purpose")
	}

	tmp, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}

	out, err := again(t, "TestAPanicLeavesNoServer", "PGTEST_PANIC=1", "TMPDIR="+tmp, "TEST_DATABASE_URL=")
	if err == nil || !strings.Contains(out, "on purpose") {
		t.Fatalf("got %v:\n%s", err, out)
	}
	homes, err := filepath.Glob(filepath.Join(tmp, "trust-pgtest-*"))
	if err != nil || len(homes) != 1 {
		t.Fatalf("folders %v, %v: this test looks in the wrong place", homes, err)
	}

	pgtest.Eventually(t, "the server has shut down", func() bool {
		_, err := os.Stat(filepath.Join(homes[0], "pg", "data", "postmaster.pid"))
		return os.IsNotExist(err)
	})

	old := time.Now().Add(-time.Hour) // sweep leaves young folders alone
	if err := os.Chtimes(homes[0], old, old); err != nil {
		t.Fatal(err)
	}
	if out, err := again(t, "TestFresh", "TMPDIR="+tmp, "TEST_DATABASE_URL="); err != nil {
		t.Fatalf("the next run: %v\n%s", err, out)
	}
	if homes, err := filepath.Glob(filepath.Join(tmp, "trust-pgtest-*")); err != nil || len(homes) != 0 {
		t.Errorf("left: %v, %v", homes, err)
	}
}

func TestAnInterruptLeavesNoServer(t *testing.T) {
	t.Parallel()
	if ready := os.Getenv("PGTEST_WAIT"); ready != "" {
		pgtest.New(t)
		if err := os.WriteFile(ready, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		select {}
	}

	tmp, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}

	ready := filepath.Join(tmp, "ready")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "TestAnInterruptLeavesNoServer")
	cmd.Env = append(os.Environ(), "PGTEST_WAIT="+ready, "TMPDIR="+tmp, "TEST_DATABASE_URL=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	pgtest.Eventually(t, "the server runs", func() bool { _, err := os.Stat(ready); return err == nil })
	lockFiles, err := filepath.Glob(filepath.Join(tmp, "trust-pgtest-*", "pg", "data", "postmaster.pid"))
	if err != nil || len(lockFiles) != 1 {
		t.Fatalf("servers %v, %v", lockFiles, err)
	}

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	pgtest.Eventually(t, "the server has shut down", func() bool {
		_, err := os.Stat(lockFiles[0])
		return os.IsNotExist(err)
	})
}

// again runs one test of this binary in a process of its own.
func again(t *testing.T, test string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", test, "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
