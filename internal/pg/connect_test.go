package pg_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// server is a name that leads to one database and, after a failover, to another.
type server struct{ name atomic.Value }

func at(db *pgtest.DB) *server {
	s := &server{}
	s.moveTo(db)
	return s
}

func (s *server) moveTo(db *pgtest.DB) { s.name.Store(db.Name()) }

func (s *server) pool(t *testing.T, url string, beside ...*pgxpool.Pool) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		c.Database = s.name.Load().(string)
		return nil
	}

	pool, err := pg.Connect(t.Context(), config, beside...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestAfterAFailoverReadersReadFromTheNewServer(t *testing.T) {
	t.Parallel()
	before, after := pgtest.New(t), pgtest.New(t)
	where := at(before)
	reads := where.pool(t, before.URL(pgtest.Superuser))
	writes := where.pool(t, before.URL(pgtest.Superuser), reads)
	answers(t, reads, before)
	answers(t, writes, before)

	where.moveTo(after)
	answers(t, reads, before) // nothing has told it yet

	refuses(t, writes, "start transaction read only; create temporary table t ()", pgerrcode.ReadOnlySQLTransaction)
	answers(t, writes, after)
	answers(t, reads, after)
}

func TestAPoolLeavesAServerThatShutsDown(t *testing.T) {
	t.Parallel()
	before, after := pgtest.New(t), pgtest.New(t)
	where := at(before)
	pool := where.pool(t, before.URL(pgtest.Superuser))
	idle, busy := acquire(t, pool), acquire(t, pool)
	idle.Release()

	where.moveTo(after)
	refuses(t, busy, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(60)", pgerrcode.AdminShutdown)
	busy.Release()
	answers(t, pool, after)
}

func TestAFullDiskCostsOneConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pool := at(db).pool(t, db.URL(pgtest.Superuser))
	other, full := acquire(t, pool), acquire(t, pool)
	serving, failing := other.Conn().PgConn().PID(), full.Conn()

	refuses(t, full, "do $$ begin raise sqlstate '53100'; end $$", pgerrcode.DiskFull)
	if !failing.IsClosed() {
		t.Error("the connection that said that the disk is full is still open")
	}

	full.Release()
	other.Release()
	again := acquire(t, pool)
	defer again.Release()
	if got := again.Conn().PgConn().PID(); got != serving {
		t.Error("the other connection was given up as well")
	}
}

func TestAnErrorOfAStatementCostsNoConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pool := at(db).pool(t, db.URL(pgtest.Superuser))
	conn := acquire(t, pool)
	defer conn.Release()

	for _, state := range []string{pgerrcode.UniqueViolation, pgerrcode.SerializationFailure, pgerrcode.QueryCanceled} {
		refuses(t, conn, "do $$ begin raise sqlstate '"+state+"'; end $$", state)
	}
	answers(t, conn, db)
}

func TestAQueryOfATenantLeavesNoTenantBehind(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	config, err := pgxpool.ParseConfig(db.URL(pgtest.Query))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	pool, err := pg.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)

	var within, afterwards string
	tenant := [16]byte{15: 1}
	const current = "select coalesce(current_setting('trust.tenant', true), '')"
	err = pg.InTenant(t.Context(), pool, tenant, pg.SetTenant, func(b *pgx.Batch) {
		b.Queue(current).QueryRow(func(r pgx.Row) error { return r.Scan(&within) })
	})
	if err != nil || within != "00000000-0000-0000-0000-000000000001" {
		t.Errorf("within it, the tenant is %q (%v)", within, err)
	}

	if err := pool.QueryRow(t.Context(), current).Scan(&afterwards); err != nil || afterwards != "" {
		t.Errorf("afterwards, the tenant is %q (%v)", afterwards, err)
	}
}

func TestAQueryWithoutATenantIsNotSent(t *testing.T) {
	t.Parallel()
	err := pg.InTenant(t.Context(), nil, [16]byte{}, pg.SetTenant, func(*pgx.Batch) {})
	if !errors.Is(err, pg.ErrNoTenant) {
		t.Errorf("got %v, want ErrNoTenant", err)
	}
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func answers(t *testing.T, who querier, want *pgtest.DB) {
	t.Helper()
	var got string
	if err := who.QueryRow(t.Context(), "select current_database()").Scan(&got); err != nil || got != want.Name() {
		t.Errorf("%q answers (%v), want %q", got, err, want.Name())
	}
}

// refuses sends several statements at once, as the simple protocol does.
func refuses(t *testing.T, who querier, sql, state string) {
	t.Helper()
	err := who.QueryRow(t.Context(), sql, pgx.QueryExecModeSimpleProtocol).Scan()
	if said, ok := errors.AsType[*pgconn.PgError](err); !ok || said.Code != state {
		t.Errorf("the server answered %v, want SQLSTATE %s", err, state)
	}
}

func acquire(t *testing.T, pool *pgxpool.Pool) *pgxpool.Conn {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
