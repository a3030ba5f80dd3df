package exit

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/migrations"
)

// Explain adds to an error of the database what to do about it. One that says so already
// stays as it is.
func Explain(err error) error {
	if _, explained := errors.AsType[*Error](err); explained {
		return err
	}
	if unknown, ok := errors.AsType[*domain.UnknownEventError](err); ok {
		return WrongUsage("%v", unknown)
	}
	if forged, ok := errors.AsType[*eventstore.ForgedError](err); ok {
		return NotSo("%v; see docs/operator.md, A forged event", forged)
	}

	switch {
	case errors.Is(err, migrations.ErrNewerDatabase):
		return WrongUsage("the database is newer than this program; run a newer trust")
	case errors.Is(err, eventstore.ErrWrongMasterKey):
		return WrongUsage("MASTER_KEY is not the one that this database was made with, or that trust keys rotate " +
			"changed it to; set that one")
	case errors.Is(err, eventstore.ErrMasterKeyChanged):
		return Unreachable(nil,
			"the master key was changed while this process ran; set MASTER_KEY to the new one and start it again")
	case IsUnmigrated(err): // also when the connection failed because the role to switch to is missing
		return Unreachable(err, "the database schema is missing or out of date; run trust migrate")
	case IsClosed(err):
		return Unreachable(err,
			"a restore into this database is not finished; wait for it, or restore into a new database")
	case errors.Is(err, pg.ErrTransactionPooling):
		return Unreachable(err,
			"set the pooler's pool_mode to session, or give an address that leads to Postgres directly")
	case pg.IsStartRefused(err):
		return Unreachable(err,
			"the pooler at this address refuses these connection settings; give an address that leads to Postgres "+
				"directly, or take options out of it")
	case pg.Classify(err) == pg.Settings:
		return Unreachable(err,
			"the database refuses this program's settings; correct its address or its login")
	case IsRefused(err):
		return Unreachable(err,
			"the database denies this login a right that it needs; give it the rights of its role "+
				"(docs/operator.md, Configure)")
	case IsAway(err):
		return Unreachable(err, "the database does not answer; is it running, and is its address right?")
	default:
		return err
	}
}

// IsAway reports whether an error means that the database does not answer now but may
// later.
func IsAway(err error) bool {
	if refusal, ok := errors.AsType[*domain.Error](err); ok {
		switch refusal.Code {
		case domain.CodeUnavailable, domain.CodeTimeout, domain.CodeOverloaded, domain.CodeOutcomeUnknown:
			return true
		default:
			return false
		}
	}

	switch pg.Classify(err) {
	case pg.Away, pg.Again, pg.Ours:
		return true
	default:
		return false
	}
}

// IsUnmigrated reports whether something is missing that migrations make: a schema,
// table, function, column or role.
func IsUnmigrated(err error) bool {
	if errors.Is(err, migrations.ErrOlderDatabase) {
		return true
	}

	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch refused.Code {
	// invalid_schema_name, undefined_table, undefined_function, undefined_column
	case "3F000", "42P01", "42883", "42703":
		return true
	// invalid_parameter_value: role "trust_query" does not exist, raised when a session
	// starts
	case "22023":
		return strings.Contains(refused.Message, "role")
	default:
		return false
	}
}

// IsRefused reports whether a login lacks a right: to connect, to switch to a role, or to
// do something that only a role may do.
func IsRefused(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == "42501" && !IsClosed(err) // insufficient_privilege
}

// IsClosed reports whether a database admits only its owner, as a restore leaves it until
// it is finished.
func IsClosed(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == "42501" && strings.Contains(refused.Message, "schema trust") // insufficient_privilege
}
