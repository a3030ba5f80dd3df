package webhooks_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/propagation"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/webhooks"
)

// hook is what a webhook is known to have got, kept in the plainest way.
type hook struct {
	id     domain.WebhookID
	from   int64                   // it was registered here
	at     map[uuid.UUID]time.Time // by event
	answer int
}

// figures counts withdrawals for a webhook.
func (h *hook) figures(withdrawn []domain.Recorded, now time.Time) (f propagation.Figures) {
	var took []time.Duration
	for _, e := range withdrawn {
		if e.Position < h.from {
			continue
		}
		if at, done := h.at[e.EventID]; done {
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

// Whatever is withdrawn, answered, paused, resumed and deleted, and whether or not the
// follower has come so far: the figures are those of a model that counts one by one.
func TestTheFiguresOfWebhooksAreThoseOfCountingOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 3))

	var withdrawn []domain.Recorded
	var hooks []*hook
	var recipients []*recipient
	for range 2 {
		r, h := newRecipient(t), &hook{at: map[uuid.UUID]time.Time{}, answer: 204}
		var answering sync.Mutex // deliveries about different people arrive at once
		r.answers(func(got received) int {
			answering.Lock()
			defer answering.Unlock()
			if h.answer == 204 && got.event.Type == propagation.Withdrawal {
				h.at[got.event.ID] = w.clock().UTC().Truncate(time.Microsecond)
			}
			return h.answer
		})
		h.id = w.register(r.URL)
		h.from = w.head() + 1
		hooks, recipients = append(hooks, h), append(recipients, r)
	}
	w.register("https://none.example.org", "consent.granted.v1")
	w.follow()

	people := []uuid.UUID{newID(), newID(), newID(), newID()}
	for step := range 40 {
		h := hooks[random.IntN(len(hooks))]
		switch random.IntN(8) {
		case 0, 1, 2:
			withdrawn = append(withdrawn, w.withdraws(people[random.IntN(len(people))]))
		case 3:
			h.answer = []int{204, 204, 500, 410}[random.IntN(4)]
		case 4:
			w.append(w.tenant, domain.WebhookOf(h.id), nil, &domain.WebhookResumed{})
		case 5:
			w.later([]time.Duration{time.Second, time.Hour, 80 * time.Hour, 12 * 24 * time.Hour}[random.IntN(4)])
		case 6:
			w.follow()
		default:
			w.step()
		}
		w.agree(step, hooks, withdrawn)
	}

	// One that is paused waits like any other, and one that is deleted waits no more.
	hooks[0].answer, hooks[1].answer = 410, 204
	withdrawn = append(withdrawn, w.withdraws(newID()))
	w.later(time.Hour)
	w.drain()
	w.follow()
	w.agree(-1, hooks, withdrawn)
	if got := w.recipients(); !got[0].Paused || got[0].Outstanding == 0 {
		t.Errorf("the paused one: %+v", got[0])
	}
	w.append(w.tenant, domain.WebhookOf(hooks[0].id), nil, &domain.WebhookDeleted{})
	w.follow()
	w.agree(-2, hooks[1:], withdrawn)

	for _, r := range recipients {
		r.Close()
	}
}

func (w *world) head() int64 {
	w.t.Helper()
	head, err := eventstore.Head(w.t.Context(), w.pool)
	must(w.t, err)
	return head
}

func (w *world) recipients() []propagation.Recipient {
	w.t.Helper()
	all, err := w.view.Propagation(w.t.Context(), w.tenant, w.clock())
	must(w.t, err)
	return all
}

// agree compares the figures with the model's.
func (w *world) agree(step int, hooks []*hook, withdrawn []domain.Recorded) {
	w.t.Helper()
	got := w.recipients()
	if len(got) != len(hooks) {
		w.t.Fatalf("step %d: %d webhooks take withdrawals, want %d", step, len(got), len(hooks))
	}

	var outstanding, overdue int64
	for i, h := range hooks {
		want := h.figures(withdrawn, w.clock())
		if got[i].ID != h.id.UUID || got[i].Figures != want || !strings.HasPrefix(got[i].Name, "127.0.0.1:") {
			w.t.Fatalf("step %d, webhook %d: %+v, want %+v", step, i, got[i], want)
		}
		outstanding, overdue = outstanding+want.Outstanding, overdue+want.Overdue
	}

	all, err := propagation.NewView(w.queries).Backlogs(w.t.Context(), w.clock())
	must(w.t, err)
	i := slices.IndexFunc(all, func(b propagation.Backlog) bool { return b.Recipients == "webhooks" })
	if all[i].Outstanding != outstanding || all[i].Overdue != overdue || all[i].Oldest.IsZero() != (outstanding == 0) {
		w.t.Fatalf("step %d: in all %+v, want %d and %d", step, all[i], outstanding, overdue)
	}
}

// What is asked often is answered from an index, however much was delivered.
func TestTheFiguresOfWebhooksUseTheirIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.register("https://alerts.example.org")
	w.follow()
	super := w.db.Superuser(t)
	_, err := super.Exec(t.Context(), `insert into trust.webhook_deliveries (webhook_id, position, tenant_id, lane,
			event_id, event_type, recorded_at, acknowledged_at)
		select case when n % 50 = 0 then $1 else md5('webhook' || n % 50)::uuid end, n + 1000, $2,
			md5('lane' || n)::uuid, md5('event' || n)::uuid,
			case when n % 20 < 15 then 'consent.granted.v1' else 'consent.withdrawn.v1' end, now(),
			case when n % 3 > 0 then now() end
		from generate_series(1, 20000) n`, id.UUID, w.tenant.UUID)
	must(t, err)
	_, err = super.Exec(t.Context(), "analyze trust.webhook_deliveries")
	must(t, err)

	plans := &pgtest.Plans{}
	view := webhooks.NewView(plans.Pool(t, w.db, pgtest.Query, eventstore.PlanByIndex))
	for range 8 { // from the sixth call on Postgres may keep a plan
		_, err := view.Propagation(t.Context(), w.tenant, w.clock())
		must(t, err)
	}
	found := plans.Of("trust.webhook_deliveries")
	if len(found) == 0 {
		t.Fatal("no such statement ran")
	}
	for _, plan := range found {
		for _, index := range []string{
			"webhook_deliveries_withdrawals_idx", "webhook_deliveries_awaited_idx", "events_withdrawals_idx",
		} {
			if !strings.Contains(plan, index) {
				t.Errorf("without %s: %s", index, plan)
			}
		}
	}
}
