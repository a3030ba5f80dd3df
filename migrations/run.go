package migrations

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"github.com/salga-trust/engine/internal/pg"
)

// resetRole ends every file. tern writes the version after the file, in the same
// transaction, and its "reset all" does not undo "set role" (nor "set local role"); the
// version table belongs to the migrating role, not to the schema owner.
const resetRole = "\n;\nreset role;\n"

// additive begins a file that only adds: whatever a program relies on that does not know
// the file stays as it is. Files up to 008, which makes the table that records this,
// cannot have it.
const additive = "-- additive"

// run is one call of Up, over all its attempts.
type run struct {
	config  *pgx.ConnConfig
	files   fs.FS
	applied Applied

	begun bool // a file has begun, in this or an earlier attempt
	// current is the file that is running. It counts once the next one begins, or once
	// all have run.
	current string
}

// attempt runs what is missing on a connection of its own. Closing it also frees tern's
// advisory lock, whatever happened.
func (r *run) attempt(ctx context.Context) error {
	r.current = "" // rolled back, if an earlier attempt left one

	conn, err := pg.DialForReset(ctx, r.config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	if encoding := conn.PgConn().ParameterStatus("server_encoding"); encoding != "UTF8" {
		return fmt.Errorf("%w but %s", ErrNotUTF8, encoding)
	}

	migrator, err := migrate.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", versionTable, err)
	}
	if err := migrator.LoadMigrations(r.files); err != nil {
		return fmt.Errorf("load files: %w", err)
	}

	for _, file := range migrator.Migrations {
		only := strings.HasPrefix(file.UpSQL, additive)
		file.UpSQL += resetRole
		if only {
			file.UpSQL += fmt.Sprintf("insert into public.schema_additive (version) values (%d);\n", file.Sequence)
		}
	}

	migrator.OnStart = func(number int32, name, _, _ string) { r.started(number, name) }
	if err := migrator.Migrate(ctx); err != nil {
		return err
	}
	r.finished(int32(len(migrator.Migrations)))
	return nil
}

// started records that a file begins, and so that the one before it has run.
func (r *run) started(number int32, name string) {
	if !r.begun {
		r.begun, r.applied.From = true, number-1
	}
	r.count()
	r.current = name
}

// finished records that the database is at version.
func (r *run) finished(version int32) {
	if !r.begun {
		r.applied.From = version
	}
	r.count()
	r.applied.To = version
}

func (r *run) count() {
	if r.current != "" {
		r.applied.Names = append(r.applied.Names, r.current)
	}
}
