package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// files returns migrations, numbered in order.
func files(texts ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i, text := range texts {
		fsys[fmt.Sprintf("%03d_test.sql", i+1)] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// connect opens a superuser's connection to a database made by pgtest.Fresh.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func mustExec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func mustUp(t *testing.T, url string, fsys fstest.MapFS) migrations.Applied {
	t.Helper()
	applied, err := migrations.UpFrom(t.Context(), url, fsys)
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

func version(t *testing.T, url string) (version int32) {
	t.Helper()
	err := connect(t, url).QueryRow(t.Context(), "select version from public.schema_version").Scan(&version)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestUpMigratesAnEmptyDatabaseOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Fresh(t)
	conn := connect(t, url)
	have, want, err := migrations.Current(t.Context(), conn)
	if err != nil || have != 0 || want < 1 {
		t.Fatalf("before: %d of %d, %v", have, want, err)
	}

	applied, err := migrations.Up(t.Context(), url)
	if err != nil || applied.From != 0 || applied.To != want || len(applied.Names) != int(want) {
		t.Fatalf("first: %+v, %v; want %d files", applied, err, want)
	}

	applied, err = migrations.Up(t.Context(), url)
	if err != nil || applied.From != want || applied.To != want || len(applied.Names) != 0 {
		t.Errorf("second: %+v, %v; want nothing done", applied, err)
	}

	if have, _, err := migrations.Current(t.Context(), conn); err != nil || have != want {
		t.Errorf("after: %d of %d, %v", have, want, err)
	}
}

func TestCurrentNeedsNothingButSelectOnTheVersion(t *testing.T) {
	t.Parallel()
	url := pgtest.Fresh(t)
	mustUp(t, url, files("create table public.secret ()"))
	super := connect(t, url)
	role := pgx.Identifier{"reader_of_" + super.Config().Database}.Sanitize()
	mustExec(t, super, "create role "+role)
	t.Cleanup(func() {
		ctx := context.Background()
		_, err := super.Exec(ctx, "reset role; drop owned by "+role+"; drop role "+role)
		if err != nil {
			t.Error(err)
		}
	})

	mustExec(t, super, "grant select on public.schema_version to "+role+"; set role "+role)
	if have, _, err := migrations.Current(t.Context(), super); err != nil || have != 1 {
		t.Errorf("got %d, %v", have, err)
	}
	mustExec(t, super, "reset role")
}

// The version table exists before the first file has given anybody the right to read it.
func TestCurrentIsZeroWhileTheFirstFileRuns(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.Fresh(t))
	role := pgx.Identifier{"waits_for_" + conn.Config().Database}.Sanitize()
	mustExec(t, conn, "create table public.schema_version (version int4 not null)")
	mustExec(t, conn, "create role "+role+"; set role "+role)
	t.Cleanup(func() {
		if _, err := conn.Exec(context.Background(), "reset role; drop role "+role); err != nil {
			t.Error(err)
		}
	})

	have, _, err := migrations.Current(t.Context(), conn)
	if err != nil || have != 0 {
		t.Errorf("before: %d, %v", have, err)
	}

	mustExec(t, conn, "reset role; create schema trust; set role "+role)
	if _, _, err := migrations.Current(t.Context(), conn); err == nil {
		t.Error("a login that may not read the version of a migrated database is told that it has none")
	}
}

// An operator's command has one connection, and only the operator waits for it.
func TestALookAtTheVersionsOfADatabaseThatHangsEnds(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for name, look := range map[string]func(*pgx.Conn) error{
		"the version there is": func(conn *pgx.Conn) error {
			_, _, err := migrations.Current(t.Context(), conn)
			return err
		},
		"whether to work on it": func(conn *pgx.Conn) error { return migrations.CheckServes(t.Context(), conn) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line := pgtest.NewLine(t, db.URL(pgtest.Query))
			conn := connect(t, line.Over(db.URL(pgtest.Query)))
			if err := look(conn); err != nil {
				t.Fatal(err)
			}

			line.Silence()
			ended := make(chan error, 1)
			go func() { ended <- look(conn) }()
			if err := pgtest.Receive(t, ended); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func TestCurrentLeavesItsCallersTransactionWhole(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.Fresh(t))
	mustExec(t, conn, "begin read only")
	if have, _, err := migrations.Current(t.Context(), conn); err != nil || have != 0 {
		t.Errorf("got %d, %v", have, err)
	}
	mustExec(t, conn, "commit")
}

func TestUpReportsWhatItAdded(t *testing.T) {
	t.Parallel()
	url := pgtest.Fresh(t)
	fsys := files("create table public.one ()", "create table public.two ()")
	mustUp(t, url, fsys)

	fsys["003_more.sql"] = &fstest.MapFile{Data: []byte("create table public.three ()")}
	got := mustUp(t, url, fsys)
	if got.From != 2 || got.To != 3 || !slices.Equal(got.Names, []string{"003_more.sql"}) {
		t.Errorf("got %+v", got)
	}
}

func TestUpNamesFileAndLineAndKeepsTheVersionBefore(t *testing.T) {
	t.Parallel()
	url := pgtest.Fresh(t)
	_, err := migrations.UpFrom(t.Context(), url, files(
		"create table public.one ()",
		"create table public.two ();\n-- ümlaut\nselect no_such_function();"))
	if err == nil || !strings.Contains(err.Error(), "line 3 of 002_test.sql: ") {
		t.Errorf("got %v", err)
	}

	if got := version(t, url); got != 1 {
		t.Errorf("version %d, want 1", got)
	}
	mustExec(t, connect(t, url), "create table public.two ()") // rolled back, so the name is free
}

func TestUpRefusesADatabaseNewerThanTheBinary(t *testing.T) {
	t.Parallel()
	url := pgtest.Fresh(t)
	mustUp(t, url, files("create table public.one ()", "create table public.two ()"))

	_, err := migrations.UpFrom(t.Context(), url, files("create table public.one ()"))
	if !errors.Is(err, migrations.ErrNewerDatabase) {
		t.Errorf("got %v", err)
	}
	if got := version(t, url); got != 2 {
		t.Errorf("version %d, want 2: nothing may go down", got)
	}
}

func TestAFileHasNoSearchPathAndLeavesNoRoleBehind(t *testing.T) {
	t.Parallel()
	url := pgtest.Fresh(t)
	const strict = `do $$ begin
		if current_setting('search_path') <> '' or current_user <> session_user then
			raise exception 'search_path "%", user %', current_setting('search_path'), current_user;
		end if;
	end $$;`

	mustUp(t, url, files(
		strict+"set local role pg_monitor; -- and a comment at the end",
		strict+"set search_path = public; set role pg_monitor",
		"---- tern: disable-tx ----\n"+strict+"set role pg_monitor;",
		strict))
}

// Roles belong to the cluster and tern's lock to one database, so these race for the
// role; all must win.
func TestDatabasesOfOneClusterMigrateAtOnce(t *testing.T) {
	t.Parallel()
	const databases = 6
	urls := make([]string, databases)
	for i := range urls {
		urls[i] = pgtest.Fresh(t)
	}

	admin := connect(t, urls[0])
	role := "shared_by_" + admin.Config().Database
	// Runs before the databases are dropped, and with them what refers to the role.
	t.Cleanup(func() {
		if _, err := admin.Exec(context.Background(), "revoke "+role+" from pg_monitor; drop role "+role); err != nil {
			t.Error(err)
		}
	})

	fsys := files("create table public.one ()", `do $$ begin
		if not exists (select from pg_roles where rolname = '`+role+`') then
			perform pg_sleep(0.05); -- widens the gap in which another one creates it
			create role `+role+`;
		end if;
		grant `+role+` to pg_monitor;
		alter role `+role+` set statement_timeout = 0;
		end $$;`, "create table public.three ()")

	results := upAtOnce(t, urls, fsys)
	for i, err := range results {
		if err != nil {
			t.Errorf("database %d: %v", i, err)
		} else if got := version(t, urls[i]); got != 3 {
			t.Errorf("database %d: version %d, want 3", i, got)
		}
	}
}

func TestOneDatabaseIsMigratedByManyAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Fresh(t)
	fsys := files("create table public.one ()", "create table public.two ()")
	for _, err := range upAtOnce(t, []string{url, url, url, url}, fsys) {
		if err != nil {
			t.Error(err)
		}
	}
	if got := version(t, url); got != 2 {
		t.Errorf("version %d, want 2", got)
	}
}

func TestTheRealFilesMigrateSeveralDatabasesAtOnce(t *testing.T) {
	t.Parallel()
	urls := []string{pgtest.Fresh(t), pgtest.Fresh(t), pgtest.Fresh(t)}
	for _, err := range upAtOnce(t, urls, nil) {
		if err != nil {
			t.Error(err)
		}
	}
}

// upAtOnce migrates all urls at once and checks each report; nil files are the real ones.
func upAtOnce(t *testing.T, urls []string, fsys fstest.MapFS) []error {
	t.Helper()
	up := func(url string) (migrations.Applied, error) { return migrations.Up(t.Context(), url) }
	if fsys != nil {
		up = func(url string) (migrations.Applied, error) { return migrations.UpFrom(t.Context(), url, fsys) }
	}

	results := make([]error, len(urls))
	var all sync.WaitGroup
	for i, url := range urls {
		all.Go(func() {
			applied, err := up(url)
			if err == nil && len(applied.Names) != int(applied.To-applied.From) {
				err = fmt.Errorf("reported %+v: not each file once", applied)
			}
			results[i] = err
		})
	}
	all.Wait()
	return results
}

func TestUpEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := migrations.Up(ctx, pgtest.Fresh(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAProgramServesADatabaseThatIsAheadByAdditiveFilesOnly(t *testing.T) {
	t.Parallel()
	known, err := migrations.Known()
	if err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		more []string
		want error
	}{
		"nothing new":       {nil, nil},
		"two that add":      {[]string{"-- additive: a table\nselect 1;", "-- additive\nselect 1;"}, nil},
		"one that does not": {[]string{"-- additive\nselect 1;", "select 1;"}, migrations.ErrNewerDatabase},
		"too many":          {slices.Repeat([]string{"-- additive\nselect 1;"}, 11), migrations.ErrNewerDatabase},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.Fresh(t)
			if _, err := migrations.UpFrom(t.Context(), url, newerFiles(t, known, c.more...)); err != nil {
				t.Fatal(err)
			}
			if err := migrations.CheckServes(t.Context(), connect(t, url)); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestAProgramWaitsForTheMigrationsThatItBrings(t *testing.T) {
	t.Parallel()
	url := pgtest.Fresh(t)
	mustUp(t, url, files("create table public.first ()"))
	if err := migrations.CheckServes(t.Context(), connect(t, url)); !errors.Is(err, migrations.ErrOlderDatabase) {
		t.Errorf("got %v", err)
	}
}

// newerFiles returns the real files and more after them, as a newer release has them.
func newerFiles(t *testing.T, known int32, more ...string) fs.FS {
	t.Helper()
	fsys := fstest.MapFS{}
	names, err := fs.Glob(migrations.Files(), "*.sql")
	if err != nil {
		t.Fatal(err)
	}

	for _, name := range names {
		text, err := fs.ReadFile(migrations.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		fsys[name] = &fstest.MapFile{Data: text}
	}

	for i, text := range more {
		fsys[fmt.Sprintf("%03d_newer.sql", int(known)+1+i)] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}
