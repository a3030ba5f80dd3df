package eventstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// Frequent queries must be answered from an index, however long the log is. auto_explain
// reports the plans of the very statements that run, including those inside functions,
// and on connections whose plans were made when the log was nearly empty.
func TestHotQueriesUseTheirIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &plans{}
	w.store = p.open(t, w.db)
	p.projector = p.Pool(t, w.db, pgtest.Projector, eventstore.PlanByIndex)
	user := w.register(t, w.tenant, "one@example.org")
	done := must(t)(w.store.Append(t.Context(), grant(w.tenant, user, 0)))
	hot := func() { w.everything(t, p, user, done.Events[0]) }

	for range 8 { // from the sixth call on Postgres may keep a plan
		w.appendBoth(t)
	}
	hot()

	w.fillLog(t, 20_000)
	p.Forget()
	w.appendBoth(t) // with the plans of the short log: the appender's connection may live for months
	p.check(t, "before the table was analysed", appendPlans())

	w.exec(t, "analyze trust.events")
	p.Forget()
	for range 8 {
		w.appendBoth(t)
		hot()
	}
	p.check(t, "afterwards", append(appendPlans(), readPlans()...))
}

// Postgres may have to work for a minute with what autovacuum learned of a nearly empty
// log, and in that minute a log can grow a thousandfold.
func TestHotQueriesUseTheirIndexAlsoWhenTheLogWasSmallOnceAnalysed(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 30, 300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := &plans{}
			w.store = p.open(t, w.db)
			p.projector = p.Pool(t, w.db, pgtest.Projector, eventstore.PlanByIndex)
			user := w.register(t, w.tenant, "one@example.org")

			var done domain.Appended
			for version := range n {
				done = must(t)(w.store.Append(t.Context(), grant(w.tenant, user, version)))
			}
			w.exec(t, "analyze trust.events")

			for range 8 {
				p.Forget()
				w.appendBoth(t)
				w.everything(t, p, user, done.Events[0])
			}
			p.use(t, "on a log that holds little", append(appendPlans(), readPlans()[:7]...))
		})
	}
}

// A generic plan that hashes a tenant's events to find one stream looks cheap as long as
// the tenant is small, and is then kept.
func TestAStreamIsLoadedByItsIndexInATenantThatHoldsTheWholeLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &plans{}
	w.store = p.open(t, w.db)

	load := func(what string) {
		t.Helper()
		p.Forget()
		for range 8 { // from the sixth call on Postgres may keep a plan
			if _, err := w.store.Load(t.Context(), w.tenant, domain.ConsentsOf(someone()),
				domain.UserOf(someone())); err != nil {
				t.Fatal(err)
			}
		}
		p.check(t, what, readPlans()[:1])
	}

	load("on a short log")
	w.beforeCodes(t)
	w.exec(t, `insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id, append_id,
			ordinal, event_type, subject_id, record_id, payload, metadata, effective_at, recorded_at)
		select h.position + g, $1, 'consent', s.id, 1, s.id, s.id, 1, 'consent.granted.v1', s.id, s.id, '{}', '{}',
			h.recorded_at, h.recorded_at
		from trust.head() h, generate_series(1, 5000) g, lateral (select gen_random_uuid() id where g > 0) s`,
		w.tenant.UUID)
	load("before the table was analysed")

	w.exec(t, "analyze trust.events")
	load("afterwards")
}

// wanted says which index a statement must use.
type wanted struct{ what, text, index string }

func appendPlans() []wanted {
	return []wanted{
		{"head, in every append", "order by e.position desc limit 1", "events_pkey"},
		{"append id, of a batch", "e.append_id = a.id", "events_append_key"},
		{"versions, of a batch", "e.stream_id = s.id", "events_stream_key"},
		{"append id, alone", "e.append_id = a_id[1]", "events_append_key"},
		{"versions, alone", "e.stream_id = s_id[k]", "events_stream_key"},
	}
}

func readPlans() []wanted {
	return []wanted{
		{"load streams", "s (type, id)", "events_stream_key"},
		{"the version of a stream", "select version from trust.events", "events_stream_key"},
		{"the newest decisions", "payload ->> 'purpose' = coalesce", "events_stream_key"},
		{"the accounts of some people", "stream_type = 'user' and stream_id = s.id", "events_stream_key"},
		{"the decisions of some people", "payload ->> 'purpose' = $4", "events_stream_key"},
		{"load all streams of a kind", "tenant_id = $1 and stream_type = $2 order by", "events_stream_key"},
		{"which stream holds a record", "record_id = $2", "events_record_idx"},
		{"was this append made", "where append_id = $1 order by ordinal", "events_append_key"},
		{"a range of positions", "position > $1 and position <= $2", "events_pkey"},
		{"everything about some people", "subject_id = any($1)", "events_subject_idx"},
		{"a range of a tenant's positions", "tenant_id = $1 and position > $2", "events_tenant_idx"},
		{"a range of an actor's positions", "actor_id = $2 and position > $3", "events_actor_idx"},
	}
}

// everything reads the log in all ways.
func (w *world) everything(t *testing.T, p *plans, user domain.UserID, e domain.Recorded) {
	t.Helper()
	for _, err := range []error{
		second(w.store.LoadPersonal(t.Context(), w.tenant, domain.UserOf(user), domain.ConsentsOf(user))),
		second(w.store.LoadAll(t.Context(), w.tenant, domain.PurposeStream)),
		second(w.store.FindAppend(t.Context(), w.tenant, e.AppendID)),
		second(w.store.Head(t.Context())),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	if _, _, err := w.store.StreamOf(t.Context(), w.tenant, e.Record); err != nil {
		t.Fatal(err)
	}
	for _, tail := range []domain.Tail{
		domain.TailFor(user, "sms_alert", time.Time{}, time.Time{}),
		domain.TailOf(user, domain.ConsentID{UUID: e.Record}),
	} {
		if _, _, err := w.store.LoadTail(t.Context(), w.tenant, tail, domain.UserOf(user)); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := w.store.LoadPeople(t.Context(), w.tenant, []domain.UserID{user}, "sms_alert", 1000,
		func([]domain.Recorded) bool { return true }); err != nil {
		t.Fatal(err)
	}

	err := pgx.BeginFunc(t.Context(), p.projector, func(tx pgx.Tx) error {
		reader, err := eventstore.NewReader(t.Context(), tx, []byte(masterKey))
		if err != nil {
			return err
		}

		_, err = reader.Range(t.Context(), tx, 0, 3)
		if err != nil {
			return err
		}
		_, err = reader.Streams(t.Context(), tx, domain.ConsentStream, []domain.UserID{user}, 1000)
		if err != nil {
			return err
		}
		_, err = reader.StampedAhead(t.Context(), tx, domain.ConsentStream, []domain.UserID{user}, 1000)
		if err != nil {
			return err
		}
		since := map[domain.UserID]time.Time{user: time.Unix(0, 0)}
		_, err = reader.EffectiveSince(t.Context(), tx, []domain.Event{(*domain.ConsentWithdrawn)(nil)}, since, 1000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	// The queries of audit and replay.
	err = pgx.BeginFunc(t.Context(), p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), asTenant, w.tenant.String()); err != nil {
			return err
		}
		for _, c := range []struct {
			sql  string
			args []any
		}{
			{
				"select payload from trust.events where tenant_id = $1 and position > $2 order by position limit 50",
				[]any{w.tenant.UUID, 10},
			},
			{"select payload from trust.events where tenant_id = $1 and actor_id = $2 and position > $3 order by " +
				"position limit 50", []any{w.tenant.UUID, user.UUID, 0}},
		} {
			rows, err := tx.Query(t.Context(), c.sql, c.args...)
			if err != nil {
				return err
			}
			if _, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }

// appendBoth appends alone and in a batch.
func (w *world) appendBoth(t *testing.T) {
	t.Helper()
	release := w.lock(t)
	first, answers := w.gather(t, grant(w.tenant, someone(), 0), grant(w.tenant, someone(), 0))
	release()
	for _, from := range append(answers, first) {
		if got := pgtest.Receive(t, from); got.err != nil {
			t.Fatal(got.err)
		}
	}
}

// fillLog adds events past the store, ten to a stream, of 400 tenants.
func (w *world) fillLog(t testing.TB, n int) {
	t.Helper()
	w.beforeCodes(t)
	w.exec(t, `insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id, append_id,
			ordinal, event_type, subject_id, record_id, actor_id, payload, metadata, effective_at, recorded_at)
		select h.position + g + 1,
			case when g / 10 % 400 = 0 then $1::uuid else md5('tenant' || g / 10 % 400)::uuid end,
			'consent', s.id, g % 10 + 1, gen_random_uuid(), gen_random_uuid(), 1, 'consent.granted.v1', s.id,
			gen_random_uuid(), md5('actor' || g % 50)::uuid, '{}', '{}', h.recorded_at, h.recorded_at
		from trust.head() h, generate_series(0, $2::bigint - 1) g,
			lateral (select md5('stream' || g / 10)::uuid) s (id)`, w.tenant.UUID, n)
}

// plans are those of a store's reads and of a projector's.
type plans struct {
	pgtest.Plans

	pool, projector *pgxpool.Pool
}

func (p *plans) open(t *testing.T, db *pgtest.DB) *eventstore.Store {
	t.Helper()
	p.pool = p.Pool(t, db, pgtest.Query)
	return openOn(t, p.pool, masterKey)
}

func (p *plans) check(t *testing.T, when string, wants []wanted) {
	t.Helper()
	for _, plan := range p.Of("Seq Scan on events") {
		t.Errorf("%s, the whole log is read: %s", when, plan)
	}
	p.use(t, when, wants)
}

func (p *plans) use(t *testing.T, when string, wants []wanted) {
	t.Helper()
	for _, want := range wants {
		found := p.Of(want.text)
		for _, plan := range found {
			if !strings.Contains(plan, want.index) {
				t.Errorf("%s, %s: without %s: %s", when, want.what, want.index, plan)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s, %s: no such statement ran", when, want.what)
		}
	}
}
