package reports_test

import (
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections/reports"
)

// BenchmarkActivity asks what happened in a municipality of 100 000 people with four
// decisions each, all recorded today: at first, then again with nothing new, and with 100
// newer decisions.
func BenchmarkActivity(b *testing.B) {
	w := newWorld(b)
	w.appendMany(b, 400_000)
	w.exec(b, w.db.Superuser(b), "vacuum (analyze) trust.events")

	ask := func(r *reports.Reports) {
		_, err := r.Activity(b.Context(), w.tenant, reports.MostActivityDays, time.Now())
		if refused(err, domain.CodeBeingCounted) {
			r.Counted()
			_, err = r.Activity(b.Context(), w.tenant, reports.MostActivityDays, time.Now())
		}
		must(b, err)
	}
	b.Run("at first", func(b *testing.B) {
		pool := w.db.Pool(b, pgtest.Query)
		for b.Loop() {
			ask(reports.New(pool, nil, w.reader))
		}
	})
	ask(w.reports)
	b.Run("nothing new", func(b *testing.B) {
		for b.Loop() {
			ask(w.reports)
		}
	})
	b.Run("100 newer decisions", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			w.appendMany(b, 100)
			b.StartTimer()
			ask(w.reports)
		}
	})
}
