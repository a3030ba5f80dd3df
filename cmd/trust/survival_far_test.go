//go:build far

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/eventstore/relay"
	"github.com/salga-trust/engine/internal/pgtest"
)

// Acknowledged commands stay, whatever is killed: 32 clients send 5 000 commands, and
// send those without an answer again under their idempotency key, while Postgres, the
// API, each projector and the relay are killed again and again.
func TestFarNothingAcknowledgedIsLostOrDoubledWhateverIsKilled(t *testing.T) {
	t.Parallel()
	const clients, commands, kills = 32, 5000, 15
	address, js := natsServer(t)
	s := newSite(t, "RATE_LIMIT=off", "RELAY_URL="+address)
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	people := make([]*client, clients)
	for i := range people { // before the kills, because this test is not about hashing passwords
		people[i] = newClient("http://" + s.addr)
		if err := people[i].person(ctx, "CPT", fmt.Sprintf("resident%d@example.co.za", i)); err != nil {
			t.Fatal(err)
		}
	}

	done := &acknowledged{positions: map[int64]string{}, more: make(chan struct{}, 1)}
	load, over := context.WithCancel(ctx)
	defer over()
	var killing, working sync.WaitGroup
	killing.Go(func() {
		if n := s.killAtRandom(load, t, done); n < kills {
			t.Errorf("the load was over after %d kills: too few to mean anything", n)
		}
	})

	for i, c := range people {
		n := commands / clients
		if i < commands%clients {
			n++
		}
		working.Go(func() {
			if err := c.decide(ctx, t, n, done); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	working.Wait()
	over()
	killing.Wait()

	pgtest.Eventually(t, "all is up again by itself", s.ready)
	if len(done.positions) != commands {
		t.Errorf("%d commands were acknowledged, of %d", len(done.positions), commands)
	}
	s.matches(t, s.kept()["DATABASE_URL"], done)
	s.run("verify").expect(t, exit.CodeDone, "events verified")
	pgtest.Eventually(t, "everything is published", func() bool {
		return s.run("status").code == exit.CodeDone && s.caughtUp()
	})
	s.published(t, s.kept()["DATABASE_URL"], js)
}

// published compares the stream with the log: the same events, in order, each once.
func (s *site) published(t *testing.T, database string, js jetstream.JetStream) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	found, err := conn.Query(t.Context(), "select event_id::text from trust.events order by position")
	must(t, err)
	ids, err := pgx.CollectRows(found, pgx.RowTo[string])
	must(t, err)

	stream, err := js.Stream(t.Context(), "TRUST")
	must(t, err)
	if n := stream.CachedInfo().State.LastSeq; n != uint64(len(ids)) {
		t.Fatalf("%d messages of %d events", n, len(ids))
	}
	for i, id := range ids {
		m, err := stream.GetMsg(t.Context(), uint64(i)+1)
		must(t, err)
		if got := m.Header.Get(jetstream.MsgIDHeader); got != id {
			t.Fatalf("message %d is of event %s; want %s", i+1, got, id)
		}
	}
}

// killAtRandom kills one part after another until the load is over, and lets the load go
// on in between.
func (s *site) killAtRandom(load context.Context, t *testing.T, done *acknowledged) (kills int) {
	t.Helper()
	names := append(partsOfUp(), relay.Name)
	random := rand.New(rand.NewPCG(1, 2))
	for load.Err() == nil {
		name := names[kills%len(names)]
		if pid := s.pids()[name]; pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			kills++
		}

		// Some more commands get through before the next kill, so that each kill meets a
		// working system.
		target := done.count() + 150 + random.IntN(150)
		for done.count() < target && load.Err() == nil {
			select {
			case <-done.more:
			case <-load.Done():
			}
		}
	}
	t.Logf("killed %d processes during the load", kills)
	return kills
}

// matches compares the acknowledged commands with the log: each position holds exactly
// that event, and every consent event in the log was acknowledged.
func (s *site) matches(t *testing.T, database string, done *acknowledged) {
	t.Helper()
	var conn *pgx.Conn
	pgtest.Eventually(t, "Postgres takes connections", func() (taken bool) { // it may have been killed last
		var err error
		conn, err = pgx.Connect(t.Context(), database)
		return err == nil
	})
	defer conn.Close(context.WithoutCancel(t.Context()))

	rows, err := conn.Query(t.Context(), `select position,
			record_id::text || case event_type when 'consent.granted.v1' then ' granted' else ' withdrawn' end
		from trust.events where event_type in ('consent.granted.v1', 'consent.withdrawn.v1')
		and payload ->> 'purpose' = 'sms_alert' order by position`)
	if err != nil {
		t.Fatal(err)
	}

	var position int64
	var what string
	found := 0
	_, err = pgx.ForEachRow(rows, []any{&position, &what}, func() error {
		found++
		if done.positions[position] != what {
			t.Errorf("position %d holds %s, acknowledged was %q", position, what, done.positions[position])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found != len(done.positions) {
		t.Errorf("the log holds %d of these events, acknowledged were %d", found, len(done.positions))
	}
}

// acknowledged is what the system says it has written.
type acknowledged struct {
	mu        sync.Mutex
	positions map[int64]string // position → consent id and action
	more      chan struct{}    // holds a value after more were acknowledged
}

func (a *acknowledged) note(t testing.TB, r reply, what string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if other, twice := a.positions[r.position]; twice || r.position == 0 {
		t.Errorf("position %d was acknowledged for %s and for %s", r.position, other, what)
	}
	a.positions[r.position] = what
	select {
	case a.more <- struct{}{}:
	default:
	}
}

func (a *acknowledged) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.positions)
}

// decide grants and withdraws one purpose again and again, n commands in all, and notes
// those that are acknowledged.
func (c *client) decide(ctx context.Context, t testing.TB, n int, done *acknowledged) error {
	t.Helper()
	id := ""
	for i := range n {
		var body any = map[string]any{"purpose": "sms_alert", "language": "zu", "consented": true}
		path, want, verb := "/api/v1/consents", http.StatusCreated, "granted"
		if i%2 == 1 {
			path, body, want, verb = "/api/v1/consents/"+id+"/withdraw", map[string]any{}, http.StatusOK, "withdrawn"
		}

		r, err := c.insist(ctx, "POST", path, body)
		if err != nil {
			return err
		}
		if r.status != want {
			return fmt.Errorf("command %d: status %d, code %v", i, r.status, r.body["code"])
		}
		id = r.text("id")
		done.note(t, r, id+" "+verb)
	}
	return nil
}
