package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/data"
	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/importer"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/cmd/trust/internal/supervise"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/wholefile"
)

// prepareCmd is the work that trust up does before the parts run, in processes of their
// own, because a supervisor holds no database connection. The step postgres is for make
// test, whose test binaries run at once and hide what they print while they fetch.
type prepareCmd struct {
	Step string `arg:"" enum:"schema,contents,admin,postgres" help:"schema, contents, admin or postgres."`
}

// Run does one step. Each may be repeated.
func (s prepareCmd) Run(ctx context.Context, p *program) error {
	switch s.Step {
	case "schema":
		return prepareSchema(ctx, p)
	case "postgres":
		return preparePostgres(ctx, p)
	case "contents":
		return prepareContents(ctx, p)
	default:
		return proveAdmin(ctx, p)
	}
}

// preparePostgres finds or fetches the programs of a private server, and prints which it
// would run.
func preparePostgres(ctx context.Context, p *program) error {
	found, err := supervise.FindPostgres(ctx, p.settings.Get("POSTGRES_ARCHIVE"), p.stderr)
	if err != nil {
		return err
	}

	_, err = fmt.Fprintf(p.stdout, "Postgres %s\n", found)
	return err
}

// prepareSchema makes the database in a private server that has none yet, and brings its
// schema up to date.
func prepareSchema(ctx context.Context, p *program) error {
	o, err := p.check(needs{as: (*settings.Config).NeedOwner})
	if err != nil {
		return err
	}

	if p.settings.OwnServer() {
		if err := makeDatabase(ctx, o.address); err != nil {
			return exit.Unreachable(err, "cannot make the database")
		}
	}
	if err := (migrateCmd{}).Run(ctx, p); err != nil {
		return err
	}
	if err := rekeyPending(ctx, p); err != nil {
		return err
	}
	return codesPending(ctx, p)
}

// rekeyPending runs trust rekey if the log has grown since the last time. A failure is
// only reported: until it is done, everything is found as before.
func rekeyPending(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedSchemaOwner, conn: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	position, head, err := eventstore.NotRekeyed(ctx, o.conn)
	if err != nil {
		return exit.Explain(err)
	}
	if position >= head {
		return nil
	}

	if err := (rekeyCmd{}).Run(ctx, p); err != nil && ctx.Err() == nil {
		_, err = fmt.Fprintf(p.stderr, "trust rekey: %v\n", err)
		return err
	}
	return ctx.Err()
}

// makeDatabase makes the database that an address names, if it does not exist.
func makeDatabase(ctx context.Context, address string) error {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return err
	}
	wanted := config.Database
	config.Database = "postgres"

	conn, err := pg.Dial(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()

	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_catalog.pg_database where datname = $1)", wanted).
		Scan(&exists); err != nil || exists {
		return err
	}
	// Of template0, because template1 may have another encoding.
	_, err = conn.Exec(ctx, "create database "+pgx.Identifier{wanted}.Sanitize()+" encoding 'UTF8' template template0")
	return err
}

// prepareContents registers the municipalities, defines the default purposes and makes
// the first platform admin.
func prepareContents(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	if _, err := fmt.Fprintln(p.stdout, "importing municipalities and purposes. "+data.Credit); err != nil {
		return err
	}

	refused := errors.Join(
		importEmbedded(ctx, p, "municipalities", importer.MunicipalityColumns(), o.handler, importer.Municipalities),
		importEmbedded(ctx, p, "purposes", importer.PurposeColumns(), o.handler, importer.Purposes))
	return errors.Join(firstAdmin(ctx, p, o), refused)
}

// firstAdmin makes the first platform admin, unless there is one: a restored database has
// its own. If no password is set, one is made and kept before it is used, so that a start
// that is killed here can be repeated.
func firstAdmin(ctx context.Context, p *program, o *opened) error {
	platform, err := o.handler.TenantOf(ctx, "SALGA")
	if err != nil {
		return err
	}
	if has, err := o.handler.HasAdmin(ctx, platform); err != nil || has {
		return err
	}

	password := p.settings.Get("ADMIN_PASSWORD")
	if password == "" {
		password = rand.Text()
		kept := settings.Pair{Name: "ADMIN_PASSWORD", Value: password}
		if err := settings.Keep(o.config.EnvFile(), kept); err != nil {
			return exit.Unreachable(err, "cannot keep the first admin's password")
		}
	}

	made, err := createAdmin(ctx, o.handler, "SALGA", p.settings.Get("ADMIN_EMAIL"), "Administrator", password)
	if made {
		_, err = fmt.Fprintln(p.stdout, "first platform admin: made")
	}
	return err
}

// proveAdmin checks that the first admin's password is still the one that is set.
func proveAdmin(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	email := p.settings.Get("ADMIN_EMAIL")
	opens, err := o.handler.Opens(ctx, commands.SignIn{
		Email: email, Password: p.settings.Get("ADMIN_PASSWORD"), MunicipalityCode: "SALGA",
	})
	if err == nil && !opens {
		err = exit.NotSo("ADMIN_PASSWORD does not open the account %s in municipality SALGA", email)
	}
	return err
}

func importEmbedded(
	ctx context.Context, p *program, name string, columns []string, handler *commands.Handler,
	read func(*commands.Handler, []importer.Row, []importer.BadRow) importer.Import,
) error {
	rows, bad, err := importer.Embedded(name, columns)
	if err != nil {
		return err
	}
	return p.carryOut(ctx, read(handler, rows, bad))
}

// contents does the first import, unless it was done, and notes that it is done.
func (s *system) contents(ctx context.Context) error {
	if importedInto(s.from.config) == s.databaseMark() {
		return nil
	}

	err := s.step(ctx, "contents")
	if failed, ok := errors.AsType[*exit.Error](err); ok && failed.Code == exit.CodeNotSo {
		s.log.WarnContext(ctx, "not everything was imported; the lines above say what was refused")
		err = nil
	}
	if err != nil {
		return err
	}

	return wholefile.Write(s.from.config.ImportedFile(), s.databaseMark()+"\n")
}

// forgetOthers removes the note of an import into another database, so that the API does
// not take it for this one's.
func (s *system) forgetOthers() error {
	if mark := importedInto(s.from.config); mark == "" || mark == s.databaseMark() {
		return nil
	}
	return os.Remove(s.from.config.ImportedFile())
}

// importedInto returns the mark of the database that the first import went into; empty if
// there was none. The import is not repeated with each start: an admin who was renamed or
// removed since, or a purpose that was retired, must not come back.
func importedInto(c *settings.Config) string {
	text, err := os.ReadFile(c.ImportedFile())
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// databaseMark tells databases apart by their address, without anything secret.
func (s *system) databaseMark() string {
	if s.from.server != nil {
		return supervise.PostgresPart // the port may change
	}
	sum := sha256.Sum256([]byte(settings.HostAndName(s.from.config.DatabaseURL)))
	return hex.EncodeToString(sum[:8])
}

// awaitReadyAnswer asks the API until it is ready, and returns false if ctx ends first.
func awaitReadyAnswer(ctx context.Context, address string) bool {
	client := &http.Client{Timeout: 5 * time.Second}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachableAddress(address)+"/ready",
			nil)
		if err != nil {
			return false
		}
		if answer, err := client.Do(request); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return true
			}
		}

		if !retry.Wait(ctx, 50*time.Millisecond) {
			return false
		}
	}
}
