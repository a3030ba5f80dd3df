package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pg"
)

// verdict is what a failure says about the range that failed.
type verdict int

const (
	// atFault: an event of the range cannot be applied.
	atFault verdict = iota
	// weather: the database was in trouble; no event is to blame.
	weather
	// tooSlow: the database ended a statement or a transaction that took too long. Weather, unless it happens again.
	tooSlow
	// hopeless: the database refuses this program as it is configured.
	hopeless
)

// judge tells what a failure says. lost tells that the connection is gone, took how long the attempt went on.
func judge(err error, lost bool, took time.Duration) verdict {
	if errors.Is(err, errPanicked) {
		return atFault
	}
	switch pg.Classify(err) {
	case pg.Settings:
		return hopeless
	case pg.Ours:
		return tooSlow
	case pg.Away, pg.Again:
		if lost && took > deadAfter {
			return tooSlow // Postgres ends a transaction that stands still, and its last words may be lost
		}
		return weather
	case pg.None:
	}
	if lost || errors.Is(err, errMoved) || errors.Is(err, context.Canceled) {
		return weather
	}
	return atFault
}

// passes tells whether a leadership that ended so may begin again.
func passes(err error) bool {
	trouble := pg.Classify(err)
	return trouble != pg.None && trouble != pg.Settings || errors.Is(err, errDeposed) || errors.Is(err, context.Canceled)
}

// Describe says what is wrong for operators. Only texts known to hold no value of an event or a row are repeated.
func Describe(err error) string {
	var (
		unknown   *domain.UnknownEventError
		fault     *Fault
		gap       *eventstore.GapError
		refused   *pgconn.PgError
		malformed *json.SyntaxError
		mistyped  *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &unknown):
		return unknown.Error()
	case errors.As(err, &fault):
		return fault.Error()
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
	if pg.Classify(err) != pg.None {
		return fmt.Sprintf("the database does not answer (%T)", innermost(err))
	}
	return fmt.Sprintf("it cannot be read or applied (%T)", innermost(err))
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
