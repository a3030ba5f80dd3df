//go:build far

package relay_test

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/internal/pgtest"
)

// How long withdrawals take to a consumer at 200 a second, until the relay has seen that
// it acknowledged them.
func TestFarHowLongWithdrawalsTakeToAConsumer(t *testing.T) {
	t.Parallel()
	const rate, seconds = 200, 30
	w := newWorld(t)
	w.run(t)
	w.relayed(t)
	c := w.consume(t, jetstream.ConsumerConfig{
		Durable: "desk", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "trust.CPT.consent.withdrawn.v1",
	})
	w.watch(t)
	w.become(t, "desk", 0, 0)
	consuming, err := c.Consume(func(m jetstream.Msg) {
		if err := m.Ack(); err != nil {
			t.Error(err)
		}
	})
	must(t, err)
	defer consuming.Stop()

	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	var appending sync.WaitGroup
	for range rate * seconds {
		<-tick.C
		appending.Go(func() { w.withdraw(t, 1) })
	}
	appending.Wait()

	w.become(t, "desk", rate*seconds, 0)
	f := w.figures(t)["desk"]
	t.Logf("at %d a second: p50 %s, p99 %s", rate, f.P50, f.P99)
	if f.P99 > 5*time.Second {
		t.Error("it does not keep up")
	}
	pgtest.Eventually(t, "nothing is outstanding", func() bool { return w.figures(t)["desk"].Oldest.IsZero() })
}
