package eventstore

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/domain"
)

// unavailable turns an error that says "the database is away" into CodeUnavailable, and leaves every other as it is.
func unavailable(err error) error {
	if err == nil || !away(err) {
		return err
	}
	return domain.Refuse(domain.CodeUnavailable, "The database is away; try again.").Because(err)
}

// away tells whether an error comes from a database that cannot be reached, stops, starts, or has no time: the same request may
// go through later.
func away(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case strings.HasPrefix(pg.Code, "08"), strings.HasPrefix(pg.Code, "57P"): // connection; shutdown, crash, starting up
			return true
		case pg.Code == "53300", pg.Code == "57014", pg.Code == "55P03": // too many connections, statement and lock timeout
			return true
		}
		return false
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

// Unavailable turns an error that says "the database is away" into CodeUnavailable, and leaves every other as it is.
func Unavailable(err error) error { return unavailable(err) }
