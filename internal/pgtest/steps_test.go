package pgtest_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/internal/pgtest"
)

func TestAStepThatFailsIsNotCarriedOutAndOneThatIsUnheardIs(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	direct := db.Superuser(t)
	_, err := direct.Exec(t.Context(), "create table public.notes (text text)")
	if err != nil {
		t.Fatal(err)
	}

	var fate atomic.Int32
	steps := pgtest.NewSteps(t, db.URL(pgtest.Superuser), func(int) pgtest.Fate { return pgtest.Fate(fate.Load()) })
	carriedOut := make(chan int, 8)
	steps.Then(func() { carriedOut <- steps.Taken() })

	insert := func(conn *pgx.Conn) error {
		_, err := conn.Exec(t.Context(), "insert into public.notes values ('x')", pgx.QueryExecModeSimpleProtocol)
		return err
	}
	copyIn := func(conn *pgx.Conn) error {
		_, err := conn.PgConn().CopyFrom(t.Context(), strings.NewReader("x\n"), "copy public.notes from stdin")
		return err
	}

	for _, c := range []struct {
		name string
		fate pgtest.Fate
		do   func(*pgx.Conn) error
		rows int
	}{
		{"a statement passes", pgtest.Passes, insert, 1},
		{"a statement fails", pgtest.Fails, insert, 0},
		{"a statement is unheard", pgtest.Unheard, insert, 1},
		{"a copy passes", pgtest.Passes, copyIn, 1},
		{"a copy fails", pgtest.Fails, copyIn, 0},
		{"a copy is begun, and unheard", pgtest.Unheard, copyIn, 0},
	} {
		fate.Store(int32(pgtest.Passes))
		conn, err := pgx.Connect(t.Context(), steps.Over(db.URL(pgtest.Superuser)))
		if err != nil {
			t.Fatal(err)
		}

		fate.Store(int32(c.fate))
		err = c.do(conn)
		if (err == nil) != (c.fate == pgtest.Passes) {
			t.Errorf("%s: it says %v", c.name, err)
		}
		if c.fate == pgtest.Unheard {
			if n := pgtest.Receive(t, carriedOut); n != steps.Taken() {
				t.Errorf("%s: carried out at step %d of %d", c.name, n, steps.Taken())
			}
		}
		_ = conn.Close(t.Context())

		const empty = "with gone as (delete from public.notes returning 1) select count(*) from gone"
		var rows int
		if err := direct.QueryRow(t.Context(), empty).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		if rows != c.rows {
			t.Errorf("%s: %d rows, want %d", c.name, rows, c.rows)
		}
	}
}

// The server waits for a lock when the connection breaks, and gets the lock when nobody
// waits for the answer any more.
func TestAStepThatIsLeftIsCarriedOutLater(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	direct := db.Superuser(t)
	if _, err := direct.Exec(t.Context(), "create table public.notes (text text)"); err != nil {
		t.Fatal(err)
	}

	var fate atomic.Int32
	steps := pgtest.NewSteps(t, db.URL(pgtest.Superuser), func(int) pgtest.Fate { return pgtest.Fate(fate.Load()) })
	config, err := pgx.ParseConfig(steps.Over(db.URL(pgtest.Superuser)))
	if err != nil {
		t.Fatal(err)
	}
	var dialed atomic.Int32
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dialed.Add(1) > 1 {
			return nil, net.ErrClosed // or the driver would cancel the statement
		}
		return dial(ctx, network, address)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()

	held, err := direct.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(t.Context(), "lock table public.notes"); err != nil {
		t.Fatal(err)
	}

	fate.Store(int32(pgtest.Left))
	_, err = conn.Exec(t.Context(), "insert into public.notes values ('x')", pgx.QueryExecModeSimpleProtocol)
	if err == nil {
		t.Error("a statement that is left says that it is done")
	}
	if err := held.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}

	pgtest.Eventually(t, "the statement is carried out", func() bool {
		var rows int
		err := direct.QueryRow(t.Context(), "select count(*) from public.notes").Scan(&rows)
		return err == nil && rows == 1
	})
}

func TestNothingPassesOnceTheStepsHaveEnded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	steps := pgtest.NewSteps(t, db.URL(pgtest.Superuser), func(int) pgtest.Fate { return pgtest.Passes })
	address := steps.Over(db.URL(pgtest.Superuser))
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}

	steps.End()
	if conn.Ping(t.Context()) == nil {
		t.Error("a connection that was there goes on")
	}
	if late, err := pgx.Connect(t.Context(), address); err == nil {
		_ = late.Close(t.Context())
		t.Error("another connects")
	}
}
