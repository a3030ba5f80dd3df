package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/migrations"
)

const (
	testSecret  = "SECRET_KEY=not-so-secret-but-long-enough-for-hs256"
	testSigning = "LOG_SIGNING_KEY=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff." +
		"ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
	testMaster = "MASTER_KEY=the-master-key-of-tests-which-is-long-enough"
)

// onDatabase is a site with a migrated database.
func onDatabase(t *testing.T) (*site, *pgtest.DB) {
	t.Helper()
	db := pgtest.New(t)
	return newSite(t, "DATABASE_URL="+db.URL(pgtest.Superuser), testSecret, testMaster), db
}

func (s *site) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func TestWrongUsageExitsWith2AndOneLine(t *testing.T) {
	t.Parallel()
	s := newSite(t, testSecret, testMaster, "DATABASE_URL=postgres://owner:hunter2@127.0.0.1:1/trust")
	csv := s.file("m.csv", "code,name,province\n")
	cases := map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no command":          {nil, nil, "trust --help"},
		"unknown command":     {nil, []string{"dance"}, "dance"},
		"unknown flag":        {nil, []string{"serve", "--fast"}, "--fast"},
		"no projector":        {nil, []string{"project"}, "trust project --help"},
		"unknown projector":   {nil, []string{"project", "users", "weather"}, `there is no follower "weather"`},
		"import of something": {nil, []string{"import", "weather", csv}, "weather"},
		"import of nothing":   {nil, []string{"import", "purposes"}, "trust import purposes --help"},
		"admin of nowhere":    {nil, []string{"admin", "create", "--email", "a@b.example"}, "--municipality"},
		"admin without password": {nil, []string{
			"admin", "create", "--municipality", "SALGA", "--email",
			"a@b.example",
		}, "no password came on standard input"},
		"secrets are no flags":  {nil, []string{"serve", "--secret-key", "hunter2"}, "secret-key"},
		"short secret":          {[]string{"SECRET_KEY=hunter2"}, []string{"serve"}, "SECRET_KEY has 7 characters"},
		"short secret, for all": {[]string{"SECRET_KEY=hunter2"}, []string{"migrate"}, "SECRET_KEY has 7 characters"},
		"unset master key":      {[]string{"MASTER_KEY="}, []string{"project", "users"}, "MASTER_KEY is not set"},
		"wrong kind of database": {
			[]string{"DATABASE_URL=mysql://root:hunter2@db"},
			[]string{"migrate"},
			"DATABASE_URL is not of the form",
		},
		"debug in production": {
			[]string{"ENVIRONMENT=production", "DEBUG=1"},
			[]string{"serve"},
			"DEBUG is refused in production",
		},
		"derived, in production": {
			[]string{"ENVIRONMENT=production", "ALLOWED_ORIGINS=https://a.example"},
			[]string{"serve"},
			"DATABASE_URL_API is not set",
		},
		"derived, for trust up": {[]string{
			"ENVIRONMENT=production", "ALLOWED_ORIGINS=https://a.example",
			"DATABASE_URL=",
		}, []string{"up"}, "DATABASE_URL_API is not set"},
		"a relay to nowhere": {nil, []string{"relay"}, "RELAY_URL is not set"},
		"a relay that is misspelt": {
			[]string{"RELAY_URL=nats:relay:hunter2@nats"}, []string{"relay"}, "RELAY_URL is not a list",
		},
		"a relay from nowhere": {nil, []string{"relay", "--from", "0"}, "positions count from 1"},
		"no time for an answer": {
			[]string{"REQUEST_TIMEOUT=0"},
			[]string{"serve"},
			"REQUEST_TIMEOUT is not a time span like 10s",
		},
		"any origin": {[]string{"ALLOWED_ORIGINS=*"}, []string{"up"}, "ALLOWED_ORIGINS holds *"},
		"a replay of nobody": {
			nil,
			[]string{"replay", "--tenant", "CPT", "--subject", uuid.Nil.String()},
			"give an id",
		},
		"a replay of no purpose": {nil, []string{"replay", "--tenant", "CPT", "--purpose", " "}, "give a value"},
		"a replay at no position": {
			nil,
			[]string{"replay", "--tenant", "CPT", "--position", "0"},
			"positions count from 1",
		},
		"an unseen reason": {
			nil,
			[]string{"replay", "--tenant", "CPT", "--reveal", "--reason", "\u3164"},
			"--reveal needs --reason",
		},
		"a look at nobody": {
			nil,
			[]string{"exposure", "--tenant", "CPT", "--subject", uuid.Nil.String()},
			"give an id",
		},
		"a flag beats everything": {
			[]string{"LOG_FORMAT=json"},
			[]string{"serve", "--log-format", "pdf"},
			"LOG_FORMAT is neither",
		},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// trust up takes a folder for itself.
			o := s.with("DATA_DIR=" + t.TempDir()).with(c.env...).run(c.args...)
			o.expect(t, exit.CodeUsage, c.want)
			if strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("not one line: %q", o.stderr)
			}
			if strings.Contains(o.stdout+o.stderr, "hunter2") {
				t.Errorf("it shows a secret: %q", o.stderr)
			}
		})
	}
}

func TestWhatCannotBeReachedExitsWith3(t *testing.T) {
	t.Parallel()
	s := newSite(t, testSecret, testMaster, "DATABASE_URL=postgres://owner:hunter2@127.0.0.1:1/trust?connect_timeout=2")
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()

	file := s.file("m.csv", "code,name,province\nA1,Alpha,Gauteng\n")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"status":      {[]string{"status"}, "the database does not answer"},
		"verify":      {[]string{"verify"}, "the database does not answer"},
		"migrate":     {[]string{"migrate", "--status"}, "the database does not answer"},
		"import":      {[]string{"import", "municipalities", file}, "the database does not answer"},
		"no file":     {[]string{"import", "municipalities", file + "x"}, "cannot read the file; nothing was imported"},
		"a folder":    {[]string{"import", "municipalities", s.dir}, "cannot read the file; nothing was imported"},
		"a used port": {[]string{"serve"}, "cannot listen on HTTP_ADDR"},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.run(c.args...)
			o.expect(t, exit.CodeUnreachable, c.want)
			if strings.Contains(o.stdout+o.stderr, "hunter2") {
				t.Errorf("it shows a secret: %q", o.stderr)
			}
		})
	}
}

func TestDotEnvIsReadAndItsMistakesAreNamedByLine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file(".env", "SECRET_KEY=short\n")
	s.run("version").expect(t, exit.CodeDone, "trust "+version)
	s.run("migrate").expect(t, exit.CodeUsage, "SECRET_KEY has 5 characters")
	s.with("SECRET_KEY="+strings.Repeat("0123456789", 4)).run("migrate").
		expect(t, exit.CodeUsage, "DATABASE_URL is not set")

	s.file(".env", "A=1\n\nhunter2 is my password\n")
	o := s.run("version")
	o.expect(t, exit.CodeUsage, ".env: line 3 is not NAME=value")
	if strings.Contains(o.stderr, "hunter2") {
		t.Errorf("it shows the file: %q", o.stderr)
	}
}

func TestImportMunicipalities(t *testing.T) {
	t.Parallel()
	s, _ := onDatabase(t)
	whole := s.file("whole.csv", "code,name,province,category,district_code,population,contact_email\n"+
		"jhb,City of Johannesburg,Gauteng,A,,4803262,\nEC136,Emalahleni,Eastern "+
		"Cape,B,DC13,128873,\nMP312,Emalahleni,Mpumalanga,B,DC31,,info@emalahleni.example\n")
	s.run("import", "municipalities", whole).expect(t, exit.CodeDone,
		"municipalities: 3 registered, 0 unchanged, 0 refused")
	s.run("import", "municipalities", whole).expect(t, exit.CodeDone,
		"municipalities: 0 registered, 3 unchanged, 0 refused")

	o := s.run("import", "municipalities", s.file("broken.csv", strings.Join([]string{
		"code,name,province,category,district_code,population,contact_email",
		"AA1,Alpha,Gauteng,B,DC1,10,a@alpha.example", // 2: good
		"AA2,Beta,Gauteng",                             // 3: too few fields
		`AA3,"Gamma,Gauteng,B,DC1,10,`,                 // 4: a quote that is not closed
		",Delta,Gauteng,B,DC1,10,",                     // 5: no code
		"AA5,Epsilon,Transvaal,B,DC1,10,",              // 6: no such province
		"AA6,Zeta,Gauteng,B,DC1,many,",                 // 7: no number
		"AA7,Eta,Gauteng,B,DC1,-1,",                    // 8: negative
		"AA8,Theta,Gauteng,B,DC1,10,nobody",            // 9: no e-mail address
		"AA9,Iota,Gauteng,D,DC1,10,",                   // 10: no such category
		"AA10,X,Gauteng,B,DC1,10,",                     // 11: name too short
		"SALGA,Platform,Gauteng,B,DC1,10,",             // 12: the platform
		"AA1,Alpha Again,Gauteng,B,DC1,10,",            // 13: the code of line 2
		"AA11,emalahleni  (EC136),Gauteng,B,DC1,10,",   // 14: the name of another
		"AA12,Lam\xffbda,Gauteng,B,DC1,10,",            // 15: not UTF-8
		"AA13,Khâi-Ṱoḓa,Northern Cape,B,DC1,,",         // 16: good
		"JHB,City of Johannesburg,Gauteng,A,,4803262,", // 17: unchanged
	}, "\n")))
	o.expect(t, exit.CodeNotSo, "municipalities: 2 registered, 1 unchanged, 13 refused")
	for _, line := range []string{
		"line 3: it has 3 fields instead of 7", "line 4: a quotation mark", "line 5: code:", "line 6: province:",
		"line 7: population:", "line 8: population:", "line 9: contact_email:", "line 10: category:",
		"line 11: name:", "line 12: code:", "line 13: code: it is on line 2 already",
		"line 14: Another municipality has this name.", "line 15: it is not UTF-8",
	} {
		if !strings.Contains(o.stderr, line) {
			t.Errorf("it does not say %q:\n%s", line, o.stderr)
		}
	}

	s.run("import", "municipalities", s.file("narrow.csv", "code,name\nBB1,Beta\n")).
		expect(t, exit.CodeUsage, "the column province is missing; nothing was imported")
}

func TestImportPurposes(t *testing.T) {
	t.Parallel()
	s, _ := onDatabase(t)
	const head = "code,lawful_basis,special_personal_information,retention," +
		"description_en,description_zu,description_af\n"
	whole := s.file("whole.csv",
		head+"NEWSLETTER,s11(1)(a) consent,no,until withdrawn,To write.,Ukubhala.,Om te skryf.\n")
	s.run("import", "purposes", whole).expect(t, exit.CodeDone, "purposes: 1 defined, 0 unchanged, 0 refused")
	s.run("import", "purposes", whole).expect(t, exit.CodeDone, "purposes: 0 defined, 1 unchanged, 0 refused")

	o := s.run("import", "purposes", s.file("broken.csv", head+strings.Join([]string{
		"P_ONE,s11(1)(e) public-law duty,yes,1 year,a,b,c",     // 2: good
		"P_TWO,because,no,1 year,a,b,c",                        // 3: no basis
		"P_THREE,s11(1)(a) consent,perhaps,1 year,a,b,c",       // 4: neither yes nor no
		"P_FOUR,s11(1)(a) consent,no,1 year,a,,c",              // 5: no isiZulu
		"P_FIVE,s11(1)(a) consent,no,,a,b,c",                   // 6: no retention
		"P-SIX,s11(1)(a) consent,no,1 year,a,b,c",              // 7: not a code
		",s11(1)(a) consent,no,1 year,a,b,c",                   // 8: no code
		"p_one,s11(1)(a) consent,no,1 year,a,b,c",              // 9: again
		"PLATFORM_REGISTRATION,s11(1)(a),no,1 year,a,b,c",      // 10: built in, so it stands already
		"P_SEVEN,s11(1)(a) consent,no,1 year,\"a\nb\",b,\"c\"", // 11: good, on two lines
	}, "\n")))
	o.expect(t, exit.CodeNotSo, "purposes: 2 defined, 1 unchanged, 7 refused")

	for _, line := range []string{
		"line 3: lawful_basis:", "line 4: special_personal_information:", "line 5: description_zu:",
		"line 6: retention:", "line 7: code:", "line 8: code:", "line 9: code: it is on line 2 already",
	} {
		if !strings.Contains(o.stderr, line) {
			t.Errorf("it does not say %q:\n%s", line, o.stderr)
		}
	}
}

func TestAdminCreate(t *testing.T) {
	t.Parallel()
	s, _ := onDatabase(t)
	create := []string{"admin", "create", "--municipality", "salga", "--email", "boss@salga.example"}
	s.feed("a good password\n", create...).expect(t, exit.CodeDone, "admin of SALGA made")
	s.feed("another password\n", append(create, "--full-name", "Somebody Else")...).
		expect(t, exit.CodeDone, "exists in SALGA already; nothing was changed")
	s.feed("short\n", "admin", "create", "--municipality", "SALGA", "--email", "new@salga.example").
		expect(t, exit.CodeUsage, "password")
	s.feed("a good password\n", "admin", "create", "--municipality", "SALGA", "--email", "nobody").
		expect(t, exit.CodeUsage, "email")
	s.feed("a good password\n", "admin", "create", "--municipality", "XYZ", "--email", "a@xyz.example").
		expect(t, exit.CodeNotSo, "There is no municipality with this code")
}

func TestMigrateStatusAndVerify(t *testing.T) {
	t.Parallel()
	s := newSite(t, "DATABASE_URL="+pgtest.Fresh(t), testSecret, testMaster)
	s.run("migrate", "--status").expect(t, exit.CodeNotSo, "schema version 0 of")
	s.run("status").expect(t, exit.CodeUnreachable, "run trust migrate")
	s.run("verify").expect(t, exit.CodeUnreachable, "run trust migrate")
	s.run("migrate").expect(t, exit.CodeDone, "applied 001_roles.sql")
	s.run("migrate").expect(t, exit.CodeDone, "schema version")
	s.run("migrate", "--status").expect(t, exit.CodeDone, "schema version")

	s.run("import", "municipalities", s.file("m.csv", "code,name,province\nA1,Alpha,Gauteng\nA2,Beta,Gauteng\n")).
		expect(t, exit.CodeDone, "2 registered")
	s.run("status").expect(t, exit.CodeNotSo, "stopped: consents, municipalities, seal, users, webhooks")
	project := s.start("project", "all")
	pgtest.Eventually(t, "the read tables have caught up", s.caughtUp)
	if head := s.status().Head; head != 2 {
		t.Errorf("the log ends at %d, want 2", head)
	}
	s.run("verify").expect(t, exit.CodeDone, "2 events verified")
	if code := project.stop(t, syscall.SIGTERM); code != exit.CodeDone {
		t.Errorf("exit code %d", code)
	}

	db := connect(t, s)
	tamper := func(sql string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}

	tamper("update trust.municipalities_v1 set name = 'Omega' where code = 'A2'")
	o := s.run("verify")
	o.expect(t, exit.CodeNotSo, "read table municipalities")
	if strings.Contains(o.stderr, "Omega") {
		t.Errorf("it shows a value: %s", o.stderr)
	}
	tamper("update trust.checkpoints set state = 'halted', error = 'it does not fold', error_since = now(), " +
		"seen_at = now() + interval '1 hour' where follower = 'users'")
	s.run("status").expect(t, exit.CodeNotSo, "halted: users")
	s.with("MASTER_KEY="+strings.Repeat("wrong-", 8)).run("verify").
		expect(t, exit.CodeUsage, "MASTER_KEY is not the one")
}

// connect opens a connection as the superuser of the site's database.
func connect(t testing.TB, s *site) *pgx.Conn {
	t.Helper()
	if s.address() == "" {
		t.Fatal("the site has no database")
	}

	conn, err := pgx.Connect(t.Context(), s.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

// Row-level security protects nothing from a process that it does not bind.
func TestASuperuserIsRefused(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	powerful := s.with("DATABASE_URL_API="+db.URL(pgtest.Superuser), "DATABASE_URL_PROJECTOR="+db.URL(pgtest.Superuser))
	for _, command := range []string{"serve", "status", "verify"} {
		powerful.run(command).expect(t, exit.CodeUsage, "connects as a superuser")
	}
}

// The API listens before there is a database, and says so.
func TestServeWaitsForItsDatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t, testSecret, testMaster, "DATABASE_URL="+pgtest.Fresh(t))
	serve := s.start("serve")
	pgtest.Eventually(t, "it is healthy", func() bool { return s.get("/health", nil) == http.StatusOK })
	var problem struct {
		Code   string
		Errors []struct{ Field string }
	}
	pgtest.Eventually(t, "it waits for the schema", func() bool {
		code := s.get("/ready", &problem)
		return code == http.StatusServiceUnavailable && len(problem.Errors) == 1 &&
			problem.Errors[0].Field == "migrations"
	})

	s.run("migrate").expect(t, exit.CodeDone, "schema version")
	pgtest.Eventually(t, "it goes on by itself", func() bool { return s.get("/ready", nil) == http.StatusOK })
	if code := serve.stop(t, syscall.SIGTERM); code != exit.CodeDone {
		t.Errorf("exit code %d", code)
	}
}

// DATA_DIR/env may hold the only master key, so no error may advise to remove it.
func TestAnEnvFileThatCannotBeReadIsNotToBeRemoved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	must(t, os.MkdirAll(s.data("env"), 0o700)) // cannot be read as a file, not even by root
	o := s.run("up")
	o.expect(t, exit.CodeUnreachable, "which may hold the only keys")
	if strings.Contains(o.stderr, "remove") {
		t.Errorf("it advises to remove it: %s", o.stderr)
	}
}

// Files that another user of the machine could have prepared are neither believed nor
// written to.
func TestWhatAnotherUserCouldHavePreparedIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(s *site)
		want    string
	}{
		"DATA_DIR that others can write to": {
			func(s *site) { must(t, os.Chmod(s.data(""), 0o777)) }, "others can write to the folder",
		},
		"a folder run that leads elsewhere": {
			func(s *site) {
				shared := filepath.Join(s.dir, "shared")
				must(t, errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777))) //nolint:gosec // on purpose
				must(t, os.Symlink(shared, s.data("run")))
			}, "DATA_DIR must be a folder that nobody else can change",
		},
		"a lock that leads elsewhere": {
			func(s *site) {
				must(t, os.Symlink(filepath.Join(s.dir, "precious"), s.data("lock")))
			}, "cannot write to DATA_DIR",
		},
		"DATA_DIR/env that others can read": {
			func(s *site) {
				must(t, os.WriteFile(s.data("env"), nil, 0o600))
				must(t, os.Chmod(s.data("env"), 0o604))
			}, "lets others",
		},
		".env that others can write": {
			func(s *site) {
				path := filepath.Join(s.dir, ".env")
				must(t, os.WriteFile(path, nil, 0o600))
				must(t, os.Chmod(path, 0o606))
			}, "lets others",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			must(t, os.MkdirAll(s.data(""), 0o700))
			c.prepare(s)

			s.run("up").expect(t, exit.CodeUnreachable, c.want)
			if _, err := os.Lstat(filepath.Join(s.dir, "precious")); err == nil {
				t.Error("it wrote where a link led")
			}
		})
	}
}

// Not only trust up refuses it, because the other commands read the keys there too.
func TestEveryCommandRefusesADataDirThatOthersCanWriteTo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.run("status").expect(t, exit.CodeUsage, "neither DATABASE_URL_API") // it need not exist
	must(t, os.MkdirAll(s.data(""), 0o700))
	must(t, os.Chmod(s.data(""), 0o777))
	for _, command := range []string{"status", "verify", "migrate", "serve", "up"} {
		s.run(command).expect(t, exit.CodeUnreachable, "DATA_DIR must be a folder that nobody else can change")
	}

	must(t, os.Chmod(s.data(""), 0o700))
	if os.Geteuid() == 0 { // only root can play another user
		must(t, os.Lchown(s.data(""), 54321, 54321))
		s.run("status").expect(t, exit.CodeUnreachable, "DATA_DIR must be a folder that nobody else can change")
	}
}

// An event that a newer release wrote is neither damage nor a server error: every command
// says to run a newer trust.
func TestAProgramOlderThanTheLogSaysSoEverywhere(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	s.feed("correct horse battery\n", "admin", "create", "--municipality", "SALGA", "--email", "a@example.org").
		expect(t, exit.CodeDone, "made")
	admin := db.Superuser(t)
	_, err := admin.Exec(t.Context(), "set session_replication_role = replica; delete from trust.coded; "+
		"update trust.events set code = null, event_type = 'user.praised.v9' where event_type = 'user.registered.v1'")
	must(t, err)

	const want = `unknown event type "user.praised.v9": a newer release wrote it; run a newer trust`
	for _, command := range [][]string{{"verify"}, {"rebuild", "users"}} {
		o := s.run(command...)
		o.expect(t, exit.CodeUsage, want)
		if strings.Contains(o.stderr, "backup") {
			t.Errorf("trust %v advises a restore, which throws events away: %s", command, o.stderr)
		}
	}

	s.start("serve")
	s.start("project", "all")
	pgtest.Eventually(t, "the projector halts with that sentence", func() bool {
		return strings.Contains(s.run("status").stdout, want)
	})
	pgtest.Eventually(t, "the API serves", func() bool { return s.get("/health", nil) == http.StatusOK })
	pgtest.Eventually(t, "a sign-in that meets the event is 503", func() bool {
		return s.signIn("a@example.org", "correct horse battery", "SALGA") == http.StatusServiceUnavailable
	})
}

func TestAnOldProgramOnANewerSchemaGoesOnOrSaysSo(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	admin := db.Superuser(t)
	known, err := migrations.Known()
	must(t, err)
	_, err = admin.Exec(t.Context(), "update public.schema_version set version = version + 1")
	must(t, err)
	const newer = "the database is newer than this program; run a newer trust"
	s = s.with("NEW_MASTER_KEY=" + nextMaster)
	for _, command := range [][]string{
		{"migrate"}, {"up"}, {"serve"}, {"project", "all"}, {"verify"}, {"rebuild", "all"}, {"keys", "rotate"},
	} {
		s.run(command...).expect(t, exit.CodeUsage, newer)
	}

	_, err = admin.Exec(t.Context(), "insert into public.schema_additive (version) values ($1)", known+1)
	must(t, err)
	serve, project := s.start("serve"), s.start("project", "all")
	pgtest.Eventually(t, "it serves beside the newer release", s.ready)
	for _, command := range [][]string{{"migrate"}, {"rebuild", "all"}, {"keys", "rotate"}} {
		s.run(command...).expect(t, exit.CodeUsage, newer)
	}

	_, err = admin.Exec(t.Context(), "delete from public.schema_additive")
	must(t, err)
	for name, old := range map[string]*running{"serve": serve, "project": project} {
		pgtest.Receive(t, old.exited)
		if code := old.cmd.ProcessState.ExitCode(); code != exit.CodeUsage ||
			!strings.Contains(old.said.String(), newer) {
			t.Errorf("%s ended with %d:\n%s", name, code, old.said)
		}
	}
}
