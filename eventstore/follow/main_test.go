package follow_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
)

const (
	masterKey = "a master key of at least thirty-two characters"
	// childURL makes this test binary only follow the log, until it is killed.
	childURL = "FOLLOW_CHILD_URL"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		config := follow.Config{DatabaseURL: url, MasterKey: []byte(masterKey), PageSize: 3}
		if err := follow.NewWorker(config, tally{}).Run(context.Background()); err != nil {
			slog.Error("child", slog.Any("error", err))
		}
		return
	}
	pgtest.Main(m)
}

// world is a database of one test with a municipality in it, and the tables of this
// package's followers.
type world struct {
	db       *pgtest.DB
	store    *eventstore.Store
	observer *follow.Observer
	super    *pgx.Conn
	tenant   domain.TenantID
	granted  int // how often somebody agreed
	failures atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := pgtest.New(t)
	pool := db.Pool(t, pgtest.Query)
	store, err := eventstore.Open(t.Context(), pool, []byte(masterKey), eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)

	w := &world{db: db, store: store, observer: follow.NewObserver(pool, tally{}, diary{}), super: db.Superuser(t)}
	_, err = w.super.Exec(t.Context(), `create table public.tally (purpose text primary key, grants integer not null);
		create table public.diary (position bigint primary key);
		grant usage on schema public to trust_projector; grant all on public.tally, public.diary to trust_projector`)
	must(t, err)

	w.tenant = domain.TenantID{UUID: newID()}
	w.append(t, domain.MunicipalityOf(w.tenant), []domain.SideWrite{domain.CreateTenantKey{Tenant: w.tenant}},
		&domain.MunicipalityRegistered{Code: "CPT", Name: "Cape Town", Province: "Western Cape", Category: "A"})
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func (w *world) append(t *testing.T, stream domain.Stream, side []domain.SideWrite, events ...domain.Event) {
	t.Helper()
	_, err := w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: w.tenant, Side: side,
		Writes: []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: events}},
	})
	must(t, err)
}

// grant records that n people agreed.
func (w *world) grant(t *testing.T, n int) {
	t.Helper()
	for range n {
		w.append(t, domain.ConsentsOf(domain.UserID{UUID: newID()}), nil,
			&domain.ConsentGranted{Decision: domain.Decision{
				ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "sms_alert", NoticeVersion: 1, Wording: "words",
				Language: domain.English, SHA256: domain.WordingHash("words"), Channel: domain.Web,
				RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
			}})
		w.granted++
	}
}

func (w *world) config(t *testing.T) follow.Config {
	t.Helper()
	return follow.Config{
		DatabaseURL: w.db.URL(pgtest.Projector), MasterKey: []byte(masterKey), PageSize: 3,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// run runs followers in this process until the test ends.
func (w *world) run(t *testing.T, followers ...follow.Follower) {
	t.Helper()
	runConfig(t, w.config(t), followers...)
}

func runConfig(t *testing.T, config follow.Config, followers ...follow.Follower) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- follow.NewWorker(config, followers...).Run(ctx) }()

	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			must(t, err)
		case <-time.After(pgtest.Patience):
			t.Error("the worker does not stop")
		}
	})
}

// start runs the tally in a process of its own.
func (w *world) start(t *testing.T) *exec.Cmd {
	t.Helper()
	// Killed below, before the database is dropped.
	child := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	child.Env = append(os.Environ(), childURL+"="+w.db.URL(pgtest.Projector))
	child.Stdout, child.Stderr = t.Output(), t.Output()

	must(t, child.Start())
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	return child
}

func (w *world) status(t *testing.T, name string) follow.FollowerStatus {
	t.Helper()
	status, err := w.observer.Status(t.Context())
	must(t, err)
	for _, f := range status.Followers {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no status of %q in %+v", name, status)
	return follow.FollowerStatus{}
}

func (w *world) becomes(t *testing.T, name string, state follow.State) (s follow.FollowerStatus) {
	t.Helper()
	pgtest.Eventually(t, fmt.Sprintf("%s is %s", name, state), func() bool {
		s = w.status(t, name)
		return s.State == state
	})
	return s
}

// counted waits until the tally has followed the whole log, and checks that it counted
// each grant once.
func (w *world) counted(t *testing.T) {
	t.Helper()
	head, err := w.store.Head(t.Context())
	must(t, err)
	pgtest.Eventually(t, "the tally has followed", func() bool { return w.status(t, "tally").Position == head })
	if got := w.tally(t); got != w.granted {
		t.Errorf("the tally says %d of %d grants", got, w.granted)
	}
}

func (w *world) tally(t *testing.T) (grants int) {
	t.Helper()
	must(t, w.super.QueryRow(t.Context(), "select coalesce(sum(grants), 0) from public.tally").Scan(&grants))
	return grants
}

func (w *world) epoch(t *testing.T, name string) (epoch int64) {
	t.Helper()
	const sql = "select coalesce(max(epoch), 0) from trust.checkpoints where follower = $1"
	must(t, w.super.QueryRow(t.Context(), sql, name).Scan(&epoch))
	return epoch
}
