package follow_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
)

// hole is a network between a worker and the database. A connection that it swallows, by
// its use, stays open, but no byte comes through any more.
type hole struct {
	listener net.Listener
	server   *pgx.ConnConfig

	mu       sync.Mutex
	swallows map[string]bool
}

func newHole(t *testing.T, w *world) *hole {
	t.Helper()
	server, err := pgx.ParseConfig(w.db.URL(pgtest.Projector))
	must(t, err)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)

	h := &hole{listener: listener, server: server, swallows: map[string]bool{}}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go h.carry(t.Context(), client)
		}
	}()
	return h
}

// swallow makes the connections for some uses silent, both open and future ones.
func (h *hole) swallow(uses ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, use := range uses {
		h.swallows["trust-follow-"+use] = true
	}
}

func (h *hole) heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.swallows)
}

func (h *hole) silent(use string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.swallows[use]
}

// carry forwards a connection's bytes, as long as its use is not swallowed.
func (h *hole) carry(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()

	network, address := pgconn.NetworkAddress(h.server.Host, h.server.Port)
	server, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()

	first := make([]byte, 8192) // the start-up message says what the connection is for
	n, err := client.Read(first)
	if err != nil {
		return
	}
	use := ""
	for _, u := range []string{"leader", "poll", "apply", "ahead", "listen"} {
		if strings.Contains(string(first[:n]), "trust-follow-"+u) {
			use = "trust-follow-" + u
		}
	}
	if _, err := server.Write(first[:n]); err != nil {
		return
	}

	var both sync.WaitGroup
	both.Go(func() { h.copy(server, client, use) })
	both.Go(func() { h.copy(client, server, use) })
	both.Wait()
}

func (h *hole) copy(to, from net.Conn, use string) {
	defer func() { _ = to.Close() }()

	some := make([]byte, 64*1024)
	for {
		n, err := from.Read(some)
		if err != nil {
			return
		}

		if h.silent(use) {
			_, _ = io.Copy(io.Discard, from) // until the sender closes it
			return
		}
		if _, err := to.Write(some[:n]); err != nil {
			return
		}
	}
}

// config is the configuration of a worker whose connections all go through the hole.
func (h *hole) config(t *testing.T, w *world) follow.Config {
	t.Helper()
	config := w.config(t)
	address, err := url.Parse(config.DatabaseURL)
	must(t, err)

	address.Host = ""
	query := address.Query()
	query.Set("host", "127.0.0.1")
	query.Set("port", strconv.Itoa(h.listener.Addr().(*net.TCPAddr).Port))
	query.Set("sslmode", "disable")
	address.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // libpq knows no plus

	config.DatabaseURL = address.String()
	return config
}

// A socket goes silent: packets vanish, and nobody says so. The leader's own connection
// is alive, so only its work shows it.
func TestALeaderWhoseWorkFallsSilentStepsDownAndAStandbyTakesOver(t *testing.T) {
	t.Parallel()
	for _, use := range []string{"apply", "poll"} {
		t.Run(use, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			network := newHole(t, w)
			w.grant(t, 2)
			runConfig(t, network.config(t, w), tally{})
			w.counted(t)
			led := w.epoch(t, "tally")
			w.run(t, tally{}) // stands by, on a network that works

			network.swallow(use)
			w.grant(t, 5)
			w.counted(t)
			if epoch := w.epoch(t, "tally"); epoch <= led {
				t.Errorf("epoch %d after %d: nobody took over", epoch, led)
			}
		})
	}
}

func TestALeaderWithoutAStandbyThatStepsDownSaysWhyAndGoesOnByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	network := newHole(t, w)
	w.grant(t, 2)
	runConfig(t, network.config(t, w), tally{})
	w.counted(t)

	network.swallow("apply")
	w.grant(t, 5)
	var s follow.FollowerStatus
	pgtest.Eventually(t, "the tally says why it stepped down", func() bool {
		s = w.status(t, "tally")
		return s.State == follow.Stopped && strings.Contains(s.Error, "silent")
	})
	if s.ErrorSince != nil {
		t.Errorf("it did not halt: %+v", s)
	}

	network.heal()
	w.counted(t)
	if s := w.becomes(t, "tally", follow.Running); s.Error != "" {
		t.Errorf("status %+v", s)
	}
}

// A backlog is read ahead on a connection of its own, which may go silent as well: then
// each range is read when its turn comes.
func TestABacklogIsFollowedThoughReadingAheadFallsSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	network := newHole(t, w)
	w.grant(t, 10)
	network.swallow("ahead")
	runConfig(t, network.config(t, w), tally{})
	w.counted(t)
}

// Apply may never return, whatever its context says.
func TestAFollowerThatHangsLosesTheLead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, 1)

	hangs, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.run(t, guarded{guard: func(context.Context, follow.Tx, []domain.Recorded) error {
		once.Do(func() { close(hangs) })
		<-release
		return nil
	}})
	t.Cleanup(func() { close(release) })

	pgtest.Receive(t, hangs)
	w.run(t, tally{})
	w.counted(t)
}

// An Apply that computes within its transaction for longer than a transaction may be idle
// is ended by Postgres. The event is to blame for that, not the database.
func TestAnEventThatIsComputedForTooLongHalts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, 2)

	var computes atomic.Bool
	computes.Store(true)
	w.run(t, guarded{guard: func(ctx context.Context, tx follow.Tx, _ []domain.Recorded) error {
		if !computes.Load() {
			return nil
		}
		return untilEnded(ctx, t, w, tx)
	}})
	if s := w.becomes(t, "tally", follow.Halted); s.Position != 1 || !strings.Contains(s.Error, "idle") &&
		!strings.Contains(s.Error, "25P03") {
		t.Errorf("status %+v", s)
	}

	computes.Store(false)
	w.counted(t)
}

// untilEnded computes until Postgres has ended the transaction.
func untilEnded(ctx context.Context, t *testing.T, w *world, tx follow.Tx) error {
	t.Helper()
	pid := tx.Conn().PgConn().PID()
	watch, err := pgx.Connect(ctx, w.db.URL(pgtest.Projector))
	if err != nil {
		return err
	}
	defer func() { _ = watch.Close(context.WithoutCancel(ctx)) }()

	const look = "select exists (select from pg_stat_activity where pid = $1), pg_sleep(0.05)"
	for there := true; there && ctx.Err() == nil; {
		if err := watch.QueryRow(ctx, look, pid).Scan(&there, nil); err != nil {
			return err
		}
	}
	return nil
}
