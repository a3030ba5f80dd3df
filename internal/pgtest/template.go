package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/migrations"
)

// templateLock keeps test binaries that share a server from building the same template at
// once: "trusttpl" in ASCII.
const templateLock = 0x7472757374_74706c

// template returns the name of the migrated template, which the first test binary that
// needs it makes.
func (s *server) template() (string, error) {
	s.once.Do(func() {
		ctx, cancel := cleanupContext()
		defer cancel()
		s.templateDB, s.templateErr = s.buildTemplate(ctx)
	})
	return s.templateDB, s.templateErr
}

// buildTemplate migrates under another name and renames at the end, so a template that
// exists is complete.
func (s *server) buildTemplate(ctx context.Context) (string, error) {
	hash, err := hashOf(migrations.Files())
	if err != nil {
		return "", err
	}
	name := "trust_template_" + hash[:16]

	// An advisory lock belongs to one database, and binaries that share a server may have
	// been given different ones.
	common := *s.url
	common.Path = "/postgres"
	lock, err := pgx.Connect(ctx, common.String())
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close(context.WithoutCancel(ctx)) }() // and with it the lock
	if _, err := lock.Exec(ctx, "select pg_advisory_lock($1)", int64(templateLock)); err != nil {
		return "", err
	}

	const find = "select exists (select from pg_database where datname = $1)"
	var exists bool
	if err := lock.QueryRow(ctx, find, name).Scan(&exists); err != nil {
		return "", err
	}
	if exists {
		return name, nil
	}

	building := DB{name: name + "_building", admin: s.url}
	if err := s.exec(ctx, "drop database if exists %s with (force)", building.name); err != nil {
		return "", err
	}
	if err := s.exec(ctx, "create database %s template template0", building.name); err != nil {
		return "", err
	}
	if _, err := migrations.Up(ctx, building.address("").String()); err != nil {
		return "", fmt.Errorf("make the template: %w", err)
	}

	// Cloning fails while anybody is connected.
	const seal = "alter database %s with allow_connections false is_template true"
	if err := s.exec(ctx, seal, building.name); err != nil {
		return "", err
	}
	return name, s.exec(ctx, "alter database %s rename to %s", building.name, name)
}

// hashOf returns the SHA-256, in hexadecimal, of the files' names and contents: two
// binaries with the same hash make the same schema.
func hashOf(files fs.FS) (string, error) {
	names, err := fs.Glob(files, "*.sql") // in order
	if err != nil {
		return "", err
	}

	sum := sha256.New()
	for _, name := range names {
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(body))
		sum.Write(body)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
