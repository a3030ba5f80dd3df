package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/relay"
	"github.com/salga-trust/engine/internal/pgtest"
)

// What makes this test binary a process that may be killed: a relay, or a server of NATS.
const (
	childRole = "RELAY_CHILD"
	childURL  = "RELAY_CHILD_DATABASE"
	childNATS = "RELAY_CHILD_NATS"
	childDir  = "RELAY_CHILD_DIR"
	childPort = "RELAY_CHILD_PORT"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childRole) {
	case "relay":
		beRelay()
	case "nats":
		beNATS()
	default:
		pgtest.Main(m)
	}
}

func beRelay() {
	r, err := relay.Open(relay.Config{URL: os.Getenv(childNATS), Stream: "TRUST"})
	if err == nil {
		config := follow.Config{DatabaseURL: os.Getenv(childURL), MasterKey: []byte(masterKey)}
		err = follow.NewWorker(config, r).Run(context.Background())
	}
	slog.Error("the relay ended", slog.Any("error", err))
}

func beNATS() {
	port, err := strconv.Atoi(os.Getenv(childPort))
	if err == nil {
		err = serveNATS(os.Getenv(childDir), port)
	}
	slog.Error("the server ended", slog.Any("error", err))
}

// serveNATS serves until it is killed.
func serveNATS(dir string, port int) error {
	started, err := server.NewServer(optionsOf(dir, port))
	if err != nil {
		return err
	}
	started.Start()
	started.WaitForShutdown()
	return nil
}

func optionsOf(dir string, port int) *server.Options {
	return &server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	}
}

const masterKey = "a master key of at least thirty-two characters"

// world is a log with a municipality, and a NATS server of its own.
type world struct {
	db        *pgtest.DB
	store     *eventstore.Store
	projector *pgxpool.Pool
	query     *pgxpool.Pool
	reader    *eventstore.Reader
	observer  *follow.Observer
	tenant    domain.TenantID

	dir  string
	port int
	nats *server.Server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := pgtest.New(t)
	pool := db.Pool(t, pgtest.Query)
	store, err := eventstore.Open(t.Context(), pool, []byte(masterKey), eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)

	w := &world{
		db: db, store: store, query: pool, observer: follow.NewObserver(pool, &relay.Relay{}),
		tenant: domain.TenantID{UUID: newID()},
		dir:    t.TempDir(), port: server.RANDOM_PORT,
	}
	w.projector = db.Pool(t, pgtest.Projector)
	w.reader, err = eventstore.NewReader(t.Context(), w.projector, []byte(masterKey))
	must(t, err)
	w.append(t, []domain.SideWrite{domain.CreateTenantKey{Tenant: w.tenant}}, domain.Write{
		Stream: domain.MunicipalityOf(w.tenant),
		Events: []domain.Event{&domain.MunicipalityRegistered{
			Code: "CPT", Name: "Cape Town", Province: "Western Cape", ContactEmail: "thandi@capetown.example",
		}},
	})

	w.startNATS(t)
	t.Cleanup(w.stopNATS)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// startNATS starts the server on its own store and port.
func (w *world) startNATS(t testing.TB) {
	t.Helper()
	w.startNATSFor(t, "", "")
}

// startNATSFor starts the server for one user; for anybody if the name is empty.
func (w *world) startNATSFor(t testing.TB, user, password string) {
	t.Helper()
	options := optionsOf(w.dir, w.port)
	options.Username, options.Password = user, password
	started, err := server.NewServer(options)
	must(t, err)
	go started.Start()
	if !started.ReadyForConnections(pgtest.Patience) {
		t.Fatal("the NATS server does not start")
	}
	w.nats = started
	w.port = started.Addr().(*net.TCPAddr).Port
}

func (w *world) stopNATS() {
	w.nats.Shutdown()
	w.nats.WaitForShutdown()
}

func (w *world) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", w.port) }

// open returns a relay to a stream of the world's server.
func (w *world) open(t testing.TB, stream string) *relay.Relay {
	t.Helper()
	r, err := relay.Open(relay.Config{URL: w.url(), Stream: stream})
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

// run runs a relay until the test ends, or until the returned function is called.
func (w *world) run(t *testing.T) (stop func()) {
	t.Helper()
	return w.runTo(t, "TRUST")
}

func (w *world) runTo(t *testing.T, stream string) (stop func()) {
	t.Helper()
	config := follow.Config{
		DatabaseURL: w.db.URL(pgtest.Projector), MasterKey: []byte(masterKey), PollEvery: 5 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- follow.NewWorker(config, w.open(t, stream)).Run(ctx) }()

	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			must(t, err)
		case <-time.After(pgtest.Patience):
			t.Error("the relay does not stop")
		}
	}
	t.Cleanup(stop)
	return stop
}

func (w *world) append(t testing.TB, side []domain.SideWrite, writes ...domain.Write) {
	t.Helper()
	_, err := w.store.Append(t.Context(), domain.Append{ID: newID(), Tenant: w.tenant, Side: side, Writes: writes})
	must(t, err)
}

// grow adds n events, in one append, of people who agree.
func (w *world) grow(t testing.TB, n int) {
	t.Helper()
	writes := make([]domain.Write, n)
	for i := range writes {
		writes[i] = domain.Write{
			Stream: domain.ConsentsOf(domain.UserID{UUID: newID()}), Events: []domain.Event{granted()},
		}
	}
	w.append(t, nil, writes...)
}

func granted() *domain.ConsentGranted {
	return &domain.ConsentGranted{Decision: domain.Decision{
		ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "sms_alert", NoticeVersion: 1, Wording: "words",
		Language: domain.English, SHA256: domain.WordingHash("words"), Channel: domain.Web,
		RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}}
}

func (w *world) head(t testing.TB) int64 {
	t.Helper()
	head, err := eventstore.Head(t.Context(), w.projector)
	must(t, err)
	return head
}

func (w *world) status(t testing.TB) follow.FollowerStatus {
	t.Helper()
	status, err := w.observer.Status(t.Context())
	must(t, err)
	return status.Followers[0]
}

func (w *world) becomes(t testing.TB, state follow.State) (s follow.FollowerStatus) {
	t.Helper()
	pgtest.Eventually(t, fmt.Sprintf("the relay is %s", state), func() bool {
		s = w.status(t)
		return s.State == state
	})
	return s
}

// js connects to the world's server as a subscriber does.
func (w *world) js(t testing.TB) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(w.url())
	must(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	must(t, err)
	return js
}

// received is a message as a subscriber gets it.
type received struct {
	Subject string
	Header  nats.Header
	Body    []byte

	ID, Source, Type, Time                     string
	About                                      string `json:"subject"`
	SpecVersion, DataContentType, Municipality string
	Position                                   int64 `json:",string"`
	EffectiveTime                              time.Time
	Data                                       map[string]any
}

// published returns the messages of the stream, in order.
func (w *world) published(t testing.TB) (all []received) {
	t.Helper()
	stream, err := w.js(t).Stream(t.Context(), "TRUST")
	must(t, err)
	state := stream.CachedInfo().State
	for sequence := state.FirstSeq; sequence <= state.LastSeq && state.Msgs > 0; sequence++ {
		m, err := stream.GetMsg(t.Context(), sequence)
		must(t, err)

		got := received{Header: m.Header, Body: m.Data}
		must(t, json.Unmarshal(m.Data, &got))
		got.Subject = m.Subject
		all = append(all, got)
	}
	return all
}

// relayed waits until everything is published.
func (w *world) relayed(t testing.TB) {
	t.Helper()
	head := w.head(t)
	pgtest.Eventually(t, "everything is published", func() bool {
		s := w.status(t)
		return s.Position == head && s.State == follow.Running
	})
}

// equals checks that the stream holds the log from a position on: in order, each event
// once.
func (w *world) equals(t testing.TB, from int64, got []received) {
	t.Helper()
	head := w.head(t)
	if int64(len(got)) != head-from+1 {
		t.Errorf("%d messages of %d events from %d on", len(got), head, from)
		return
	}

	err := eventstore.EachStored(t.Context(), w.projector, from-1, head, func(e eventstore.Stored) error {
		m := got[e.Position-from]
		if m.Position != e.Position || m.ID != e.EventID.String() {
			return fmt.Errorf("message %d is event %d, %s; want %d, %s", e.Position-from, m.Position, m.ID, e.Position,
				e.EventID)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// exec changes the database past every program, as the superuser, with triggers off.
func (w *world) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	super := w.db.Superuser(t)
	_, err := super.Exec(t.Context(), "set session_replication_role = replica")
	must(t, err)
	_, err = super.Exec(t.Context(), sql, args...)
	must(t, err)
}

// apply publishes up to a position, as a worker does.
func (w *world) apply(t testing.TB, r *relay.Relay, upTo int64) error {
	t.Helper()
	ctx := t.Context()
	var away *follow.AwayError
	var err error
	pgtest.Eventually(t, "the relay is connected", func() bool {
		err = pgx.BeginFunc(ctx, w.projector, func(tx pgx.Tx) error {
			position, err := follow.Hold(ctx, tx, relay.Name)
			if err != nil {
				return err
			}
			if err := r.Apply(ctx, follow.Tx{Tx: tx, Log: w.reader}, nil, upTo); err != nil {
				return err
			}
			return follow.Advance(ctx, tx, relay.Name, max(position, upTo))
		})
		return !errors.As(err, &away) || away.Text != "NATS: it does not answer"
	})
	return err
}

// publish publishes up to a position without regard to the checkpoint, as a relay does
// that does not know that another one leads.
func (w *world) publish(t testing.TB, r *relay.Relay, upTo int64) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), w.projector, func(tx pgx.Tx) error {
		return r.Apply(t.Context(), follow.Tx{Tx: tx, Log: w.reader}, nil, upTo)
	})
}

// disown disowns the event at a position.
func (w *world) disown(t testing.TB, position int64) {
	t.Helper()
	must(t, pgx.BeginFunc(t.Context(), w.db.Pool(t, pgtest.Owner), func(tx pgx.Tx) error {
		_, err := w.reader.Disown(t.Context(), tx, position, "written past the programs")
		return err
	}))
}
