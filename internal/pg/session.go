package pg

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Settings of a role or a database apply to every session that does not set them itself.
// Every session that this package opens therefore pins what this program relies on, in
// one message right after connecting, together with whatever else its configuration sets:
// poolers refuse most settings among the startup parameters.
// default_transaction_read_only is never pinned: an operator uses it to fence off a
// database.

// forms decide how values are sent and received, and what statements mean. Any other
// value would be wrong, so nothing overrides them.
func forms() map[string]string {
	return map[string]string{
		// Otherwise names would be stored as another encoding's characters.
		"client_encoding":             "UTF8",
		"DateStyle":                   "ISO, YMD",
		"TimeZone":                    "UTC",
		"standard_conforming_strings": "on",
		// trust.append must see what the last holder of its lock committed.
		"default_transaction_isolation": "read committed",
		// If it is off, a query for one tenant's rows is an error.
		"row_security": "on",
		// Our names are qualified, and so is every name that regclass prints.
		"search_path": "",
	}
}

// limits are off unless the session's configuration sets them.
func limits(version int) []string {
	names := []string{
		"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
	}
	if version >= 17 {
		names = append(names, "transaction_timeout")
	}
	return names
}

// durable makes a commit wait until it is on disk and, with synchronous standbys, on
// theirs: what was acknowledged must outlive a crash. It leaves the one stronger setting
// alone.
const durable = `select set_config('synchronous_commit', 'on', false) ` +
	`where current_setting('synchronous_commit') <> 'remote_apply'`

// Dial opens a connection whose session is pinned.
func Dial(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	config = config.Copy()
	Pin(config)
	return pgx.ConnectConfig(ctx, config)
}

// DialForReset is Dial for a session that says "reset all": its settings are startup
// parameters, which survive that, but which a pooler may refuse.
func DialForReset(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	// A server refuses to start with a setting that it does not know yet, so its version
	// comes first.
	first, err := Dial(ctx, config)
	if err != nil {
		return nil, err
	}
	version := serverVersion(first.PgConn())
	Close(ctx, first)

	config = config.Copy()
	addPins(config.RuntimeParams, version)
	atStart := config.RuntimeParams
	config.RuntimeParams = maps.Clone(atStart)
	Pin(config)
	config.RuntimeParams = atStart

	return pgx.ConnectConfig(ctx, config)
}

// byOther marks the context in which one pool's hook calls the hook of another, which
// then leaves pinning to the caller: a pool may be made from another's configuration.
type byOther struct{}

// pinning returns a pool's hook that pins each connection, after the hook that was there
// before. It is called with a copy of the configuration.
func pinning(before func(context.Context, *pgx.ConnConfig) error) func(context.Context, *pgx.ConnConfig) error {
	return func(ctx context.Context, config *pgx.ConnConfig) error {
		if before != nil {
			if err := before(context.WithValue(ctx, byOther{}, true), config); err != nil {
				return err
			}
		}
		if ctx.Value(byOther{}) == nil {
			Pin(config)
		}
		return nil
	}
}

// addPins adds the pinned settings to those of a session.
func addPins(settings map[string]string, version int) {
	for name, value := range forms() {
		maps.DeleteFunc(settings, func(other, _ string) bool { return strings.EqualFold(other, name) })
		settings[name] = value
	}
	for _, name := range limits(version) {
		if _, named := settings[name]; !named {
			settings[name] = "0"
		}
	}
}

// Pin makes every connection dialled from a configuration a pinned session. It is for
// code that dials by itself, such as database/sql; Dial and Connect pin what they open.
//
// It moves the settings of the configuration from the startup parameters to a message
// that follows the start, together with the pinned ones.
func Pin(config *pgx.ConnConfig) {
	settings, atStart := map[string]string{}, map[string]string{}

	for name, value := range config.RuntimeParams {
		switch strings.ToLower(name) {
		case "application_name", "options", "replication": // poolers know it, or it is no setting
			atStart[name] = value
		default:
			settings[name] = value
		}
	}
	config.RuntimeParams = atStart
	limitConnect(&config.Config)

	then := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		all := maps.Clone(settings)
		addPins(all, serverVersion(conn))
		backend, err := set(ctx, conn, all, fmt.Sprintf("pg_catalog.pg_backend_pid() = %d", conn.PID()))
		if err != nil {
			return err
		}

		// A pooler is in between, and nothing is set yet: the session may be anybody's.
		if backend != conn.PID() {
			if err := refuseTransactionPooling(ctx, conn, &config.Config, backend); err != nil {
				return err
			}
			if _, err := set(ctx, conn, all, "true"); err != nil {
				return err
			}
		}

		if err := endLimit(conn); err != nil || then == nil {
			return err
		}
		return then(ctx, conn)
	}
}

// set applies settings in one message if a condition holds, and returns the server
// process behind the connection either way. A time limit of the login may end it, but its
// first statement lifts that limit.
func set(
	ctx context.Context, conn *pgconn.PgConn, settings map[string]string, where string,
) (backend uint32, err error) {
	calls := make([]string, 0, len(settings))
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		calls = append(calls, "set_config("+literal(name)+", "+literal(settings[name])+", false)")
	}

	return ask(ctx, conn, "select set_config('statement_timeout', '0', false) where "+where+
		"; select "+strings.Join(calls, ", ")+" where "+where+"; "+durable+" and "+where+"; "+backendPID)
}

// literal quotes a text, whatever standard_conforming_strings is at that point.
func literal(text string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// serverVersion returns the major version of the server, or 0 if it does not say.
func serverVersion(conn *pgconn.PgConn) int {
	digits := conn.ParameterStatus("server_version")
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}

	version, _ := strconv.Atoi(digits) // 0 then asks for no setting of newer versions
	return version
}
