package pg

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Connect returns a pool of pinned sessions, which connects at its first use. A
// connection on which the server reports an Away error is closed.
//
// If the server says that it is not a primary, or is shutting down, every connection of
// the pool is replaced, and so are those of the pools beside it: a pool that only reads
// would not notice that it reads from a server left behind by a failover. Every
// connection of a pool is also replaced when one of them falls silent.
func Connect(ctx context.Context, config *pgxpool.Config, beside ...*pgxpool.Pool) (*pgxpool.Pool, error) {
	// A connection may be dialled before NewWithConfig returns the pool.
	var made atomic.Pointer[pgxpool.Pool]
	reset := func() {
		if pool := made.Load(); pool != nil {
			pool.Reset()
		}
		for _, pool := range beside {
			pool.Reset()
		}
	}

	config.ConnConfig.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		// A connection that was never established says nothing about the others.
		if established := conn.PID() != 0; established && hasMoved(err.Code) {
			reset()
		}
		return err.Severity != "FATAL" && Classify(err) != Away
	}

	limitPool(config, func() {
		if pool := made.Load(); pool != nil {
			pool.Reset()
		}
	})
	config.BeforeConnect = pinning(config.BeforeConnect)

	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	made.Store(pool)
	return pool, nil
}

// hasMoved reports whether a server says that another one does its work, or soon will. A
// full disk or a lack of memory does not mean that: new connections would fare no better.
func hasMoved(state string) bool {
	switch state {
	case pgerrcode.ReadOnlySQLTransaction, pgerrcode.AdminShutdown, pgerrcode.CrashShutdown, pgerrcode.CannotConnectNow:
		return true
	default:
		return false
	}
}

// Close closes a connection, even after ctx has ended; it ignores nil.
func Close(ctx context.Context, conn *pgx.Conn) {
	if conn == nil {
		return
	}

	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeLimit)
	defer cancel()
	_ = conn.Close(within) // closed either way
}
