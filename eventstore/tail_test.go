package eventstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// decide adds a person's grants past the store, for every purpose in turn, and returns
// the next version.
func (w *world) decide(t testing.TB, user domain.UserID, n int, purposes ...string) (next int) {
	t.Helper()
	w.beforeCodes(t)
	w.exec(t, `insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id, append_id,
			ordinal, event_type, subject_id, record_id, payload, metadata, effective_at, recorded_at)
		select h.position + g, $1, 'consent', $2, g, id, id, 1, 'consent.granted.v1', $2, id,
			json_build_object('consent_id', id, 'purpose', ($4::text[])[1 + g % cardinality($4::text[])],
				'notice_version', 1,
				'wording', 'To send you SMS alerts about water and electricity interruptions.',
				'language', 'en', 'sha256', repeat('0', 64),
				'channel', 'web', 'recorded_by', 'self', 'given_by', 'self', 'basis', 'consent'),
			'{"actor_role":"citizen"}', h.recorded_at, h.recorded_at
		from trust.head() h, generate_series(1, $3::integer) g, lateral (select gen_random_uuid() id where g > 0) s`,
		w.tenant.UUID, user.UUID, n, purposes)
	return n + 1
}

// all loads a stream.
func (w *world) all(t testing.TB, stream domain.Stream) []domain.Recorded {
	t.Helper()
	events, err := w.store.Load(t.Context(), w.tenant, stream)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// newestOf is a tail that ends once it has so many events.
func newestOf(user domain.UserID, purpose string, n int) domain.Tail {
	return domain.Tail{
		Stream: domain.ConsentsOf(user), Purpose: purpose,
		Enough: func(newest []domain.Recorded) bool { return len(newest) >= n },
	}
}

func TestATailHoldsTheNewestEventsAboutOnePurposeAsFarBackAsIsEnough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.register(t, w.tenant, "many@example.org")
	w.decide(t, user, 2000, "sms_alert", "newsletter")

	for _, n := range []int{1, 64, 65, 576, 577, 1000, 100_000} {
		events, version, err := w.store.LoadTail(t.Context(), w.tenant, newestOf(user, "newsletter", n),
			domain.UserOf(user))
		if err != nil || version != 2000 {
			t.Fatalf("version %d, %v", version, err)
		}

		last := len(events) - 1
		if events[last].Stream != domain.UserOf(user) {
			t.Errorf("beside the tail is %v", events[last].Stream)
		}
		for i, e := range events[:last] {
			want, purpose := 2000-1-2*(last-1-i), e.Event.(*domain.ConsentGranted).Purpose
			if e.Version != want || purpose != "newsletter" {
				t.Fatalf("of %d events, event %d is version %d, want %d: %v", last, i, e.Version, want, e.Event)
			}
		}
		if last < min(n, 1000) {
			t.Errorf("%d events, want %d at least", last, n)
		}
	}
}

func TestATailOfARecordIsAboutItsPurpose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user, other := w.register(t, w.tenant, "one@example.org"), w.register(t, w.tenant, "two@example.org")
	w.decide(t, user, 300, "sms_alert", "newsletter")
	first := w.all(t, domain.ConsentsOf(user))[0]
	id := domain.ConsentID{UUID: first.Record}

	events, version, err := w.store.LoadTail(t.Context(), w.tenant, domain.TailOf(user, id))
	if err != nil || version != 300 || len(events) != 150 || events[0].Position != first.Position {
		t.Errorf("%d events up to version %d, %v", len(events), version, err)
	}

	events, version, err = w.store.LoadTail(t.Context(), w.tenant, domain.TailOf(other, id))
	if err != nil || version != 0 || len(events) != 0 {
		t.Errorf("of another person: %d events up to version %d, %v", len(events), version, err)
	}
}

func TestATailHoldsNothingNewerThanItsVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.register(t, w.tenant, "grows@example.org")
	next := w.decide(t, user, 200, "sms_alert")

	tail := newestOf(user, "sms_alert", 0)
	tail.Enough = func([]domain.Recorded) bool {
		_, err := w.store.Append(t.Context(), grant(w.tenant, user, next-1))
		next++
		return err != nil
	}
	events, version, err := w.store.LoadTail(t.Context(), w.tenant, tail)
	if err != nil || version != 200 || len(events) != 200 || events[len(events)-1].Version != 200 {
		t.Errorf("%d events up to version %d, %v", len(events), version, err)
	}
}

func TestALongHistoryWaitsForItsTurnAndStopsNobodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long, short := w.register(t, w.tenant, "long@example.org"), w.register(t, w.tenant, "short@example.org")
	w.decide(t, long, eventstore.LongHistory+1000, "sms_alert")
	release, err := w.store.TakeTurns(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = w.store.Load(ctx, w.tenant, domain.ConsentsOf(long))
	refused(t, err, domain.CodeUnavailable)
	_, _, err = w.store.LoadTail(ctx, w.tenant, newestOf(long, "sms_alert", 100_000))
	refused(t, err, domain.CodeUnavailable)

	if events := w.all(t, domain.UserOf(short)); len(events) != 1 {
		t.Errorf("a short history has %d events", len(events))
	}
	if _, _, err := w.store.LoadTail(t.Context(), w.tenant, newestOf(long, "sms_alert", 1)); err != nil {
		t.Errorf("the end of a long history: %v", err)
	}

	release()
	if events := w.all(t, domain.ConsentsOf(long)); len(events) != eventstore.LongHistory+1000 {
		t.Errorf("the long history has %d events", len(events))
	}
}

// BenchmarkCheckOfManyDecisions asks for the decision in force of a person who decided
// very often: about the newest purpose, and about one that was never asked.
func BenchmarkCheckOfManyDecisions(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		w := newWorld(b)
		user := w.register(b, w.tenant, "many@example.org")
		w.decide(b, user, n, "sms_alert")

		for _, purpose := range []string{"sms_alert", "never_asked"} {
			tail := domain.TailFor(user, purpose, time.Time{}, time.Time{})
			b.Run(fmt.Sprintf("decisions=%d/%s", n, purpose), func(b *testing.B) {
				for b.Loop() {
					if _, _, err := w.store.LoadTail(b.Context(), w.tenant, tail, domain.UserOf(user)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}

		b.Run(fmt.Sprintf("decisions=%d/whole", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := w.store.Load(b.Context(), w.tenant, domain.ConsentsOf(user),
					domain.UserOf(user)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
