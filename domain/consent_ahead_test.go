package domain_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// aheadHistory draws a log whose clock jumps ahead and back: recorded_at never runs
// backwards, and an event without a stated instant takes effect at what the clock showed.
func aheadHistory(t *rapid.T) []domain.Recorded {
	right := domaintest.Clock("2026-03-01")
	newest := right
	var history []domain.Recorded

	for i := range rapid.IntRange(0, 20).Draw(t, "events") {
		right = right.Add(time.Minute)
		clock := right.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 5, 30, 1440}).
			Draw(t, "minutes ahead")) * time.Minute)
		if clock.After(newest) {
			newest = clock
		}

		r := domain.Recorded{
			Position: int64(i + 1), Stream: consents(), Version: i + 1, Subject: domaintest.Thandi(),
			EffectiveAt: clock, RecordedAt: newest,
		}

		var given time.Time
		if back := rapid.SampledFrom([]int{0, 0, 0, 1, 8, 40}).Draw(t, "stated minutes back"); back > 0 {
			given = clock.Add(-time.Duration(back) * time.Minute)
			r.EffectiveAt = given
		}

		r.Event = anyDecision(t, i+1, given)
		history = append(history, r)
	}
	return history
}

func anyDecision(t *rapid.T, n int, given time.Time) domain.Event {
	purpose := rapid.SampledFrom(purposes()[:2]).Draw(t, "purpose")
	d := domain.Decision{ConsentID: domaintest.Consent(n), Purpose: purpose, NoticeVersion: 1, GivenAt: given}

	switch rapid.SampledFrom([]string{"grant", "grant", "refuse", "withdraw"}).Draw(t, "kind") {
	case "grant":
		return &domain.ConsentGranted{Decision: d}
	case "refuse":
		return &domain.ConsentRefused{Decision: d}
	default:
		return &domain.ConsentWithdrawn{ConsentID: d.ConsentID, Purpose: purpose, GivenAt: given}
	}
}

// asSaid puts one purpose's events in the order in which they were said, one by one as
// the log received them. What is said now comes after everything before it, which takes
// effect by then at the latest; what states an instant is placed by it.
func asSaid(history []domain.Recorded, purpose string) (said []domain.Recorded, from []time.Time) {
	for _, e := range history {
		about, given := facts(e.Event)
		if about != purpose {
			continue
		}

		place := len(said)
		if given.IsZero() {
			for i := range from {
				if from[i].After(e.EffectiveAt) {
					from[i] = e.EffectiveAt
				}
			}
		} else {
			for place > 0 && from[place-1].After(e.EffectiveAt) {
				place--
			}
		}

		said, from = slices.Insert(said, place, e), slices.Insert(from, place, e.EffectiveAt)
	}
	return said, from
}

func facts(e domain.Event) (purpose string, given time.Time) {
	switch e := e.(type) {
	case *domain.ConsentGranted:
		return e.Purpose, e.GivenAt
	case *domain.ConsentRefused:
		return e.Purpose, e.GivenAt
	case *domain.ConsentWithdrawn:
		return e.Purpose, e.GivenAt
	case *domain.ConsentClaimed:
		return e.Purpose, e.GivenAt
	default:
		return "", time.Time{}
	}
}

func TestDecisionsStampedAheadCountInTheOrderInWhichTheyWereSaid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := aheadHistory(t)
		at := anyInstant(t, "at")
		shuffled := rapid.Permutation(history).Draw(t, "order")

		for _, purpose := range purposes() {
			said, from := asSaid(history, purpose)
			for i := range from {
				if !at.IsZero() && from[i].After(at) {
					said = said[:i]
					break
				}
			}

			want := fold(said)
			got := domain.ConsentsFor(purpose, shuffled, at, time.Time{})
			if allowed, _, _ := got.Check(purpose); allowed != want.allowed[purpose] {
				t.Fatalf("%s: allowed %t, as said %t", purpose, allowed, want.allowed[purpose])
			}
			for _, r := range got.Records() {
				if withdrawn := want.withdrawn[r.ID]; !r.WithdrawnAt.Equal(withdrawn) {
					t.Fatalf("consent %s: withdrawn at %s, as said %s", r.ID, r.WithdrawnAt, withdrawn)
				}
			}
			if len(got.Records()) != len(want.withdrawn) {
				t.Fatalf("%d records, as said %d", len(got.Records()), len(want.withdrawn))
			}
		}
	})
}

// The last decision of a person, with no instant stated or as made just now, is in force:
// today, and when the day has passed that an event was stamped with.
func TestADecisionMadeJustNowHoldsWhateverWasStampedAhead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clock := domaintest.Clock("2026-03-01")
		newest := clock.Add(24 * time.Hour)

		grant := granted(1)
		history := []domain.Recorded{{
			Position: 1, Stream: consents(), Version: 1, Event: grant, EffectiveAt: newest, RecordedAt: newest,
		}}

		allowed := true
		for n := range rapid.IntRange(1, 6).Draw(t, "commands") {
			clock = clock.Add(time.Duration(rapid.IntRange(1, 400).Draw(t, "minutes on")) * time.Minute)
			var given time.Time
			if rapid.Bool().Draw(t, "stated") {
				given = clock
			}

			kind := rapid.SampledFrom([]string{"withdraw", "grant", "refuse"}).Draw(t, "command")
			wanted := kind == "grant"

			var events []domain.Event
			var err error
			switch kind {
			case "withdraw":
				in, ok := domain.ConsentsAt(history, time.Time{}, time.Time{}).InForce(grant.Purpose)
				if !ok {
					continue
				}
				events, err = domain.WithdrawConsent{ID: in.ID, GivenAt: given}.Decide(history, clock)
			default:
				if allowed {
					continue
				}
				events, err = domain.RecordConsent{
					ID: domaintest.Consent(n + 2), Purpose: grant.Purpose, Language: domain.English, Consented: wanted,
					GivenAt: given,
				}.Decide(history, domaintest.Newsletter(), clock)
			}
			if err != nil || len(events) != 1 {
				t.Fatalf("%s at %s: %d events, %v", kind, clock, len(events), err)
			}

			r := domain.Recorded{
				Position: int64(len(history) + 1), Stream: consents(), Version: len(history) + 1, Event: events[0],
				EffectiveAt: clock, RecordedAt: later(clock, newest),
			}
			history, allowed = append(history, r), wanted

			for _, at := range []time.Time{{}, clock, newest, newest.Add(time.Hour), clock.Add(48 * time.Hour)} {
				if !at.IsZero() && at.Before(clock) {
					continue
				}
				if is, _, _ := domain.ConsentsAt(history, at, time.Time{}).Check(grant.Purpose); is != allowed {
					t.Fatalf("after %s at %s, asked for %s: allowed %t", kind, clock, at, is)
				}
			}
		}
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
