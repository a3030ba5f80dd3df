//go:build far

package main

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/propagation"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/webhooks"
)

// sending is a log with a webhook that wants withdrawals, which the test appends past the
// API, and the processes that send them.
type sending struct {
	*site
	pool    *pgxpool.Pool
	store   *eventstore.Store
	tenant  domain.TenantID
	webhook domain.WebhookID
}

func newSending(t *testing.T, recipient string) *sending {
	t.Helper()
	s := newSite(t, "DATABASE_URL="+pgtest.Fresh(t), testSecret, testMaster, "WEBHOOK_ALLOW_PRIVATE=127.0.0.1")
	s.run("migrate").expect(t, exit.CodeDone, "schema version")
	address, err := (&settings.Config{DatabaseURL: s.address()}).NeedAPI()
	must(t, err)
	pool, err := openPool(t.Context(), address, 8)
	must(t, err)
	t.Cleanup(pool.Close)
	_, master, _ := strings.Cut(testMaster, "=")
	store, err := eventstore.Open(t.Context(), pool, []byte(master))
	must(t, err)
	t.Cleanup(store.Close)

	w := &sending{site: s, pool: pool, store: store}
	w.tenant, w.webhook = domain.TenantID{UUID: newID()}, domain.WebhookID{UUID: newID()}
	w.append(t, []domain.SideWrite{domain.CreateTenantKey{Tenant: w.tenant}}, domain.Write{
		Stream: domain.MunicipalityOf(w.tenant),
		Events: []domain.Event{
			&domain.MunicipalityRegistered{Code: "CPT", Name: "Cape Town", Province: "Western Cape"},
		},
	})
	w.append(t, nil, domain.Write{
		Stream: domain.WebhookOf(w.webhook),
		Events: []domain.Event{&domain.WebhookRegistered{URL: recipient, Events: []string{propagation.Withdrawal}}},
	})
	return w
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func (w *sending) append(t *testing.T, side []domain.SideWrite, writes ...domain.Write) []domain.Recorded {
	t.Helper()
	for i := range writes {
		writes[i].Expected = domain.AnyVersion
	}
	done, err := w.store.Append(t.Context(), domain.Append{ID: newID(), Tenant: w.tenant, Side: side, Writes: writes})
	must(t, err)
	return done.Events
}

// withdraw has each of some people withdraw a consent.
func (w *sending) withdraw(t *testing.T, people ...uuid.UUID) []domain.Recorded {
	t.Helper()
	writes := make([]domain.Write, len(people))
	for i, person := range people {
		writes[i] = domain.Write{
			Stream: domain.ConsentsOf(domain.UserID{UUID: person}),
			Events: []domain.Event{&domain.ConsentWithdrawn{
				ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "sms_alert", RecordedBy: domain.BySelf,
			}},
		}
	}
	return w.append(t, nil, writes...)
}

// figures returns those of the webhook.
func (w *sending) figures(t *testing.T) propagation.Figures {
	t.Helper()
	found, err := webhooks.NewView(w.pool).Propagation(t.Context(), w.tenant, time.Now())
	must(t, err)
	if len(found) == 0 {
		return propagation.Figures{}
	}
	return found[0].Figures
}

// audience is a recipient that notes what it was sent, and complains about what comes out
// of turn.
type audience struct {
	t *testing.T

	mu      sync.Mutex
	want    map[uuid.UUID][]uuid.UUID // events of a person, in order
	next    map[uuid.UUID]int         // of these, how many came
	arrived int
	again   int
}

func (r *audience) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var event struct{ ID, Subject uuid.UUID }
	if err := json.NewDecoder(q.Body).Decode(&event); err != nil {
		return // the sender was killed
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	want, next := r.want[event.Subject], r.next[event.Subject]
	switch {
	case next < len(want) && event.ID == want[next]:
		r.next[event.Subject]++
		r.arrived++
	case next > 0 && event.ID == want[next-1]:
		r.again++ // a sender was killed before it could record the answer
	default:
		r.t.Errorf("event %s came although %d of %d of this person had", event.ID, next, len(want))
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *audience) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrived
}

// Two processes that send are killed again and again in the middle of their deliveries.
// Every event arrives all the same, and each person's in order.
func TestFarEveryEventReachesAWebhookWhicheverSenderIsKilled(t *testing.T) {
	t.Parallel()
	const people, each, kills = 500, 4, 40
	r := &audience{t: t, want: map[uuid.UUID][]uuid.UUID{}, next: map[uuid.UUID]int{}}
	recipient := httptest.NewServer(r)
	t.Cleanup(recipient.Close)
	w := newSending(t, recipient.URL)

	subjects := make([]uuid.UUID, people)
	for i := range subjects {
		subjects[i] = newID()
	}
	for range each {
		for _, e := range w.withdraw(t, subjects...) {
			r.want[e.Subject.UUID] = append(r.want[e.Subject.UUID], e.EventID)
		}
	}

	w.start("project", "webhooks")
	senders := []*running{w.start("webhooks"), w.start("webhooks")}
	random := rand.New(rand.NewPCG(1, 2))
	for range kills {
		target := min(r.count()+10+random.IntN(30), people*each)
		pgtest.Eventually(t, "some more arrive", func() bool { return r.count() >= target })
		victim := random.IntN(len(senders))
		senders[victim].stop(t, syscall.SIGKILL)
		senders[victim] = w.start("webhooks")
	}
	if left := people*each - r.count(); left == 0 {
		t.Error("all had arrived before the last kill: too few to mean anything")
	}

	pgtest.Eventually(t, "every event arrives", func() bool { return r.count() == people*each })
	pgtest.Eventually(t, "every answer is recorded", func() bool { return w.figures(t).Outstanding == 0 })
	if got := w.figures(t).Measured; got != people*each {
		t.Errorf("%d were acknowledged, of %d", got, people*each)
	}
	t.Logf("%d events through %d kills, of which %d came twice", people*each, kills, r.again)
	if r.again == 0 {
		t.Error("no kill met a delivery under way: too few to mean anything")
	}
}

// quick is a recipient that answers at once, and counts.
func quick(t *testing.T) (url string, arrived *atomic.Int64) {
	t.Helper()
	arrived = &atomic.Int64{}
	recipient := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(recipient.Close)
	return recipient.URL, arrived
}

// How fast one process sends a backlog to one recipient.
func TestFarHowFastABacklogIsSent(t *testing.T) {
	t.Parallel()
	const backlog, batch = 10_000, 500
	url, arrived := quick(t)
	w := newSending(t, url)
	people := make([]uuid.UUID, batch)
	for range backlog / batch {
		for i := range people {
			people[i] = newID()
		}
		w.withdraw(t, people...)
	}
	w.start("project", "webhooks")
	pgtest.Eventually(t, "all are written down", func() bool {
		found, err := webhooks.NewView(w.pool).Backlog(t.Context())
		must(t, err)
		return found.Outstanding == backlog
	})

	w.start("webhooks")
	pgtest.Eventually(t, "one arrives", func() bool { return arrived.Load() > 0 })
	began, first := time.Now(), arrived.Load()
	pgtest.Eventually(t, "all arrive", func() bool { return arrived.Load() >= backlog })
	took := time.Since(began)
	t.Logf("%d in %s: %.0f a second", backlog-first, took.Round(time.Millisecond),
		float64(backlog-first)/took.Seconds())
}

// How long withdrawals take to a recipient at 200 a second.
func TestFarHowLongWithdrawalsTakeToAWebhook(t *testing.T) {
	t.Parallel()
	const rate, seconds = 200, 30
	url, _ := quick(t)
	w := newSending(t, url)
	w.start("project", "webhooks")
	w.start("webhooks")
	w.withdraw(t, newID())
	pgtest.Eventually(t, "the processes work", func() bool { return w.figures(t).Measured == 1 })

	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	var appending sync.WaitGroup
	for range rate * seconds {
		<-tick.C
		appending.Go(func() { w.withdraw(t, newID()) })
	}
	appending.Wait()
	pgtest.Eventually(t, "all arrive", func() bool { return w.figures(t).Outstanding == 0 })

	f := w.figures(t)
	t.Logf("at %d a second: p50 %s, p99 %s of %d", rate, f.P50, f.P99, f.Measured)
	if f.P99 > 5*time.Second {
		t.Error("it does not keep up")
	}
}
