package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// backup returns what a backup of a database writes, and its head.
func backup(t testing.TB, conn *pgx.Conn) (events, keys *bytes.Buffer, head int64) {
	t.Helper()
	b, err := eventstore.BeginBackup(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())

	events, keys = &bytes.Buffer{}, &bytes.Buffer{}
	if _, err := b.WriteEvents(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteKeys(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	return events, keys, b.Head()
}

// restore fills a database and finishes.
func restore(t testing.TB, conn *pgx.Conn, events, keys *bytes.Buffer, head int64) error {
	t.Helper()
	r, err := eventstore.BeginRestore(t.Context(), conn)
	if err != nil {
		return err
	}
	defer r.Close(t.Context())

	for _, step := range []func() error{
		func() error { return r.ReadKeys(t.Context(), keys) },
		func() error { return r.Prove(t.Context(), []byte(masterKey)) },
		func() error { return r.ReadEvents(t.Context(), events, nil) },
		func() error { return r.Settle(t.Context(), head) },
		func() error { _, err := r.Finish(t.Context()); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Every byte survives: of json however it is written, of ciphertext, of instants; even
// when it takes several chunks. The log's id is a new one, because positions are assigned
// again.
func TestARestoredDatabaseIsTheSameByteForByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna@example.org")
	must(t)(w.store.Append(t.Context(), grant(w.tenant, anna, 0)))
	gone := w.register(t, w.tenant, "gone@example.org")
	must(t)(w.store.Append(t.Context(), side(w.tenant,
		domain.DestroySubjectKey{Subject: gone},
		domain.DeleteCredential{User: gone},
		domain.ReleaseClaim{Claim: emailClaim(w.tenant, "gone@example.org"), Holder: gone.UUID},
	)))

	odd := `{ "b" : "tab\tback\\slash\nline \u0001 Ṱ",  "a":1.50, "a":2 }`
	w.beforeCodes(t)
	w.exec(t, `insert into trust.events
		select e.position + n, e.tenant_id, e.stream_type, e.stream_id, e.version + n, gen_random_uuid(),
			gen_random_uuid(), 1, 'session.ended.v1', null, e.record_id, null,
			($1::text || repeat(E'\n', 1000 + n % 7))::json, '\x5c2e0a00', $2::text::json,
			'1999-01-01 00:00:00.000001+02', e.recorded_at
		from (select * from trust.events order by position desc limit 1) e, generate_series(1, 5000) n`, odd, " {} ")

	events, keys, head := backup(t, w.db.Superuser(t))
	if events.Len() < 2*4<<20 {
		t.Fatalf("%d bytes fit into one chunk", events.Len())
	}
	target := pgtest.New(t)
	if err := restore(t, target.Superuser(t), events, keys, head); err != nil {
		t.Fatal(err)
	}

	copied := &world{db: target, admin: &admin{conn: target.Superuser(t)}}
	want, have := w.dump(t), copied.dump(t)
	for table, rows := range want {
		if table != "trust.sessions" && table != "trust.log" && !slices.Equal(rows, have[table]) {
			t.Errorf("%s: %d rows, want %d, or they differ", table, len(have[table]), len(rows))
		}
	}
	if len(have["trust.log"]) != 1 || slices.Equal(want["trust.log"], have["trust.log"]) {
		t.Errorf("the restored log is %v, as it was before", have["trust.log"])
	}

	// The check at the end could not decode these.
	w.exec(t, "alter table trust.events disable trigger user")
	w.exec(t, "delete from trust.events where event_type = 'session.ended.v1' and position > 4")
}

// The log goes on where it was, and everybody with an account can use it: the restored
// database is open to every role again.
func TestARestoredLogGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna@example.org")
	events, keys, head := backup(t, w.db.Superuser(t))
	target := pgtest.New(t)
	if err := restore(t, target.Superuser(t), events, keys, head); err != nil {
		t.Fatal(err)
	}

	store := open(t, target)
	done := must(t)(store.Append(t.Context(), grant(w.tenant, anna, 0)))
	if done.Position() != head+1 {
		t.Errorf("it goes on at %d after %d", done.Position(), head)
	}

	events2, err := store.LoadPersonal(t.Context(), w.tenant, domain.UserOf(anna))
	if err != nil || domain.Fold[domain.User](events2).Email != "anna@example.org" {
		t.Errorf("%v, %v", events2, err)
	}
	checkLog(t, target)
	if err := eventstore.CheckEmpty(t.Context(), target.Superuser(t)); !errors.Is(err, eventstore.ErrNotEmpty) {
		t.Errorf("it is not empty: %v", err)
	}
}

// The keys are newer than the events: people who registered in between leave neither key
// nor claim, so that they can register again.
func TestWhoCameAfterTheBackupIsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	events, _, head := backup(t, w.db.Superuser(t))
	w.register(t, w.tenant, "late@example.org")
	w.municipality(t, "JHB")
	_, keys, _ := backup(t, w.db.Superuser(t))

	target := pgtest.New(t)
	if err := restore(t, target.Superuser(t), events, keys, head); err != nil {
		t.Fatal(err)
	}

	again := &world{db: target, store: open(t, target), admin: &admin{conn: target.Superuser(t)}, tenant: w.tenant}
	if n := query[int](t, again, "select count(*) from trust.keys"); n != 2 { // SALGA's and the municipality's
		t.Errorf("%d keys", n)
	}
	if n := query[int](t, again, "select count(*) from trust.claims where kind = 'email'") +
		query[int](t, again, "select count(*) from trust.credentials"); n != 0 {
		t.Errorf("%d claims and credentials", n)
	}

	again.register(t, w.tenant, "late@example.org")
	again.municipality(t, "JHB")
}

func TestAnInvalidBackupIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, w.tenant, "anna@example.org")
	events, keys, head := backup(t, w.db.Superuser(t))

	replace := func(b *bytes.Buffer, old, by string) *bytes.Buffer {
		return bytes.NewBufferString(strings.Replace(b.String(), old, by, 1))
	}

	target := pgtest.New(t)
	for name, c := range map[string]struct{ events, keys *bytes.Buffer }{
		"empty":             {bytes.NewBuffer(nil), keys},
		"the wrong way":     {keys, events},
		"without its end":   {bytes.NewBuffer(events.Bytes()[:events.Len()-3]), keys},
		"more than its end": {bytes.NewBufferString(events.String() + "x"), keys},
		"a statement":       {replace(events, "position,", "position); drop table trust.events; --,"), keys},
		"without a secret":  {events, replace(keys, "lookup", "locked")},
		"a missing event":   {bytes.NewBufferString(withoutLine(events.String(), 1)), keys},
	} {
		err := restore(t, target.Superuser(t), bytes.NewBuffer(c.events.Bytes()), bytes.NewBuffer(c.keys.Bytes()), head)
		if !errors.Is(err, eventstore.ErrNoBackup) {
			t.Errorf("%s: %v", name, err)
		}
		if err := eventstore.CheckEmpty(t.Context(), target.Superuser(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	if err := restore(t, target.Superuser(t), events, keys, head); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func withoutLine(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(slices.Delete(lines, n, n+1), "")
}

// A backup is of one instant: what is appended while it is written is not in it, neither
// the event nor the key.
func TestABackupIsOfOneInstant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, err := eventstore.BeginBackup(t.Context(), w.db.Conn(t, pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())

	late := w.register(t, w.tenant, "late@example.org")
	var events, keys bytes.Buffer
	_, err = b.WriteEvents(t.Context(), &events)
	_, err2 := b.WriteKeys(t.Context(), &keys)
	if err != nil || err2 != nil || strings.Contains(events.String()+keys.String(), late.String()) {
		t.Errorf("%v, %v, or it holds who came later", err, err2)
	}
}

// Neither needs a superuser, nor a login that inherits rights: membership of two roles is
// enough.
func TestBackupAndRestoreNeedNoSuperuser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, w.tenant, "anna@example.org")

	login := "login_" + strings.ReplaceAll(newID().String(), "-", "")
	w.exec(t, "create role "+login+" login noinherit password 'x'")
	w.exec(t, "grant trust_owner, trust_append to "+login)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.WithoutCancel(t.Context()), w.db.URL(pgtest.Superuser))
		if err == nil {
			_, err = conn.Exec(context.WithoutCancel(t.Context()), "drop role "+login)
			_ = conn.Close(context.WithoutCancel(t.Context()))
		}
		if err != nil {
			t.Error(err)
		}
	})

	as := func(db *pgtest.DB) *pgx.Conn {
		t.Helper()
		config, err := pgx.ParseConfig(db.URL(pgtest.Superuser))
		if err != nil {
			t.Fatal(err)
		}
		config.User, config.Password = login, "x"
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		return conn
	}

	events, keys, head := backup(t, as(w.db))
	target := pgtest.New(t)
	if err := restore(t, as(target), events, keys, head); err != nil {
		t.Fatal(err)
	}
	checkLog(t, target)
}

// BenchmarkBackupAndRestore measures both, of a log of 20 000 events.
func BenchmarkBackupAndRestore(b *testing.B) {
	w := newWorld(b)
	for range 20 {
		anna := w.register(b, w.tenant, newID().String()+"@example.org")
		for i := range 5 {
			must(b)(w.store.Append(b.Context(), grant(w.tenant, anna, i)))
		}
	}
	w.beforeCodes(b)
	w.exec(b, `insert into trust.events
		select (m.head + row_number() over ()), e.tenant_id, e.stream_type, gen_random_uuid(), 1, gen_random_uuid(),
			gen_random_uuid(), 1, e.event_type, e.subject_id, e.record_id, e.actor_id, e.payload, e.sealed, e.metadata,
			e.effective_at, m.at
		from (select max(position) head, max(recorded_at) at from trust.events) m, trust.events e,
			generate_series(1, 250)
		where e.stream_type = 'consent' limit 20000`)

	var took [2]time.Duration
	var done int64
	for b.Loop() {
		started := time.Now()
		events, keys, head := backup(b, w.db.Superuser(b))
		took[0] += time.Since(started)

		target := pgtest.New(b)
		started = time.Now()
		if err := restore(b, target.Superuser(b), events, keys, head); err != nil {
			b.Fatal(err)
		}
		took[1] += time.Since(started)
		done += head
	}

	b.ReportMetric(float64(done)/took[0].Seconds(), "backed-up/s")
	b.ReportMetric(float64(done)/took[1].Seconds(), "restored/s")
}
