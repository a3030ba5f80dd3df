package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// passing tells whether an error says something about the database or the network at this moment, not about an event: trying
// again may help, and no event is to blame.
func passing(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code[:2] {
		case "08", "40", "53", "55", "57", "58": // connection, serialization, resources, locks, operator, system
			return true
		}
		return refused.Code == "25P03" // idle in transaction for too long
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) || pgconn.SafeToRetry(err) ||
		errors.Is(err, domain.Refuse(domain.CodeUnavailable, ""))
}

// describe says what is wrong for operators. Only texts known to hold no value of an event or a row are repeated.
func describe(err error) string {
	var (
		unknown   *domain.UnknownEventError
		order     *OrderError
		gap       *eventstore.GapError
		refused   *pgconn.PgError
		malformed *json.SyntaxError
		mistyped  *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &unknown):
		return unknown.Error()
	case errors.As(err, &order):
		return order.Error()
	case errors.As(err, &gap):
		return gap.Error()
	case errors.Is(err, errDeposed):
		return errDeposed.Error()
	case errors.Is(err, errPanicked), errors.Is(err, errMoved):
		return innermost(err).Error()
	case errors.As(err, &refused):
		return strings.TrimSpace(fmt.Sprintf("Postgres refused with SQLSTATE %s %s", refused.Code,
			strings.Join([]string{refused.TableName, refused.ColumnName, refused.ConstraintName}, " ")))
	case errors.As(err, &malformed):
		return "the event's JSON is malformed"
	case errors.As(err, &mistyped):
		return "the event's JSON does not fit its type at " + mistyped.Field
	}
	if passing(err) {
		return fmt.Sprintf("the database does not answer (%T)", innermost(err))
	}
	return fmt.Sprintf("it cannot be read or folded (%T)", innermost(err))
}

func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// Unavailable makes a refusal of what keeps the database from answering; other errors, and nil, stay as they are.
func Unavailable(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || !passing(err) {
		return err
	}
	return domain.Refuse(domain.CodeUnavailable, "The database does not answer; try again shortly.").Because(err)
}
