package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/migrations"
	"github.com/salga-trust/engine/proof"
)

type restoreCmd struct {
	From string `required:"" placeholder:"FOLDER" help:"Folder that trust backup wrote."`
	Keys string `placeholder:"FOLDER" help:"Newer keys, from trust backup --keys: people erased since stay erased (default --from)."`
}

// Run fills an empty database, which it makes if there is none, and erases again everyone
// whom the keys name as erased. All of it becomes visible at once; until then only the
// owner can open the database.
func (r restoreCmd) Run(ctx context.Context, p *program) error {
	o, err := p.check(needs{as: (*settings.Config).NeedOwner, keys: settings.Secrets{Master: true}})
	if err != nil {
		return err
	}

	from, err := r.read()
	if err != nil {
		return err
	}
	if err := unwrapMasterKey(ctx, o.config); err != nil {
		return err
	}
	if from.held, err = heldCheckpoints(o.config); err != nil {
		return err
	}

	conn, err := emptyDatabase(ctx, o.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return from.into(ctx, p, conn, []byte(o.config.MasterKey))
}

// stored is a backup whose files are proven to be as they were written.
type stored struct {
	folders map[string]string // of eventsFile and keysFile
	events  manifest
	keys    manifest
	held    []proof.Checkpoint // that were published, as DATA_DIR has them
}

// read proves the files before anything is changed.
func (r restoreCmd) read() (s stored, err error) {
	s.folders = map[string]string{eventsFile: r.From, keysFile: r.From}
	if r.Keys != "" {
		s.folders[keysFile] = r.Keys
	}
	if s.keys, err = readManifest(s.folders[keysFile], keysFile); err != nil {
		return s, err
	}
	if s.events, err = readManifest(r.From, eventsFile); err != nil {
		return s, err
	}
	if s.keys.Position < s.events.Position {
		return s, exit.NotSo("the keys are older than the events (position %d, %d): people registered in between "+
			"would be lost; give the keys that were written with the events, or newer ones",
			s.keys.Position, s.events.Position)
	}

	known, err := migrations.Known()
	if err == nil && max(s.events.Schema, s.keys.Schema) > known {
		err = exit.NotSo("the backup is of schema %d, and this program knows %d; run a newer trust",
			max(s.events.Schema, s.keys.Schema), known)
	}
	return s, err
}

// emptyDatabase connects to a database that nobody has used, made if missing, and brings
// its schema up to date.
func emptyDatabase(ctx context.Context, address string) (*pgx.Conn, error) {
	conn, err := dial(ctx, address)
	// invalid_catalog_name
	if missing, ok := errors.AsType[*pgconn.PgError](err); ok && missing.Code == "3D000" {
		if err = makeDatabase(ctx, address); err == nil {
			conn, err = dial(ctx, address)
		}
	}
	if err != nil {
		return nil, exit.Explain(err)
	}

	err = eventstore.CheckEmpty(ctx, conn)
	if err == nil {
		_, err = migrations.Up(ctx, address)
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, explainRestore(err)
	}
	return conn, nil
}

// into restores the backup.
func (s stored) into(ctx context.Context, p *program, conn *pgx.Conn, masterKey []byte) error {
	restore, err := eventstore.BeginRestore(ctx, conn)
	if err != nil {
		return explainRestore(err)
	}
	defer restore.Close(ctx)

	again, err := s.fill(ctx, p, restore, masterKey)
	if err != nil {
		return explainRestore(err)
	}

	head, err := restore.Finish(ctx)
	if err != nil {
		return explainRestore(err)
	}

	_, err = fmt.Fprintf(p.stdout, "restored to position %d of the backup, now at position %d: %s; erased again: %d. "+
		"Start the projectors, then the API\n", s.events.Position, head, counts(s.events, s.keys), again)
	return err
}

// fill does everything but the last step. The keys come first, so that a wrong master key
// is found before the events are read.
func (s stored) fill(
	ctx context.Context, p *program, restore *eventstore.Restore, masterKey []byte,
) (again int, err error) {
	err = readData(dataPath(s.folders[keysFile], keysFile), func(r io.Reader) error { return restore.ReadKeys(ctx, r) })
	if err != nil {
		return 0, err
	}
	if err := restore.Prove(ctx, masterKey); err != nil {
		return 0, err
	}

	bar := newProgress(p.stderr, s.events.Position, "events")
	err = readData(dataPath(s.folders[eventsFile], eventsFile), func(r io.Reader) error {
		return restore.ReadEvents(ctx, r, func(rows int64) { _ = bar.Add64(rows) }) // drawing is all it does
	})
	_ = bar.Finish()
	if err != nil {
		return 0, err
	}

	if err := restore.Settle(ctx, s.events.Position); err != nil {
		return 0, err
	}
	if err := sayForged(ctx, p, restore, s.events.Position); err != nil {
		return 0, err
	}

	if err := s.nameLost(ctx, p, restore); err != nil {
		return 0, err
	}
	erased, err := restore.Erasures(ctx)
	if err != nil {
		return 0, err
	}
	for _, past := range erased {
		if err := commands.ReapplyErasure(ctx, restore, past); err != nil {
			return 0, err
		}
	}
	return len(erased), nil
}

// nameLost begins what comes after the backup with an event that names the newest
// checkpoint in DATA_DIR, if that covers events which the backup does not hold.
func (s stored) nameLost(ctx context.Context, p *program, restore *eventstore.Restore) error {
	for _, checkpoint := range s.held {
		if checkpoint.Size <= uint64(s.events.Position) {
			continue // the sealer finds out whether the log begins with it
		}
		if err := restore.Fork(ctx, seal.ForkOf(checkpoint)); err != nil {
			return err
		}

		_, err := fmt.Fprintf(p.stderr, "a checkpoint of %d events was published, and the backup holds %d: the log "+
			"goes on under another origin, and its next event says so\n", checkpoint.Size, s.events.Position)
		if err != nil {
			return err
		}
	}
	return nil
}

// sayForged reports forged events of a backup. They are restored as they are: the log had
// them, and no reader believes them.
func sayForged(ctx context.Context, p *program, restore *eventstore.Restore, head int64) error {
	first, count, err := restore.Forged(ctx, head)
	if err == nil && count > 0 {
		_, err = fmt.Fprintf(p.stderr,
			"%d events of the backup do not hold: %v; see docs/operator.md, A forged event\n", count, first)
	}
	return err
}

func explainRestore(err error) error {
	switch {
	case errors.Is(err, eventstore.ErrNotEmpty):
		return exit.NotSo("the database is not empty, and a restore never overwrites anything: name a new " +
			"database in DATABASE_URL, which need not exist yet")
	case errors.Is(err, eventstore.ErrNoBackup), errors.Is(err, eventstore.ErrOtherKeys):
		return exit.NotSo("%v; nothing was restored", err)
	case errors.Is(err, migrations.ErrNotUTF8):
		return notUTF8(err)
	case errors.Is(err, migrations.ErrNewerDatabase):
		return exit.NotSo("the database is newer than this program; run a newer trust")
	default:
		return exit.Explain(err)
	}
}
