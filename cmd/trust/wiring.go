package main

import (
	"context"
	"errors"
	"runtime"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// commandSide is the log opened for commands.
type commandSide struct {
	pool     *pgxpool.Pool
	store    *eventstore.Store
	handler  *commands.Handler
	readings *projections.Readings
}

// openCommandSide opens the log for a command of an operator: no waiting, a database that is away is an answer.
func openCommandSide(ctx context.Context, p *program) (*commandSide, error) {
	c, err := p.config()
	if err != nil {
		return nil, err
	}
	if err := c.Need(settings.Secrets{Master: true}); err != nil {
		return nil, err
	}
	address, err := c.NeedAPI()
	if err != nil {
		return nil, err
	}
	pool, err := openPool(ctx, address, c.PoolSize)
	if err != nil {
		return nil, err
	}
	e, err := newCommandSide(ctx, c, pool)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return e, nil
}

// newCommandSide proves the master key and makes the handler of all commands. The pool becomes its own if it succeeds.
func newCommandSide(ctx context.Context, c *settings.Config, pool *pgxpool.Pool) (*commandSide, error) {
	store, err := eventstore.Open(ctx, pool, []byte(c.MasterKey))
	if err != nil {
		return nil, explainKey(c, err)
	}
	reader, err := eventstore.NewReader(ctx, pool, []byte(c.MasterKey))
	if err != nil {
		store.Close()
		return nil, explainKey(c, err)
	}
	handler := commands.New(store, commands.Config{Hashes: runtime.GOMAXPROCS(0), Sessions: c.RefreshTTL})
	return &commandSide{pool: pool, store: store, handler: handler, readings: projections.NewReadings(pool, reader)}, nil
}

func (e *commandSide) close() {
	e.store.Close()
	e.pool.Close()
}

// openPool makes a pool, which connects when it is used first.
func openPool(ctx context.Context, address string, size int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		// Without the cause, which quotes the address.
		return nil, exit.WrongUsage("a database address cannot be understood; check DATABASE_URL and its variants")
	}
	config.MaxConns = int32(size)
	config.ConnConfig.RuntimeParams["application_name"] = "trust"
	config.AfterConnect = refusePower
	return pgxpool.NewWithConfig(ctx, config)
}

// refusePower refuses a session that no row-level security holds back: then one forgotten condition shows one tenant's people to
// another.
func refusePower(ctx context.Context, conn *pgx.Conn) error {
	const sql = `select rolsuper or rolbypassrls from pg_catalog.pg_roles where rolname = current_user`
	var powerful bool
	if err := conn.QueryRow(ctx, sql).Scan(&powerful); err != nil {
		return err
	}
	if powerful {
		return exit.WrongUsage("a database address connects as a superuser or past row-level security; " +
			"give DATABASE_URL_API and DATABASE_URL_PROJECTOR logins in trust_query and trust_projector only")
	}
	return nil
}

// explainKey is exit.Explain for a command that has just proven the master key, or failed to. A key that trust up keeps is looked up
// once more: trust keys rotate may have changed it since this process read it, or be about to.
func explainKey(c *settings.Config, err error) error {
	if !errors.Is(err, eventstore.ErrWrongMasterKey) || !c.KeepsMasterKey() {
		return exit.Explain(err)
	}
	kept, readErr := settings.ReadEnvFile(c.EnvFile())
	switch {
	case readErr != nil:
		return readErr
	case kept["NEW_MASTER_KEY"] != "":
		return exit.Unreachable(err, "the change of the master key was begun and is not finished: run trust keys rotate")
	case kept["MASTER_KEY"] != c.MasterKey:
		return exit.Unreachable(err, "the master key was changed while this process started; start it again")
	default:
		return exit.Explain(err)
	}
}
