package relay_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/propagation"
	"github.com/salga-trust/engine/eventstore/relay"
	"github.com/salga-trust/engine/internal/pgtest"
)

func withdrawn() *domain.ConsentWithdrawn {
	return &domain.ConsentWithdrawn{
		ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "sms_alert", RecordedBy: domain.BySelf,
	}
}

// withdraw has somebody withdraw n consents.
func (w *world) withdraw(t testing.TB, n int) {
	t.Helper()
	events := make([]domain.Event, n)
	for i := range events {
		events[i] = withdrawn()
	}
	w.append(t, nil, domain.Write{Stream: domain.ConsentsOf(domain.UserID{UUID: newID()}), Events: events})
}

// watch watches consumers until the test ends, or until the returned function is called.
func (w *world) watch(t *testing.T) (stop func()) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		relay.NewWatcher(w.open(t, "TRUST"), w.projector, logger).Run(ctx)
	}()
	stop = func() {
		cancel()
		pgtest.Receive(t, ended)
	}
	t.Cleanup(stop)
	return stop
}

// figures returns those of the world's municipality, by consumer.
func (w *world) figures(t testing.TB) map[string]propagation.Figures {
	t.Helper()
	found, err := propagation.NewView(w.query).Consumers(t.Context(), w.tenant, time.Now())
	must(t, err)
	all := map[string]propagation.Figures{}
	for _, r := range found {
		all[r.Name] = r.Figures
	}
	return all
}

// become waits until a consumer has acknowledged some withdrawals, and has others to
// acknowledge.
func (w *world) become(t testing.TB, consumer string, measured, outstanding int64) {
	t.Helper()
	pgtest.Eventually(t, consumer+" is where it should be", func() bool {
		f, is := w.figures(t)[consumer]
		return is && f.Measured == measured && f.Outstanding == outstanding
	})
}

// consume makes a consumer; fetch takes some of its messages and acknowledges them.
func (w *world) consume(t testing.TB, c jetstream.ConsumerConfig) jetstream.Consumer {
	t.Helper()
	made, err := w.js(t).CreateConsumer(t.Context(), "TRUST", c)
	must(t, err)
	return made
}

func fetch(t testing.TB, from jetstream.Consumer, n int) {
	t.Helper()
	got, err := from.Fetch(n, jetstream.FetchMaxWait(pgtest.Patience))
	must(t, err)
	for m := range got.Messages() {
		must(t, m.Ack())
	}
	must(t, got.Error())
}

func TestWhatConsumersAcknowledgeIsMeasured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t)
	w.withdraw(t, 3) // before anybody is seen
	w.relayed(t)

	all := w.consume(t, jetstream.ConsumerConfig{Durable: "all", AckPolicy: jetstream.AckExplicitPolicy})
	ours := w.consume(t, jetstream.ConsumerConfig{
		Durable: "ours", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "trust.CPT.consent.withdrawn.v1",
	})
	for name, filter := range map[string]string{
		"theirs": "trust.JHB.>", "grants": "trust.*.consent.granted.v1",
	} {
		w.consume(t, jetstream.ConsumerConfig{
			Durable: name, AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: filter,
		})
	}
	w.consume(t, jetstream.ConsumerConfig{Durable: "deaf", AckPolicy: jetstream.AckNonePolicy})
	w.consume(t, jetstream.ConsumerConfig{Name: "passing", AckPolicy: jetstream.AckExplicitPolicy})

	stop := w.watch(t)
	w.become(t, "all", 0, 0)
	w.become(t, "ours", 0, 0)
	if got := w.figures(t); len(got) != 2 {
		t.Errorf("also others take our withdrawals: %v", got)
	}

	w.withdraw(t, 2)
	w.become(t, "all", 0, 2)
	w.become(t, "ours", 0, 2)
	if oldest := w.figures(t)["ours"].Oldest; time.Since(oldest) > pgtest.Patience || oldest.IsZero() {
		t.Errorf("the oldest is of %s", oldest)
	}
	fetch(t, ours, 4)
	w.become(t, "ours", 1, 1)
	fetch(t, ours, 1)
	w.become(t, "ours", 2, 0)
	w.become(t, "all", 0, 2)

	// While nobody watches, and NATS starts anew, nothing is forgotten.
	stop()
	w.withdraw(t, 1)
	w.relayed(t)
	w.stopNATS()
	w.startNATS(t)
	fetch(t, all, int(w.head(t)))
	w.watch(t)
	w.become(t, "all", 3, 0)
	w.become(t, "ours", 2, 1)
	for name, f := range w.figures(t) {
		if f.P50 <= 0 || f.P99 < f.P50 || f.P99 > pgtest.Patience {
			t.Errorf("%s took %s, %s", name, f.P50, f.P99)
		}
	}

	// Of one that takes nothing else, what it does not take does not stand in the way.
	w.grow(t, 5)
	fetch(t, ours, 1)
	w.become(t, "ours", 3, 0)

	must(t, w.js(t).DeleteConsumer(t.Context(), "TRUST", "all"))
	pgtest.Eventually(t, "the consumer is forgotten", func() bool { return len(w.figures(t)) == 1 })
}

// What is withdrawn while NATS is away is outstanding all the same.
func TestWhatIsNotPublishedIsOutstanding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, pgx.BeginFunc(t.Context(), w.projector, func(tx pgx.Tx) error {
		return propagation.Observe(t.Context(), tx, []propagation.Progress{{Name: "desk", Created: time.Now()}}, nil,
			time.Now())
	}))
	w.stopNATS()
	w.withdraw(t, 2)
	if got := w.figures(t)["desk"].Outstanding; got != 2 {
		t.Errorf("%d are outstanding, want 2", got)
	}
	w.startNATS(t)
}

// A consumer that had got events which the log lost has not got those that took their
// positions.
func TestAcknowledgingALostEventAcknowledgesNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.run(t)
	w.relayed(t)
	c := w.consume(t, jetstream.ConsumerConfig{Durable: "desk", AckPolicy: jetstream.AckExplicitPolicy})
	fetch(t, c, int(w.head(t)))
	w.watch(t)
	w.become(t, "desk", 0, 0)
	kept := w.head(t)

	w.withdraw(t, 3)
	w.relayed(t)
	fetch(t, c, 3)
	w.become(t, "desk", 3, 0)
	stop()

	w.exec(t, "delete from trust.events where position > $1", kept)
	must(t, pgx.BeginFunc(t.Context(), w.db.Pool(t, pgtest.Owner), func(tx pgx.Tx) error {
		return propagation.Restart(t.Context(), tx)
	}))
	w.withdraw(t, 2)
	w.become(t, "desk", 0, 2)
}

func TestWhichFiltersTakeWithdrawals(t *testing.T) {
	t.Parallel()
	cases := []struct {
		filters []string
		takes   bool
		of      []string
	}{
		{nil, true, nil},
		{[]string{">"}, true, nil},
		{[]string{"trust.>"}, true, nil},
		{[]string{"trust.*.>"}, true, nil},
		{[]string{"trust.*.consent.withdrawn.v1"}, true, nil},
		{[]string{"*.*.*.*.*"}, true, nil},
		{[]string{"trust.CPT.>"}, true, []string{"CPT"}},
		{[]string{"trust.CPT.consent.*.v1", "trust.JHB.consent.withdrawn.v1"}, true, []string{"CPT", "JHB"}},
		{[]string{"trust.CPT.>", "trust.*.consent.>"}, true, nil},
		{[]string{"trust.CPT.consent.withdrawn"}, false, nil},
		{[]string{"trust.CPT.consent.withdrawn.v1.more"}, false, nil},
		{[]string{"trust.CPT.consent.withdrawn.v1.>"}, false, nil},
		{[]string{"trust.CPT"}, false, nil},
		{[]string{"trust.*.consent.granted.v1", "trust.*.user.>"}, false, nil},
		{[]string{"other.>"}, false, nil},
	}

	for _, c := range cases {
		of, takes := relay.WithdrawalsIn(jetstream.ConsumerConfig{FilterSubjects: c.filters})
		if takes != c.takes || !slices.Equal(of, c.of) {
			t.Errorf("%v: %t, %v; want %t, %v", c.filters, takes, of, c.takes, c.of)
		}
		if len(c.filters) == 1 {
			of, takes = relay.WithdrawalsIn(jetstream.ConsumerConfig{FilterSubject: c.filters[0]})
			if takes != c.takes || !slices.Equal(of, c.of) {
				t.Errorf("%v, alone: %t, %v", c.filters, takes, of)
			}
		}
	}
}
