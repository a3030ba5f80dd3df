package relay_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/relay"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestEveryEventIsPublishedOnceInOrderAsACloudEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 700)
	w.run(t)
	w.relayed(t)
	w.grow(t, 3)
	w.relayed(t)

	all := w.published(t)
	w.equals(t, 1, all)

	last := all[len(all)-1]
	if last.Subject != "trust.CPT.consent.granted.v1" || last.Type != "consent.granted.v1" ||
		last.SpecVersion != "1.0" || last.DataContentType != "application/json" || last.Municipality != "CPT" ||
		!strings.HasPrefix(last.Source, "salga-trust/") || last.Header.Get("Nats-Msg-Id") != last.ID ||
		last.Header.Get("Content-Type") != "application/cloudevents+json" || last.Data["purpose"] != "sms_alert" {
		t.Errorf("got %+v\n%s", last, last.Body)
	}
	at, err := time.Parse(time.RFC3339Nano, last.Time)
	if err != nil || time.Since(at) > time.Hour || last.About == "" {
		t.Errorf("time %q, about %q", last.Time, last.About)
	}
	if strings.Contains(string(all[0].Body), `"subject"`) || strings.Contains(string(all[0].Body), "thandi") {
		t.Errorf("of a registration %s was published", all[0].Body)
	}
}

func TestEventsOfThePlatformAreUnderSALGA(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenant = domain.PlatformTenant()
	w.append(t, nil, domain.Write{
		Stream: domain.AdminsOf(w.tenant),
		Events: []domain.Event{&domain.AdminAdded{User: domain.UserID{UUID: newID()}}},
	})
	w.run(t)
	w.relayed(t)
	if all := w.published(t); all[1].Subject != "trust.SALGA.admin.added.v1" {
		t.Errorf("published under %s", all[1].Subject)
	}
}

// What was published, and not committed, is found in the stream.
func TestWhatWasPublishedBeforeARelayDiedIsNotPublishedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 20)
	stop := w.run(t)
	w.relayed(t)
	stop()

	w.exec(t, "update trust.checkpoints set position = 5, event_position = 5, event_id = trust.event_at(5)")
	w.grow(t, 20)
	w.run(t)
	w.relayed(t)
	w.equals(t, 1, w.published(t))
}

// Both believe to lead, and neither knows what the other publishes.
func TestTwoRelaysDoNotMixOrDouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 400)
	must(t, w.apply(t, w.open(t, "TRUST"), 1))

	var both sync.WaitGroup
	for _, step := range []int64{7, 11} {
		r := w.open(t, "TRUST")
		must(t, w.apply(t, r, 1)) // connected
		both.Go(func() {
			for upTo := step; upTo <= 400; upTo += step {
				// It is refused if the other one was faster again and again.
				_, refused := errors.AsType[*follow.AwayError](w.publish(t, r, upTo))
				if refused {
					upTo -= step
				}
			}
		})
	}
	both.Wait()
	must(t, w.apply(t, w.open(t, "TRUST"), w.head(t)))
	w.equals(t, 1, w.published(t))
}

func TestNATSAwayIsWaitedForAndSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 5)
	w.run(t)
	w.relayed(t)

	w.stopNATS()
	// Nothing has to happen for that to be seen.
	if s := w.becomes(t, follow.Halted); !strings.Contains(s.Error, "NATS: it does not answer") &&
		!strings.Contains(s.Error, "NATS: it cannot be reached") || s.Lag != 0 {
		t.Errorf("status %+v", s)
	}
	w.grow(t, 5)
	pgtest.Eventually(t, "the lag is seen", func() bool { return w.status(t).Lag == 5 })

	w.startNATS(t)
	w.relayed(t)
	w.equals(t, 1, w.published(t))
	if s := w.becomes(t, follow.Running); s.Error != "" || s.ErrorSince != nil {
		t.Errorf("status %+v", s)
	}
}

// A server may lose what it has acknowledged, in a crash before it was on disk.
func TestWhatTheStreamLosesIsPublishedAgainThoughTheLogIsQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 5)
	stop := w.run(t)
	w.relayed(t)
	stop()

	w.stopNATS()
	kept := w.dir
	w.dir = t.TempDir() // as it was at the beginning: empty
	w.startNATS(t)
	w.run(t)
	pgtest.Eventually(t, "the stream is filled again", func() bool {
		stream, err := w.js(t).Stream(t.Context(), "TRUST")
		return err == nil && int64(stream.CachedInfo().State.Msgs) == w.head(t)
	})
	w.relayed(t)
	w.equals(t, 1, w.published(t))
	if kept == w.dir {
		t.Error("the server kept its store: this test looks in the wrong place")
	}
}

func TestAStreamThatWouldLoseOrMixMessagesIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	js := w.js(t)

	good := jetstream.StreamConfig{
		Name: "TRUST", Subjects: []string{"trust.>"}, DenyDelete: true, Storage: jetstream.FileStorage,
	}
	for says, spoil := range map[string]func(*jetstream.StreamConfig){
		"its subjects are not trust.>":     func(c *jetstream.StreamConfig) { c.Subjects = []string{"trust.CPT.>"} },
		"its storage is not a file":        func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"its retention is not by limits":   func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"it limits the number of messages": func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		"it limits the bytes":              func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"it limits the age of messages":    func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"the messages for each subject":    func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 10 },
		"the size of a message":            func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 },
		"single messages can be deleted":   func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"messages can replace others":      func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		"messages can expire":              func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"it does not acknowledge":          func(c *jetstream.StreamConfig) { c.NoAck = true },
	} {
		bad := good
		spoil(&bad)
		_, err := js.CreateStream(t.Context(), bad)
		must(t, err)

		r := w.open(t, "TRUST")
		err = w.apply(t, r, 1)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "the stream TRUST") {
			t.Errorf("%s: got %v", says, err)
		}
		must(t, js.DeleteStream(t.Context(), "TRUST"))
	}

	_, err := js.CreateStream(t.Context(), good)
	must(t, err)
	must(t, w.apply(t, w.open(t, "TRUST"), 1))
}

func TestAStreamOfAnotherLogOrOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 3)
	must(t, w.apply(t, w.open(t, "TRUST"), 4))

	other := newWorld(t)
	other.grow(t, 9)
	other.port = w.port
	if err := other.apply(t, other.open(t, "TRUST"), 9); err == nil ||
		!strings.Contains(err.Error(), "ends with event 4 as this log does not hold it") {
		t.Errorf("got %v", err)
	}

	_, err := w.js(t).Publish(t.Context(), "trust.CPT.hello", []byte("hello"))
	must(t, err)
	if err := w.apply(t, w.open(t, "TRUST"), 4); err == nil || !strings.Contains(err.Error(), "not of a relay") {
		t.Errorf("got %v", err)
	}
}

func TestPublishingAgainFollowsWhatIsThereAndTheRelayGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 20)
	w.run(t)
	w.relayed(t)

	until, err := w.open(t, "TRUST").Again(t.Context(), w.projector, w.reader, 11)
	must(t, err)
	if until != 21 {
		t.Errorf("it was published up to %d", until)
	}
	pgtest.Eventually(t, "the rest follows", func() bool { return len(w.published(t)) == 32 })
	w.relayed(t)
	w.grow(t, 2)
	w.relayed(t)

	all := w.published(t)
	w.equals(t, 1, append(slices.Clone(all[:21]), all[32:]...))
	w.equals(t, 11, all[21:])
	if id := all[21].Header.Get("Nats-Msg-Id"); id != all[10].ID+"/1" || all[21].ID != all[10].ID ||
		all[21].Header.Get("Trust-Round") != "1" || all[len(all)-1].Header.Get("Trust-Round") != "1" {
		t.Errorf("published again as %s: %+v", id, all[21])
	}
}

func TestPublishingAgainRefusesWhatWouldLeaveAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 9)
	r := w.open(t, "TRUST")
	refused := func(position int64, says string) {
		t.Helper()
		_, err := r.Again(t.Context(), w.projector, w.reader, position)
		if refusal, is := errors.AsType[*relay.RefusedError](err); !is || !strings.Contains(refusal.Why, says) {
			t.Errorf("from %d on: got %v", position, err)
		}
	}

	refused(2, "is empty, so give --from 1")
	must(t, w.apply(t, r, 4))
	refused(5, "the stream ends with event 4")
	refused(11, "the log ends at event 10")
}

func TestALogThatWentBackwardsIsPublishedAgainFromWhereItDiffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 9)
	must(t, w.apply(t, w.open(t, "TRUST"), 10))

	w.exec(t, "delete from trust.events where position > 6")
	w.grow(t, 2)
	r := w.open(t, "TRUST")
	err := w.apply(t, r, 8)
	if _, backwards := errors.AsType[*follow.BackwardsError](err); !backwards {
		t.Errorf("got %v", err)
	}

	_, err = r.Again(t.Context(), w.projector, w.reader, 8)
	if refusal, is := errors.AsType[*relay.RefusedError](err); !is || !strings.Contains(refusal.Why, "--from 7, or") {
		t.Fatalf("got %v", err)
	}
	if _, err = r.Again(t.Context(), w.projector, w.reader, 7); err != nil {
		t.Fatal(err)
	}
	must(t, w.apply(t, w.open(t, "TRUST"), 8))
	w.equals(t, 7, w.published(t)[10:])

	// Or the stream is not worth keeping.
	w.exec(t, "delete from trust.events where position > 5")
	must(t, w.js(t).DeleteStream(t.Context(), "TRUST"))
	until, err := w.open(t, "TRUST").Again(t.Context(), w.projector, w.reader, 1)
	must(t, err)
	must(t, w.apply(t, w.open(t, "TRUST"), 5))
	w.equals(t, 1, w.published(t))
	if until != 0 {
		t.Errorf("an empty stream was published up to %d", until)
	}
}

func TestAForgedEventHaltsTheRelayAndADisownedOneIsPublishedEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 2)
	person := [16]byte(newID())
	forged := w.db.Forge(t, pgtest.Forgery{
		Tenant: w.tenant.UUID, Stream: person, StreamType: "consent", Type: "consent.withdrawn.v1",
		Payload: `{"purpose":"forged"}`, Subject: &person,
	})
	w.grow(t, 2)
	w.run(t)
	if s := w.becomes(t, follow.Halted); s.Position != forged-1 || !strings.Contains(s.Error, "forged") {
		t.Errorf("status %+v", s)
	}

	w.disown(t, forged)
	w.relayed(t)
	all := w.published(t)
	w.equals(t, 1, all)
	if m := all[forged-1]; m.Subject != "trust.CPT.void" || m.Type != "void" || m.About != "" || len(m.Data) != 0 {
		t.Errorf("published as %+v: %s", m, m.Body)
	}
}

func TestAServerThatRefusesTheUserIsSaidWithoutThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stopNATS()
	w.startNATSFor(t, "relay", "right")

	wrong, err := relay.Open(relay.Config{
		URL: strings.Replace(w.url(), "//", "//relay:wrongpassword@", 1), Stream: "TRUST",
	})
	must(t, err)
	t.Cleanup(wrong.Close)
	pgtest.Eventually(t, "it is refused", func() bool {
		err := w.apply(t, wrong, 1)
		if err != nil && strings.Contains(err.Error(), "wrongpassword") {
			t.Errorf("it shows the password: %v", err)
		}
		return err != nil && strings.Contains(err.Error(), "refuses the user")
	})

	right, err := relay.Open(relay.Config{
		URL: strings.Replace(w.url(), "//", "//relay:right@", 1), Stream: "TRUST",
	})
	must(t, err)
	t.Cleanup(right.Close)
	must(t, w.apply(t, right, 1))
}
