package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/migrations"
)

type migrateCmd struct {
	Status bool `help:"Change nothing; show the version and the one it should have, exit 1 if they differ."`
}

// Run brings the schema up to date, or shows its version.
func (m migrateCmd) Run(ctx context.Context, p *program) error {
	if m.Status {
		return migrationStatus(ctx, p)
	}

	o, err := p.check(needs{as: (*settings.Config).NeedOwner})
	if err != nil {
		return err
	}

	done, err := migrations.Up(ctx, o.address)
	if errors.Is(err, migrations.ErrNotUTF8) {
		return notUTF8(err)
	}
	if err != nil {
		return notMigrated(err)
	}

	for _, name := range done.Names {
		if _, err := fmt.Fprintln(p.stdout, "applied", name); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.stdout, "schema version %d (was %d)\n", done.To, done.From)
	return err
}

// notUTF8 explains what to do about a database that cannot hold every name.
func notUTF8(err error) error {
	return exit.NotSo("%v; give DATABASE_URL one that was made with: "+
		"create database NAME encoding 'UTF8' template template0", err)
}

func migrationStatus(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedOwner, conn: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	have, want, err := migrations.Current(ctx, o.conn)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(p.stdout, "schema version %d of %d\n", have, want); err != nil {
		return err
	}

	switch {
	case have < want:
		return exit.NotSo("the schema is %d migrations behind; run trust migrate", want-have)
	case have > want:
		return exit.NotSo("the database is newer than this program; run a newer trust")
	default:
		return nil
	}
}

// notMigrated explains why the schema is not up to date: the database is out of reach, or
// a migration failed.
func notMigrated(err error) error {
	if errors.Is(err, migrations.ErrNewerDatabase) || pg.Classify(err) != pg.None || exit.IsRefused(err) {
		return exit.Explain(err)
	}
	return exit.Unreachable(err, "the schema could not be brought up to date")
}
