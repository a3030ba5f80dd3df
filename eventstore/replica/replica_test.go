package replica_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/eventstore/replica"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// The tests with a real standby are far: see cmd/trust/replica_far_test.go. Here the
// database is its own replica, over a pool of its own.

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestWithoutAReplicaThePrimaryAnswers(t *testing.T) {
	t.Parallel()
	var none *replica.Replica
	defer none.Close()

	pool := pgtest.New(t).Pool(t, pgtest.Query)
	if err := none.Read(t.Context(), pool, one); err != nil {
		t.Error(err)
	}
}

func TestAReplicaThatHoldsEverythingAnswers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	primary, copied := db.Pool(t, pgtest.Query), db.Pool(t, pgtest.Query)
	r := open(t, primary, copied)

	var asked *pgx.Conn
	err := r.Read(t.Context(), primary, func(conn *pgxpool.Conn) error {
		asked = conn.Conn()
		return one(conn)
	})
	if err != nil || r.Counts() != (replica.Counts{Replica: 1}) {
		t.Errorf("read with %v: %+v", err, r.Counts())
	}
	conn, err := copied.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if conn.Conn() != asked {
		t.Error("the query ran on a connection of another pool")
	}
	if !r.IsPrimary(t.Context()) {
		t.Error("it does not know that the replica is the primary itself")
	}
}

func TestADatabaseThatIsNoCopyIsRefused(t *testing.T) {
	t.Parallel()
	primary, other := pgtest.New(t).Pool(t, pgtest.Query), pgtest.New(t).Pool(t, pgtest.Query)

	r, err := replica.Open(t.Context(), primary, other, slog.New(slog.DiscardHandler))
	if _, foreign := errors.AsType[*replica.ForeignError](err); !foreign || r != nil {
		t.Errorf("opened with %v", err)
	}
}

func TestAQueryThatTheReplicaBreaksOffIsReadOnThePrimary(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	primary := db.Pool(t, pgtest.Query)
	r := open(t, primary, db.Pool(t, pgtest.Query))

	admin := db.Superuser(t)
	end := func(conn *pgxpool.Conn) error {
		_, err := admin.Exec(t.Context(), "select pg_terminate_backend($1)", conn.Conn().PgConn().PID())
		return errors.Join(err, one(conn))
	}
	says := func(sql string) func(*pgxpool.Conn) error {
		return func(conn *pgxpool.Conn) error {
			_, err := conn.Exec(t.Context(), sql)
			return err
		}
	}

	for name, c := range map[string]struct {
		first func(*pgxpool.Conn) error
		again bool
	}{
		"a conflict with recovery": {says("do $$ begin raise sqlstate '40001'; end $$"), true},
		"its end":                  {end, true},
		"a mistake":                {says("select no_such_column"), false},
	} {
		runs := 0
		err := r.Read(t.Context(), primary, func(conn *pgxpool.Conn) error {
			if runs++; runs > 1 {
				return one(conn)
			}
			return c.first(conn)
		})
		if (err == nil) != c.again || (runs == 2) != c.again {
			t.Errorf("%s: it ran %d times and ended with %v", name, runs, err)
		}
	}
	if counts := r.Counts(); counts.Again != 2 || counts.Primary != 2 || counts.Replica != 1 {
		t.Errorf("counted %+v", counts)
	}
}

func TestWhatIsReadOnAServerThatHangsIsReadOnThePrimaryUntilItAnswers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	primary := db.Pool(t, pgtest.Query)
	line := pgtest.NewLine(t, db.URL(pgtest.Query))
	r := open(t, primary, over(t, line.Over(db.URL(pgtest.Query))))

	var runs atomic.Int32
	err := r.Read(t.Context(), primary, func(conn *pgxpool.Conn) error {
		if runs.Add(1) == 1 {
			line.Silence()
		}
		return one(conn)
	})
	if err != nil || runs.Load() != 2 || r.Counts().Again != 1 {
		t.Errorf("it ran %d times and ended with %v: %+v", runs.Load(), err, r.Counts())
	}
	if err := r.Read(t.Context(), primary, one); err != nil || r.Status().State != replica.Away {
		t.Errorf("the next query ended with %v, and the replica is %+v", err, r.Status())
	}

	line.Resume()
	pgtest.Eventually(t, "it is read from again", func() bool { return r.Status().State == replica.Serving })
	before := r.Counts().Replica
	if err := r.Read(t.Context(), primary, one); err != nil || r.Counts().Replica != before+1 {
		t.Errorf("after that, a query ended with %v: %+v", err, r.Counts())
	}
}

func one(conn *pgxpool.Conn) error {
	var n int
	return conn.QueryRow(context.Background(), "select 1").Scan(&n)
}

func open(t *testing.T, primary, copied *pgxpool.Pool) *replica.Replica {
	t.Helper()
	r, err := replica.Open(t.Context(), primary, copied, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	pgtest.Eventually(t, "it is read from", func() bool { return r.Status().State == replica.Serving })
	return r
}

// over opens a pool as programs do.
func over(t *testing.T, address string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pg.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
