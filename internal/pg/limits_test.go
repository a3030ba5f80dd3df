package pg_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// The limits of a connection, a ping and a farewell follow one another, and a loaded
// machine takes its time.
const soon = 20 * time.Second

func TestAPoolWhoseConnectionsWereLostServesAgainSoon(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	line := pgtest.NewLine(t, db.URL(pgtest.Superuser))
	pool := over(t, line.Over(db.URL(pgtest.Superuser)))
	idle(t, pool, 8) // pinged one after the other, they would take 16 s

	line.Lose()
	within, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	began := time.Now()
	answers(t, bound{pool, within}, db)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the first answer took %s", took)
	}
}

func TestAPlaceInThePoolIsFreeSoonAfterItsConnectionWasLost(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	line := pgtest.NewLine(t, db.URL(pgtest.Superuser))
	pool := over(t, line.Over(db.URL(pgtest.Superuser)))
	busy := acquire(t, pool)

	line.Silence()
	within, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := busy.Exec(within, "select 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server answered: %v", err)
	}
	ended := busy.Conn().PgConn().CleanupDone()
	busy.Release()

	select {
	case <-ended:
	case <-time.After(12 * time.Second): // pgx alone takes 15
		t.Error("the place is still taken")
	}

	line.Resume()
	answers(t, pool, db)
}

func TestConnectingToASilentServerEnds(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	line := pgtest.NewLine(t, db.URL(pgtest.Superuser))
	line.Silence()

	config, err := pgx.ParseConfig(line.Over(db.URL(pgtest.Superuser)))
	if err != nil {
		t.Fatal(err)
	}
	for name, connect := range map[string]func(context.Context) error{
		"alone":     func(ctx context.Context) error { _, err := pg.Dial(ctx, config); return err },
		"in a pool": over(t, line.Over(db.URL(pgtest.Superuser))).Ping,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			within, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			if err := connect(within); pg.Classify(err) != pg.Away || within.Err() != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func TestAHookAfterConnectingEnds(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	line := pgtest.NewLine(t, db.URL(pgtest.Superuser))

	config, err := pgxpool.ParseConfig(line.Over(db.URL(pgtest.Superuser)))
	if err != nil {
		t.Fatal(err)
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		line.Silence()
		_, err := conn.Exec(ctx, "select 1")
		return err
	}

	pool, err := pg.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)

	within, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := pool.Ping(within); pg.Classify(err) != pg.Away || within.Err() != nil {
		t.Errorf("it ended with %v", err)
	}
}

// bound asks a pool within a context.
type bound struct {
	pool *pgxpool.Pool
	ctx  context.Context //nolint:containedctx // one for all questions of a test
}

func (b bound) QueryRow(_ context.Context, sql string, args ...any) pgx.Row {
	return b.pool.QueryRow(b.ctx, sql, args...) //nolint:contextcheck // see ctx
}

func over(t *testing.T, address string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 8
	pool, err := pg.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// idle makes n connections of a pool idle for long enough to be pinged at their next use.
func idle(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	conns := make([]*pgxpool.Conn, n)
	for i := range conns {
		conns[i] = acquire(t, pool)
	}
	for _, conn := range conns {
		conn.Release()
	}

	<-time.After(1100 * time.Millisecond)
}
