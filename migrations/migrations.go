// Package migrations holds the database's schema as numbered SQL files and brings a
// database up to them.
//
// Owns: the *.sql files, the version table public.schema_version, and the order in which
// files run.
//
// Guarantees: each file runs in one transaction together with its version number (unless
// the file itself opts out with tern's disable-tx line), so a killed migration leaves the
// version before it. Any number of processes may call Up at once, on one database or on
// several databases of one cluster. Up never goes down. Unqualified names in a file
// resolve to nothing but pg_catalog.
//
// Fails how: a file that fails is named, with its line, and the database stays at the
// version before it. A database that is newer than the binary is refused; CheckServes
// reports whether the binary may work on it nevertheless.
//
// Not here: which role may see what (the SQL files say), and when to migrate (cmd/trust
// decides).
//
// For authors: a file that only adds begins with "-- additive" (ADR 17). Files are Go
// templates, so a literal {{ must be written {{ "{{" }}. A file may "set local role" and
// need not set it back: Up does, before it writes the version.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
)

//go:embed *.sql
var files embed.FS

// Files returns the schema: numbered files at the root.
func Files() fs.FS { return files }

// versionTable has one row with the number of the last file that ran.
const versionTable = "public.schema_version"

// ErrNewerDatabase says that the database has files this binary does not know: run a
// newer binary.
var ErrNewerDatabase = errors.New("the database is newer than this binary")

// ErrOlderDatabase says that the database lacks files of this binary: it must be
// migrated, or is being migrated.
var ErrOlderDatabase = errors.New("the database lacks migrations of this binary")

// ErrNotUTF8 says that the database stores text in an encoding that cannot hold every
// name.
var ErrNotUTF8 = errors.New("the database's encoding is not UTF8")

// lookLimit is how long reading the versions may take. It reads a row or two: a server
// that needs longer hangs. Migrations themselves have no limit.
const lookLimit = 10 * time.Second

// mostAhead is how many additive migrations a database may be ahead of a program that
// works on it: about one release.
const mostAhead = 10

// CheckServes returns ErrOlderDatabase for a database that lacks files of this program,
// and ErrNewerDatabase for one too new for it to work on: the database has files that
// this program does not know, and either more than a few, or one that does not only add.
// The role of conn needs SELECT on public.schema_version and public.schema_additive.
func CheckServes(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()

	have, want, err := Current(ctx, conn)
	switch {
	case err != nil || have == want:
		return err
	case have < want:
		return ErrOlderDatabase
	}

	if have-want > mostAhead {
		return ErrNewerDatabase
	}

	const count = "select count(*) from public.schema_additive where version > $1 and version <= $2"
	var additive int32
	if err := conn.QueryRow(ctx, count, want, have).Scan(&additive); err != nil {
		return fmt.Errorf("read public.schema_additive: %w", err)
	}
	if additive < have-want {
		return ErrNewerDatabase
	}
	return nil
}

// Applied says what one call of Up did.
type Applied struct {
	From, To int32    // version before and after; equal if there was nothing to do
	Names    []string // the files that ran, in order
}

// Up runs every embedded file that the database at databaseURL does not have yet. The
// role in databaseURL must be allowed to create roles and to create in the database. Up
// opens its own connection and transactions, and waits for another Up on the same
// database as long as ctx allows. On error the returned Applied is empty.
func Up(ctx context.Context, databaseURL string) (Applied, error) {
	return UpFrom(ctx, databaseURL, Files())
}

// UpFrom is Up with files from fsys (its *.sql at the root, numbered from 1 without a
// gap).
func UpFrom(ctx context.Context, databaseURL string, fsys fs.FS) (Applied, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return Applied{}, fmt.Errorf("migrate: %w", err)
	}

	// A startup parameter survives the "reset all" that tern runs after each file. It is
	// empty so that a file cannot depend on, or be tricked by, the search path of the
	// database or the role.
	config.RuntimeParams["search_path"] = ""
	config.RuntimeParams["application_name"] = "trust-migrate"

	run := &run{config: config, files: fsys}
	if err := retryConflicts(ctx, func() error { return run.attempt(ctx) }); err != nil {
		return Applied{}, fmt.Errorf("migrate: %w", describe(err))
	}
	return run.applied, nil
}

// Known returns the version this binary brings a database to.
func Known() (int32, error) {
	names, err := migrate.FindMigrations(files)
	if err != nil {
		return 0, fmt.Errorf("embedded migrations: %w", err)
	}
	return int32(len(names)), nil
}

// Current returns the version the database has (0: never migrated) and the one this
// binary wants. It changes nothing and takes no lock; the role of conn needs SELECT on
// public.schema_version and nothing else.
//
// The version table exists a moment before the first file creates schema trust and lets
// others read the table. So a role that may not read it yet has met a migration that has
// just begun.
func Current(ctx context.Context, conn *pgx.Conn) (have, want int32, err error) {
	if want, err = Known(); err != nil {
		return 0, 0, err
	}

	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()

	// From the catalog, because selecting from a missing table would abort the caller's
	// transaction.
	var exists bool
	const find = `select exists (
		select from pg_catalog.pg_class
		where oid = to_regclass('public.schema_version')
			and (pg_catalog.has_table_privilege(oid, 'select') or to_regnamespace('trust') is not null))`
	if err := conn.QueryRow(ctx, find).Scan(&exists); err != nil {
		return 0, want, fmt.Errorf("look for %s: %w", versionTable, err)
	}
	if !exists {
		return 0, want, nil
	}

	if err := conn.QueryRow(ctx, "select version from "+versionTable).Scan(&have); err != nil {
		return 0, want, fmt.Errorf("read %s: %w", versionTable, err)
	}
	return have, want, nil
}
