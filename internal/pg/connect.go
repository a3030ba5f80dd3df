package pg

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Connect makes a pool of pinned sessions, which connects when it is used first. A
// connection on which the server says that it is Away is closed. If it says that it is no
// primary or shuts down, every connection of the pool is dialled anew, and so is every
// one of the pools beside it: a pool that only reads would not notice that it reads what
// a failover left behind. So is every connection of a pool in which one is silent.
func Connect(ctx context.Context, config *pgxpool.Config, beside ...*pgxpool.Pool) (*pgxpool.Pool, error) {
	var made atomic.Pointer[pgxpool.Pool] // connections may be dialled before there is a pool to name
	reset := func() {
		if pool := made.Load(); pool != nil {
			pool.Reset()
		}
		for _, pool := range beside {
			pool.Reset()
		}
	}

	config.ConnConfig.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		established := conn.PID() != 0 // a connection that never came to be says nothing about the others
		if established && hasMoved(err.Code) {
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
// full disk or a lack of memory does not: then the other connections serve as well as new
// ones would.
func hasMoved(state string) bool {
	switch state {
	case pgerrcode.ReadOnlySQLTransaction, pgerrcode.AdminShutdown, pgerrcode.CrashShutdown, pgerrcode.CannotConnectNow:
		return true
	default:
		return false
	}
}

// Close closes a connection, also after ctx has ended; nil is none.
func Close(ctx context.Context, conn *pgx.Conn) {
	if conn == nil {
		return
	}

	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeLimit)
	defer cancel()
	_ = conn.Close(within) // whatever it says, it is gone
}
