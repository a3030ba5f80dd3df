package domain_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// twoRecords draws the histories of two records of one person, in one log.
func twoRecords(t *rapid.T) (from, into []domain.Recorded) {
	drawn := anyHistory(t, rapid.Bool().Draw(t, "back-dated"))
	if rapid.Bool().Draw(t, "clock ahead") {
		drawn = aheadHistory(t)
	}
	if rapid.Bool().Draw(t, "with claims") {
		drawn = anyClaims(t, drawn)
	}
	for i, e := range drawn {
		e.EventID = domaintest.ID(0xe, i+1)
		if rapid.Bool().Draw(t, "in which") {
			from = append(from, e)
		} else {
			into = append(into, e)
		}
	}
	return from, into
}

func file(id domain.UserID, events []domain.Recorded) domain.File {
	return domain.File{Resident: domain.Resident{User: domain.User{ID: id, Active: true}}, Consents: events}
}

// recorded puts events behind a history, as recorded at an instant.
func recorded(history []domain.Recorded, position int64, now time.Time, events []domain.Event) []domain.Recorded {
	history = slices.Clone(history)
	for i, e := range events {
		effective := domain.EffectiveOf(e)
		if effective.IsZero() {
			effective = now
		}
		history = append(history, domain.Recorded{
			Position: position + int64(i), Stream: consents(), EventID: domaintest.ID(0xd, int(position)+i), Event: e,
			Subject: domaintest.Thandi(), EffectiveAt: effective, RecordedAt: now,
		})
	}
	return history
}

func merging(start int) domain.MergeResidents {
	return domain.MergeResidents{NewID: func() domain.ConsentID {
		start++
		return domaintest.Consent(start)
	}}
}

// Merged, two records count as if everything had been said in one, at every instant. As
// known before the merge each stands alone, and apart again as before.
func TestMergedRecordsCountAsOneHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from, into := twoRecords(t)
		// Behind every stamp, also of a clock that ran ahead by a day.
		then := domaintest.Clock("2026-03-05")
		a, b := file(domaintest.Clerk(), from), file(domaintest.Thandi(), into)

		m, err := merging(1000).Decide(a, b)
		if err != nil {
			t.Fatal(err)
		}
		merged := recorded(into, 1000, then, m.IntoConsents)
		left := recorded(from, 2000, then, m.FromConsents)

		one := slices.Concat(from, into)
		at := anyInstant(t, "at")
		for _, purpose := range purposes() {
			same(t, "merged", purpose, one, merged, at)
			same(t, "what is left", purpose, nil, left, at)
			if allowed, _, _ := domain.ConsentsFor(purpose, merged, at, then.Add(-time.Hour)).Check(purpose); allowed !=
				allows(purpose, into, at) {
				t.Fatalf("%s: as known before the merge, allowed %t", purpose, allowed)
			}
		}

		a.Resident.MergedInto, b.Consents, a.Consents = b.Resident.ID, merged, left
		b.History = []domain.Recorded{{Position: 1999, Event: &domain.ResidentMerged{From: a.Resident.ID}}}
		back, err := merging(3000).Undo(a, b)
		if err != nil {
			t.Fatal(err)
		}
		apart := then.Add(time.Hour)
		for _, purpose := range purposes() {
			same(t, "the one apart", purpose, from, recorded(left, 4000, apart, back.FromConsents), at)
			same(t, "the other apart", purpose, into, recorded(merged, 5000, apart, back.IntoConsents), at)
		}
	})
}

func allows(purpose string, history []domain.Recorded, at time.Time) bool {
	allowed, _, _ := domain.ConsentsFor(purpose, history, at, time.Time{}).Check(purpose)
	return allowed
}

func same(t *rapid.T, what, purpose string, want, got []domain.Recorded, at time.Time) {
	t.Helper()
	if is := allows(purpose, got, at); is != allows(purpose, want, at) {
		t.Fatalf("%s, %s at %s: allowed %t", what, purpose, at, is)
	}
}
