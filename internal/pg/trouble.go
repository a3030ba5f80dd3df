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
	// Away is a server that cannot be reached or cannot do what it is asked for now:
	// wait, and connect anew.
	Away
	// Again is a statement that met another one: repeat it, on the same connection.
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

// transactionTimeout is what Postgres says from version 17 on; pgerrcode does not know it
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
			return Settings // what answers there speaks another protocol, or is a pooler that knows no such database
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
		return Away // such as a role that a migration is yet to make
	default:
		return None
	}
}

// IsQueueFull reports whether a transaction that notifies failed because the cluster's
// queue of notifications is full. Other limits have the same SQLSTATE, so the answer is a
// maybe: without notifying it fails again for those.
func IsQueueFull(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == pgerrcode.ProgramLimitExceeded
}

// isBroken reports whether a connection ended or never came to be, which no server had the
// time to say.
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
