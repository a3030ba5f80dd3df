package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// The exit codes of every command.
const (
	exitDone        = 0
	exitNotSo       = 1 // the thing asked about is not so
	exitUsage       = 2 // wrong usage, wrong configuration
	exitUnreachable = 3 // could not reach what it needs
)

// exitRefused is exitUsage of a part under trust up: EX_CONFIG of sysexits.h. The Go runtime ends a program that panics with 2,
// and a part that crashed is to be started again, while one that refuses its configuration is not.
const (
	exitRefused  = 78
	partVariable = "TRUST_PART"
)

// failure is an error that knows its exit code. Its text is one line that says what to do next.
type failure struct {
	code int
	text string
	err  error // the cause, shown after the text; nil: none
}

func (f *failure) Error() string {
	if f.err == nil {
		return f.text
	}
	return f.text + ": " + f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// notSo is the answer "no".
func notSo(format string, args ...any) error {
	return &failure{code: exitNotSo, text: fmt.Sprintf(format, args...)}
}

// wrongUsage says that the command line or the configuration has to change.
func wrongUsage(format string, args ...any) error {
	return &failure{code: exitUsage, text: fmt.Sprintf(format, args...)}
}

// unreachable says that something outside is missing, with its cause if that helps.
func unreachable(err error, format string, args ...any) error {
	return &failure{code: exitUnreachable, text: fmt.Sprintf(format, args...), err: err}
}

// exitCode gives the code of an error: its own, else by what it is about.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	if refusal, ok := errors.AsType[*domain.Error](err); ok {
		switch refusal.Code {
		case domain.CodeInvalid:
			return exitUsage
		case domain.CodeUnavailable, domain.CodeTimeout, domain.CodeOverloaded, domain.CodeBusy:
			return exitUnreachable
		default:
			return exitNotSo
		}
	}
	return exitUnreachable
}

// isAway tells whether an error means that the database does not answer now, and may later.
func isAway(err error) bool {
	if refusal, ok := errors.AsType[*domain.Error](err); ok {
		return refusal.Code == domain.CodeUnavailable || refusal.Code == domain.CodeTimeout || refusal.Code == domain.CodeOverloaded
	}

	switch pg.Classify(err) {
	case pg.Away, pg.Again, pg.Ours:
		return true
	default:
		return false
	}
}

// oneLine makes an error fit on the one line that a caller reads.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// isUnmigrated tells whether something is missing that migrations make: a schema, table, function, column or role.
func isUnmigrated(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch refused.Code {
	case "3F000", "42P01", "42883", "42703": // invalid_schema_name, undefined_table, undefined_function, undefined_column
		return true
	case "22023": // invalid_parameter_value: role "trust_query" does not exist, said when a session starts
		return strings.Contains(refused.Message, "role")
	default:
		return false
	}
}

// isClosed tells whether a database lets nobody in but its owner, as a restore leaves it until it is finished.
func isClosed(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == "42501" && strings.Contains(refused.Message, "schema trust") // insufficient_privilege
}
