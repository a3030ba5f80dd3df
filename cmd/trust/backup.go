package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/schollz/progressbar/v3"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/migrations"
)

type backupCmd struct {
	To   string `required:"" placeholder:"FOLDER" help:"Folder for the backup, made if missing; must not hold one yet."`
	Keys bool   `help:"Write only the keys: small, to be taken often and kept briefly."`
}

// Run writes the log and the keys, or only the keys, as of one instant. It reads as the
// owner and needs no master key: sealed data stays sealed, wrapped keys stay wrapped.
func (b backupCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedOwner, conn: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	schema, err := schemaOf(ctx, o.conn)
	if err != nil {
		return err
	}
	if err := freshFolder(b.To); err != nil {
		return err
	}

	snapshot, err := eventstore.BeginBackup(ctx, o.conn)
	if err != nil {
		return exit.Explain(err)
	}
	defer snapshot.Close(ctx)
	return b.write(ctx, p, snapshot, schema)
}

// schemaOf returns the schema version of a database, and refuses one that this program
// does not know.
func schemaOf(ctx context.Context, conn *pgx.Conn) (int32, error) {
	have, want, err := migrations.Current(ctx, conn)
	switch {
	case err != nil:
		return 0, exit.Explain(err)
	case have == 0:
		return 0, exit.NotSo("this database is empty: it was never migrated")
	case have > want:
		return 0, exit.NotSo("the database is newer than this program; run a newer trust")
	default:
		return have, nil
	}
}

// write writes the data, and then the manifests, without which it is no backup.
func (b backupCmd) write(ctx context.Context, p *program, snapshot *eventstore.Backup, schema int32) error {
	var done []manifest
	for _, name := range []string{eventsFile, keysFile} {
		if b.Keys && name == eventsFile {
			continue
		}
		m := manifest{
			Format: backupFormat, Holds: name, Schema: schema, Position: snapshot.Head(), CreatedAt: time.Now().UTC(),
			Program: version,
		}

		var err error
		m.SHA256, err = writeData(dataPath(b.To, name), func(w io.Writer) (err error) {
			m.Rows, err = b.fill(ctx, p, snapshot, name, w)
			return exit.Explain(err)
		})
		if err != nil {
			return err
		}
		done = append(done, m)
	}

	for _, m := range done {
		if err := writeManifest(b.To, m); err != nil {
			return err
		}
	}

	_, err := fmt.Fprintf(p.stdout, "backup of position %d in %s: %s\n", snapshot.Head(), b.To, counts(done...))
	return err
}

func (backupCmd) fill(
	ctx context.Context, p *program, snapshot *eventstore.Backup, name string, w io.Writer,
) (map[string]int64, error) {
	if name == keysFile {
		return snapshot.WriteKeys(ctx, w)
	}

	bar := newProgress(p.stderr, snapshot.Head(), "events")
	defer func() { _ = bar.Finish() }() // drawing is all it does
	return snapshot.WriteEvents(ctx, countLines{w, bar})
}

// countLines moves a progress bar by the number of lines written.
type countLines struct {
	to  io.Writer
	bar *progressbar.ProgressBar
}

// Write counts the lines and passes the text on.
func (c countLines) Write(text []byte) (int, error) {
	_ = c.bar.Add(bytes.Count(text, []byte("\n"))) // drawing is all it does
	return c.to.Write(text)
}

// counts lists how many rows of each kind backups hold.
func counts(of ...manifest) string {
	text := ""
	for _, m := range of {
		for _, what := range []string{"events", "keys", "credentials", "claims", "erasures", "client_secrets"} {
			if n, held := m.Rows[what]; held {
				text += fmt.Sprintf(", %d %s", n, what)
			}
		}
	}
	return text[2:]
}
