package reports_test

import (
	"math/rand/v2"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// After random decisions, of people who decided before and of others, with grants that
// end and wordings that lapse, and while the read table has followed to somewhere: counts
// that are kept equal a fresh count, as of any instant and position.
func TestKeptSummariesEqualAFreshCount(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test repeats what it found
	w := newWorld(t)
	conn, super, pool := w.db.Conn(t, pgtest.Projector), w.db.Superuser(t), w.db.Pool(t, pgtest.Query)
	w.exec(t, super, "set session_replication_role = replica")

	began, version := time.Now().Truncate(time.Second), 1
	w.append(t, w.tenant, domain.PurposeOf(w.tenant, "sms_alert"),
		&domain.PurposeDefined{Code: "sms_alert", Basis: domain.ConsentBasis, Retention: "a year"},
		notice(version, time.Time{}))
	people := make([]domain.UserID, 8)
	for i := range people {
		people[i] = newUser()
	}

	clock := began
	for round := range 60 {
		clock = clock.Add(time.Duration(chance.IntN(90)) * time.Minute)
		for range chance.IntN(5) {
			w.stamp(t, super, people[chance.IntN(len(people))], clock, anyDecision(chance, clock))
		}
		if round%15 == 7 {
			version++
			reconsent := clock.Add(time.Duration(chance.IntN(6)) * time.Hour)
			w.append(t, w.tenant, domain.PurposeOf(w.tenant, "sms_alert"), notice(version, reconsent))
		}
		if chance.IntN(2) == 0 {
			w.followTo(t, conn, w.head(t)-chance.Int64N(4))
		}

		q := reports.ReplayQuery{Position: w.head(t) - chance.Int64N(4), Now: clock}
		q.At = []time.Time{clock, clock, clock.Add(-time.Hour), began.Add(20 * time.Hour)}[chance.IntN(4)]
		q.Purpose = []string{"", "sms_alert"}[chance.IntN(2)]
		q.Status = append(domain.Statuses(), "", "", "")[chance.IntN(len(domain.Statuses())+3)]
		by := dimensions()[chance.IntN(len(dimensions())):]

		want, err := reports.New(pool, nil, w.reader).Summary(t.Context(), w.tenant, q, by)
		must(t, err)
		got, err := w.reports.Summary(t.Context(), w.tenant, q, by)
		must(t, err)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d, %+v by %v (-fresh +kept):\n%s", round, q, by, diff)
		}
	}
}

// anyDecision returns a grant that may end soon, a refusal or a withdrawal.
func anyDecision(chance *rand.Rand, clock time.Time) domain.Event {
	var stated time.Time
	if chance.IntN(3) == 0 {
		stated = clock.Add(-time.Duration(1+chance.IntN(300)) * time.Minute)
	}
	d := decision([]string{"sms_alert", "newsletter"}[chance.IntN(2)], stated)
	d.Channel = domain.Channels()[chance.IntN(3)]

	switch chance.IntN(4) {
	case 0:
		return &domain.ConsentRefused{Decision: d}
	case 1:
		return &domain.ConsentWithdrawn{
			ConsentID: d.ConsentID, Purpose: d.Purpose, GivenAt: stated, RecordedBy: domain.BySelf,
		}
	default:
		granted := &domain.ConsentGranted{Decision: d}
		if chance.IntN(2) == 0 {
			granted.ValidUntil = clock.Add(time.Duration(chance.IntN(300)) * time.Minute)
		}
		return granted
	}
}

// demandKept checks that a question is answered from what is kept, without a look at the
// consents of most people.
func (w *world) demandKept(t *testing.T, p *pgtest.Plans, q reports.ReplayQuery) {
	t.Helper()
	want, err := w.reports.Summary(t.Context(), w.tenant, q, dimensions())
	must(t, err)

	w.grant(t, w.tenant, newUser())
	q.Position = w.head(t)
	p.Forget()
	got, err := w.reports.Summary(t.Context(), w.tenant, q, []projections.Dimension{projections.ByChannel})
	must(t, err)
	if len(want) == 0 || len(got) == 0 {
		t.Error("nothing is counted")
	}
	if again := p.Of("count(*) from trust.consents c"); len(again) > 0 {
		t.Errorf("after one more decision, all consents are counted again: %s", again)
	}
	demandIndex(t, p, "the newest decisions", "order by -position", "events_decisions_idx")
}
