package propagation_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/propagation"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// world is a log with two municipalities, and a clock that the test moves.
type world struct {
	t         testing.TB
	db        *pgtest.DB
	store     *eventstore.Store
	projector *pgxpool.Pool
	view      *propagation.View
	tenants   map[string]domain.TenantID
	now       time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db := pgtest.New(t)
	pool := db.Pool(t, pgtest.Query)
	store, err := eventstore.Open(t.Context(), pool, []byte("a master key of at least thirty-two characters"),
		eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)

	w := &world{
		t: t, db: db, store: store, projector: db.Pool(t, pgtest.Projector), view: propagation.NewView(pool),
		tenants: map[string]domain.TenantID{}, now: time.Now(),
	}
	for _, code := range []string{"CPT", "JHB"} {
		tenant := domain.TenantID{UUID: newID()}
		w.tenants[code] = tenant
		w.append(code, []domain.SideWrite{domain.CreateTenantKey{Tenant: tenant}}, domain.MunicipalityOf(tenant),
			&domain.MunicipalityRegistered{Code: code, Name: "Municipality " + code, Province: "Gauteng"})
	}
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func (w *world) append(
	code string, side []domain.SideWrite, stream domain.Stream, events ...domain.Event,
) []domain.Recorded {
	w.t.Helper()
	done, err := w.store.Append(w.t.Context(), domain.Append{
		ID: newID(), Tenant: w.tenants[code], Side: side,
		Writes: []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: events}},
	})
	must(w.t, err)
	return done.Events
}

// withdraw has somebody withdraw n consents at once.
func (w *world) withdraw(code string, n int) []domain.Recorded {
	w.t.Helper()
	events := make([]domain.Event, n)
	for i := range events {
		events[i] = &domain.ConsentWithdrawn{
			ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "sms_alert", RecordedBy: domain.BySelf,
		}
	}
	return w.append(code, nil, domain.ConsentsOf(domain.UserID{UUID: newID()}), events...)
}

// observe notes what is seen of consumers.
func (w *world) observe(seen []propagation.Progress, silent ...string) {
	w.t.Helper()
	must(w.t, pgx.BeginFunc(w.t.Context(), w.projector, func(tx pgx.Tx) error {
		if locked, err := propagation.Lock(w.t.Context(), tx); err != nil || !locked {
			w.t.Fatalf("locked %t, %v", locked, err)
		}
		return propagation.Observe(w.t.Context(), tx, seen, silent, w.now)
	}))
}

func (w *world) head() int64 {
	w.t.Helper()
	head, err := eventstore.Head(w.t.Context(), w.projector)
	must(w.t, err)
	return head
}

// consumers returns a municipality's, by name.
func (w *world) consumers(code string) map[string]propagation.Figures {
	w.t.Helper()
	found, err := w.view.Consumers(w.t.Context(), w.tenants[code], w.now)
	must(w.t, err)
	all := map[string]propagation.Figures{}
	for _, r := range found {
		if r.Kind != propagation.Consumer || r.ID != uuid.Nil || r.Paused {
			w.t.Errorf("not a consumer: %+v", r)
		}
		all[r.Name] = r.Figures
	}
	return all
}
