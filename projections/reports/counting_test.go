package reports_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// However many decisions came before, those that count are found as if all were folded:
// at any instant, as known at any position, with entries annulled and others given on
// paper long before.
func TestWhatCountsOfManyDecisionsIsWhatAFoldOfAllSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for seed := range uint64(6) {
		person, drawn := newUser(), rand.New(rand.NewPCG(seed, 17))
		began := w.head(t)
		for range 3 {
			recorded := w.append(t, w.tenant, domain.ConsentsOf(person), manyDecisions(drawn, 45)...)
			w.append(t, w.tenant, domain.ConsentsOf(person), annulmentsOf(drawn, recorded)...)
		}

		for range 12 {
			q := reports.ReplayQuery{Subject: person, Position: w.head(t), Now: time.Now()}
			if drawn.IntN(2) == 0 {
				q.Position = began + 1 + drawn.Int64N(q.Position-began)
			}
			if drawn.IntN(2) == 0 {
				q.At = time.Now().Add(-time.Duration(drawn.IntN(300)) * time.Minute)
			}

			all := w.replayed(t, q)
			q.Counting = true
			if diff := cmp.Diff(countingOf(all), w.replayed(t, q)); diff != "" {
				t.Fatalf("seed %d, %+v (-want +got):\n%s", seed, q, diff)
			}
		}
	}
}

// manyDecisions draws decisions, most of which are given as they are recorded. One
// purpose is decided about at the beginning alone.
func manyDecisions(drawn *rand.Rand, n int) (events []domain.Event) {
	events = append(events, &domain.ConsentRefused{Decision: decision("rarely_asked", time.Time{})})
	for range n {
		purpose := []string{"sms_alert", "sms_alert", "sms_alert", "newsletter"}[drawn.IntN(4)]
		var given time.Time
		if drawn.IntN(5) == 0 {
			given = time.Now().Add(-time.Duration(1+drawn.IntN(280)) * time.Minute)
		}

		d := decision(purpose, given)
		switch drawn.IntN(4) {
		case 0:
			events = append(events, &domain.ConsentRefused{Decision: d})
		case 1:
			events = append(events, &domain.ConsentWithdrawn{
				ConsentID: d.ConsentID, Purpose: purpose, GivenAt: given, RecordedBy: domain.BySelf,
			})
		default:
			events = append(events, &domain.ConsentGranted{Decision: d})
		}
	}
	return events
}

// annulmentsOf draws some of the decisions to be annulled, the newest among them.
func annulmentsOf(drawn *rand.Rand, recorded []domain.Recorded) (events []domain.Event) {
	for i, e := range recorded {
		granted, is := e.Event.(*domain.ConsentGranted)
		if is && (i > len(recorded)-4 || drawn.IntN(10) == 0) {
			events = append(events, &domain.ConsentAnnulled{
				ConsentID: granted.ConsentID, Purpose: granted.Purpose, Entry: domain.DecisionEntry, Annuls: e.EventID,
			})
		}
	}
	return append(events, &domain.ConsentGranted{Decision: decision("annulled_beside", time.Time{})})
}

func (w *world) replayed(t *testing.T, q reports.ReplayQuery) (rows []domain.Decided) {
	t.Helper()
	must(t, w.reports.Replay(t.Context(), w.tenant, q, func(d domain.Decided) error {
		rows = append(rows, d)
		return nil
	}))
	return rows
}

// countingOf picks what counts: for each purpose the one in force, otherwise the newest
// that was not annulled.
func countingOf(all []domain.Decided) (counting []domain.Decided) {
	newer := func(d, than domain.Decided) bool {
		if d.InForce != than.InForce {
			return d.InForce
		}
		at := func(x domain.Decided) time.Time {
			if x.WithdrawnAt.IsZero() {
				return x.GivenAt
			}
			return x.WithdrawnAt
		}
		return !at(d).Before(at(than))
	}

	best := map[string]domain.Decided{}
	for _, d := range all {
		if of, has := best[d.Purpose]; d.AnnulledAt.IsZero() && (!has || newer(d, of)) {
			best[d.Purpose] = d
		}
	}
	for _, d := range all {
		if best[d.Purpose].ID == d.ID {
			counting = append(counting, d)
		}
	}
	return counting
}

func TestWhatCountsIsAboutOnePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	none := func(domain.Decided) error { t.Error("a row"); return nil }
	if w.reports.Replay(t.Context(), w.tenant, reports.ReplayQuery{Position: w.head(t), Counting: true}, none) == nil {
		t.Error("what counts is said of nobody")
	}
}

func TestAHistoryIsReadFromEitherEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna")
	var granted []domain.Recorded
	for range 7 {
		granted = append(granted, w.append(t, w.tenant, domain.ConsentsOf(anna),
			&domain.ConsentGranted{Decision: decision("sms_alert", time.Time{})})...)
	}
	first := granted[0]
	annulled := w.append(t, w.tenant, domain.ConsentsOf(anna), &domain.ConsentAnnulled{
		ConsentID: first.Event.(*domain.ConsentGranted).ConsentID, Purpose: "sms_alert", Entry: domain.DecisionEntry,
		Annuls: first.EventID,
	})

	var newest []reports.HistoryEntry
	pages(t, 3, func(p projections.Page) (projections.Listing[reports.HistoryEntry], error) {
		list, err := w.reports.History(t.Context(), w.tenant, reports.HistoryQuery{Subject: anna, Newest: true}, p)
		newest = append(newest, list.Items...)
		return list, err
	}, func(h reports.HistoryEntry) string { return h.EventID.String() })

	oldest, err := w.history(t, w.tenant, anna)
	must(t, err)
	if len(newest) != 8 || !newest[7].AnnulledAt.Equal(annulled[0].RecordedAt) {
		t.Fatalf("%d events, the first annulled at %s", len(newest), newest[len(newest)-1].AnnulledAt)
	}
	for i, h := range newest {
		if diff := cmp.Diff(oldest[len(oldest)-1-i], h); diff != "" {
			t.Errorf("(-from the oldest +from the newest):\n%s", diff)
		}
	}
}
