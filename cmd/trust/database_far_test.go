//go:build far

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// A server whose processes make no progress answers nothing and closes nothing, as on a
// machine that swaps or whose disk hangs.
func TestFarAServerThatHangsIsSaidInTimeAndServesAgainByItself(t *testing.T) {
	t.Parallel()
	const clients, commands, timeout = 8, 1200, 3 * time.Second
	server := startServer(t)
	s := server.site("RATE_LIMIT=off", "REQUEST_TIMEOUT="+timeout.String())
	s.start("project", "all")
	s.start("serve")
	pgtest.Eventually(t, "it is ready", s.ready)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	people := make([]*client, clients)
	for i := range people {
		people[i] = newClient("http://" + s.addr)
		must(t, people[i].person(ctx, "CPT", fmt.Sprintf("resident%d@example.co.za", i)))
	}

	done := &acknowledged{positions: map[int64]string{}, more: make(chan struct{}, 1)}
	var working sync.WaitGroup
	for i, c := range people {
		working.Go(func() {
			if err := c.decide(ctx, t, commands/clients, done); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}

	for _, part := range []int{commands / 6, commands / 2} {
		pgtest.Eventually(t, "the load is under way", func() bool { return done.count() >= part })
		thaw := server.freeze()
		s.saysThatItHangs(timeout)
		thaw()
		pgtest.Eventually(t, "it is ready again", s.ready)
	}
	working.Wait()

	if n := done.count(); n != commands {
		t.Errorf("%d commands were acknowledged, of %d", n, commands)
	}
	s.matches(t, server.address, done)
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	s.run("status").expect(t, exit.CodeDone, "running")
	s.run("verify").expect(t, exit.CodeDone, "events verified")
}

// saysThatItHangs asks in every way there is, and expects an answer in time.
func (s *site) saysThatItHangs(timeout time.Duration) {
	s.t.Helper()
	within := func(limit time.Duration, what string, ask func()) {
		s.t.Helper()
		began := time.Now()
		ask()
		if took := time.Since(began); took > limit {
			s.t.Errorf("%s took %s", what, took)
		}
	}

	var problem struct {
		Code   string
		Errors []struct{ Field string }
	}
	within(timeout, "ready", func() {
		code := s.get("/ready", &problem)
		if code != http.StatusServiceUnavailable || len(problem.Errors) != 1 || problem.Errors[0].Field != "database" {
			s.t.Errorf("ready is answered %d: %+v", code, problem)
		}
	})

	within(2*timeout, "a query", func() {
		if code := s.get("/api/v1/municipalities", &problem); code != http.StatusServiceUnavailable ||
			problem.Code != "unavailable" {
			s.t.Errorf("a query is answered %d: %+v", code, problem)
		}
	})
	within(2*timeout, "a command", func() {
		code := s.signIn("admin@example.org", "correct horse battery", "SALGA")
		if code != http.StatusServiceUnavailable {
			s.t.Errorf("a sign-in is answered %d", code)
		}
	})
	for _, command := range [][]string{{"status"}, {"migrate", "--status"}, {"verify"}} {
		within(30*time.Second, command[0], func() {
			s.run(command...).expect(s.t, exit.CodeUnreachable, "does not answer")
		})
	}
}

func TestFarAStandbyIsSaidAndServesOnceItIsPromoted(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	s := server.site()
	s.start("project", "all")
	s.start("serve")
	pgtest.Eventually(t, "it is ready", s.ready)
	signIn := func() int { return s.signIn("admin@example.org", "correct horse battery", "SALGA") }

	server.stop()
	signal := filepath.Join(server.cluster.Dir, "data", "standby.signal")
	must(t, os.WriteFile(signal, nil, 0o644)) //nolint:gosec // another user reads it, and nothing is in it
	server.start()

	late := *s // an API that starts beside the first one
	late.addr = freeAddress()
	const why = "the database is a standby, in recovery"
	late.with("HTTP_ADDR=" + late.addr).start("serve")
	for _, api := range []*site{s, &late} {
		var problem struct{ Detail string }
		pgtest.Eventually(t, "it says that its database is a standby", func() bool {
			return api.get("/ready", &problem) == http.StatusServiceUnavailable && strings.Contains(problem.Detail, why)
		})

		code := api.signIn("admin@example.org", "correct horse battery", "SALGA")
		if code != http.StatusServiceUnavailable {
			t.Errorf("a sign-in, which is recorded, is answered %d", code)
		}
		if code := api.get("/api/v1/municipalities", nil); code != http.StatusOK {
			t.Errorf("a query, which a standby can answer, is answered %d", code)
		}
	}
	s.run("status").expect(t, exit.CodeNotSo, why)

	conn, err := pgx.Connect(t.Context(), server.address)
	must(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var promoted bool
	must(t, conn.QueryRow(t.Context(), "select pg_promote()").Scan(&promoted))
	pgtest.Eventually(t, "a sign-in is recorded", func() bool { return signIn() == http.StatusOK })
	for _, api := range []*site{s, &late} {
		pgtest.Eventually(t, "it is ready", api.ready)
	}
	pgtest.Eventually(t, "status is content", func() bool { return s.run("status").code == exit.CodeDone })
	s.run("verify").expect(t, exit.CodeDone, "events verified")
}

// ownServer is a Postgres of one test, which can be stopped and frozen. It listens on
// TCP, as a server on another machine does.
type ownServer struct {
	t       *testing.T
	cluster *localpg.Cluster
	address string // the superuser's
	process *pgtest.Postmaster
}

func startServer(t *testing.T) *ownServer {
	t.Helper()
	binaries, err := localpg.FindOrFetch(t.Context(), os.Getenv("POSTGRES_ARCHIVE"), os.Stderr)
	must(t, err)
	port, err := localpg.FreePort()
	must(t, err)
	home := t.TempDir()
	must(t, os.Chmod(filepath.Dir(home), 0o755)) //nolint:gosec // the server's user passes through it

	cluster, err := localpg.New(localpg.Config{
		Dir: filepath.Join(home, "pg"), Binaries: binaries, Port: port, Password: "of a test", NoSync: true,
	})
	must(t, err)
	must(t, cluster.Init(t.Context()))

	server := &ownServer{t: t, cluster: cluster, address: cluster.URL("postgres")}
	server.start()
	t.Cleanup(server.stop)
	return server
}

func (o *ownServer) start() {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), pgtest.Patience)
	defer cancel()
	var err error
	o.process, err = pgtest.Start(ctx, o.cluster, nil)
	must(o.t, err)
}

func (o *ownServer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), pgtest.Patience)
	defer cancel()
	must(o.t, o.process.Stop(ctx))
}

// site is a site on the server's database, migrated and with its first contents.
func (o *ownServer) site(env ...string) *site {
	o.t.Helper()
	s := newSite(o.t, append([]string{
		"DATABASE_URL=" + o.address, testSecret, testMaster, "ADMIN_EMAIL=admin@example.org",
		"ADMIN_PASSWORD=correct horse battery",
	}, env...)...)
	s.run("migrate").expect(o.t, exit.CodeDone, "schema version")
	s.run("prepare", "contents").expect(o.t, exit.CodeDone, "first platform admin: made")
	return s
}

// freeze suspends all of the server's processes until thaw or the end of the test.
func (o *ownServer) freeze() (thaw func()) {
	o.t.Helper()
	var frozen []int
	stop := func(pids ...int) {
		for _, pid := range pids {
			if syscall.Kill(pid, syscall.SIGSTOP) == nil {
				frozen = append(frozen, pid)
			}
		}
	}
	stop(o.process.PID()) // first, so that it starts no others
	stop(childrenOf(o.t, o.process.PID())...)

	thaw = sync.OnceFunc(func() {
		for _, pid := range frozen {
			_ = syscall.Kill(pid, syscall.SIGCONT) // fails only when it has ended
		}
	})
	o.t.Cleanup(thaw)
	return thaw
}

func childrenOf(t *testing.T, parent int) (children []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}

		// pid (name) state ppid …, and a name may hold anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			children = append(children, pid)
		}
	}
	if len(children) == 0 {
		t.Fatal("the server has no processes: this test looks in the wrong place")
	}
	return children
}
