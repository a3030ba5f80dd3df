//go:build far

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// replicated is a primary with its standby, and two APIs on them: one that knows only the
// primary, and one that reads from the standby.
type replicated struct {
	t                *testing.T
	primary, standby *ownServer
	alone, reader    *site
	api              *running // the reader's

	officer *account // signed in; both APIs take the token
}

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	r := &replicated{t: t, primary: startServer(t)}
	r.alone = r.primary.site("RATE_LIMIT=off")
	r.alone.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "officer@example.org").
		expect(t, exit.CodeDone, "admin of CPT made")
	r.primary.says("alter system set wal_keep_size = '1GB'")
	r.standby = r.primary.standbyOf()

	r.reader = r.apart("DATABASE_URL_READ=" + r.standby.query())
	r.alone.start("project", "all")
	r.alone.start("serve")
	r.api = r.reader.start("serve")
	pgtest.Eventually(t, "the primary's API is ready", r.alone.ready)
	pgtest.Eventually(t, "the reader is ready", r.reader.ready)
	r.officer = r.alone.signedIn("officer@example.org", "a good password", "CPT")
	return r
}

// apart returns the site with another address to listen on.
func (r *replicated) apart(env ...string) *site {
	other := r.alone.with(env...)
	other.addr = freeAddress()
	return other.with("HTTP_ADDR=" + other.addr)
}

// standbyOf makes a standby of a server from a copy of its files.
func (o *ownServer) standbyOf() *ownServer {
	o.t.Helper()
	port, err := localpg.FreePort()
	must(o.t, err)
	binaries, err := localpg.FindOrFetch(o.t.Context(), "", io.Discard)
	must(o.t, err)

	cluster, err := localpg.New(localpg.Config{
		Dir: filepath.Join(filepath.Dir(o.cluster.Dir), "standby"), Binaries: binaries, Port: port,
		Password: "of a test",
		Settings: map[string]string{
			"primary_conninfo": fmt.Sprintf("host=127.0.0.1 port=%d user=postgres password='of a test'",
				o.cluster.Port),
			"wal_retrieve_retry_interval": "200ms",
		},
	})
	must(o.t, err)

	o.stop()
	must(o.t, exec.CommandContext(o.t.Context(), "cp", "-a", o.cluster.Dir, cluster.Dir).Run())
	data := filepath.Join(cluster.Dir, "data")
	must(o.t, exec.CommandContext(o.t.Context(), "cp", "-a", filepath.Join(data, "PG_VERSION"),
		filepath.Join(data, "standby.signal")).Run()) // a file of the server's user; what is in it does not matter
	o.start()

	standby := &ownServer{t: o.t, cluster: cluster, address: cluster.URL("postgres")}
	standby.start()
	o.t.Cleanup(standby.stop)
	return standby
}

// query returns the address at which the API reads.
func (o *ownServer) query() string { return o.address + "&role=trust_query" }

func (o *ownServer) says(sql string) (text string) {
	o.t.Helper()
	conn, err := pgx.Connect(o.t.Context(), o.address)
	must(o.t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(o.t.Context())) }()

	err = conn.QueryRow(o.t.Context(), sql).Scan(&text)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		o.t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// at sends the officer's requests to another API.
func (r *replicated) at(s *site) *account {
	return &account{s: s, id: r.officer.id, token: r.officer.token}
}

// asked returns the status and the answer.
func (c *account) asked(path string, header ...string) (int, string) {
	c.s.t.Helper()
	request, err := http.NewRequestWithContext(c.s.t.Context(), http.MethodGet, "http://"+c.s.addr+"/api/v1/"+path,
		http.NoBody)
	must(c.s.t, err)
	request.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}

	answer, err := http.DefaultClient.Do(request)
	must(c.s.t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	must(c.s.t, err)
	return answer.StatusCode, string(text)
}

// reads returns how many queries the reader had answered there.
func (r *replicated) reads(on string) string {
	return r.reader.metrics()[`trust_replica_queries_total{read_on="`+on+`"}`]
}

func (r *replicated) is(state string) bool {
	return r.reader.metrics()[`trust_replica_state{state="`+state+`"}`] == "1"
}

func TestFarAReplicaAnswersAsThePrimaryDoes(t *testing.T) {
	t.Parallel()
	r := newReplicated(t)
	person := r.alone.citizen("nomsa@example.org", "Nomsa Ṱhavhani")
	gone := r.alone.citizen("gone@example.org", "Somebody Who Leaves")
	consent := field(t, r.officer.call("POST", "consents", fmt.Sprintf(`{"subject_id":%q,"purpose":"sms_alert",
		"language":"zu","consented":true,"channel":"counter"}`, person.id)), "id")
	request := field(t, person.call("POST", "data-rights/requests", `{"kind":"access","details":"all of it"}`), "id")
	r.officer.call("POST", "data-rights/holds",
		fmt.Sprintf(`{"subject_id":%q,"reason":"case 7 of 2026"}`, person.id))
	gone.call("DELETE", "data-rights/delete-account",
		`{"confirmation":"DELETE MY ACCOUNT","password":"correct horse battery"}`)
	person.call("POST", "consents/"+consent+"/withdraw", `{}`)
	pgtest.Eventually(t, "the read tables have followed", r.alone.caughtUp)

	until := time.Now().UTC().Format(time.RFC3339Nano)
	before := r.reads("primary")
	for _, path := range []string{
		"users", "users?q=nomsa", "users?email=nomsa@example.org", "users/" + person.id, "users/" + gone.id,
		"municipalities", "municipalities/CPT",
		"consents?subject_id=" + person.id, "consents/" + consent,
		"compliance/subjects/" + person.id + "/history", "compliance/subjects/" + gone.id + "/history",
		"compliance/consents", "compliance/consents?format=csv", "compliance/consents?format=ndjson&purpose=sms_alert",
		"compliance/consents?counting=true&subject_id=" + person.id,
		"compliance/consents/list", "compliance/consents/summary?by=purpose,status",
		"compliance/purposes/sms_alert/impact", "compliance/exposure?subject_id=" + person.id + "&to=" + until,
		"audit-logs?to=" + until, "data-rights/requests", "data-rights/requests/" + request, "data-rights/holds",
		"data-rights/certificates",
	} {
		code, want := r.officer.asked(path)
		other, got := r.at(r.reader).asked(path)
		if code != http.StatusOK || other != code || got != want {
			t.Errorf("%s: the replica answers %d %s\nthe primary %d %s", path, other, got, code, want)
		}
	}
	for _, path := range []string{
		"data-rights/my-data", "data-rights/reads", "data-rights/requests/" + request + "/data",
	} {
		who := *person
		if strings.Contains(path, request) {
			who = *r.officer
		}
		who.s = r.reader
		if code, got := who.asked(path); code != http.StatusOK || !strings.Contains(got, "items") &&
			!strings.Contains(got, "Nomsa Ṱhavhani") {
			t.Errorf("%s: the replica answers %d %s", path, code, got)
		}
	}
	if after := r.reads("primary"); after != before || r.reads("replica") == "0" {
		t.Errorf("read on the primary: %s queries before, %s after; on the replica: %s", before, after,
			r.reads("replica"))
	}

	replay := []string{"replay", "--tenant", "CPT", "--format", "csv", "--as-of", until}
	want, got := r.alone.run(replay...), r.reader.run(replay...)
	want.expect(t, exit.CodeDone, "sms_alert")
	if got.stdout != want.stdout || got.code != want.code {
		t.Errorf("the command line replays\n%s%s\nnot\n%s", got.stdout, got.stderr, want.stdout)
	}
	r.reader.run("exposure", "--tenant", "CPT", "--subject", person.id).expect(t, exit.CodeDone, "reads")
	r.alone.run("verify").expect(t, exit.CodeDone, "events verified")
}

func TestFarNobodyNoticesAReplicaThatIsBehindAwayOrHangs(t *testing.T) {
	t.Parallel()
	r := newReplicated(t)
	reader := r.at(r.reader)
	listed := func(name string) bool {
		code, text := reader.asked("users?limit=100")
		if code != http.StatusOK {
			t.Errorf("the list is answered %d: %s", code, text)
		}
		return strings.Contains(text, name)
	}
	pgtest.Eventually(t, "the replica serves", func() bool { return r.is("serving") })

	// A record of which the primary has flushed one half is no reason to be behind.
	writing, err := pgx.Connect(t.Context(), r.primary.address)
	must(t, err)
	_, err = writing.Exec(t.Context(), `begin; create table half (t text);
		insert into half select repeat('word ', 1300) from generate_series(1, 37)`)
	must(t, err)
	before := r.reads("primary")
	for began := time.Now(); time.Since(began) < 2*time.Second; { // the WAL writer flushes five times in one
		listed("")
	}
	if after := r.reads("primary"); after != before {
		t.Errorf("read on the primary: %s queries before, %s after", before, after)
	}
	must(t, writing.Close(t.Context()))

	// Behind: what was answered before, the position that a client holds and an erasure
	// count at once.
	r.standby.says("select pg_wal_replay_pause()::text")
	late := r.reader.citizen("late@example.org", "Registered Late")
	code, text := reader.asked("users?limit=100", "Min-Event-Position", late.position)
	if code != http.StatusOK || !strings.Contains(text, "Registered Late") {
		t.Errorf("with a position, the list is answered %d: %s", code, text)
	}
	late.call("DELETE", "data-rights/delete-account",
		`{"confirmation":"DELETE MY ACCOUNT","password":"correct horse battery"}`)
	if _, text := reader.asked("users/" + late.id); strings.Contains(text, "Registered Late") {
		t.Errorf("the erased person is shown: %s", text)
	}
	pgtest.Eventually(t, "it is said to be behind", func() bool { return r.is("behind") })
	r.warns("behind")
	r.standby.says("select pg_wal_replay_resume()::text")
	pgtest.Eventually(t, "it serves again", func() bool { return r.is("serving") })
	if listed("Registered Late") {
		t.Error("the replica shows the erased person")
	}

	r.standby.stop()
	r.reader.citizen("while@example.org", "While It Was Away")
	pgtest.Eventually(t, "the primary answers", func() bool { return listed("While It Was Away") })
	pgtest.Eventually(t, "it is said to be away", func() bool { return r.is("away") })
	r.warns("away")
	r.standby.start()
	pgtest.Eventually(t, "it serves again", func() bool { return r.is("serving") })

	thaw := r.standby.freeze()
	began := time.Now()
	listed("")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("while the replica hangs, the list took %s", took)
	}
	pgtest.Eventually(t, "it is said to be away", func() bool { return r.is("away") })
	thaw()
	pgtest.Eventually(t, "it serves again", func() bool { return r.is("serving") })
	pgtest.Eventually(t, "the reader is ready", r.reader.ready)
	if n := strings.Count(r.api.said.String(), "queries are read on the primary"); n < 3 || n > 6 {
		t.Errorf("it said so %d times:\n%s", n, r.api.said)
	}
}

// warns expects everything that an operator looks at to say that the replica is not used.
func (r *replicated) warns(state string) {
	r.t.Helper()
	var ready struct {
		Status   string
		Warnings []string
	}
	pgtest.Eventually(r.t, "ready warns", func() bool {
		return r.reader.get("/ready", &ready) == http.StatusOK && len(ready.Warnings) == 1 &&
			ready.Warnings[0] == replicaUnused
	})
	admin := r.reader.signedIn("admin@example.org", "correct horse battery", "SALGA")
	if text := string(admin.call("GET", "system", "")); !strings.Contains(text, replicaUnused) {
		r.t.Errorf("the system does not say so: %s", text)
	}
	if said := r.api.said.String(); !strings.Contains(said, "replica="+state) {
		r.t.Errorf("the log does not say so: %s", said)
	}
}

func TestFarADatabaseThatIsNoReplicaIsRefused(t *testing.T) {
	t.Parallel()
	primary, other := startServer(t), startServer(t)
	s, stranger := primary.site(), other.site()
	stranger.run("status")

	s.with("DATABASE_URL_READ="+other.query()).run("serve").
		expect(t, exit.CodeUsage, "no copy of it; set DATABASE_URL_READ to a standby")
	s.with("DATABASE_URL_READ="+other.address).run("serve").expect(t, exit.CodeUsage, "superuser")

	itself := s.with("DATABASE_URL_READ=" + primary.query())
	itself.start("project", "all")
	api := itself.start("serve")
	pgtest.Eventually(t, "it is ready", itself.ready)
	if itself.municipalities(); !strings.Contains(api.said.String(), "DATABASE_URL_READ is the primary itself") {
		t.Errorf("it said %s", api.said)
	}
}

// The runbook of docs/operator.md, after a primary died with events that its standby did
// not have.
func TestFarAfterAFailoverThatLostEventsTheRunbookMendsEverything(t *testing.T) {
	t.Parallel()
	r := newReplicated(t)
	r.alone.citizen("kept@example.org", "Kept Person")
	log := r.primary.says("select id::text from trust.log")
	pgtest.Eventually(t, "the read tables have followed", r.alone.caughtUp)
	pgtest.Eventually(t, "the standby has it", func() bool {
		return r.standby.says("select max(position)::text from trust.events") ==
			r.primary.says("select max(position)::text from trust.events")
	})

	r.standby.stop()
	lost := r.alone.citizen("lost@example.org", "Lost Person")
	lost.call("POST", "consents", `{"purpose":"sms_alert","language":"zu","consented":true}`)
	r.primary.process.Kill()
	r.standby.start()
	r.standby.says("select pg_promote()::text")

	promoted := r.apart("DATABASE_URL="+r.standby.address, "DATABASE_URL_READ="+r.standby.query())
	promoted.start("project", "all")
	promoted.start("serve")
	pgtest.Eventually(t, "the promoted server is in use", promoted.ready)
	officer := promoted.signedIn("officer@example.org", "a good password", "CPT")
	refused := func(code string, header ...string) {
		t.Helper()
		if _, text := officer.asked("users", header...); !strings.Contains(text, `"code":"`+code+`"`) {
			t.Errorf("%v is answered %s, want %s", header, text, code)
		}
	}
	refused("unknown_position", "Min-Event-Position", lost.position)
	if status, text := officer.asked("users?limit=100"); status != http.StatusOK ||
		!strings.Contains(text, "Kept Person") || strings.Contains(text, "Lost Person") {
		t.Errorf("the list is answered %d: %s", status, text)
	}

	promoted.run("log", "renew").expect(t, exit.CodeDone, "409 another_log")
	pgtest.Eventually(t, "the old log is refused", func() bool {
		_, text := officer.asked("users", "Event-Log", log)
		return strings.Contains(text, `"code":"another_log"`)
	})
	promoted.run("verify").expect(t, exit.CodeDone, "events verified")
	promoted.run("status").expect(t, exit.CodeDone, "running")

	// The old primary comes back, and an API that still names it must not read from the
	// server that was promoted.
	r.primary.start()
	pgtest.Eventually(t, "the old API finds that its replica is none", func() bool { return r.is("foreign") })
	if _, text := r.at(r.reader).asked("users?limit=100"); !strings.Contains(text, "Lost Person") {
		t.Errorf("it does not read from its primary: %s", text)
	}
	r.reader.with("HTTP_ADDR="+freeAddress()).run("serve").expect(t, exit.CodeUsage, "DATABASE_URL_READ")
}
