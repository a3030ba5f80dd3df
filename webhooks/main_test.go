package webhooks_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/webhooks"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const masterKey = "a master key of at least thirty-two characters"

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// world is a log, what follows it for webhooks, a sender, and a clock that the test
// moves.
type world struct {
	t        testing.TB
	store    *eventstore.Store
	reader   *eventstore.Reader
	db       *pgtest.DB
	pool     *pgxpool.Pool // of the projector
	queries  *pgxpool.Pool
	follower *webhooks.Follower
	sender   *webhooks.Sender
	view     *webhooks.View
	tenant   domain.TenantID

	mu  sync.Mutex
	now time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db := pgtest.New(t)
	pool := db.Pool(t, pgtest.Query)
	store, err := eventstore.Open(t.Context(), pool, []byte(masterKey), eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)

	w := &world{
		t: t, db: db, store: store, pool: db.Pool(t, pgtest.Projector), queries: pool, view: webhooks.NewView(pool),
		follower: &webhooks.Follower{Origin: "example.org/log"}, now: time.Now().Add(time.Minute),
	}
	w.reader, err = eventstore.NewReader(t.Context(), w.pool, []byte(masterKey))
	must(t, err)
	w.sender = w.newSender()
	w.tenant = w.municipality("CPT")
	return w
}

func (w *world) newSender() *webhooks.Sender {
	return webhooks.NewSender(webhooks.Config{
		Pool: w.pool, Digest: w.store.Digest, Network: webhooks.NewNetwork(loopback(), nil), Now: w.clock,
		Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
		Pause: func(
			_ context.Context, tenant domain.TenantID, id domain.WebhookID, reason domain.PauseReason,
		) error {
			//nolint:contextcheck // the test's own lasts longer
			w.append(tenant, domain.WebhookOf(id), nil, &domain.WebhookPaused{Reason: reason})
			return nil
		},
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) append(
	tenant domain.TenantID, stream domain.Stream, side []domain.SideWrite, events ...domain.Event,
) domain.Recorded {
	w.t.Helper()
	done, err := w.store.Append(context.WithoutCancel(w.t.Context()), domain.Append{
		ID: newID(), Tenant: tenant, Side: side,
		Writes: []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: events}},
	})
	must(w.t, err)
	return done.Events[0]
}

func (w *world) municipality(code string) domain.TenantID {
	tenant := domain.TenantID{UUID: newID()}
	w.append(tenant, domain.MunicipalityOf(tenant), []domain.SideWrite{domain.CreateTenantKey{Tenant: tenant}},
		&domain.MunicipalityRegistered{Code: code, Name: "Municipality " + code, Province: "Western Cape"})
	return tenant
}

// register registers a webhook of CPT.
func (w *world) register(url string, events ...string) domain.WebhookID {
	w.t.Helper()
	id := domain.WebhookID{UUID: newID()}
	w.append(w.tenant, domain.WebhookOf(id), nil, &domain.WebhookRegistered{URL: url, Events: events})
	return id
}

// grants has a person of CPT agree, and returns the event.
func (w *world) grants(person uuid.UUID) domain.Recorded {
	w.t.Helper()
	return w.append(w.tenant, domain.ConsentsOf(domain.UserID{UUID: person}), nil, granted())
}

func (w *world) withdraws(person uuid.UUID) domain.Recorded {
	w.t.Helper()
	return w.append(w.tenant, domain.ConsentsOf(domain.UserID{UUID: person}), nil, &domain.ConsentWithdrawn{
		ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "sms_alert", RecordedBy: domain.BySelf,
	})
}

func granted() *domain.ConsentGranted {
	return &domain.ConsentGranted{Decision: domain.Decision{
		ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "sms_alert", NoticeVersion: 1, Wording: "words",
		Language: domain.English, SHA256: domain.WordingHash("words"), Channel: domain.Web,
		RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}}
}

// follow applies everything that is new, as a worker does.
func (w *world) follow() {
	w.t.Helper()
	ctx := w.t.Context()
	must(w.t, pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if _, err := follow.Hold(ctx, tx, webhooks.Name); err != nil {
			return err
		}
		head, err := eventstore.Head(ctx, tx)
		if err != nil {
			return err
		}
		if err := w.follower.Apply(ctx, follow.Tx{Tx: tx, Log: w.reader}, nil, head); err != nil {
			return err
		}
		return follow.Advance(ctx, tx, webhooks.Name, head)
	}))
}

// step sends once whatever is due.
func (w *world) step() (tried int) {
	w.t.Helper()
	tried, err := w.sender.Step(w.t.Context())
	must(w.t, err)
	return tried
}

// drain follows and sends until nothing is due.
func (w *world) drain() {
	w.t.Helper()
	w.follow()
	for w.step() > 0 {
	}
}

// deliveries lists those to a webhook, oldest first.
func (w *world) deliveries(id domain.WebhookID, which webhooks.Which) []webhooks.Delivery {
	w.t.Helper()
	list, err := w.view.Deliveries(w.t.Context(), w.tenant, id, which, projections.Page{Limit: 100})
	must(w.t, err)
	for i, j := 0, len(list.Items)-1; i < j; i, j = i+1, j-1 {
		list.Items[i], list.Items[j] = list.Items[j], list.Items[i]
	}
	return list.Items
}

// received is one request to a recipient.
type received struct {
	header http.Header
	body   string
	event  struct {
		ID      uuid.UUID `json:"id"`
		Type    string    `json:"type"`
		Subject uuid.UUID `json:"subject"`
	}
}

// recipient is another system. answer says what it answers; nil: 204.
type recipient struct {
	*httptest.Server

	mu     sync.Mutex
	got    []received
	answer func(received) int
}

func newRecipient(t testing.TB) *recipient {
	t.Helper()
	r := &recipient{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return // the sender hung up
		}
		one := received{header: q.Header, body: string(body)}
		if err := json.Unmarshal(body, &one.event); err != nil {
			t.Error(err)
		}

		r.mu.Lock()
		r.got = append(r.got, one)
		answer := r.answer
		r.mu.Unlock()
		status := http.StatusNoContent
		if answer != nil {
			status = answer(one)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recipient) answers(answer func(received) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func always(status int) func(received) int { return func(received) int { return status } }

// ids returns the ids of the events that were received since, and forgets them.
func (r *recipient) ids() (ids []uuid.UUID) {
	for _, one := range r.take() {
		ids = append(ids, one.event.ID)
	}
	return ids
}

func (r *recipient) take() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}
