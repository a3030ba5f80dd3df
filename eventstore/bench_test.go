package eventstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// A benchmark gives both sides the same server with the same settings: pgtest's private
// cluster, which runs with fsync on when benchmarks are asked for, or the server that
// TEST_DATABASE_URL names.

// BenchmarkAppend compares group commit with a good program without it (ADR 30): one
// prepared INSERT and one transaction per event, into the narrowest table that refuses a
// wrong version.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("ours/callers=%d", callers), func(b *testing.B) {
			w := newWorld(b)
			b.ResetTimer()
			concurrently(b, callers, func(ctx context.Context) error {
				_, err := w.store.Append(ctx, grant(w.tenant, someone(), 0))
				return err
			})
		})

		b.Run(fmt.Sprintf("insert/callers=%d", callers), func(b *testing.B) {
			w := newWorld(b)
			pool := barePool(b, w, callers)
			b.ResetTimer()
			concurrently(b, callers, func(ctx context.Context) error { return bareInsert(ctx, pool) })
		})
	}
}

func concurrently(b *testing.B, callers int, work func(context.Context) error) {
	b.Helper()

	var left atomic.Int64
	left.Store(int64(b.N))

	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := work(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()

	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkAppendOne compares the two append functions for a lone caller, in turn on one
// connection and one log.
func BenchmarkAppendOne(b *testing.B) {
	w := newWorld(b)
	config, err := pgx.ParseConfig(w.db.URL(pgtest.Query))
	if err != nil {
		b.Fatal(err)
	}
	eventstore.PlanByIndex(config)
	config.RuntimeParams["enable_sort"] = "off"
	conn, err := pgx.ConnectConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())

	took := map[string]time.Duration{}
	for i := 0; b.Loop(); i++ {
		calls := []string{eventstore.CallAppendOne, eventstore.CallAppend}
		for j := range calls {
			sql := calls[(i+j)%2]
			args, err := w.store.Arguments(b.Context(), grant(w.tenant, someone(), 0))
			if err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			if _, err := conn.Exec(b.Context(), sql, args...); err != nil {
				b.Fatal(err)
			}
			took[sql] += time.Since(began)
		}
	}

	one, many := took[eventstore.CallAppendOne], took[eventstore.CallAppend]
	b.ReportMetric(float64(one.Microseconds())/float64(b.N), "one-µs")
	b.ReportMetric(float64(many.Microseconds())/float64(b.N), "many-µs")
	b.ReportMetric(float64(many)/float64(one), "many/one")
}

// barePool connects as superuser to a narrow table of events.
func barePool(b *testing.B, w *world, callers int) *pgxpool.Pool {
	b.Helper()
	_, err := w.db.Superuser(b).Exec(b.Context(), `create table public.bare (
		stream_id uuid, version integer, event_type text not null, payload json not null,
		primary key (stream_id, version))`)
	if err != nil {
		b.Fatal(err)
	}

	config, err := pgxpool.ParseConfig(w.db.URL(pgtest.Superuser))
	if err != nil {
		b.Fatal(err)
	}
	connections := int32(min(callers, 64)) // more only contend
	config.MaxConns, config.MinConns = connections, connections
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	pgtest.Eventually(b, "every connection is open", func() bool { return pool.Stat().IdleConns() == connections })
	return pool
}

// bareInsert inserts the first version of a stream, which a second writer could not; pgx
// prepares the statement.
func bareInsert(ctx context.Context, pool *pgxpool.Pool) error {
	payload, err := json.Marshal(granted())
	if err != nil {
		return err
	}
	_, err = pool.Exec(ctx, "insert into public.bare values ($1, 1, 'consent.granted.v1', $2)", newID(), payload)
	return err
}

// BenchmarkLoad loads one person's stream of 10 events, as every command does, against a
// bare query of the same rows.
func BenchmarkLoad(b *testing.B) {
	w := newWorld(b)
	w.fillLog(b, 20_000)
	w.exec(b, "analyze trust.events")
	user := w.lifeOf(b)
	subject := domain.UserID{UUID: query[[16]byte](b, w,
		"select stream_id from trust.events where version = 10 and tenant_id = $1 limit 1", w.tenant.UUID)}

	b.Run("ours/plain", func(b *testing.B) {
		for b.Loop() {
			events, err := w.store.Load(b.Context(), w.tenant, domain.ConsentsOf(subject))
			if err != nil || len(events) != 10 {
				b.Fatal(len(events), err)
			}
		}
	})

	b.Run("ours/personal", func(b *testing.B) {
		for b.Loop() {
			events, err := w.store.LoadPersonal(b.Context(), w.tenant, lifeStreams(user)...)
			if err != nil || len(events) != 6 {
				b.Fatal(len(events), err)
			}
		}
	})

	b.Run("bare", func(b *testing.B) {
		pool := w.db.Pool(b, pgtest.Superuser)
		for b.Loop() {
			rows, err := pool.Query(b.Context(), `select `+bareColumns+` from trust.events
				where tenant_id = $1 and stream_type = 'consent' and stream_id = $2 order by version`, w.tenant.UUID,
				subject.UUID)
			if n, err := scanBare(rows, err); err != nil || n != 10 {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkRange reads the log in pages as a projector does, decoded and personal parts
// opened, against a bare scan of the same rows.
func BenchmarkRange(b *testing.B) {
	const page, size = 5_000, 20_000
	w := newWorld(b)
	seedPersonal(b, w, size)
	conn := w.db.Conn(b, pgtest.Projector)

	pages := func(b *testing.B, read func(tx pgx.Tx, after, upTo int64) (int, error)) {
		b.Helper()
		for b.Loop() {
			for after := int64(0); after < size; after += page {
				err := pgx.BeginFunc(b.Context(), conn, func(tx pgx.Tx) error {
					n, err := read(tx, after, after+page)
					if err == nil && n != page {
						err = fmt.Errorf("%d events", n)
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "events/s")
	}

	b.Run("ours", func(b *testing.B) {
		reader, err := eventstore.NewReader(b.Context(), conn, []byte(masterKey))
		if err != nil {
			b.Fatal(err)
		}
		pages(b, func(tx pgx.Tx, after, upTo int64) (int, error) {
			events, err := reader.Range(b.Context(), tx, after, upTo)
			return len(events), err
		})
	})

	b.Run("bare", func(b *testing.B) {
		pages(b, func(tx pgx.Tx, after, upTo int64) (int, error) {
			rows, err := tx.Query(b.Context(), `select `+bareColumns+` from trust.events
				where position > $1 and position <= $2 order by position`, after, upTo)
			return scanBare(rows, err)
		})
	})
}

// seedPersonal appends events of 200 people, one in four with a personal part, until the
// log has so many.
func seedPersonal(b *testing.B, w *world, size int64) {
	b.Helper()
	var people []domain.UserID
	for range 200 {
		people = append(people, w.register(b, w.tenant, newID().String()))
	}

	for n := 0; w.head(b) < size; n++ {
		a := grant(w.tenant, people[n%len(people)], domain.AnyVersion)
		for len(a.Writes[0].Events) < int(min(100, size-w.head(b))) {
			event := granted()
			if len(a.Writes[0].Events)%4 == 0 {
				event.Private = domain.Known(domain.DecisionFacts{EvidenceReference: "form 17, drawer 4"})
			}
			a.Writes[0].Events = append(a.Writes[0].Events, event)
		}
		must(b)(w.store.Append(b.Context(), a))
	}
}

const bareColumns = `position, tenant_id, stream_type, stream_id, version, event_id, append_id, ordinal, event_type,
	subject_id, record_id, actor_id, payload, sealed, metadata, effective_at, recorded_at`

// bareRow is a row as a plain program scans it.
type bareRow struct {
	position                             int64
	tenant, stream, event, append, about [16]byte
	subject, actor                       *[16]byte
	kind, name                           string
	version                              int32
	ordinal                              int16
	payload, sealed, metadata            []byte
	effective, recorded                  time.Time
}

func scanBare(rows pgx.Rows, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	defer rows.Close()

	var all []bareRow
	for rows.Next() {
		var r bareRow
		err := rows.Scan(&r.position, &r.tenant, &r.kind, &r.stream, &r.version, &r.event, &r.append, &r.ordinal,
			&r.name, &r.subject, &r.about, &r.actor, &r.payload, &r.sealed, &r.metadata, &r.effective, &r.recorded)
		if err != nil {
			return 0, err
		}
		all = append(all, r)
	}
	return len(all), rows.Err()
}
