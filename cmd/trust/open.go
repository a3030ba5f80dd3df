package main

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/mail"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/cloudevent"
	"github.com/salga-trust/engine/eventstore/replica"
	"github.com/salga-trust/engine/http/sharedcount"
	"github.com/salga-trust/engine/internal/owned"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/migrations"
	"github.com/salga-trust/engine/projections/reports"
	"github.com/salga-trust/engine/webhooks"
)

// needs lists what a command works with. Nothing else is checked or opened.
type needs struct {
	// as is the method of Config that returns the database address to use.
	as   func(*settings.Config) (string, error)
	keys settings.Secrets

	// conn asks for one connection, pool for a pool of at most so many.
	conn bool
	pool int
	// reader asks for the log to read from, and proves the master key.
	reader bool
	// commands asks for the log to act on, under the API's address and a proven master
	// key.
	commands bool
	// queries asks, with commands, for the replica to read from, if there is one.
	queries bool
}

// opened holds what a command asked for. The rest is zero.
type opened struct {
	config  *settings.Config
	address string
	queries bool // as in needs

	conn    *pgx.Conn
	pool    *pgxpool.Pool
	reader  *eventstore.Reader
	store   *eventstore.Store
	handler *commands.Handler
	reports *reports.Reports
	replica *replica.Replica // nil: everything is read on the primary
	copied  *pgxpool.Pool    // the replica's

	log    *slog.Logger       // of a process that serves; nil: none
	sender *mail.Sender       // nil: it sends no mail
	counts *sharedcount.Redis // nil: rate limits are not counted together
}

// check refuses a configuration that lacks something a command needs. It opens nothing.
func (p *program) check(n needs) (*opened, error) {
	c, err := settings.Check(p.settings)
	if err != nil {
		return nil, err
	}

	if n.reader || n.commands {
		n.keys.Master = true
	}
	if err := c.Need(n.keys); err != nil {
		return nil, err
	}

	if n.commands {
		n.as = (*settings.Config).NeedAPI
	}
	address, err := n.as(c)
	if err != nil {
		return nil, err
	}
	return &opened{config: c, address: address, queries: n.queries}, nil
}

// openLimit bounds how long opening may take: a server that hangs counts as one that does
// not answer.
const openLimit = 15 * time.Second

// open checks the configuration and opens what a command needs. It does not wait for a
// database that is away.
func (p *program) open(ctx context.Context, n needs) (*opened, error) {
	o, err := p.check(n)
	if err != nil {
		return nil, err
	}

	if n.keys.Master || n.reader || n.commands {
		if err := unwrapMasterKey(ctx, o.config); err != nil {
			return nil, err
		}
	}
	if err := o.connect(ctx, n); err != nil {
		o.close(ctx)
		return nil, err
	}
	return o, nil
}

func (o *opened) connect(ctx context.Context, n needs) (err error) {
	if n.conn {
		if o.conn, err = dial(ctx, o.address); err != nil {
			return exit.Explain(err)
		}
	}

	if n.commands {
		n.pool = o.config.PoolSize
	}
	if n.pool > 0 {
		if o.pool, err = openPool(ctx, o.address, n.pool); err != nil {
			return err
		}
	}

	switch {
	case n.commands:
		return o.openLog(ctx)
	case n.reader:
		return o.openReader(ctx)
	default:
		return nil
	}
}

// openReader proves the master key and opens the log for reading.
func (o *opened) openReader(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()

	if err := checkServes(ctx, o.pool); err != nil {
		return exit.Explain(err)
	}

	if o.reader, err = eventstore.NewReader(ctx, o.pool, []byte(o.config.MasterKey)); err != nil {
		return explainKey(o.config, err)
	}
	return nil
}

// openLog proves the master key and opens the log for commands. It may be called again
// after a failure.
func (o *opened) openLog(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()

	if err := checkServes(ctx, o.pool); err != nil {
		return exit.Explain(err)
	}
	store, err := eventstore.Open(ctx, o.pool, []byte(o.config.MasterKey))
	if err != nil {
		return explainKey(o.config, err)
	}
	err = o.openReader(ctx)
	if err == nil && o.queries {
		err = o.openReplica(ctx)
	}
	if err != nil {
		store.Close()
		return err
	}

	o.store = store
	config := commands.Config{
		Hashes: runtime.GOMAXPROCS(0), Sessions: o.config.RefreshTTL, Log: o.log,
		Webhooks: commands.Webhooks{
			Leaving: cloudevent.Types(), Check: webhooks.NewNetwork(o.config.Recipients, nil).Check,
		},
	}
	config.Prover = newProver(o.config, o.pool, o.log)
	if o.log != nil && o.config.Mail != nil {
		o.sender = mail.New(ctx, o.config.Mail, o.log)
		config.Mail = o.sender.Send
	}
	o.handler = commands.New(store, config)
	o.reports = reports.New(o.pool, o.replica, o.reader)
	return nil
}

// lastWords is how long a stopping process may take to record its counts, and as long
// again to send its letters: together with stopPatience less than its grace.
const lastWords = 2 * time.Second

func (o *opened) close(ctx context.Context) {
	if o.handler != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		// While the log is away, the counts are lost, and so are the codes that were
		// asked for.
		_, _ = o.handler.SendResetCodes(ctx, commands.Call{}, commands.SendResetCodes{})
		_, _ = o.handler.RecordTallies(ctx, commands.Call{}, commands.RecordTallies{})
	}
	if o.sender != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		o.sender.Close(ctx)
	}

	o.counts.Close()
	if o.reports != nil {
		o.reports.Close()
	}
	o.closeReplica()
	if o.store != nil {
		o.store.Close()
	}
	if o.pool != nil {
		o.pool.Close()
	}
	pg.Close(ctx, o.conn)
}

// dial opens one connection.
func dial(ctx context.Context, address string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	return pg.Dial(ctx, config)
}

// openPool makes a pool, which connects when it is first used. A limit bounds each
// statement, unless the address sets its own.
func openPool(ctx context.Context, address string, size int, limit ...time.Duration) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		// Without the cause, which quotes the address.
		return nil, exit.WrongUsage("a database address cannot be parsed; check DATABASE_URL and its variants")
	}

	config.MaxConns = int32(size)
	config.ConnConfig.RuntimeParams["application_name"] = "trust"
	for _, d := range limit {
		if _, named := config.ConnConfig.RuntimeParams["statement_timeout"]; !named {
			config.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(d.Milliseconds(), 10)
		}
	}

	config.AfterConnect = refusePower
	return pg.Connect(ctx, config)
}

// refusePower refuses a session that row-level security does not bind, because one
// forgotten condition would then show one tenant's people to another. It also refuses a
// session with none of the schema's roles, whose errors would look like those of an
// unfinished restore.
func refusePower(ctx context.Context, conn *pgx.Conn) error {
	const sql = `select rolsuper or rolbypassrls,
		exists (select from pg_catalog.pg_roles r where r.rolname in ('trust_query', 'trust_projector', 'trust_owner'))
		and not exists (select from pg_catalog.pg_roles r
			where r.rolname in ('trust_query', 'trust_projector', 'trust_owner')
			and pg_catalog.pg_has_role(r.oid, 'usage'))
		from pg_catalog.pg_roles where rolname = current_user`
	var powerful, stranger bool
	if err := conn.QueryRow(ctx, sql).Scan(&powerful, &stranger); err != nil {
		return err
	}

	if stranger {
		return exit.WrongUsage("the login of a database address is in none of the roles of the schema; " +
			"run grant trust_query to LOGIN for DATABASE_URL_API, and grant trust_projector to LOGIN for " +
			"DATABASE_URL_PROJECTOR")
	}
	if powerful {
		return exit.WrongUsage("a database address connects as a superuser or bypasses row-level security; " +
			"give DATABASE_URL_API and DATABASE_URL_PROJECTOR logins in trust_query and trust_projector only")
	}
	return nil
}

// explainKey is exit.Explain for an error of proving the master key. A key that trust up
// keeps is read once more: trust keys rotate may have changed it since this process read
// it, or may be about to.
func explainKey(c *settings.Config, err error) error {
	if !errors.Is(err, eventstore.ErrWrongMasterKey) || !c.KeepsMasterKey() {
		return exit.Explain(err)
	}

	kept, readErr := settings.ReadEnvFile(c.EnvFile(), owned.Secret)
	switch {
	case readErr != nil:
		return readErr
	case kept["NEW_MASTER_KEY"] != "":
		return exit.Unreachable(err,
			"a change of the master key was begun and is not finished; run trust keys rotate")
	case kept["MASTER_KEY"] != c.MasterKey:
		return exit.Unreachable(err, "the master key was changed while this process started; start it again")
	default:
		return exit.Explain(err)
	}
}

// checkServes refuses a database that is too new for this program to work on.
func checkServes(ctx context.Context, pool *pgxpool.Pool) error {
	return pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return migrations.CheckServes(ctx, conn.Conn()) })
}

// refuseNewer refuses any newer database, also one that checkServes accepts, for a
// command that has to know the whole schema.
func refuseNewer(ctx context.Context, pool *pgxpool.Pool) error {
	return exit.Explain(pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		have, want, err := migrations.Current(ctx, conn.Conn())
		if err == nil && have > want {
			err = migrations.ErrNewerDatabase
		}
		return err
	}))
}
