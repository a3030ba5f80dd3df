package projections_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// TestMain runs the tests, or, when a test started this binary as a worker, the worker:
// see process_test.go.
func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		runChild(url)
		return
	}
	pgtest.Main(m)
}

const masterKey = "a master key of at least thirty-two characters"

// world is a database of one test with a municipality in it.
type world struct {
	db       *pgtest.DB
	pool     *pgxpool.Pool // as trust_query
	store    *eventstore.Store
	queries  *projections.Queries
	observer *follow.Observer
	reader   *eventstore.Reader
	tenant   domain.TenantID
}

// newWorld makes a world. When the test ends, the log and the read tables are verified.
func newWorld(t testing.TB) *world {
	t.Helper()
	db := pgtest.New(t)
	pool := db.Pool(t, pgtest.Query)

	store, err := eventstore.Open(t.Context(), pool, []byte(masterKey), eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)

	w := &world{
		db: db, pool: pool, store: store, queries: projections.NewQueries(pool, nil),
		observer: follow.NewObserver(pool, projections.Followers()...),
	}

	w.reader, err = eventstore.NewReader(t.Context(), db.Conn(t, pgtest.Projector), []byte(masterKey))
	must(t, err)
	w.tenant = w.municipality(t, "CPT")
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// verify returns the result of Verify.
func (w *world) verify(t testing.TB) error {
	t.Helper()
	return projections.Verify(t.Context(), w.db.Conn(t, pgtest.Projector), w.reader, nil)
}

// beforeCodes turns the log into one from before codes: an event without a code is
// believed, so that a test can write its own.
func (w *world) beforeCodes(t testing.TB) {
	t.Helper()
	_, err := w.db.Superuser(t).Exec(t.Context(), "delete from trust.coded")
	must(t, err)
}

// check verifies every invariant.
func (w *world) check(t testing.TB) {
	t.Helper()
	must(t, w.verify(t))
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func newUser() domain.UserID { return domain.UserID{UUID: newID()} }

// append adds events to one stream, whatever its version, and returns the position of the
// last.
func (w *world) append(t testing.TB, tenant domain.TenantID, stream domain.Stream, events ...domain.Event) int64 {
	t.Helper()
	return w.appendSide(t, tenant, stream, nil, events...)
}

func (w *world) appendSide(
	t testing.TB, tenant domain.TenantID, stream domain.Stream, side []domain.SideWrite, events ...domain.Event,
) int64 {
	t.Helper()
	recorded := w.recorded(t, tenant, stream, side, events...)
	return recorded[len(recorded)-1].Position
}

// recorded appends events and returns them as the log has them.
func (w *world) recorded(
	t testing.TB, tenant domain.TenantID, stream domain.Stream, side []domain.SideWrite, events ...domain.Event,
) []domain.Recorded {
	t.Helper()
	appended, err := w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: tenant, Actor: stream.Subject(), Side: side,
		Writes: []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: events}},
	})
	must(t, err)
	return appended.Events
}

func (w *world) municipality(t testing.TB, code string) domain.TenantID {
	t.Helper()
	id := domain.TenantID{UUID: newID()}
	w.appendSide(t, id, domain.MunicipalityOf(id), []domain.SideWrite{domain.CreateTenantKey{Tenant: id}},
		&domain.MunicipalityRegistered{Code: code, Name: "Municipality " + code, Province: "Gauteng", Category: "B"})
	return id
}

func (w *world) register(t testing.TB, tenant domain.TenantID, name string) domain.UserID {
	t.Helper()
	user := newUser()
	w.appendSide(t, tenant, domain.UserOf(user), []domain.SideWrite{domain.CreateSubjectKey{Subject: user}},
		&domain.UserRegistered{
			MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
			Person: domain.Known(domain.PersonFacts{
				Email: name + "@Example.org", FullName: "Ṱhilivhali " + name, Phone: "+27821234567",
			}),
		})
	return user
}

func decision(purpose string, givenAt time.Time) domain.Decision {
	return domain.Decision{
		ConsentID: domain.ConsentID{UUID: newID()}, Purpose: purpose, NoticeVersion: 1, Wording: "words",
		Language: domain.English, SHA256: domain.WordingHash("words"), Channel: domain.Paper, GivenAt: givenAt,
		RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}
}

// grant records a consent for "sms_alert" and returns its id.
func (w *world) grant(t testing.TB, tenant domain.TenantID, subject domain.UserID) domain.ConsentID {
	t.Helper()
	e := &domain.ConsentGranted{Decision: decision("sms_alert", time.Time{})}
	w.append(t, tenant, domain.ConsentsOf(subject), e)
	return e.ConsentID
}

func (w *world) head(t testing.TB) int64 {
	t.Helper()
	head, err := w.store.Head(t.Context())
	must(t, err)
	return head
}

func projection(t testing.TB, name string) projections.Projection {
	t.Helper()
	p, ok := projections.ByName(name)
	if !ok {
		t.Fatalf("there is no projection %q", name)
	}
	return p
}

func (w *world) config(t testing.TB) follow.Config {
	t.Helper()
	return follow.Config{
		DatabaseURL: w.db.URL(pgtest.Projector), MasterKey: []byte(masterKey),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// work runs projections until the test ends or stop is called, which waits.
func (w *world) work(t testing.TB, ps ...follow.Follower) (stop func()) {
	t.Helper()
	return run(t, follow.NewWorker(w.config(t), ps...))
}

func run(t testing.TB, worker *follow.Worker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()

	stopped := false
	stop = func() {
		cancel()
		if stopped {
			return
		}
		stopped = true

		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("worker: %v", err)
			}
		case <-time.After(pgtest.Patience):
			t.Error("the worker does not stop")
		}
	}

	t.Cleanup(stop)
	return stop
}

// caughtUp waits until a table holds the whole log, and verifies everything.
func (w *world) caughtUp(t testing.TB, name string) {
	t.Helper()
	head := w.head(t)
	pgtest.Eventually(t, fmt.Sprintf("%s reaches %d", name, head), func() bool {
		err := w.queries.WaitFor(t.Context(), name, head)
		behind := errors.Is(err, domain.Refuse(domain.CodeReadModelBehind, "")) ||
			errors.Is(err, domain.Refuse(domain.CodeUnavailable, ""))
		if !behind {
			must(t, err)
		}
		return !behind
	})

	w.check(t)
}

func (w *world) status(t testing.TB, name string) follow.FollowerStatus {
	t.Helper()
	status, err := w.observer.Status(t.Context())
	must(t, err)

	for _, p := range status.Followers {
		if p.Name == name {
			return p
		}
	}

	t.Fatalf("no status of %q", name)
	return follow.FollowerStatus{}
}

// becomes waits until a projector is in a state, and returns the status that says so. A
// working projector may seem stopped for a moment, if a slow machine keeps it from giving
// a sign of life.
func (w *world) becomes(t testing.TB, name string, state follow.State) (s follow.FollowerStatus) {
	t.Helper()
	pgtest.Eventually(t, fmt.Sprintf("%s is %s", name, state), func() bool {
		s = w.status(t, name)
		return s.State == state
	})
	return s
}

// epoch returns the number of the users projection's newest leadership.
func (w *world) epoch(t testing.TB) (epoch int64) {
	t.Helper()
	must(t, w.pool.QueryRow(t.Context(), "select epoch from trust.checkpoints where follower = 'users'").Scan(&epoch))
	return epoch
}
