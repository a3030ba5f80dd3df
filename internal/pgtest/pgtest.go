// Package pgtest gives each test a Postgres database of its own: real, migrated, empty,
// and gone afterwards.
//
// Owns: one private cluster per test binary, made at its first use, or the server that
// TEST_DATABASE_URL names; in it a migrated template, and a clone of that for each test.
// Also how a test starts and stops a server (Postmaster), and how it waits for other
// processes, and how long.
//
// Guarantees: tests never share a database, and never skip. Sessions start with an empty
// search_path, so an unqualified name fails here and not in production. The private
// cluster ends with the test binary, even if that panics or is killed; the next run
// sweeps the folder of a killed one.
//
// Fails how: without Postgres >= 15 a test fails with one sentence that says what to
// install. A test that does not return a connection to its pool fails at its end, and
// does not hang.
//
// Not here: rows. A test makes its own through the code under test.
//
// TEST_DATABASE_URL must be the URL of a superuser. Templates stay in such a server
// (trust_template_<hash of the migrations>) and are reused; a killed test may leave a
// database there (trust_test_…).
package pgtest

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The roles that the first migration makes; see ARCHITECTURE.md, database roles.
const (
	Superuser = ""                // the superuser of the cluster, bound by no policy
	Owner     = "trust_owner"     // owns the tables
	Append    = "trust_append"    // owns the append function
	Projector = "trust_projector" // reads all tenants' events, writes read tables
	Query     = "trust_query"     // reads one tenant
)

// Main runs the package's tests and stops the cluster after them. Every package that uses
// pgtest has
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
func Main(m *testing.M) {
	shared.allow()
	defer shared.stop()
	m.Run() // the testing package exits with the code that m keeps
}

// DB is one test's database.
type DB struct {
	name  string
	admin *url.URL // how the superuser reaches the server
}

// New gives the test a migrated database without rows, and drops it when the test ends.
func New(t testing.TB) *DB {
	t.Helper()
	server := shared.use(t)
	template, err := server.template()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return server.create(t, template)
}

// Fresh returns the superuser's URL of a database that was never migrated, and drops it
// when the test ends. Its sessions have Postgres's usual search_path.
func Fresh(t testing.TB) string {
	t.Helper()
	db := shared.use(t).create(t, "template0")
	return db.address("").String()
}

// Name returns the name of the database.
func (db *DB) Name() string { return db.name }

// URL returns an address that connects as the superuser and switches to role (Superuser:
// stays) as the session starts, with an empty search_path; both survive "reset all". It
// works for pgx, libpq and database/sql.
func (db *DB) URL(role string) string {
	options := "-c search_path="
	if role != Superuser {
		options += " -c role=" + role
	}
	return db.address(options).String()
}

// Pool opens a pool of connections in role, and closes it when the test ends.
func (db *DB) Pool(t testing.TB, role string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), db.URL(role))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}

	t.Cleanup(func() { closePool(t, pool) })
	if err := pool.Ping(t.Context()); err != nil {
		t.Fatalf("pgtest: connect as %q: %v", role, err)
	}
	return pool
}

// Conn opens one connection in role, and closes it when the test ends.
func (db *DB) Conn(t testing.TB, role string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL(role))
	if err != nil {
		t.Fatalf("pgtest: connect as %q: %v", role, err)
	}

	t.Cleanup(func() {
		ctx, cancel := cleanupContext()
		defer cancel()
		_ = conn.Close(ctx) // a test may have closed or broken it on purpose
	})
	return conn
}

// Superuser is Conn for the superuser: to look behind the policies, or to break things.
func (db *DB) Superuser(t testing.TB) *pgx.Conn {
	t.Helper()
	return db.Conn(t, Superuser)
}

// address is the superuser's URL of this database with the given start-up options.
func (db *DB) address(options string) *url.URL {
	u := *db.admin
	u.Path = "/" + db.name

	query := u.Query()
	if options != "" {
		query.Set("options", options)
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // libpq does not read + as a space
	return &u
}

// giveBack is how long a pool's connections may take to return: pgx takes 15 seconds to
// close one whose query was cut off.
const giveBack = 25 * time.Second

// closePool waits for the pool's connections to return, which a leaked one never does.
func closePool(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	closed := make(chan struct{})
	go func() {
		pool.Close()
		close(closed)
	}()

	select {
	case <-closed:
	case <-time.After(giveBack):
		t.Errorf("pgtest: %d connections were never returned to their pool", pool.Stat().AcquiredConns())
	}
}

// cleanupContext replaces t.Context, which has ended by the time cleanups run.
func cleanupContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), Patience)
}
