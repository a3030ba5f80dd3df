package pg

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// Trouble is what an error says about the database, and so what to do about it.
type Trouble int

// The kinds of trouble.
const (
	// None says nothing about the database: there is no error, or it is about an event, a
	// row or a refusal.
	None Trouble = iota
	// Away is a server that cannot be reached or cannot do what is asked of it now: wait,
	// and connect anew.
	Away
	// Again is a statement that collided with another one: repeat it, on the same
	// connection.
	Again
	// Ours is a statement or transaction that took longer than this program allows
	// itself.
	Ours
	// Settings is a server that refuses this program as it is configured: waiting does
	// not help.
	Settings
)

// Classify returns what an error says about the database. The SQLSTATEs that this
// system's own SQL functions raise (23001, P0001) say nothing about it, and neither does
// a caller who hung up.
func Classify(err error) Trouble {
	if err == nil {
		return None
	}

	if errors.Is(err, ErrTransactionPooling) {
		return Settings
	}

	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifyState(refused.Code, connecting)
	}

	if errors.Is(err, context.Canceled) {
		return None
	}
	if connecting || isBroken(err) {
		return Away
	}
	return None
}

// transactionTimeout is a SQLSTATE of Postgres 17 and later that pgerrcode does not know
// yet.
const transactionTimeout = "25P04"

func classifyState(state string, connecting bool) Trouble {
	switch state {
	case pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected, pgerrcode.LockNotAvailable:
		return Again
	case pgerrcode.QueryCanceled, pgerrcode.IdleInTransactionSessionTimeout, transactionTimeout:
		return Ours
	case pgerrcode.DatabaseDropped:
		return Settings
	case pgerrcode.ReadOnlySQLTransaction, pgerrcode.AdminShutdown, pgerrcode.CrashShutdown, pgerrcode.CannotConnectNow,
		pgerrcode.IdleSessionTimeout:
		return Away
	case pgerrcode.ProtocolViolation:
		if connecting {
			return Settings // another protocol, or a pooler that knows no such database
		}
		return Away
	}

	switch {
	case pgerrcode.IsInvalidAuthorizationSpecification(state), pgerrcode.IsInvalidCatalogName(state):
		return Settings
	case pgerrcode.IsConnectionException(state), pgerrcode.IsInsufficientResources(state),
		pgerrcode.IsSystemError(state):
		return Away
	case connecting:
		return Away // such as a role that a migration has yet to create
	default:
		return None
	}
}

// IsQueueFull reports whether a transaction that notifies failed because the cluster's
// queue of notifications is full. Other limits share the SQLSTATE, so true only means
// maybe: a retry without notifying fails again for those.
func IsQueueFull(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == pgerrcode.ProgramLimitExceeded
}

// isBroken reports whether a connection ended, or was never established, without an error
// from the server.
func isBroken(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok { // context.DeadlineExceeded is one
		return true
	}

	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed} {
		if errors.Is(err, end) {
			return true
		}
	}

	return pgconn.SafeToRetry(err)
}
