package propagation_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/propagation"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestTheClockMeasuresWhatDomainCallsAWithdrawal(t *testing.T) {
	t.Parallel()
	if got := (&domain.ConsentWithdrawn{}).EventType(); got != propagation.Withdrawal {
		t.Errorf("a withdrawal is %s", got)
	}
}

// slow is what a consumer is known to have got, kept in the plainest way.
type slow struct {
	progress propagation.Progress
	from, to int64 // of the log, after which it counts; up to which it has acknowledged
	at       map[int64]time.Time
}

// figures counts one municipality's withdrawals for a consumer.
func (s *slow) figures(withdrawn []domain.Recorded, tenant domain.TenantID, now time.Time) (f propagation.Figures) {
	var took []time.Duration
	for _, e := range withdrawn {
		if e.Tenant != tenant || e.Position <= s.from {
			continue
		}
		if at, done := s.at[e.Position]; done {
			if !at.Before(now.Add(-propagation.Window)) {
				took = append(took, max(at.Sub(e.RecordedAt), 0))
			}
			continue
		}

		f.Outstanding++
		if e.RecordedAt.Before(now.Add(-propagation.OverdueAfter)) {
			f.Overdue++
		}
		if f.Oldest.IsZero() {
			f.Oldest = e.RecordedAt
		}
	}

	slices.Sort(took)
	if n := len(took); n > 0 {
		f.Measured, f.P50, f.P99 = int64(n), took[(n+1)/2-1], took[(99*n+99)/100-1]
	}
	return f
}

func (s *slow) takes(code string) bool {
	return s.progress.Municipalities == nil || slices.Contains(s.progress.Municipalities, code)
}

// Whatever happens to withdrawals and consumers, in whatever order, the figures are those
// of a model that counts one by one.
func TestTheFiguresOfConsumersAreThoseOfCountingOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))

	var withdrawn []domain.Recorded
	model := map[string]*slow{}
	observe := func() {
		var seen []propagation.Progress
		var silent []string
		for name, s := range model {
			if random.IntN(6) == 0 && s.at != nil {
				silent = append(silent, name)
				continue
			}
			seen = append(seen, s.progress)

			if s.at == nil { // it is met
				s.at, s.from = map[int64]time.Time{}, w.head()
				s.to = s.from
			}
			for _, e := range withdrawn {
				if s.to < e.Position && e.Position <= s.progress.Acknowledged {
					s.at[e.Position] = w.now.UTC().Truncate(time.Microsecond)
				}
			}
			s.to = max(s.to, s.progress.Acknowledged)
		}
		w.observe(seen, silent...)
	}

	for step := range 60 {
		name := fmt.Sprintf("consumer-%d", random.IntN(3))
		switch s := model[name]; {
		case random.IntN(3) == 0:
			code := []string{"CPT", "JHB"}[random.IntN(2)]
			withdrawn = append(withdrawn, w.withdraw(code, 1+random.IntN(3))...)
		case s == nil:
			model[name] = &slow{progress: propagation.Progress{
				Name: name, Created: w.now, Municipalities: [][]string{nil, {"CPT"}, {"JHB", "DUR"}}[random.IntN(3)],
				Acknowledged: random.Int64N(w.head() + 1),
			}}
		case random.IntN(8) == 0:
			delete(model, name)
		default:
			// Forwards, or back: NATS may lose what it was told.
			s.progress.Acknowledged = random.Int64N(w.head() + 1)
		}

		w.now = w.now.Add([]time.Duration{
			time.Millisecond, time.Second, 20 * time.Minute, 9 * 24 * time.Hour,
		}[random.IntN(4)])
		observe()
		w.agrees(step, model, withdrawn)
	}
}

// agrees compares the figures with the model's.
func (w *world) agrees(step int, model map[string]*slow, withdrawn []domain.Recorded) {
	w.t.Helper()
	var outstanding, overdue int64
	for code, tenant := range w.tenants {
		want := map[string]propagation.Figures{}
		for name, s := range model {
			if s.takes(code) {
				want[name] = s.figures(withdrawn, tenant, w.now)
				outstanding, overdue = outstanding+want[name].Outstanding, overdue+want[name].Overdue
			}
		}
		if got := w.consumers(code); !maps.Equal(got, want) {
			w.t.Fatalf("step %d, %s:\n%+v, want\n%+v", step, code, got, want)
		}
	}

	all, err := w.view.Backlogs(w.t.Context(), w.now)
	must(w.t, err)
	i := slices.IndexFunc(all, func(b propagation.Backlog) bool { return b.Recipients == "consumers" })
	if all[i].Outstanding != outstanding || all[i].Overdue != overdue || all[i].Oldest.IsZero() != (outstanding == 0) {
		w.t.Fatalf("step %d: in all %+v, want %d and %d", step, all[i], outstanding, overdue)
	}
}

func TestAConsumerThatWasMadeAnewIsAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := propagation.Progress{Name: "desk", Created: w.now}
	w.observe([]propagation.Progress{one})
	w.withdraw("CPT", 2)
	if got := w.consumers("CPT")["desk"].Outstanding; got != 2 {
		t.Fatalf("%d are outstanding, want 2", got)
	}

	one.Created = w.now.Add(time.Second)
	w.observe([]propagation.Progress{one})
	if got := w.consumers("CPT")["desk"]; got != (propagation.Figures{}) {
		t.Errorf("the new one begins with %+v", got)
	}
}

func TestOneProcessAtATimeObserves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, pgx.BeginFunc(t.Context(), w.projector, func(first pgx.Tx) error {
		if locked, err := propagation.Lock(t.Context(), first); err != nil || !locked {
			t.Errorf("the first: %t, %v", locked, err)
		}
		return pgx.BeginFunc(t.Context(), w.projector, func(second pgx.Tx) error {
			locked, err := propagation.Lock(t.Context(), second)
			if locked {
				t.Error("both observe")
			}
			return err
		})
	}))
}

func TestOldReceiptsAreDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := propagation.Progress{Name: "desk", Created: w.now}
	w.observe([]propagation.Progress{one})
	for range 2 {
		w.withdraw("CPT", 1)
		one.Acknowledged = w.head()
		w.observe([]propagation.Progress{one})
		w.now = w.now.Add(propagation.Window - time.Hour)
	}

	w.now = w.now.Add(3*time.Hour - propagation.Window)
	must(t, propagation.DropOld(t.Context(), w.projector, w.now))
	w.now = w.now.Add(-3 * time.Hour) // when both would be measured
	if got := w.consumers("CPT")["desk"].Measured; got != 1 {
		t.Errorf("%d are left, want 1", got)
	}
}

// After the log lost its newest events, others take their positions, and nobody has
// acknowledged those.
func TestWhatTheLogLostIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := propagation.Progress{Name: "desk", Created: w.now}
	w.observe([]propagation.Progress{one})
	kept := w.head()
	w.withdraw("CPT", 3)
	one.Acknowledged = w.head()
	w.observe([]propagation.Progress{one})

	super := w.db.Superuser(t)
	_, err := super.Exec(t.Context(), "set session_replication_role = replica")
	must(t, err)
	_, err = super.Exec(t.Context(), "delete from trust.events where position > $1", kept)
	must(t, err)
	must(t, pgx.BeginFunc(t.Context(), w.db.Pool(t, pgtest.Owner), func(tx pgx.Tx) error {
		return propagation.Restart(t.Context(), tx)
	}))

	w.withdraw("CPT", 2)
	if got := w.consumers("CPT")["desk"]; got.Outstanding != 2 || got.Measured != 0 {
		t.Errorf("%+v, want 2 outstanding and none measured", got)
	}
}

// What is asked often is answered from an index, however much was delivered.
func TestTheFiguresOfConsumersUseTheirIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := propagation.Progress{Name: "desk", Created: w.now}
	w.observe([]propagation.Progress{one})
	super := w.db.Superuser(t)
	_, err := super.Exec(t.Context(), `insert into trust.relay_receipts
			(consumer, position, tenant_id, recorded_at, acknowledged_at)
		select 'desk', n, md5('tenant' || n % 300)::uuid, now(), now() from generate_series(1, 20000) n`)
	must(t, err)
	_, err = super.Exec(t.Context(), "analyze trust.relay_receipts")
	must(t, err)

	plans := &pgtest.Plans{}
	pool := plans.Pool(t, w.db, pgtest.Query, eventstore.PlanByIndex)
	for range 8 { // from the sixth call on Postgres may keep a plan
		_, err := propagation.NewView(pool).Consumers(t.Context(), w.tenants["CPT"], w.now)
		must(t, err)
	}
	found := plans.Of("trust.relay_receipts")
	if len(found) == 0 {
		t.Fatal("no such statement ran")
	}
	for _, plan := range found {
		if !strings.Contains(plan, "relay_receipts_tenant_idx") || !strings.Contains(plan, "events_withdrawals_idx") {
			t.Errorf("without an index: %s", plan)
		}
	}
}
