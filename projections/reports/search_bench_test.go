package reports_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// searchedConsents is how many consents one tenant has.
const searchedConsents = 200_000

// BenchmarkSearch asks for consents of a tenant that has 200 000, sealed and coded as the
// API appends them, and counts them: the median of several questions each, in
// milliseconds.
func BenchmarkSearch(b *testing.B) {
	w := newWorld(b)
	w.appendMany(b, searchedConsents)
	consents, _ := projections.ByName("consents")
	_, err := projections.Rebuild(b.Context(), w.db.Pool(b, pgtest.Owner), w.reader, consents,
		func(projections.Stage, int64, int64) {})
	must(b, err)
	super := w.db.Superuser(b)
	w.exec(b, super, "vacuum (analyze) trust.consents_v2")
	w.exec(b, super, "vacuum (analyze) trust.events")

	head := w.head(b)
	q := func(set func(*reports.ReplayQuery)) reports.ReplayQuery {
		q := reports.ReplayQuery{Position: head}
		set(&q)
		return q
	}
	earlier := time.Now().AddDate(0, 0, -30)

	search := func(q reports.ReplayQuery) {
		must(b, w.reports.Replay(b.Context(), w.tenant, q, func(domain.Decided) error { return nil }))
	}
	count := func(q reports.ReplayQuery) {
		_, err := w.reports.Summary(b.Context(), w.tenant, q, dimensions())
		must(b, err)
	}
	for _, c := range []struct {
		name string
		ask  func(reports.ReplayQuery)
		q    reports.ReplayQuery
	}{
		{"export of everything", search, q(func(*reports.ReplayQuery) {})},
		{"search: one of 20 purposes", search, q(func(q *reports.ReplayQuery) { q.Purpose = "purpose_7" })},
		{"search: one channel of 6", search, q(func(q *reports.ReplayQuery) { q.Channel = domain.USSD })},
		{"search: a day of 60", search, q(func(q *reports.ReplayQuery) {
			q.GivenFrom, q.GivenTo = earlier, earlier.Add(24*time.Hour)
		})},
		{"search: withdrawn, of one purpose", search, q(func(q *reports.ReplayQuery) {
			q.Purpose, q.Status = "purpose_7", domain.StatusWithdrawn
		})},
		{"summary: now", count, q(func(*reports.ReplayQuery) {})},
		{"summary: of one purpose", count, q(func(q *reports.ReplayQuery) { q.Purpose = "purpose_7" })},
		{"summary: as of a month ago", count, q(func(q *reports.ReplayQuery) { q.At = earlier })},
		{"summary: as known 1 000 events ago", count, q(func(q *reports.ReplayQuery) { q.Position = head - 1000 })},
		{"summary: as known half the log ago", count, q(func(q *reports.ReplayQuery) { q.Position = head / 2 })},
	} {
		b.Run(c.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				c.ask(c.q)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
		})
	}
}

// appendMany appends consents given on paper in the last 60 days, four to a person, and a
// withdrawal of every tenth.
func (w *world) appendMany(b *testing.B, n int) {
	b.Helper()
	const writers, people = 8, 25
	var working sync.WaitGroup
	for writer := range writers {
		working.Go(func() {
			for i := writer; i < n/(4*people); i += writers {
				a := domain.Append{ID: newID(), Tenant: w.tenant}
				for p := range people {
					a.Writes = append(a.Writes, domain.Write{
						Stream: domain.ConsentsOf(newUser()), Expected: domain.AnyVersion,
						Events: somebodysDecisions(4 * (i*people + p)),
					})
				}
				if _, err := w.store.Append(b.Context(), a); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	working.Wait()
}

// somebodysDecisions returns the decisions number n to n+3, and perhaps a withdrawal.
func somebodysDecisions(n int) (events []domain.Event) {
	for i := n; i < n+4; i++ {
		given := time.Now().Add(-time.Duration(i%(60*24)) * time.Hour)
		d := decision(fmt.Sprintf("purpose_%d", i*7919%20), given)
		d.NoticeVersion, d.Language, d.Channel = i%3+1, domain.Languages()[i%7%3], domain.Channels()[i%11%6]
		if i%5 == 0 {
			events = append(events, &domain.ConsentRefused{Decision: d})
			continue
		}
		events = append(events, &domain.ConsentGranted{Decision: d})
		if i%10 == 3 {
			events = append(events, &domain.ConsentWithdrawn{
				ConsentID: d.ConsentID, Purpose: d.Purpose, RecordedBy: domain.BySelf,
			})
		}
	}
	return events
}
