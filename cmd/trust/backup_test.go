package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// A whole system, its backup, an erasure after that backup, and the system restored in a
// new cluster: the erased person stays erased, everybody else is there.
func TestAnErasedPersonStaysErasedThoughTheBackupIsOlder(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)

	s.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "officer@example.org").
		expect(t, exit.CodeDone, "made")
	officer := s.signedIn("officer@example.org", "a good password", "CPT")
	anna, lindi := s.citizen("marked.anna@example.org", "Anna Markedname"),
		s.citizen("marked.lindi@example.org", "Lindi Markedtoo")
	s.citizen("bongi@example.org", "Bongi Unmarked")
	agreed := field(t, anna.call("POST", "consents", `{"purpose":"sms_alert","language":"zu","consented":true}`), "id")
	wish := field(t, lindi.call("POST", "data-rights/requests", `{"kind":"erasure","details":"marked details"}`), "id")
	walkIn := field(t, officer.call("POST", "residents",
		`{"full_name":"Walk In","external_ids":[{"type":"meter","value":"04-123"}]}`), "id")
	program := officer.call("POST", "service-accounts", `{"name":"SMS alerts","scopes":["consents:check"]}`)
	s.run("backup", "--to", "full").expect(t, exit.CodeDone, "backup of position")

	s.citizen("late@example.org", "Late Comer")
	certificate := field(t, anna.call("DELETE", "data-rights/delete-account",
		`{"confirmation":"DELETE MY ACCOUNT","password":"correct horse battery"}`), "certificate_id")
	officer.call("POST", "data-rights/requests/"+wish+"/fulfil", `{}`)
	s.run("backup", "--keys", "--to", "since").expect(t, exit.CodeDone, "2 erasures")

	restored := s.elsewhere(pgtest.Fresh(t))
	restored.run("restore", "--from", "full", "--keys", "since").expect(t, exit.CodeDone, "erased again: 2")
	restored.opens()
	restored.run("verify").expect(t, exit.CodeDone, "events verified")
	for email, want := range map[string]int{
		"bongi@example.org": 200, "marked.anna@example.org": 401,
		"marked.lindi@example.org": 401, "late@example.org": 401,
	} {
		if got := restored.signIn(email, "correct horse battery", "CPT"); got != want {
			t.Errorf("%s signs in: %d, want %d", email, got, want)
		}
	}

	everything := dumpOf(t, restored.address())
	for _, mark := range []string{
		"marked.anna", "Markedname", "marked.lindi", "Markedtoo", "marked details", "Late Comer", "late@",
	} {
		if strings.Contains(everything, mark) {
			t.Errorf("%s is in the restored database", mark)
		}
	}

	bongi := restored.signedIn("bongi@example.org", "correct horse battery", "CPT")
	if name := field(t, bongi.call("GET", "users/me", ""), "full_name"); name != "Bongi Unmarked" ||
		!strings.Contains(everything, name) {
		t.Errorf("she is called %q", name)
	}
	restored.knowsOfTheErasure(t, anna.id, certificate, wish, agreed)
	restored.programOf(program).call("GET", "consents/check?purpose=sms_alert&subject_id="+walkIn, "")
	if found := restored.signedIn("officer@example.org", "a good password", "CPT").
		call("GET", "users?external_id=meter:04123", ""); !strings.Contains(string(found), walkIn) {
		t.Errorf("by their meter is found: %s", found)
	}

	// As the page warns: with the old keys, everything is as it was then.
	before := s.elsewhere(pgtest.Fresh(t))
	before.run("restore", "--from", "full").expect(t, exit.CodeDone, "erased again: 0")
	before.opens()
	before.run("verify").expect(t, exit.CodeDone, "events verified")
	before.signedIn("marked.anna@example.org", "correct horse battery", "CPT")
}

// programOf returns a program with a token, from the answer that created its service
// account.
func (s *site) programOf(created []byte) *account {
	s.t.Helper()
	response, err := http.PostForm("http://"+s.addr+"/api/v1/auth/token", url.Values{ //nolint:noctx // of a test
		"grant_type": {"client_credentials"}, "client_id": {field(s.t, created, "client_id")},
		"client_secret": {field(s.t, created, "client_secret")},
	})
	must(s.t, err)
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	must(s.t, err)
	return &account{s: s, token: field(s.t, answer, "access_token")}
}

// knowsOfTheErasure checks what an erased person left: the certificate that they hold, a
// closed request, a withdrawn consent, and no name.
func (s *site) knowsOfTheErasure(t *testing.T, anna, certificate, wish, agreed string) {
	t.Helper()
	officer := s.signedIn("officer@example.org", "a good password", "CPT")
	var proof struct {
		CertificateID string   `json:"certificate_id"`
		Cause         string   `json:"cause"`
		Keys          []string `json:"keys"`
	}
	err := json.Unmarshal(officer.call("GET", "data-rights/certificates/"+certificate, ""), &proof)
	if err != nil || proof.CertificateID != certificate || proof.Cause != "self" ||
		len(proof.Keys) != 1 || proof.Keys[0] != anna {
		t.Errorf("the certificate: %+v, %v", proof, err)
	}

	requests := string(officer.call("GET", "data-rights/requests?status=fulfilled", ""))
	if !strings.Contains(requests, wish) {
		t.Errorf("the request that was fulfilled: %s", requests)
	}
	history := string(officer.call("GET", "compliance/subjects/"+anna+"/history", ""))
	if !strings.Contains(history, `"consent.withdrawn.v1"`) || !strings.Contains(history, agreed) {
		t.Errorf("the history: %s", history)
	}

	conn := connect(t, s)
	var erased, blank int
	const sql = `select count(*) filter (where is_erased), count(*) filter (where email || full_name || phone = '')
		from trust.users_v1`
	if err := conn.QueryRow(t.Context(), sql).Scan(&erased, &blank); err != nil || erased != 2 || blank != 2 {
		t.Errorf("%d erased rows, %d blank ones, %v", erased, blank, err)
	}
	const seen = `select count(*) from trust.events
		where event_type in ('user.erased.v1', 'consent.withdrawn.v1') and effective_at < recorded_at`
	if err := conn.QueryRow(t.Context(), seen).Scan(&blank); err != nil || blank < 4 {
		t.Errorf("%d events took effect before they were recorded, %v", blank, err)
	}
}

// elsewhere is the site's backup and keys with another database, and an API of its own.
func (s *site) elsewhere(database string) *site {
	s.t.Helper()
	other := newSite(s.t, "DATABASE_URL="+database, "MASTER_KEY="+s.kept()["MASTER_KEY"], testSecret, "RATE_LIMIT=off")
	other.dir = s.dir
	return other
}

// address is that of the site's database: of several, the last counts.
func (s *site) address() (last string) {
	for _, variable := range s.env {
		if address, ok := strings.CutPrefix(variable, "DATABASE_URL="); ok {
			last = address
		}
	}
	return last
}

// opens starts projectors and API, and waits until they have caught up.
func (s *site) opens() {
	s.t.Helper()
	s.start("project", "all")
	s.start("serve")
	pgtest.Eventually(s.t, "it is ready", s.ready)
	pgtest.Eventually(s.t, "the read tables have caught up", s.caughtUp)
}

// small makes a database with two municipalities and its backup in the folder full.
func small(t *testing.T) *site {
	t.Helper()
	s, _ := onDatabase(t)
	two := s.file("two.csv", "code,name,province\nA1,Alpha,Gauteng\nA2,Beta,Limpopo\n")
	s.run("import", "municipalities", two).expect(t, exit.CodeDone, "2 registered")
	s.run("backup", "--to", "full").expect(t, exit.CodeDone, "2 events")
	return s
}

// into is the site with another database.
func (s *site) into(database string) *site { return s.with("DATABASE_URL=" + database) }

func (s *site) count(t *testing.T, database, sql string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// copyOf copies a backup, for a test to spoil.
func (s *site) copyOf(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(s.dir, strings.ReplaceAll(name, " ", "-"))
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(s.dir, "full"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestABackupIsForItsOwnerAloneAndReplacesNone(t *testing.T) {
	t.Parallel()
	s := small(t)
	files, err := os.ReadDir(filepath.Join(s.dir, "full"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v", files, err)
	}

	for _, file := range files {
		if info, err := file.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", file.Name(), info.Mode(), err)
		}
	}
	s.run("backup", "--to", "full").expect(t, exit.CodeNotSo, "holds a backup already")
	s.run("backup", "--keys", "--to", "full").expect(t, exit.CodeNotSo, "holds a backup already")

	planted, precious := filepath.Join(s.dir, "planted"), filepath.Join(s.dir, "precious")
	must(t, os.WriteFile(precious, []byte("as it was"), 0o600))
	must(t, os.Mkdir(planted, 0o700))
	must(t, os.Symlink(precious, filepath.Join(planted, "events.copy.gz.part")))
	s.run("backup", "--to", "planted").expect(t, exit.CodeDone, "")
	if text, err := os.ReadFile(precious); err != nil || string(text) != "as it was" {
		t.Errorf("the file behind a planted link holds %q, %v", text, err)
	}

	must(t, os.Mkdir(filepath.Join(s.dir, "open"), 0o700))
	must(t, os.Chmod(filepath.Join(s.dir, "open"), 0o777))
	s.run("backup", "--to", "open").expect(t, exit.CodeUnreachable, "nobody else can change")
	s.with("DATABASE_URL="+pgtest.Fresh(t)).run("backup", "--to", "none").expect(t, exit.CodeNotSo, "never migrated")
}

func TestARestoreThatIsRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	s := small(t)
	change := func(t *testing.T, path string, do func(string) string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(do(string(text))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace := func(old, by string) func(string) string {
		return func(text string) string { return strings.Replace(text, old, by, 1) }
	}
	other := small(t)

	for name, c := range map[string]struct {
		file   string
		change func(string) string
		args   []string
		env    string
		code   int
		want   string
	}{
		"a flipped bit": {"events.copy.gz", func(x string) string {
			return x[:80] + string(x[80]^1) + x[81:]
		}, nil, "", exit.CodeNotSo, "is damaged"},
		"cut off": {"keys.copy.gz", func(x string) string {
			return x[:len(x)-20]
		}, nil, "", exit.CodeNotSo, "is damaged"},
		"another format": {
			"events.json", replace(`"format": 1`, `"format": 2`), nil, "", exit.CodeNotSo,
			"has format 2",
		},
		"a newer schema": {
			"keys.json", replace(`"schema": `, `"schema": 9`), nil, "", exit.CodeNotSo,
			"run a newer trust",
		},
		"no manifest": {
			"events.json", replace(`"holds": "events"`, `"holds": "keys"`), nil, "", exit.CodeNotSo,
			"is not what trust backup wrote",
		},
		"older keys": {
			"keys.json", replace(`"position": 2`, `"position": 1`), nil, "", exit.CodeNotSo,
			"the keys are older than the events",
		},
		"a missing event": {
			"events.json", replace(`"position": 2`, `"position": 1`), nil, "", exit.CodeNotSo,
			"not a whole backup",
		},
		"others' keys": {
			"keys.json", replace("", ""),
			[]string{"--keys", filepath.Join(other.dir, "full")},
			"",
			exit.CodeNotSo, "do not belong to these events",
		},
		"wrong master key": {
			"keys.json", replace("", ""), nil, "MASTER_KEY=" + strings.Repeat("wrong-", 8),
			exit.CodeUsage, "MASTER_KEY is not the one",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, database := s.copyOf(t, name), pgtest.Fresh(t)
			change(t, filepath.Join(dir, c.file), c.change)

			o := s.into(database).with(c.env).run(append([]string{"restore", "--from", dir}, c.args...)...)
			o.expect(t, c.code, c.want)
			if strings.Count(o.stderr, "\n") != 1 || o.stdout != "" {
				t.Errorf("it says %q and %q", o.stdout, o.stderr)
			}

			const tables = `select count(*) from pg_tables where schemaname = 'trust'`
			const rows = `select (select count(*) from trust.events) + (select count(*) from trust.keys) +
				(select count(*) from trust.secrets)`
			if s.count(t, database, tables) > 0 && s.count(t, database, rows) != 0 {
				t.Error("something was restored")
			}
		})
	}
}

func TestARestoreGoesIntoAnEmptyDatabaseOnlyAndMakesIt(t *testing.T) {
	t.Parallel()
	s := small(t)
	s.run("restore", "--from", "full").expect(t, exit.CodeNotSo, "the database is not empty")
	s.run("status").expect(t, exit.CodeNotSo, "stopped: ") // and is as open as before
	s.run("restore", "--from", "nowhere").expect(t, exit.CodeNotSo, "there is no whole backup of keys in nowhere")

	conn := connect(t, s)
	name := conn.Config().Database
	made := s.into(strings.Replace(s.address(), name, name+"_made", 1))
	defer func() {
		if _, err := conn.Exec(t.Context(), "drop database "+name+"_made"); err != nil {
			t.Error(err)
		}
	}()
	made.run("restore", "--from", "full").expect(t, exit.CodeDone, "now at position 2: 2 events")
	made.run("restore", "--from", "full").expect(t, exit.CodeNotSo, "the database is not empty")
}

// trap makes statements on a table of a database wait until release. waits reports
// whether one does.
func trap(t *testing.T, database, table string) (waits func() bool, release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), "lock table "+table+" in access exclusive mode")
	}
	if err != nil {
		t.Fatal(err)
	}

	look, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close(context.WithoutCancel(t.Context())) // the process may be at its end
		_ = look.Close(context.WithoutCancel(t.Context()))
	})

	waits = func() bool {
		var n int
		const sql = `select count(*) from pg_locks where not granted and relation = $1::text::regclass`
		return look.QueryRow(t.Context(), sql, table).Scan(&n) == nil && n > 0
	}
	return waits, func() { _ = tx.Rollback(t.Context()) }
}

func TestABackupThatIsKilledIsNone(t *testing.T) {
	t.Parallel()
	s := small(t)
	waits, release := trap(t, s.address(), "trust.claims") // the last of what is written

	backup := s.start("backup", "--to", "half")
	pgtest.Eventually(t, "it has come to the claims", waits)
	backup.stop(t, syscall.SIGKILL)
	release()

	if _, err := os.Stat(filepath.Join(s.dir, "half", "events.copy.gz")); err != nil {
		t.Errorf("it was killed before it had written anything: %v", err)
	}
	s.into(pgtest.Fresh(t)).run("restore", "--from", "half").
		expect(t, exit.CodeNotSo, "there is no whole backup of keys in half")
	s.run("backup", "--to", "half").expect(t, exit.CodeNotSo, "what is left of one")
}

// Killed in the middle, a restore leaves a database that stays closed until another
// restore into it finishes.
func TestARestoreThatIsKilledLeavesADatabaseThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	s := small(t)
	database := pgtest.Fresh(t)
	half := s.into(database)
	half.run("migrate").expect(t, exit.CodeDone, "schema version")

	waits, release := trap(t, database, "trust.claims") // after keys and secrets
	restore := half.start("restore", "--from", "full")
	pgtest.Eventually(t, "it is in the middle", waits)
	restore.stop(t, syscall.SIGKILL)
	release()

	half.run("status").expect(t, exit.CodeUnreachable, "a restore into this database is not finished")
	half.start("serve")
	pgtest.Eventually(t, "the API says why it does not open", func() bool {
		var problem struct{ Errors []struct{ Field string } }
		return half.get("/ready", &problem) == http.StatusServiceUnavailable && len(problem.Errors) == 1 &&
			problem.Errors[0].Field == "restore"
	})
	const left = "select (select count(*) from trust.events) + (select count(*) from trust.secrets)"
	if n := half.count(t, database, left); n != 0 {
		t.Errorf("%d rows are left", n)
	}

	s.into(pgtest.Fresh(t)).run("restore", "--from", "full").expect(t, exit.CodeDone, "2 events")
	half.run("restore", "--from", "full").expect(t, exit.CodeDone, "2 events")
	half.start("project", "all")
	pgtest.Eventually(t, "the API that waited opens", half.ready)
}
