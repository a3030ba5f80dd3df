package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/internal/localpg"
)

// shared is this test binary's server. It is a global because a test reaches it through
// nothing but its testing.TB.
var shared lazy

// lazy starts the server once, when the first test needs it, and remembers a failure for
// the others.
type lazy struct {
	mu      sync.Mutex
	allowed bool // Main is running, and will stop what is started
	tried   bool
	server  *server
	err     error
}

func (l *lazy) allow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed = true
}

// use returns the server, or fails the test.
func (l *lazy) use(t testing.TB) *server {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.allowed {
		t.Fatal("pgtest: this package needs func TestMain(m *testing.M) { pgtest.Main(m) }")
	}

	if !l.tried {
		l.tried = true
		l.server, l.err = open(os.Getenv("TEST_DATABASE_URL"))
	}

	if l.err != nil {
		t.Fatalf("pgtest: %v", l.err)
	}
	return l.server
}

func (l *lazy) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server != nil {
		l.server.close()
	}
	l.allowed, l.server = false, nil
}

// server is a Postgres server with a superuser's connections to it.
type server struct {
	url     *url.URL      // of the database from which others are created and dropped
	admin   *pgxpool.Pool // few connections: creating databases is work for one core anyway
	private *private      // nil if the server is not ours

	once        sync.Once
	templateDB  string
	templateErr error
}

// open uses the server at databaseURL, or a private one if that is empty.
func open(databaseURL string) (*server, error) {
	s := &server{}
	if databaseURL == "" {
		binaries, err := findBinaries()
		if err != nil {
			return nil, err
		}
		if s.private, err = startPrivate(binaries); err != nil {
			return nil, err
		}
		databaseURL = SocketURL(s.private.cluster, "postgres")
	}

	if err := s.connect(databaseURL); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *server) connect(databaseURL string) error {
	var err error
	if s.url, err = url.Parse(databaseURL); err != nil || !strings.HasPrefix(s.url.Scheme, "postgres") {
		return errors.New("TEST_DATABASE_URL is not a postgres:// URL") // not its text, which holds a password
	}

	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return err
	}
	config.MaxConns = 2

	ctx, cancel := cleanupContext()
	defer cancel()
	if s.admin, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	return s.admin.Ping(ctx)
}

func (s *server) close() {
	if s.admin != nil {
		s.admin.Close()
	}
	if s.private != nil {
		s.private.stop()
	}
}

// create clones a template for one test.
func (s *server) create(t testing.TB, template string) *DB {
	t.Helper()
	db := &DB{name: "trust_test_" + strings.ToLower(rand.Text()[:12]), admin: s.url}

	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if err := s.exec(ctx, "create database %s template %s"+s.strategy(), db.name, template); err != nil {
		t.Fatalf("pgtest: create database: %v", err)
	}

	t.Cleanup(func() {
		ctx, cancel := cleanupContext()
		defer cancel()
		if err := s.exec(ctx, "drop database if exists %s with (force)", db.name); err != nil {
			t.Errorf("pgtest: drop database: %v", err)
		}
	})
	return db
}

// strategy makes our own server copy files without fsync (20 ms measured, against 90 for
// writing them through the log). A server that is not ours keeps its default, because
// there a copy waits for two checkpoints.
func (s *server) strategy() string {
	if s.private == nil {
		return ""
	}
	return " strategy file_copy"
}

// exec runs a statement that contains names of databases, which Postgres does not take as
// parameters.
func (s *server) exec(ctx context.Context, format string, names ...any) error {
	for i, name := range names {
		names[i] = pgx.Identifier{name.(string)}.Sanitize()
	}

	_, err := s.admin.Exec(ctx, fmt.Sprintf(format, names...))
	return err
}

// settings trade durability, which no test's data needs, for speed. What a client can see
// stays as in production: synchronous_commit is on, so a commit still waits for its turn
// to be written. Benchmarks get a server as durable as in production, because the cost of
// a commit there decides what group commit gains.
func settings(durable bool) map[string]string {
	settings := map[string]string{
		"listen_addresses": "", // the socket is enough, and nobody else can take its name
		"max_connections":  "300",
	}
	if !durable {
		settings["fsync"], settings["full_page_writes"], settings["checkpoint_timeout"] = "off", "off", "1h"
		// It would visit hundreds of databases that live for seconds. A test of plans
		// analyzes its tables itself, so that its plans do not depend on who came by.
		settings["autovacuum"] = "off"
	}
	return settings
}

// benchmarking reports whether this test binary was asked for benchmarks (go test
// -bench).
func benchmarking() bool {
	asked := flag.Lookup("test.bench")
	return asked != nil && asked.Value.String() != ""
}

// findBinaries finds or fetches a Postgres. Its error says what to install, and names the
// variable that is right in tests.
func findBinaries() (localpg.Binaries, error) {
	found, err := localpg.FindOrFetch(context.Background(), os.Getenv("POSTGRES_ARCHIVE"), os.Stderr)
	if err != nil {
		return found, fmt.Errorf("%w (in tests: TEST_DATABASE_URL)", err)
	}
	return found, nil
}
