package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"
)

// Twelve tries with pauses that grow to half a second take about four seconds: longer
// than any real migration that touches roles, and short enough that a file which is
// simply wrong does not look like a hang.
const (
	maxTries = 12
	maxPause = 500 * time.Millisecond
)

// retryConflicts repeats try while it loses a race against a migration of another
// database in the same cluster.
//
// Roles belong to the cluster, and tern's advisory lock to one database, so two databases
// that are migrated at once both find a role missing and both create it. No lock that
// every permitted role can take spans databases, and holding one in a separate database
// would need the right to connect there. Losing is harmless, because a file and its
// version number are one transaction; so the loser simply tries again.
func retryConflicts(ctx context.Context, try func() error) error {
	pauses := &backoff.ExponentialBackOff{
		InitialInterval: 10 * time.Millisecond, MaxInterval: maxPause, Multiplier: 2,
		RandomizationFactor: backoff.DefaultRandomizationFactor, // otherwise the losers would meet again
	}

	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := try()
		if err != nil && !isConflict(err) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(0))
	return err
}

// isConflict reports whether an error means that somebody else changed a shared catalog
// just now, rather than a fault in a file.
func isConflict(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}

	switch refused.Code {
	case "23505":
		// unique_violation: the other transaction inserted the same role or membership
		// first.
		return refused.SchemaName == "pg_catalog"
	case "42710":
		// duplicate_object: it committed between "if not exists" and "create role".
		return true
	case "40P01":
		// deadlock_detected: both changed the same roles, in a different order.
		return true
	case "XX000":
		// internal_error: so Postgres reports two GRANTs on one catalog row,
		// untranslated.
		return strings.HasPrefix(refused.Message, "tuple concurrently ")
	default:
		return false
	}
}

// describe adds what tern's errors leave out: the line of the file (after its template
// ran), and what a version out of range means.
func describe(err error) error {
	if _, ok := errors.AsType[migrate.BadVersionError](err); ok {
		return fmt.Errorf("%w: %w", ErrNewerDatabase, err)
	}
	if advice := onRoles(err); advice != "" {
		return fmt.Errorf("%s: %w", advice, err)
	}

	failed, ok := errors.AsType[migrate.MigrationPgError](err)
	if !ok || failed.PgError == nil || failed.Position < 1 {
		return err
	}

	text := []rune(failed.Sql) // Postgres counts characters, not bytes
	before := string(text[:min(int(failed.Position)-1, len(text))])
	return fmt.Errorf("line %d of %w", 1+strings.Count(before, "\n"), err)
}

// onRoles says what to do if a login may not create or grant the schema's roles; empty:
// the error is about something else.
func onRoles(err error) string {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || refused.Code != "42501" { // insufficient_privilege
		return ""
	}

	switch {
	case strings.HasPrefix(refused.Message, "permission denied to create role"):
		return "this login may not create the roles of the schema; let a superuser run: alter role LOGIN createrole"
	// From version 16 on, if another login made them.
	case strings.HasPrefix(refused.Message, "permission denied to grant role"):
		return "another login made the roles of the schema; let a superuser run: " +
			"grant trust_owner, trust_append, trust_projector, trust_query, trust_audit to LOGIN with admin option"
	default:
		return ""
	}
}
