package eventstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

const asAudit = "set local role trust_audit"

// find runs a query in a transaction that begins with a statement.
func find(
	t testing.TB, pool *pgxpool.Pool, first string, args []any, q eventstore.Query,
) (events []domain.Recorded, err error) {
	t.Helper()

	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		reader, err := eventstore.NewReader(t.Context(), tx, []byte(masterKey))
		if err != nil {
			return err
		}

		if _, err := tx.Exec(t.Context(), first, args...); err != nil {
			return err
		}
		events, err = reader.Find(t.Context(), tx, q)
		return err
	})
	return events, err
}

func (w *world) find(t testing.TB, q eventstore.Query) []domain.Recorded {
	t.Helper()
	events, err := find(t, w.db.Pool(t, pgtest.Query), asTenant, []any{q.Tenant.String()}, q)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func positions(events []domain.Recorded) (p []int64) {
	for _, e := range events {
		p = append(p, e.Position)
	}
	return p
}

func TestAnInstantIsThePositionThatWasNewestThen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.db.Pool(t, pgtest.Query)

	at := func(instant time.Time) int64 {
		t.Helper()
		p, err := eventstore.PositionAt(t.Context(), pool, instant)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}

	for range 5 {
		must(t)(w.store.Append(t.Context(), grant(w.tenant, someone(), 0)))
	}
	w.beforeCodes(t)
	w.exec(t, `insert into trust.events
		select position + h, tenant_id, stream_type, gen_random_uuid(), 1, gen_random_uuid(), gen_random_uuid(), 1,
			event_type, subject_id, record_id, actor_id, payload, sealed, metadata,
			last + d * interval '1 microsecond', last + d * interval '1 microsecond'
		from trust.events, (select position h, recorded_at last from trust.head()) x,
			(values (1, 0), (2, 0), (3, 0), (4, 3), (5, 3), (6, 9)) v (n, d)
		where position = n and event_type = 'consent.granted.v1' or position = n and n = 1`)

	times := query[[]time.Time](t, w, "select array_agg(distinct recorded_at) from trust.events")
	for _, instant := range times {
		for _, off := range []time.Duration{-time.Microsecond, 0, time.Microsecond, time.Hour, -time.Hour} {
			asked := instant.Add(off)
			want := query[int64](t, w, "select coalesce(max(position), 0) from trust.events where recorded_at <= $1",
				asked)
			if got := at(asked); got != want {
				t.Errorf("at %s: %d, want %d", asked, got, want)
			}
		}
	}
}

func TestFindFiltersByEverythingAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")
	anna := w.register(t, w.tenant, "anna@example.org")
	w.register(t, other, "bheki@example.org")
	first := must(t)(w.store.Append(t.Context(), grant(w.tenant, anna, 0))).Events[0]
	last := must(t)(w.store.Append(t.Context(), grant(w.tenant, anna, 1))).Events[0]
	all := w.find(t, eventstore.Query{Tenant: w.tenant})
	if len(all) != 4 || !slices.IsSorted(positions(all)) {
		t.Fatalf("the tenant's events: %v", positions(all))
	}

	for name, c := range map[string]struct {
		q    eventstore.Query
		want []int64
	}{
		"subject, newest first": {
			eventstore.Query{Subject: anna, Newest: true, Limit: 2},
			[]int64{last.Position, first.Position},
		},
		"actor":  {eventstore.Query{Actor: anna}, positions(all[1:2])},
		"record": {eventstore.Query{Record: first.Record}, []int64{first.Position}},
		"types": {
			eventstore.Query{Types: []string{"consent.granted.v1", "consent.refused.v1"}},
			[]int64{first.Position, last.Position},
		},
		"no types":         {eventstore.Query{Types: []string{}}, nil},
		"positions":        {eventstore.Query{After: all[0].Position, UpTo: first.Position}, positions(all[1:3])},
		"from":             {eventstore.Query{From: first.RecordedAt}, []int64{first.Position, last.Position}},
		"from between two": {eventstore.Query{From: first.RecordedAt.Add(time.Nanosecond)}, []int64{last.Position}},
		"to":               {eventstore.Query{To: last.RecordedAt}, positions(all[:3])},
		"an empty period":  {eventstore.Query{From: first.RecordedAt, To: first.RecordedAt}, nil},
		"nothing":          {eventstore.Query{Subject: anna, Record: newID()}, nil},
	} {
		c.q.Tenant = w.tenant
		if got := positions(w.find(t, c.q)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}

	unknown := eventstore.Query{Types: []string{"no.such.v1"}}
	_, err := find(t, w.db.Pool(t, pgtest.Query), asTenant, []any{w.tenant.String()}, unknown)
	if _, is := errors.AsType[*domain.UnknownEventError](err); !is {
		t.Errorf("a type that is not registered: %v", err)
	}
}

func TestFindOpensWhatTheTenantMayOpenAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")
	anna, bheki := w.register(t, w.tenant, "anna@example.org"), w.register(t, other, "bheki@example.org")
	states := func(tenant domain.TenantID, user domain.UserID) (person, origin domain.PersonalState) {
		e := w.find(t, eventstore.Query{Tenant: tenant, Subject: user})[0]
		return e.Event.(*domain.UserRegistered).Person.State(), e.Origin.State()
	}

	if person, origin := states(w.tenant, anna); person != domain.Open || origin != domain.Open {
		t.Errorf("a person of the tenant: %d, %d", person, origin)
	}

	// Row-level security hides the key of an actor of another tenant.
	foreign := grant(w.tenant, anna, 0)
	foreign.Actor, foreign.ActorTenant, foreign.Origin = bheki, other, domain.Origin{IP: "203.0.113.9"}
	must(t)(w.store.Append(t.Context(), foreign))
	if e := w.find(t, eventstore.Query{Tenant: w.tenant, Actor: bheki}); len(e) != 1 ||
		e[0].Origin.State() != domain.Withheld {
		t.Errorf("an origin of another tenant's person: %+v", e)
	}

	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.DestroySubjectKey{Subject: anna})))
	if person, origin := states(w.tenant, anna); person != domain.Erased || origin != domain.Erased {
		t.Errorf("an erased person: %d, %d", person, origin)
	}
}

func TestTheAuditRoleSeesEveryTenantAndNoKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")
	anna, bheki := w.register(t, w.tenant, "anna@example.org"), w.register(t, other, "bheki@example.org")
	pool := w.db.Pool(t, pgtest.Query)

	for name, c := range map[string]struct {
		q    eventstore.Query
		want int
	}{
		"all":                 {eventstore.Query{Newest: true}, 4},
		"one tenant":          {eventstore.Query{Tenant: other}, 2},
		"an actor anywhere":   {eventstore.Query{Actor: bheki, Newest: true}, 1},
		"a record anywhere":   {eventstore.Query{Record: anna.UUID, Limit: 5}, 1},
		"a subject anywhere":  {eventstore.Query{Subject: bheki}, 1},
		"a subject not there": {eventstore.Query{Tenant: w.tenant, Subject: bheki}, 0},
	} {
		c.q.Sealed = true
		events, err := find(t, pool, asAudit, nil, c.q)
		if err != nil || len(events) != c.want {
			t.Errorf("%s: %d events, %v; want %d", name, len(events), err, c.want)
		}
		for _, e := range events {
			if u, ok := e.Event.(*domain.UserRegistered); ok &&
				(u.Person.State() != domain.Withheld || e.Origin.State() != domain.Withheld) {
				t.Errorf("%s: position %d is open", name, e.Position)
			}
		}
	}

	// It cannot open anything even when asked to.
	if _, err := find(t, pool, asAudit, nil, eventstore.Query{Subject: anna}); sqlState(err) != denied {
		t.Errorf("the audit role reads a key: %v", err)
	}

	for _, table := range slices.Concat(w.tables(t), []string{"trust.users", "trust.consents"}) {
		// These hold nothing readable about anybody: hashes, codes and signatures.
		if table == "trust.events" || table == "trust.codes" || table == "trust.coded" ||
			strings.HasPrefix(table, "trust.log_") {
			continue
		}
		if _, err := find(t, pool, asAudit+"; select * from "+table, nil,
			eventstore.Query{Sealed: true}); sqlState(err) != denied {
			t.Errorf("the audit role reads %s: %v", table, err)
		}
	}

	// The right exists only in that role, for one transaction.
	if _, err := pool.Exec(t.Context(), "select * from trust.events"); err == nil {
		t.Error("without a tenant the API reads events")
	}
	if n := query[int](t, w, `select count(*) from unnest(array['insert', 'update', 'delete', 'truncate']) verb
		where has_table_privilege('trust_audit', 'trust.events', verb)`); n != 0 {
		t.Errorf("the audit role may write events in %d ways", n)
	}
}

// The officers' questions, asked of 200 000 events.
func TestFindUsesAnIndexForEveryFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &plans{}
	pool := p.Pool(t, w.db, pgtest.Query)
	user := w.register(t, w.tenant, "one@example.org")
	actor := domain.UserID{UUID: query[uuid.UUID](t, w, "select md5('actor7')::uuid")}
	w.fillLog(t, 150_000)
	w.beforeCodes(t)
	// One large tenant beside many small ones.
	w.exec(t, `insert into trust.events
		select (select position from trust.head()) + row_number() over (order by position), $1, stream_type,
			md5('own' || position)::uuid, 1, gen_random_uuid(), gen_random_uuid(), 1, event_type,
			md5('own' || position)::uuid, gen_random_uuid(), actor_id, payload, null, metadata, effective_at,
			recorded_at
		from trust.events where position > (select position - 150000 from trust.head()) and position % 3 = 0`,
		w.tenant.UUID)
	for n := range 5 { // reads among 200 000 other events
		w.exec(t, `insert into trust.events
			select position + 1, $1, 'access', gen_random_uuid(), 1, gen_random_uuid(), gen_random_uuid(), 1,
				'personal_data.read.v1', null, gen_random_uuid(), null,
				case $2::int when 0 then '{}' else '{"subjects":[]}' end::json, null, '{}', recorded_at, recorded_at
			from trust.head()`, w.tenant.UUID, n)
	}
	if n := query[int](t, w, "select count(*) from trust.events"); n < 200_000 {
		t.Fatalf("the log has only %d events", n)
	}
	w.exec(t, "analyze trust.events")

	record := query[uuid.UUID](t, w, "select record_id from trust.events where position = 90000")
	now := time.Now()
	for name, c := range map[string]struct {
		q     eventstore.Query
		index string
	}{
		// By tenant, or by position if the tenant has a large part of the log.
		"tenant": {eventstore.Query{Tenant: w.tenant}, "Index Scan"},
		"tenant and types": {eventstore.Query{
			Tenant: w.tenant,
			Types:  []string{"consent.granted.v1", "consent.refused.v1"},
		}, "Index Scan"},
		"tenant and time": {
			eventstore.Query{Tenant: w.tenant, From: now.Add(-time.Hour), To: now.Add(time.Hour)},
			"Index Scan",
		},
		"subject":          {eventstore.Query{Tenant: w.tenant, Subject: user}, "events_subject_idx"},
		"actor":            {eventstore.Query{Tenant: w.tenant, Actor: actor}, "events_actor_idx"},
		"record":           {eventstore.Query{Tenant: w.tenant, Record: record}, "events_record_idx"},
		"seen":             {eventstore.Query{Tenant: w.tenant, Seen: user}, "events_reads_idx"},
		"everywhere":       {eventstore.Query{Sealed: true}, "events_pkey"},
		"types everywhere": {eventstore.Query{Sealed: true, Types: []string{"consent.granted.v1"}}, "events_pkey"},
		"actor anywhere":   {eventstore.Query{Sealed: true, Actor: actor}, "events_actor_idx"},
		"record anywhere":  {eventstore.Query{Sealed: true, Record: record}, "events_record_idx"},
		"subject anywhere": {eventstore.Query{Sealed: true, Subject: user}, "events_subject_idx"},
	} {
		c.q.Newest, c.q.Limit = true, 51
		first, args := asTenant, []any{w.tenant.String()}
		if c.q.Sealed {
			first, args = asAudit, nil
		}

		p.Forget()
		for range 7 { // from the sixth on Postgres might keep a plan, and must not
			if _, err := find(t, pool, first, args, c.q); err != nil && !strings.Contains(err.Error(), "decode") {
				t.Fatalf("%s: %v", name, err)
			}
		}
		p.check(t, name, []wanted{{name, "order by position desc limit $1", c.index}})
	}

	p.Forget()
	for range 7 {
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			reader, err := eventstore.NewReader(t.Context(), tx, []byte(masterKey))
			if err != nil {
				return err
			}
			if _, err := tx.Exec(t.Context(), asTenant, w.tenant.String()); err != nil {
				return err
			}
			_, err = reader.InStreams(t.Context(), tx, w.tenant, domain.ConsentStream, nil, eventstore.Place{},
				150_000, 20)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p.check(t, "replay", []wanted{{"stream by stream", "order by stream_id, version limit", "events_stream_key"}})
}

// In production the API signs in as a login that is a member of trust_query: it gets the
// audit's role only by switching to it.
func TestALoginOfTheAPIBecomesTheAuditForOneTransactionOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")
	conn := w.db.Superuser(t)
	login := pgx.Identifier{"login_of_" + w.db.Name()}.Sanitize()

	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec("create role " + login + " login inherit in role trust_query")
	t.Cleanup(func() { exec("reset session authorization; reset role; drop role " + login) })
	exec("set session authorization " + login)

	seen := func(first string) (tenants int) {
		t.Helper()
		err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), first); err != nil {
				return err
			}
			return tx.QueryRow(t.Context(), "select count(distinct tenant_id) from trust.events").Scan(&tenants)
		})
		if err != nil {
			t.Fatal(err)
		}
		return tenants
	}

	own := "set local trust.tenant = '" + other.String() + "'"
	for _, c := range []struct {
		first string
		want  int
	}{{own, 1}, {asAudit, 2}, {own, 1}, {own + "; set local role trust_query", 1}, {own + "; " + asAudit, 2}} {
		if got := seen(c.first); got != c.want {
			t.Errorf("%s: events of %d tenants, want %d", c.first, got, c.want)
		}
	}
}
