package projections_test

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
)

// benchEvents is how many grants each contender projects. With stock watermill-sql, a
// page costs more the longer the backlog is.
const benchEvents = 50_000

// BenchmarkLiveProjection projects the same grants in three ways in one run, in events a
// second: with our worker; with stock watermill-sql v3, in batches of 1000 with one
// upsert per event in its own transaction; and, without reading any log, with a bare
// unnest of 1000 rows per transaction.
func BenchmarkLiveProjection(b *testing.B) {
	var ours, stock, bare, passing float64 // the best of the rounds: other processes only slow down
	for b.Loop() {
		w := newWorld(b)
		w.insertGrants(b, benchEvents)
		ours = max(ours, benchEvents/benchOurs(b, w, "consents").Seconds())
		passing = max(passing, benchEvents/benchOurs(b, w, "municipalities").Seconds())
		w.check(b)
		stock = max(stock, benchEvents/benchStock(b, w).Seconds())
		bare = max(bare, benchEvents/benchBare(b, w).Seconds())
	}

	b.ReportMetric(ours, "events/s")
	b.ReportMetric(passing, "passed-by/s") // by a projector of another kind of stream
	b.ReportMetric(stock, "stock-events/s")
	b.ReportMetric(bare, "bare-events/s")
	b.ReportMetric(ours/stock, "x-stock")
	b.ReportMetric(ours/bare, "x-bare")
}

// insertGrants writes grants straight into the log, each of a subject of its own.
func (w *world) insertGrants(b *testing.B, n int) {
	b.Helper()
	const sql = `insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id, append_id,
			ordinal, event_type, subject_id, record_id, actor_id, payload, metadata, effective_at, recorded_at)
		select h.position + i, $1, 'consent', g.subject, 1, gen_random_uuid(), gen_random_uuid(), 1,
			'consent.granted.v1', g.subject, g.consent, g.subject,
			json_build_object('consent_id', g.consent, 'purpose', 'sms_alert', 'notice_version', 1,
				'wording', 'To send you SMS alerts about water and electricity interruptions.',
				'sha256', repeat('0', 64), 'language', 'en', 'channel', 'web', 'recorded_by', 'self',
				'given_by', 'self', 'basis', 'consent'),
			'{"actor_role":"citizen","command":"consent.grant"}', h.recorded_at, h.recorded_at
		from trust.head() h, generate_series(1, $2) i,
			lateral (select gen_random_uuid() subject, gen_random_uuid() consent where i > 0) g`

	w.beforeCodes(b)
	super := w.db.Superuser(b)
	_, err := super.Exec(b.Context(), sql, w.tenant.UUID, n)
	must(b, err)
	_, err = super.Exec(b.Context(), "analyze trust.events")
	must(b, err)
}

// benchOurs measures from the start of the first page.
func benchOurs(b *testing.B, w *world, name string) time.Duration {
	b.Helper()
	head := w.head(b)
	var began time.Time
	done := make(chan struct{})
	config := w.config(b)
	config.Committed = func(_ string, _, upTo int64, took time.Duration) {
		if began.IsZero() {
			began = time.Now().Add(-took)
		}
		if upTo == head {
			close(done)
		}
	}

	stop := run(b, follow.NewWorker(config, projection(b, name)))
	<-done
	took := time.Since(began)
	stop()
	return took
}

const benchUpsert = `insert into public.bench (id, tenant_id, subject_id, purpose, notice_version, wording, sha256,
		language, consented, channel, given_by, recorded_by, evidence_sha256, given_at, recorded_at, withdrawn_at,
		decided, position)
	values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, null, $16, $16)
	on conflict (tenant_id, id) do update set purpose = excluded.purpose, position = excluded.position`

func benchStock(b *testing.B, w *world) time.Duration {
	b.Helper()
	config, err := pgx.ParseConfig(w.db.URL(pgtest.Superuser))
	must(b, err)
	config.RuntimeParams["search_path"] = "public"
	db := stdlib.OpenDB(*config)
	b.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(b.Context(), "create table public.bench (like trust.consents_v1 including all)")
	must(b, err)

	schema := wmsql.DefaultPostgreSQLSchema{SubscribeBatchSize: 1000}
	subscriber, err := wmsql.NewSubscriber(db, wmsql.SubscriberConfig{
		ConsumerGroup: "bench", SchemaAdapter: schema, OffsetsAdapter: wmsql.DefaultPostgreSQLOffsetsAdapter{},
		InitializeSchema: true, PollInterval: 10 * time.Millisecond,
	}, watermill.NopLogger{})
	must(b, err)
	must(b, subscriber.SubscribeInitialize("bench"))

	_, err = db.ExecContext(b.Context(), `insert into public.watermill_bench (uuid, payload, metadata, transaction_id)
		select event_id::text, payload, json_build_object('subject', subject_id), pg_current_xact_id() from trust.events
		where event_type = 'consent.granted.v1' order by position`)
	must(b, err)
	_, err = db.ExecContext(b.Context(), "analyze public.watermill_bench")
	must(b, err)

	began := time.Now()
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	must(b, err)
	seen, done := 0, make(chan struct{})
	router.AddConsumerHandler("bench", "bench", subscriber, func(m *message.Message) error {
		err := upsertStock(m, w.tenant, seen)
		if seen++; seen == benchEvents {
			close(done)
		}
		return err
	})

	go func() { _ = router.Run(context.WithoutCancel(b.Context())) }()
	<-done
	took := time.Since(began)
	must(b, router.Close())
	return took
}

func upsertStock(m *message.Message, tenant domain.TenantID, position int) error {
	var e domain.ConsentGranted
	if err := json.Unmarshal(m.Payload, &e); err != nil {
		return err
	}

	tx, _ := wmsql.TxFromContext(m.Context())
	_, err := tx.ExecContext(m.Context(), benchUpsert, e.ConsentID.UUID, tenant.UUID, m.Metadata.Get("subject"),
		e.Purpose, e.NoticeVersion, e.Wording, e.SHA256, string(e.Language), true, string(e.Channel), e.GivenBy,
		stdsql.NullString{}, e.EvidenceSHA256, time.Now(), time.Now(), position)
	return err
}

// benchBare writes the existing rows again, 1000 per transaction, from arrays made
// beforehand.
func benchBare(b *testing.B, w *world) time.Duration {
	b.Helper()
	conn := w.db.Superuser(b)
	_, err := conn.Exec(b.Context(), "truncate public.bench")
	must(b, err)
	rows, err := conn.Query(b.Context(), "select id, subject_id from trust.consents_v1")
	must(b, err)
	type pair struct{ ID, Subject [16]byte }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pair])
	must(b, err)

	began := time.Now()
	for chunk := range slices.Chunk(all, 1000) {
		ids, subjects := make([][16]byte, len(chunk)), make([][16]byte, len(chunk))
		wordings, hashes := make([]string, len(chunk)), make([]string, len(chunk))
		for i, p := range chunk {
			ids[i], subjects[i] = p.ID, p.Subject
			wordings[i] = "To send you SMS alerts about water and electricity interruptions."
			hashes[i] = "0000000000000000000000000000000000000000000000000000000000000000"
		}

		_, err := conn.Exec(b.Context(),
			`insert into public.bench select id, $5, subject, 'sms_alert', 1, wording, hash, 'en', true, 'web',
				'self', subject, '', now(), now(), null, 1, 1
			from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) r (id, subject, wording, hash)
			on conflict (tenant_id, id) do update set purpose = excluded.purpose, position = excluded.position`,
			ids, subjects, wordings, hashes, w.tenant.UUID)
		must(b, err)
	}

	return time.Since(began)
}

// BenchmarkAppendToVisible measures, at 200 appends a second, from the start of an append
// to the committed row in the read table.
func BenchmarkAppendToVisible(b *testing.B) {
	w := newWorld(b)
	type page struct {
		upTo int64
		at   time.Time
	}

	pages := make(chan page, 100_000)
	config := w.config(b)
	config.Committed = func(_ string, _, upTo int64, _ time.Duration) { pages <- page{upTo, time.Now()} }
	stop := run(b, follow.NewWorker(config, projection(b, "consents")))
	w.caughtUp(b, "consents")

	began := map[int64]time.Time{}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for b.Loop() {
		<-tick.C
		start := time.Now()
		user := newUser()
		began[w.append(b, w.tenant, domain.ConsentsOf(user),
			&domain.ConsentGranted{Decision: decision("sms_alert", time.Time{})})] = start
	}
	w.caughtUp(b, "consents")
	stop()
	close(pages)

	var took []time.Duration
	last := int64(0)
	for p := range pages {
		for position := last + 1; position <= p.upTo; position++ {
			if start, ok := began[position]; ok {
				took = append(took, p.at.Sub(start))
			}
		}
		last = p.upTo
	}

	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
}
