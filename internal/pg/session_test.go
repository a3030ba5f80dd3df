package pg_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestASessionHasWhatThisProgramReliesOnWhateverItsLoginAndDatabaseSay(t *testing.T) {
	t.Parallel()

	for _, hostile := range [][]setting{
		{
			{"client_encoding", "'LATIN1'", "UTF8"},
			{"DateStyle", "SQL, DMY", "ISO, YMD"},
			{"TimeZone", "'Africa/Johannesburg'", "UTC"},
			{"standard_conforming_strings", "off", "on"},
			{"default_transaction_isolation", "serializable", "read committed"},
			{"row_security", "off", "on"},
			{"search_path", "trust", ""},
			{"synchronous_commit", "off", "on"},
			{"statement_timeout", "'1ms'", "0"},
			{"lock_timeout", "'1ms'", "0"},
			{"idle_in_transaction_session_timeout", "'10ms'", "0"},
			{"idle_session_timeout", "'1s'", "0"},
			{"default_transaction_read_only", "on", "on"}, // the operator's fence
			{"work_mem", "'5MB'", "5MB"},                  // and what is theirs to tune
		},
		{{"synchronous_commit", "local", "on"}},
		{{"synchronous_commit", "remote_apply", "remote_apply"}},
	} {
		db := pgtest.New(t)
		super := db.Superuser(t)
		for _, s := range hostile {
			exec(t, super, "alter database "+db.Name()+" set "+s.name+" = "+s.hostile)
		}

		for kind, conn := range eachKind(t, db) {
			for _, s := range hostile {
				if s.name == "synchronous_commit" && kind == "for reset" {
					continue // a migration that a crash undoes is run again
				}
				var got string
				err := conn.QueryRow(t.Context(), "select current_setting($1) from pg_sleep(0.002)", s.name).Scan(&got)
				if err != nil || got != s.want {
					t.Errorf("%s = %s, %s: it is %q (%v), want %q", s.name, s.hostile, kind, got, err, s.want)
				}
			}
		}
	}
}

// setting is a setting of a database, and its value in a session.
type setting struct{ name, hostile, want string }

func TestASessionKeepsTheLimitsThatItsConfigurationNames(t *testing.T) {
	t.Parallel()
	config := configOf(t, pgtest.New(t).URL(pgtest.Superuser)+"&statement_timeout=61s&client_encoding=LATIN1")
	config.RuntimeParams["enable_sort"] = "off"
	config.RuntimeParams["application_name"] = `it's a \ test`
	conn := dial(t, pg.Dial, config)

	for name, want := range map[string]string{
		"statement_timeout": "61s", "enable_sort": "off", "application_name": `it's a \ test`,
		"client_encoding": "UTF8",
	} {
		var got string
		if err := conn.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestWhatIsPinnedForAResetSurvivesIt(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db.Superuser(t), "alter database "+db.Name()+" set statement_timeout = '5ms'; alter database "+
		db.Name()+" set client_encoding = 'LATIN1'")
	conn := dial(t, pg.DialForReset, configOf(t, db.URL(pgtest.Superuser)))

	exec(t, conn, "reset all")
	var encoding string
	err := conn.QueryRow(t.Context(), "select current_setting('client_encoding') from pg_sleep(0.1)").Scan(&encoding)
	if err != nil || encoding != "UTF8" {
		t.Errorf("afterwards the encoding is %q (%v)", encoding, err)
	}
}

// Pinning costs one message for each connection and none for a query, even for a pool
// made from the configuration of a pinned one, as the appender's is.
func TestPinningTakesOneMessageForEachConnection(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(pgtest.New(t).URL(pgtest.Query))
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	config.MaxConns = 1
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return counted{conn, &sent}, err
	}

	messages := func(pool *pgxpool.Pool, queries int) int64 {
		t.Cleanup(pool.Close)
		sent.Store(0)
		for range queries {
			if _, err := pool.Exec(t.Context(), "select 1", pgx.QueryExecModeExec); err != nil {
				t.Fatal(err)
			}
		}
		return sent.Load()
	}

	plain, err := pgxpool.NewWithConfig(t.Context(), config.Copy())
	if err != nil {
		t.Fatal(err)
	}
	const queries = 10
	want := messages(plain, queries) + 1

	pinned, err := pg.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if got := messages(pinned, queries); got != want {
		t.Errorf("a connection and %d queries are %d messages, want %d", queries, got, want)
	}

	another, err := pg.Connect(t.Context(), pinned.Config())
	if err != nil {
		t.Fatal(err)
	}
	if got := messages(another, queries); got != want {
		t.Errorf("with a pinned pool's configuration they are %d messages, want %d", got, want)
	}
}

// counted counts what is sent.
type counted struct {
	net.Conn
	sent *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.sent.Add(1)
	return c.Conn.Write(b)
}

// eachKind opens a session of each kind that this program uses.
func eachKind(t *testing.T, db *pgtest.DB) map[string]querier {
	t.Helper()
	config, err := pgxpool.ParseConfig(db.URL(pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	delete(config.ConnConfig.RuntimeParams, "options") // they empty the search path

	pool, err := pg.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)

	return map[string]querier{
		"pool":       pool,
		"connection": dial(t, pg.Dial, config.ConnConfig),
		"for reset":  dial(t, pg.DialForReset, config.ConnConfig),
	}
}

func dial(
	t *testing.T, how func(context.Context, *pgx.ConnConfig) (*pgx.Conn, error), config *pgx.ConnConfig,
) *pgx.Conn {
	t.Helper()
	conn, err := how(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pg.Close(context.Background(), conn) })
	return conn
}

func configOf(t *testing.T, url string) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
