package eventstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// backend is the server process behind a connection. Its pid alone is not enough, because
// another process may have it by now; and the pid that pgx knows is a pooler's, if there
// is one.
type backend struct{ pid, start string }

// backendKey is where a connection keeps its backend.
const backendKey = "backend"

// The session's role may have fewer rights than its login to see and end backends, so
// both are done as the login.
const (
	askBackend = `select set_config('role', 'none', true);
		select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()`
	beLogin    = `select set_config('role', 'none', true)`
	endBackend = `select count(pg_terminate_backend(pid)) from pg_stat_activity
		where pid = $1::text::integer and backend_start = $2::text::timestamptz`
)

// noteBackend extends a pool's hook so that each connection records the backend that
// serves it. It runs after the given hook.
func noteBackend(then func(context.Context, *pgx.Conn) error) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		if then != nil {
			if err := then(ctx, conn); err != nil {
				return err
			}
		}

		b, err := askForBackend(ctx, conn)
		conn.PgConn().CustomData()[backendKey] = b
		return err
	}
}

// askForBackend takes one round trip per connection.
func askForBackend(ctx context.Context, conn *pgx.Conn) (backend, error) {
	answers, err := conn.PgConn().Exec(ctx, askBackend).ReadAll()
	if err != nil {
		return backend{}, err
	}
	if len(answers) != 2 || len(answers[1].Rows) != 1 {
		return backend{}, errors.New("the server does not tell which process serves this connection")
	}

	row := answers[1].Rows[0]
	return backend{pid: string(row[0]), start: string(row[1])}, nil
}

func backendOf(conn *pgxpool.Conn) backend {
	// noteBackend ran when the connection was made.
	return conn.Conn().PgConn().CustomData()[backendKey].(backend)
}

// mayStillCome tells whether a call that failed may have been carried out, or may yet be.
// An error of the statement is certain: the server rolled back. An error that ends the
// session is not, because it may come after the commit, or from a pooler.
func mayStillCome(err error, conn *pgxpool.Conn) bool {
	if err == nil || pgconn.SafeToRetry(err) {
		return false
	}
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return said.SeverityUnlocalized != "ERROR"
	}
	return conn.Conn().IsClosed()
}

// endStrays ends the backends that may still write a batch whose connection broke, and
// waits until they are gone: by then each transaction was committed, or never will be. It
// cannot reach an old primary that survives a failover.
func (a *appender) endStrays(ctx context.Context) error {
	pauses := pg.NewBackoff(2*time.Millisecond, 100*time.Millisecond)
	for len(a.strays) > 0 {
		there, err := a.endStray(ctx, a.strays[0])
		if err != nil {
			return err
		}
		if !there {
			a.strays = a.strays[1:]
			continue
		}

		if !pauses.Wait(ctx) {
			return ctx.Err()
		}
	}
	return nil
}

// endStray ends a backend, and tells whether it was still running.
func (a *appender) endStray(ctx context.Context, b backend) (there bool, err error) {
	batch := &pgx.Batch{}
	batch.Queue(beLogin)
	batch.Queue(endBackend, b.pid, b.start).QueryRow(func(row pgx.Row) error {
		var ended int
		err := row.Scan(&ended)
		there = ended > 0
		return err
	})
	return there, a.pool.SendBatch(ctx, batch).Close()
}

// outcomeUnknown is the answer for an append that may be in the log, or may enter it
// later.
func outcomeUnknown(err error) error {
	return domain.Refuse(domain.CodeOutcomeUnknown,
		"It is not known whether this was carried out: send it again, with the same Idempotency-Key if it had one.").
		Because(err)
}
