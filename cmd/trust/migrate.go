package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/migrations"
)

type migrateCmd struct {
	Status bool `help:"Only tell the version there is and the version there should be; exit 1 when they differ."`
}

// Run brings the schema up to date, or tells how far it is.
func (m migrateCmd) Run(ctx context.Context, p *program) error {
	c, err := p.config()
	if err != nil {
		return err
	}
	address, err := c.NeedOwner()
	if err != nil {
		return err
	}
	if m.Status {
		return migrationStatus(ctx, p, address)
	}
	done, err := migrations.Up(ctx, address)
	if err != nil {
		return exit.Unreachable(err, "the schema could not be brought up to date")
	}
	for _, name := range done.Names {
		if _, err := fmt.Fprintln(p.stdout, "applied", name); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.stdout, "schema version %d (was %d)\n", done.To, done.From)
	return err
}

func migrationStatus(ctx context.Context, p *program, address string) error {
	conn, err := connectOwner(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	have, want, err := migrations.Current(ctx, conn)
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

// connectOwner connects to the database that DATABASE_URL names.
func connectOwner(ctx context.Context, address string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, exit.Unreachable(err, "the database does not answer; is it running, and is DATABASE_URL right?")
	}
	return conn, nil
}
