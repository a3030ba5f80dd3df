//go:build far

package relay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/internal/pgtest"
)

// child is this test binary as a process that may be killed.
type child struct {
	env     []string
	process *exec.Cmd
}

func (c *child) start(t *testing.T) {
	t.Helper()
	c.process = exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	c.process.Env = append(os.Environ(), c.env...)
	c.process.Stdout, c.process.Stderr = t.Output(), t.Output()
	must(t, c.process.Start())
}

func (c *child) kill() {
	_ = c.process.Process.Kill()
	_ = c.process.Wait()
}

// Two relays, the server of NATS and every session of the database are killed at random,
// under a load of single events. Afterwards the stream is the log: in order, without a
// gap, each event once.
func TestFarTheStreamIsTheLogWhateverIsKilled(t *testing.T) {
	t.Parallel()
	const kills, least = 60, 2000
	w := newWorld(t)
	w.stopNATS()

	nats := &child{env: []string{childRole + "=nats", childDir + "=" + w.dir, fmt.Sprintf("%s=%d", childPort, w.port)}}
	relays := []*child{
		{env: []string{childRole + "=relay", childNATS + "=" + w.url(), childURL + "=" + w.db.URL(pgtest.Projector)}},
		{env: []string{childRole + "=relay", childNATS + "=" + w.url(), childURL + "=" + w.db.URL(pgtest.Projector)}},
	}
	all := append([]*child{nats}, relays...)
	for _, c := range all {
		c.start(t)
		t.Cleanup(func() { c.kill() })
	}

	load, over := context.WithCancel(t.Context())
	var loading sync.WaitGroup
	loading.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for load.Err() == nil {
			<-tick.C
			w.grow(t, 1) //nolint:contextcheck // what is begun is appended, also at the end
		}
	})

	random := rand.New(rand.NewPCG(1, 2))
	super := w.db.Superuser(t)
	for n := range kills {
		was := w.position(t)
		pgtest.Eventually(t, "some more are published", func() bool {
			return w.position(t) >= was+20+int64(random.IntN(60))
		})

		switch n % 4 {
		case 0, 1:
			victim := relays[random.IntN(2)]
			victim.kill()
			victim.start(t)
		case 2:
			nats.kill()
			nats.start(t)
		case 3:
			_, err := super.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
				where datname = current_database() and application_name like 'trust-follow-%'`)
			must(t, err)
		}
	}
	over()
	loading.Wait()

	w.relayed(t)
	for _, c := range relays {
		c.kill()
	}
	published := w.published(t)
	w.equals(t, 1, published)
	t.Logf("%d events through %d kills", len(published), kills)
	if len(published) < least {
		t.Errorf("%d events: too few to mean anything", len(published))
	}
}

// position returns how far the relay has come.
func (w *world) position(t *testing.T) (position int64) {
	t.Helper()
	const sql = "select coalesce(max(position), 0) from trust.checkpoints where follower = 'relay'"
	must(t, w.projector.QueryRow(t.Context(), sql).Scan(&position))
	return position
}

// How fast a backlog is published, and how long an event takes at 200 a second from its
// commit to a subscriber.
func TestFarThroughputAndLag(t *testing.T) {
	t.Parallel()
	const backlog, rate, seconds = 20_000, 200, 30
	w := newWorld(t)
	for range backlog / 500 {
		w.grow(t, 500)
	}

	began := time.Now()
	w.run(t)
	pgtest.Eventually(t, "the backlog is published", func() bool { return w.position(t) == w.head(t) })
	took := time.Since(began)
	t.Logf("%d events in %s: %.0f a second", w.head(t), took.Round(time.Millisecond), float64(w.head(t))/took.Seconds())

	lags := w.lags(t, rate, seconds)
	slices.Sort(lags)
	p50, p99 := lags[len(lags)/2], lags[len(lags)*99/100]
	t.Logf("lag at %d a second: p50 %s, p99 %s, most %s", rate, p50, p99, lags[len(lags)-1])
	if p99 > 2*time.Second {
		t.Errorf("it does not keep up")
	}
	w.equals(t, 1, w.published(t))
}

// lags appends events at a rate, and returns how long each took from before its append
// until a subscriber had it.
func (w *world) lags(t *testing.T, rate, seconds int) (lags []time.Duration) {
	t.Helper()
	first := w.head(t) + 1
	stream, err := w.js(t).Stream(t.Context(), "TRUST")
	must(t, err)
	consumer, err := stream.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(first),
	})
	must(t, err)

	total := rate * seconds
	sent, got := make(chan time.Time, total), make(chan time.Time, total)
	consuming, err := consumer.Consume(func(jetstream.Msg) { got <- time.Now() })
	must(t, err)
	defer consuming.Stop()

	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var appending sync.WaitGroup
	appending.Go(func() {
		for range total {
			<-tick.C
			sent <- time.Now()
			w.grow(t, 1)
		}
	})
	for range total {
		arrived := pgtest.Receive(t, got)
		lags = append(lags, arrived.Sub(<-sent))
	}
	appending.Wait()
	return lags
}
