package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pquerna/otp/totp"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// A registered person's e-mail address, name, phone and address are in the read tables,
// which rebuild and erasure cover, and nowhere else: not in the log, not in the command
// side's tables, not in a log file of ours or of Postgres.
func TestPersonalDataStandsInTheReadTablesAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off", "DEBUG=true")
	up := s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	c := newClient("http://" + s.addr)
	marks := markedLife()
	c.http.Transport = agent{marks["user agent"]}
	livesMarked(t, c, marks)
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)

	tables := s.dump(t, "trust.users_v1")
	everything := s.dump(t)
	logs := up.said.String() + s.postgresLog(t)
	for what, mark := range marks {
		for place, text := range map[string]string{"a dump without the table of users": tables, "a log": logs} {
			if strings.Contains(text, mark) {
				t.Errorf("the %s is in %s", what, place)
			}
		}
	}

	// The search can fail.
	for _, what := range []string{"new e-mail", "name", "phone"} {
		if !strings.Contains(everything, marks[what]) {
			t.Errorf("the %s is not in the table of users either", what)
		}
	}
}

// Once a person is erased, nothing about them is left in anything that the database, the
// program and Postgres write or answer from then on.
func TestNothingIsLeftOfAnErasedPerson(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off", "DEBUG=true")
	up := s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	c := newClient("http://" + s.addr)
	marks := markedLife()
	c.http.Transport = agent{marks["user agent"]}
	livesMarked(t, c, marks)
	s.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "officer@example.org").
		expect(t, exit.CodeDone, "made")
	officer := s.signedIn("officer@example.org", "a good password", "CPT")

	me, err := c.send(t.Context(), "GET", "/api/v1/users/me", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	id := me.text("id")
	marks["recovery"] = "marked phone lost"
	securesMarked(t, c, marks)
	officer.call("DELETE", "users/"+id+"/totp", fmt.Sprintf(`{"reason":%q}`, marks["recovery"]))
	back, err := c.insist(t.Context(), "POST", "/api/v1/auth/login",
		map[string]any{"email": marks["new e-mail"], "password": marks["password"]})
	must(t, err)
	c.token = back.text("access_token")
	securesMarked(t, c, marks)
	other := officer.mergesMarked(id, marks)
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	// Now there is a version that nobody reads.
	s.run("rebuild", "users").expect(t, exit.CodeDone, "kept as trust.users_v1")

	before := s.everywhere(t, up, officer, id)
	before["a resident"] = s.resident(officer, other)
	// The search can fail.
	for what, place := range map[string]string{
		"e-mail": "audit", "new e-mail": "a dump", "name": "a dump", "phone": "a list of users", "user agent": "audit",
		"reason": "history", "recovery": "audit", "evidence": "history", "competent person": "history",
		"other name": "a dump", "other phone": "a list of users", "other evidence": "history",
		"reason of the merge": "audit", "external id": "a resident",
	} {
		if !strings.Contains(before[place], marks[what]) {
			t.Errorf("the %s is not in %s before the erasure", what, place)
		}
	}
	if !strings.Contains(before["trust replay --reveal"], marks["name"]) {
		t.Error("trust replay --reveal shows no name before the erasure")
	}

	var wrapped, login, factor []byte
	var verifier string
	db := connect(t, s.with("DATABASE_URL="+s.kept()["DATABASE_URL"]))
	must(t, db.QueryRow(t.Context(), `select k.wrapped, c.verifier, c.login_digest, c.factor_secret
		from trust.keys k join trust.credentials c on c.user_id = k.key_id where k.key_id = $1`, id).
		Scan(&wrapped, &verifier, &login, &factor))

	marks["sealed second factor"], marks["sealed second factor as text"] = string(factor), hex.EncodeToString(factor)
	marks["wrapped key"], marks["wrapped key as text"] = string(wrapped), hex.EncodeToString(wrapped)
	marks["verifier"], marks["digest as text"] = verifier, hex.EncodeToString(login)
	for _, what := range []string{"wrapped key as text", "verifier", "digest as text", "sealed second factor as text"} {
		if dump := s.dump(t); !strings.Contains(dump, marks[what]) {
			t.Errorf("the %s is not in a dump before the erasure", what)
		}
	}
	// As autovacuum does: it copies values to where no dump shows them.
	_, err = db.Exec(t.Context(), "analyze")
	must(t, err)

	gone, err := c.send(t.Context(), "DELETE", "/api/v1/data-rights/delete-account", "", map[string]any{
		"confirmation": "DELETE MY ACCOUNT", "password": marks["password"],
	})
	if err != nil || gone.status != 200 {
		t.Fatalf("%+v %v", gone, err)
	}
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)

	// Autovacuum does this within a minute, because these tables ask for it.
	for _, table := range []string{"users_v1", "users_v2", "keys", "credentials", "claims"} {
		var asks bool
		must(t, db.QueryRow(t.Context(),
			"select 'autovacuum_vacuum_threshold=0' = any(reloptions) from pg_class where oid = ('trust.' || "+
				"$1)::regclass", table).Scan(&asks))
		if !asks {
			t.Errorf("nothing vacuums %s soon", table)
		}
		_, err := db.Exec(t.Context(), "vacuum (index_cleanup on) trust."+table)
		must(t, err)
	}

	db = s.readableWAL(t, db)
	// From here on the first change of a page writes the whole page to the WAL.
	for _, sql := range []string{"select pg_switch_wal()", "checkpoint"} {
		_, err := db.Exec(t.Context(), sql)
		must(t, err)
	}
	var segment, statistics string
	must(t, db.QueryRow(t.Context(), "select pg_walfile_name(pg_current_wal_insert_lsn())").Scan(&segment))

	for i := range 3 {
		s.citizen(fmt.Sprintf("somebody.else%d@example.org", i), "Somebody Else")
		pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	}
	officer.call("POST", "consents", `{"purpose":"sms_alert","language":"zu","consented":true}`)
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	s.run("verify").expect(t, exit.CodeDone, "events verified")

	after := s.everywhere(t, up, officer, id)
	after["a resident"] = s.resident(officer, other)
	after["the other history"] = string(officer.call("GET", "compliance/subjects/"+other+"/history", ""))
	after["the WAL"] = s.wal(t, db, segment)
	// The officer was in such a page, and is in no record of its own.
	if !strings.Contains(after["the WAL"], "officer@example.org") {
		t.Error("the search in the WAL does not see the contents of pages")
	}

	_, err = db.Exec(t.Context(), "select set_config('search_path', '', false)")
	must(t, err)
	must(t, db.QueryRow(t.Context(),
		`select string_agg(concat_ws(' ', starelid::regclass, stavalues1, stavalues2, stavalues3, stavalues4,
			stavalues5), E'\n')
		from pg_statistic where starelid in (select oid from pg_class where relnamespace = 'trust'::regnamespace)`).
		Scan(&statistics))
	after["the statistics"] = statistics
	if !strings.Contains(statistics, "{admin") {
		t.Errorf("the search in the statistics finds nothing at all: %s", statistics)
	}

	for what, mark := range marks {
		for place, text := range after {
			if strings.Contains(text, mark) {
				t.Errorf("the %s is in %s", what, place)
			}
		}
	}
	if !strings.Contains(after["history"], id) || !strings.Contains(after["audit"], "user.erased.v1") {
		t.Errorf("that there was somebody is gone too: %s", after["history"])
	}
}

// everywhere returns everything that could show a person, by its name.
func (s *site) everywhere(t *testing.T, up *running, officer *account, id string) map[string]string {
	t.Helper()
	get := func(path string) string { return string(officer.call("GET", path, "")) }
	metrics := ""
	for name, value := range s.metrics() {
		metrics += name + value
	}
	reveal := s.run("replay", "--tenant", "CPT", "--format", "csv", "--reveal", "--reason", "a test")
	return map[string]string{
		"a dump": s.dump(t), "a log": up.said.String() + s.postgresLog(t), "the metrics": metrics,
		"a list of users": get("users?limit=100"), "a user": get("users/" + id),
		"consents": get("consents?subject_id=" + id),
		"history":  get("compliance/subjects/"+id+"/history") + id, "an export": get("compliance/consents?format=csv"),
		"exposure": get("compliance/exposure?subject_id=" + id),
		"audit":    get("audit-logs?limit=100&record_id="+id) + get("audit-logs?limit=100"),

		"their requests":        get("data-rights/subject?subject_id=" + id),
		"trust replay --reveal": reveal.stdout + reveal.stderr,
		"trust exposure":        s.run("exposure", "--tenant", "CPT", "--subject", id).stdout,
	}
}

// resident returns the record of a person as the counter sees it; there is none of an
// erased one.
func (s *site) resident(officer *account, id string) string {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet,
		"http://"+s.addr+"/api/v1/residents/"+id, nil)
	must(s.t, err)
	request.Header.Set("Authorization", "Bearer "+officer.token)
	answer, err := http.DefaultClient.Do(request)
	must(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	must(s.t, err)
	return string(text)
}

// mergesMarked records a person a second time, with other marks, and merges that record
// into theirs; it returns that record's id.
func (c *account) mergesMarked(id string, marks map[string]string) (other string) {
	c.s.t.Helper()
	marks["other name"], marks["other phone"], marks["external id"] = "Marked Othername", "+27831239876", "MARKED04777"
	marks["other evidence"], marks["reason of the merge"] = "marked box 8", "marked twin"
	evidence := fmt.Sprintf(`{"sha256":%q,"reference":%q}`, strings.Repeat("ab", 32), marks["other evidence"])

	other = field(c.s.t, c.call("POST", "residents", fmt.Sprintf(
		`{"full_name":%q,"phone":%q,"external_ids":[{"type":"meter","value":%q}]}`,
		marks["other name"], marks["other phone"], marks["external id"])), "id")
	c.call("POST", "consents", fmt.Sprintf(`{"subject_id":%q,"purpose":"newsletter","language":"zu","consented":true,
		"channel":"paper","evidence":%s}`, other, evidence))
	c.call("POST", "residents/"+other+"/merge",
		fmt.Sprintf(`{"into":%q,"reason":%q}`, id, marks["reason of the merge"]))
	return other
}

// readableWAL makes all sessions write pages uncompressed into the WAL, so that wal can
// search them, and returns a new session.
func (s *site) readableWAL(t *testing.T, db *pgx.Conn) *pgx.Conn {
	t.Helper()
	for _, sql := range []string{
		"do $$ begin execute format('alter database %I set wal_compression = off', current_database()); end $$",
		"select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = current_database() and pid " +
			"<> pg_backend_pid()",
	} {
		_, err := db.Exec(t.Context(), sql)
		must(t, err)
	}
	db = connect(t, s.with("DATABASE_URL="+s.kept()["DATABASE_URL"]))
	var compression string
	must(t, db.QueryRow(t.Context(), "show wal_compression").Scan(&compression))
	if compression != "off" {
		t.Fatalf("pages are still compressed: %s", compression)
	}

	pgtest.Eventually(t, "the system is ready again", s.ready)
	// It notices dead connections when it uses them.
	pgtest.Eventually(t, "the API has let go of its dead connections", func() bool {
		var asking sync.WaitGroup
		var failed atomic.Bool
		for range 32 {
			asking.Go(func() {
				if s.get("/api/v1/municipalities?limit=1", nil) != http.StatusOK {
					failed.Store(true)
				}
			})
		}
		asking.Wait()
		return !failed.Load()
	})
	return db
}

// wal returns the bytes of the WAL from the beginning of a segment to the end. Whatever
// follows its end is old: segments are reused.
func (s *site) wal(t *testing.T, db *pgx.Conn, from string) string {
	t.Helper()
	var last string
	var end int
	const sql = "select file_name, file_offset from pg_walfile_name_offset(pg_current_wal_flush_lsn())"
	must(t, db.QueryRow(t.Context(), sql).Scan(&last, &end))

	files, err := filepath.Glob(s.data("postgres/data/pg_wal/*"))
	must(t, err)
	var all strings.Builder
	for _, file := range files {
		name := filepath.Base(file)
		if len(name) != len(from) || name < from || name > last {
			continue
		}
		text, err := os.ReadFile(file)
		must(t, err)
		if name == last {
			text = text[:end]
		}
		all.Write(text)
	}
	return all.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type agent struct{ name string }

func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", a.name)
	return http.DefaultTransport.RoundTrip(r)
}

// markedLife returns the marks that livesMarked leaves behind, by their meaning.
func markedLife() map[string]string {
	return map[string]string{
		"e-mail": "marked.resident@example.co.za", "new e-mail": "marked.other@example.co.za",
		"name": "Ṱhilivhali Markedname", "phone": "+27821239876", "name as searches read it": "markedname",
		"password": "marked horse battery", "user agent": "marked-agent/1.0", "reason": "marked reason",
		"evidence": "marked box 7", "wrong value": "marked-wrong-language", "refused wording": "marked wording",
		"competent person": "Marked Guardian", "injection": "marked'; drop table trust.events; --",
	}
}

// securesMarked sets up a second factor, whose secret is a mark.
func securesMarked(t *testing.T, c *client, marks map[string]string) {
	t.Helper()
	begun, err := c.insist(t.Context(), "POST", "/api/v1/users/me/totp",
		map[string]any{"current_password": marks["password"]})
	if err != nil || begun.status != 201 {
		t.Fatalf("%+v %v", begun, err)
	}
	marks["secret of the second factor"] = begun.text("secret")

	code, err := totp.GenerateCode(begun.text("secret"), time.Now())
	must(t, err)
	set, err := c.insist(t.Context(), "POST", "/api/v1/users/me/totp/confirm", map[string]any{"totp": code})
	if err != nil || set.status != 204 {
		t.Fatalf("%+v %v", set, err)
	}
}

// livesMarked does everything with marked values that a person can do, right and wrong.
func livesMarked(t *testing.T, c *client, marks map[string]string) {
	t.Helper()
	ctx := t.Context()
	do := func(method, path string, want int, body map[string]any) reply {
		t.Helper()
		r, err := c.insist(ctx, method, path, body)
		if err != nil || r.status != want {
			t.Fatalf("%s %s: %d %v %v, want %d", method, path, r.status, r.body["code"], err, want)
		}
		return r
	}
	register := func(change map[string]any) map[string]any {
		body := map[string]any{
			"email": marks["e-mail"], "password": marks["password"],
			"full_name": marks["name"], "phone": marks["phone"],
			"preferred_language": "zu", "municipality_code": "CPT",
			"consent": map[string]any{"purpose": "platform_registration", "language": "zu", "consented": true},
		}
		for k, v := range change {
			body[k] = v
		}
		return body
	}

	do("POST", "/api/v1/auth/register", 422, register(map[string]any{"preferred_language": marks["wrong value"]}))
	do("POST", "/api/v1/auth/register", 422, register(map[string]any{marks["injection"]: marks["wrong value"]}))
	do("POST", "/api/v1/auth/register", 422, register(
		map[string]any{"password": map[string]any{"x": marks["password"]}}))
	do("POST", "/api/v1/auth/register", 201, register(nil))
	do("POST", "/api/v1/auth/register", 409, register(nil))

	do("POST", "/api/v1/auth/login", 401, map[string]any{"email": marks["e-mail"], "password": marks["injection"]})
	login := do("POST", "/api/v1/auth/login", 200,
		map[string]any{"email": marks["e-mail"], "password": marks["password"]})
	c.token = login.text("access_token")
	do("PATCH", "/api/v1/users/me", 200,
		map[string]any{"email": marks["new e-mail"], "current_password": marks["password"]})

	sha := strings.Repeat("ab", 32)
	do("POST", "/api/v1/consents", 422, map[string]any{
		"purpose": "sms_alert", "language": "zu", "consented": true, "purpose_description": marks["refused wording"],
	})
	granted := do("POST", "/api/v1/consents", 201, map[string]any{
		"purpose": "child_programme", "language": "zu", "consented": true, "channel": "paper",
		"evidence": map[string]any{"sha256": sha, "reference": marks["evidence"]},
		"given_by": map[string]any{
			"name": marks["competent person"], "relation": "mother",
			"authority": "birth certificate",
		},
	})
	do("POST", "/api/v1/consents/"+granted.text("id")+"/withdraw", 200, map[string]any{"reason": marks["reason"]})

	phone := strings.ReplaceAll(marks["phone"], "+", "")
	do("GET", "/api/v1/users/me?q="+phone, 422, nil)
	do("GET", "/api/v1/municipalities?q="+phone, 200, nil)
}

// dump returns every row of the schema trust as a dump has it, except those of the named
// tables.
func (s *site) dump(t *testing.T, without ...string) string {
	t.Helper()
	return dumpOf(t, s.kept()["DATABASE_URL"], without...)
}

// dumpOf reads as pg_dump would, in one snapshot and in the form of COPY, but pg_dump
// need not be installed.
func dumpOf(t *testing.T, address string, without ...string) string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, address)
	must(t, err)
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "set row_security = off; begin isolation level repeatable read, read only")
	must(t, err)

	rows, err := conn.Query(ctx, `select format('%I.%I', n.nspname, c.relname)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'trust' and c.relkind in ('r', 'm') order by 1`)
	must(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)

	var out bytes.Buffer
	for _, table := range tables {
		if slices.Contains(without, table) {
			continue
		}
		_, err := conn.PgConn().CopyTo(ctx, &out, "copy (select * from "+table+") to stdout")
		must(t, err)
	}
	return out.String()
}

// postgresLog returns every log that Postgres wrote to a file.
func (s *site) postgresLog(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(s.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".log") {
			return nil //nolint:nilerr // files come and go in a running cluster
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
