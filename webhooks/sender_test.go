package webhooks_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/webhooks"
)

func TestADeliveryIsVerifiedByTheStandardsOwnLibrary(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), newRecipient(t)
	id := w.register(r.URL, "consent.granted.v1")
	event := w.grants(newID())
	w.drain()

	got := r.take()
	if len(got) != 1 || got[0].header.Get("webhook-id") != event.EventID.String() {
		t.Fatalf("got %+v, want event %s", got, event.EventID)
	}
	verifier, err := standardwebhooks.NewWebhook(domain.WebhookSecret(w.store.Digest, id))
	must(t, err)
	must(t, verifier.Verify([]byte(got[0].body), got[0].header))
	if verifier.Verify([]byte(got[0].body+" "), got[0].header) == nil {
		t.Error("another body is verified too")
	}
	other, err := standardwebhooks.NewWebhook(domain.WebhookSecret(w.store.Digest, domain.WebhookID{UUID: newID()}))
	must(t, err)
	if other.Verify([]byte(got[0].body), got[0].header) == nil {
		t.Error("the secret of another webhook verifies it too")
	}

	for _, part := range []string{
		`"specversion":"1.0"`, `"type":"consent.granted.v1"`, `"source":"example.org/log"`, `"municipality":"CPT"`,
		`"subject":"` + event.Subject.String() + `"`, `"purpose":"sms_alert"`,
	} {
		if !strings.Contains(got[0].body, part) {
			t.Errorf("%s is not in %s", part, got[0].body)
		}
	}
}

func TestATenantsWebhookGetsThatTenantsEventsAndOnlyThoseItWantsFromItsRegistrationOn(t *testing.T) {
	t.Parallel()
	w, some, all := newWorld(t), newRecipient(t), newRecipient(t)
	w.grants(newID()) // before
	w.register(some.URL, "consent.withdrawn.v1")
	w.register(all.URL)
	w.follow()

	jhb := w.municipality("JHB")
	w.append(jhb, domain.ConsentsOf(domain.UserID{UUID: newID()}), nil, granted())
	person := newID()
	granted, withdrawn := w.grants(person), w.withdraws(person)
	w.drain()

	if got := some.ids(); !slices.Equal(got, []uuid.UUID{withdrawn.EventID}) {
		t.Errorf("the one that wants withdrawals got %v, want %v", got, withdrawn.EventID)
	}
	got := all.take()
	consents := slices.DeleteFunc(got, func(r received) bool { return !strings.HasPrefix(r.event.Type, "consent.") })
	if len(consents) != 2 || consents[0].event.ID != granted.EventID || consents[1].event.ID != withdrawn.EventID {
		t.Errorf("the one that wants all got %v, want %s and %s", consents, granted.EventID, withdrawn.EventID)
	}
}

func TestAPersonsNextEventWaitsForTheFormerAndOtherPeoplesDoNot(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), newRecipient(t)
	id := w.register(r.URL, "consent.granted.v1", "consent.withdrawn.v1")
	thandi, sipho := newID(), newID()
	first, second := w.grants(thandi), w.withdraws(thandi)
	others := []uuid.UUID{w.grants(sipho).EventID, w.withdraws(sipho).EventID}

	r.answers(func(got received) int {
		if got.event.ID == first.EventID {
			return 500
		}
		return 200
	})
	w.drain()
	got := r.ids()
	if slices.Contains(got, second.EventID) {
		t.Error("the second event was sent before the first was acknowledged")
	}
	got = slices.DeleteFunc(got, func(id uuid.UUID) bool { return id == first.EventID })
	if !slices.Equal(got, others) {
		t.Errorf("somebody else's events: %v, want %v", got, others)
	}

	waiting := w.deliveries(id, webhooks.Outstanding)
	if len(waiting) != 2 || waiting[0].Failure != webhooks.FailedStatus || waiting[0].Status != 500 ||
		waiting[0].NextAt.IsZero() || !waiting[1].NextAt.IsZero() {
		t.Errorf("outstanding: %+v", waiting)
	}

	r.answers(nil)
	w.later(time.Second)
	w.drain()
	if got := r.ids(); !slices.Equal(got, []uuid.UUID{first.EventID, second.EventID}) {
		t.Errorf("then %v, want %s and %s", got, first.EventID, second.EventID)
	}
	if left := w.deliveries(id, webhooks.Outstanding); len(left) != 0 {
		t.Errorf("outstanding: %+v", left)
	}
}

func TestARecipientThatFailsIsTriedLessAndLessOftenForThreeDaysAndThenPaused(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), newRecipient(t)
	r.answers(always(503))
	id := w.register(r.URL, "consent.withdrawn.v1")
	event := w.withdraws(newID())
	w.follow()

	began, want := w.clock(), time.Second
	for tries := 1; ; tries++ {
		if w.step() != 1 {
			t.Fatalf("try %d was not made after %s", tries, w.clock().Sub(began))
		}
		w.follow()
		if !w.status(id).IsZero() {
			break
		}

		w.later(want - time.Microsecond)
		if w.step() != 0 {
			t.Fatalf("try %d came before %s had passed", tries+1, want)
		}
		w.later(time.Microsecond)
		want = min(2*want, time.Hour)
	}

	if took := w.clock().Sub(began); took > 72*time.Hour || took < 71*time.Hour {
		t.Errorf("it was paused after %s, want three days", took)
	}
	w.later(24 * time.Hour)
	if w.step() != 0 {
		t.Error("it is still tried")
	}

	// Resumed, it goes on where it stopped; a third day of trouble does not pause it.
	sent := r.take()
	w.append(w.tenant, domain.WebhookOf(id), nil, &domain.WebhookResumed{})
	w.drain()
	w.later(time.Second)
	r.answers(nil)
	w.drain()
	again := r.take()
	if len(again) != 2 || again[1].event.ID != event.EventID || again[1].body != sent[0].body {
		t.Errorf("after it was resumed: %+v", again)
	}
	if done := w.deliveries(id, webhooks.Acknowledged); len(done) != 1 || done[0].Tries != len(sent)+2 {
		t.Errorf("acknowledged: %+v, want %d tries", done, len(sent)+2)
	}
}

// status returns when a webhook was paused; zero: it is not.
func (w *world) status(id domain.WebhookID) time.Time {
	w.t.Helper()
	history, err := w.store.Load(w.t.Context(), w.tenant, domain.WebhookOf(id))
	must(w.t, err)
	return domain.Fold[domain.Webhook](history).PausedAt
}

func TestPausesDoubleFromASecondToAnHour(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]time.Duration{
		0: time.Second, 1: 2 * time.Second, 2: 4 * time.Second, 11: 2048 * time.Second, 12: time.Hour, 99: time.Hour,
	} {
		if got := webhooks.PauseAfter(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}

func TestARecipientThatIsGoneIsPausedAtOnce(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), newRecipient(t)
	r.answers(always(410))
	id := w.register(r.URL, "consent.granted.v1")
	w.grants(newID())
	w.drain()
	w.later(2 * time.Hour)
	w.drain()

	if tried := len(r.take()); tried != 1 || w.status(id).IsZero() {
		t.Errorf("tried %d times, paused %s", tried, w.status(id))
	}

	// What happens meanwhile is kept.
	event := w.grants(newID())
	w.drain()
	r.answers(nil)
	w.append(w.tenant, domain.WebhookOf(id), nil, &domain.WebhookResumed{})
	w.drain()
	if got := r.ids(); len(got) != 2 || !slices.Contains(got, event.EventID) {
		t.Errorf("after it was resumed: %v", got)
	}
}

func TestADeletedWebhookGetsNothingMore(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), newRecipient(t)
	r.answers(always(500))
	id := w.register(r.URL)
	w.grants(newID())
	w.drain()
	r.take()

	w.append(w.tenant, domain.WebhookOf(id), nil, &domain.WebhookDeleted{})
	w.grants(newID())
	w.later(time.Hour)
	w.drain()
	if got := r.ids(); len(got) != 0 || len(w.deliveries(id, webhooks.All)) != 0 {
		t.Errorf("it got %v", got)
	}
}

func TestADeliveryWhoseSenderWasKilledIsSentAgainUnderTheSameID(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), newRecipient(t)
	w.register(r.URL, "consent.granted.v1")
	event := w.grants(newID())
	w.follow()

	if n, err := w.newSender().Take(t.Context()); n != 1 || err != nil {
		t.Fatalf("took %d, %v", n, err)
	}
	if w.step() != 0 {
		t.Error("two processes send it at once")
	}
	w.later(webhooks.Lease)
	w.drain()
	if got := r.ids(); !slices.Equal(got, []uuid.UUID{event.EventID}) {
		t.Errorf("got %v, want %s", got, event.EventID)
	}
}

func TestADeliveryThatWasCutOffByAStopIsSentAgainAtOnce(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), newRecipient(t)
	id := w.register(r.URL, "consent.granted.v1")
	event := w.grants(newID())
	w.follow()

	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	r.answers(func(received) int {
		stop()
		<-over
		return 200
	})
	_, err := w.sender.Step(ctx)
	must(t, err)
	close(over)

	r.answers(nil)
	w.drain()
	if got := r.ids(); !slices.Equal(got, []uuid.UUID{event.EventID, event.EventID}) {
		t.Errorf("got %v, want %s twice", got, event.EventID)
	}
	if done := w.deliveries(id, webhooks.Acknowledged); len(done) != 1 {
		t.Errorf("acknowledged: %+v", done)
	}
}

// Whatever recipients answer and however many senders and followers are at work: each
// person's events arrive in order and none is missing.
func TestEveryEventArrivesAndEachPersonsInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))

	var mu sync.Mutex
	recipients := make([]*recipient, 3)
	for i := range recipients {
		r := newRecipient(t)
		r.answers(func(received) int {
			mu.Lock()
			defer mu.Unlock()
			return []int{200, 204, 500, 404, 302, 200}[random.IntN(6)]
		})
		recipients[i] = r
		w.register(r.URL, "consent.granted.v1", "consent.withdrawn.v1")
	}

	people := []uuid.UUID{newID(), newID(), newID(), newID(), newID()}
	want := map[uuid.UUID][]uuid.UUID{}
	for range 8 {
		for range 10 {
			mu.Lock()
			person := people[random.IntN(len(people))]
			mu.Unlock()
			want[person] = append(want[person], w.grants(person).EventID)
		}

		// Two senders, while the follower adds to lanes that they are emptying.
		var working sync.WaitGroup
		for _, sender := range []*webhooks.Sender{w.sender, w.newSender()} {
			working.Go(func() {
				for range 4 {
					if _, err := sender.Step(context.WithoutCancel(t.Context())); err != nil {
						t.Error(err)
					}
				}
			})
		}
		w.follow()
		working.Wait()
		w.later(time.Duration(1+len(want)) * time.Second)
	}

	for _, r := range recipients {
		r.mu.Lock()
		answer := r.answer
		r.mu.Unlock()
		r.answers(func(got received) int { _ = answer(got); return 200 })
	}
	for range 3 {
		w.later(time.Hour)
		w.drain()
	}
	for i, r := range recipients {
		arrived := map[uuid.UUID][]uuid.UUID{} // each event when it first came
		for _, got := range r.take() {
			if person := got.event.Subject; !slices.Contains(arrived[person], got.event.ID) {
				arrived[person] = append(arrived[person], got.event.ID)
			}
		}
		for _, person := range people {
			if !slices.Equal(arrived[person], want[person]) {
				t.Errorf("recipient %d got\n%v\nof one person, want\n%v", i, arrived[person], want[person])
			}
		}
	}
}

func TestOneSlowRecipientHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w, slow, quick := newWorld(t), newRecipient(t), newRecipient(t)
	over := make(chan struct{})
	var open atomic.Int32
	slow.answers(func(received) int {
		open.Add(1)
		<-over
		return 200
	})
	w.register(slow.URL, "consent.granted.v1")
	w.register(quick.URL, "consent.granted.v1")
	for range 20 {
		w.grants(newID())
	}
	w.follow()

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.sender.Run(ctx)
	}()
	pgtest.Eventually(t, "the quick one has everything", func() bool {
		quick.mu.Lock()
		defer quick.mu.Unlock()
		return len(quick.got) == 20
	})
	if n := open.Load(); n > 8 {
		t.Errorf("%d requests to one recipient at once", n)
	}

	close(over)
	stop()
	pgtest.Receive(t, ended)
}

func TestAcknowledgedDeliveriesStayForThirtyDays(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), newRecipient(t)
	id := w.register(r.URL, "consent.granted.v1")
	w.grants(newID())
	w.drain()
	w.later(31 * 24 * time.Hour)
	r.answers(always(500))
	event := w.grants(newID())
	w.follow()

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.sender.Run(ctx)
	}()
	pgtest.Eventually(t, "the old one is dropped", func() bool { return len(w.deliveries(id, webhooks.All)) == 1 })
	stop()
	pgtest.Receive(t, ended)
	if left := w.deliveries(id, webhooks.All); left[0].EventID != event.EventID {
		t.Errorf("left: %+v", left)
	}
}
