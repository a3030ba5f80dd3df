package eventstore_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// BenchmarkSealing measures what sealing costs: the same events with a personal part and
// an origin each, and without.
func BenchmarkSealing(b *testing.B) {
	for name, sealed := range map[string]bool{"plain": false, "sealed": true} {
		w, people := newWorld(b), []domain.UserID{}
		for range 200 {
			people = append(people, w.register(b, w.tenant, newID().String()))
		}

		b.Run("append of one, 64 callers/"+name, func(b *testing.B) {
			concurrently(b, 64, func(ctx context.Context) error {
				_, err := w.store.Append(ctx, sealable(w.tenant, people[rand.IntN(len(people))], 1, sealed))
				return err
			})
		})

		const size = 10_000
		first := w.head(b)
		for n := 0; w.head(b) < first+size; n++ {
			must(b)(w.store.Append(b.Context(), sealable(w.tenant, people[n%len(people)], 100, sealed)))
		}

		b.Run("page of 5 000 for a projector/"+name, func(b *testing.B) { benchmarkPage(b, w, first) })
		b.Run("query of 50 for an officer/"+name, func(b *testing.B) { benchmarkQuery(b, w) })
	}
}

// sealable returns an append of one person's grants, with parts to seal or without.
func sealable(tenant domain.TenantID, person domain.UserID, events int, sealed bool) domain.Append {
	a := grant(tenant, person, domain.AnyVersion)
	a.Actor = person
	if sealed {
		a.Origin = domain.Origin{IP: "196.25.1.1", UserAgent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"}
	}

	a.Writes[0].Events = nil
	for range events {
		event := granted()
		if sealed {
			event.Private = domain.Known(domain.DecisionFacts{EvidenceReference: "form 17, drawer 4"})
		}
		a.Writes[0].Events = append(a.Writes[0].Events, event)
	}
	return a
}

func benchmarkPage(b *testing.B, w *world, after int64) {
	b.Helper()
	const page = 5_000
	conn := w.db.Conn(b, pgtest.Projector)
	reader, err := eventstore.NewReader(b.Context(), conn, []byte(masterKey))
	if err != nil {
		b.Fatal(err)
	}

	for b.Loop() {
		err := pgx.BeginFunc(b.Context(), conn, func(tx pgx.Tx) error {
			_, err := reader.Range(b.Context(), tx, after, after+page)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}

	b.ReportMetric(float64(b.N)*page/b.Elapsed().Seconds(), "events/s")
}

func benchmarkQuery(b *testing.B, w *world) {
	b.Helper()
	pool := w.db.Pool(b, pgtest.Query)
	reader, err := eventstore.NewReader(b.Context(), pool, []byte(masterKey))
	if err != nil {
		b.Fatal(err)
	}

	for b.Loop() {
		err := pgx.BeginFunc(b.Context(), pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(b.Context(), asTenant, w.tenant.String()); err != nil {
				return err
			}
			_, err := reader.Find(b.Context(), tx, eventstore.Query{Tenant: w.tenant, Newest: true, Limit: 50})
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
