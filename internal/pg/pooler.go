package pg

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrTransactionPooling says that a pooler hands each transaction to whichever session is
// free. What this program pins, listens for and locks belongs to a session, and would
// reach strangers.
var ErrTransactionPooling = errors.New("a pooler in transaction or statement mode is in front of the database")

// IsStartRefused reports whether a pooler refused a connection because of a setting among
// its startup parameters.
func IsStartRefused(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == pgerrcode.ProtocolViolation && strings.Contains(refused.Message, "startup parameter")
}

const backendPID = "select pg_catalog.pg_backend_pid()"

// refuseTransactionPooling returns ErrTransactionPooling if a connection does not have a
// server process to itself: either another connection meets the same process while this
// one is idle, or this one meets a different process. A pooler that keeps the other
// connection waiting has handed out its last session, and so pools sessions, not
// transactions.
func refuseTransactionPooling(ctx context.Context, conn *pgconn.PgConn, config *pgconn.Config, backend uint32) error {
	const tries, patience = 3, time.Second

	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	plain := config.Copy()
	plain.AfterConnect = nil
	other, err := pgconn.ConnectConfig(within, plain)
	if err != nil {
		return ctx.Err()
	}
	defer func() { _ = other.Close(within) }()

	for range tries {
		its, err := ask(within, other, backendPID)
		if err != nil {
			return ctx.Err()
		}

		ours, err := ask(ctx, conn, backendPID)
		if err != nil {
			return err
		}

		if its == backend || ours != backend {
			return ErrTransactionPooling
		}
	}
	return nil
}

// ask sends statements in one message and returns the number in the result of the last,
// if any. It repeats the message if a time limit of the login ends it.
func ask(ctx context.Context, conn *pgconn.PgConn, message string) (uint32, error) {
	const tries = 10
	var results []*pgconn.Result
	var err error

	for range tries {
		results, err = conn.Exec(ctx, message).ReadAll()
		said, ok := err.(*pgconn.PgError) //nolint:errorlint // as it came
		if !ok || said.Code != pgerrcode.QueryCanceled {
			break
		}
	}
	if err != nil || len(results) == 0 {
		return 0, err
	}

	rows := results[len(results)-1].Rows
	if len(rows) != 1 || len(rows[0]) != 1 {
		return 0, nil
	}

	number, err := strconv.ParseUint(string(rows[0][0]), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read a process id: %w", err)
	}
	return uint32(number), nil
}
