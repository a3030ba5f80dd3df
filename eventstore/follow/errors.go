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
	// weather: the database was in trouble; no event is to blame, unless it happens with
	// the same one again and again.
	weather
	// tooSlow: the database ended a statement or a transaction that took too long. No
	// event is to blame, unless it happens again.
	tooSlow
	// hopeless: the database rejects this program's configuration.
	hopeless
)

// judge returns what a failure says. lost tells that the connection is gone; took is how
// long the attempt took.
func judge(err error, lost bool, took time.Duration) verdict {
	switch {
	case errors.Is(err, errPanicked):
		return atFault
	case errors.Is(err, errTooLong), errors.Is(err, ErrTooSlow):
		return tooSlow
	}

	switch pg.Classify(err) {
	case pg.Settings:
		return hopeless
	case pg.Ours:
		return tooSlow
	case pg.Away, pg.Again:
		if lost && took > deadAfter {
			// Postgres may have ended an idle transaction, and its message was lost.
			return tooSlow
		}
		return weather
	case pg.None:
	}

	if lost || errors.Is(err, errMoved) || errors.Is(err, context.Canceled) {
		return weather
	}
	return atFault
}

// passes tells whether a new leadership may begin after one that ended with err.
func passes(err error) bool {
	trouble := pg.Classify(err)
	return trouble != pg.None && trouble != pg.Settings || errors.Is(err, errDeposed) || errors.Is(err, errStalled) ||
		errors.Is(err, context.Canceled)
}

// stepsDown tells whether a leader gave up although it held its lock: another process may
// do better.
func stepsDown(err error) bool { return errors.Is(err, errSilent) || errors.Is(err, errStalled) }

// Describe says what is wrong, for operators. It repeats only texts that are known to
// hold no value of an event or a row.
func Describe(err error) string {
	for _, safe := range []error{errDeposed, errPanicked, errMoved, errSilent, errStalled, errTooLong, ErrTooSlow} {
		if errors.Is(err, safe) {
			return safe.Error()
		}
	}

	if unknown, ok := errors.AsType[*domain.UnknownEventError](err); ok {
		return unknown.Error()
	}
	if backwards, ok := errors.AsType[*BackwardsError](err); ok {
		return backwards.Error()
	}
	if plain, ok := errors.AsType[*PlainError](err); ok {
		return plain.Error()
	}
	if away, ok := errors.AsType[*AwayError](err); ok {
		return away.Error()
	}
	if behind, ok := errors.AsType[*BehindError](err); ok {
		return behind.Error()
	}
	if forged, ok := errors.AsType[*eventstore.ForgedError](err); ok {
		return forged.Error() + "; see docs/operator.md, A forged event"
	}
	if gap, ok := errors.AsType[*eventstore.GapError](err); ok {
		return gap.Error()
	}

	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.TrimSpace(fmt.Sprintf("Postgres refused with SQLSTATE %s %s", refused.Code,
			strings.Join([]string{refused.TableName, refused.ColumnName, refused.ConstraintName}, " ")))
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return "the event's JSON is malformed"
	}
	if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
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
