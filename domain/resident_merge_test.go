package domain_test

import (
	"errors"
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

// platform returns a decision about having an account.
func platform(n int, consented bool) domain.Event {
	d := domain.Decision{ConsentID: domaintest.Consent(n), Purpose: domain.PlatformRegistrationCode}
	if consented {
		return &domain.ConsentGranted{Decision: d}
	}
	return &domain.ConsentRefused{Decision: d}
}

func withAccount(events []domain.Recorded) domain.File {
	f := file(domaintest.Thandi(), events)
	f.Resident.Role, f.Resident.Account = domain.Citizen, true
	return f
}

func TestAMergeLeavesNoAccountWithoutConsent(t *testing.T) {
	t.Parallel()
	account := withIDs(domaintest.History(consents(), domaintest.At("2026-03-02", platform(1, true))))
	for day, want := range map[string]error{
		"2026-03-01": nil, "2026-03-03": domain.Refuse(domain.CodeAccountRestsOn, ""),
	} {
		refusal := withIDs(domaintest.History(consents(), domaintest.At(day, platform(2, false))))
		refusal[0].Position = int64(refusal[0].RecordedAt.Day())
		account[0].Position = 2
		_, err := merging(10).Decide(file(domaintest.Clerk(), refusal), withAccount(account))
		if !errors.Is(err, want) {
			t.Errorf("refused on %s: %v, want %v", day, err, want)
		}
	}

	closed := withAccount(account)
	closed.Resident.Active = false
	refusal := withIDs(domaintest.History(consents(), domaintest.At("2026-03-03", platform(2, false))))
	if _, err := merging(10).Decide(file(domaintest.Clerk(), refusal), closed); err != nil {
		t.Errorf("with a closed account: %v", err)
	}
}

// The account was opened on a consent that had been given at the counter, in the other
// record.
func TestPartedFromAnotherRecordAnAccountKeepsItsConsent(t *testing.T) {
	t.Parallel()
	from := file(domaintest.Clerk(), withIDs(domaintest.History(consents(),
		domaintest.At("2026-03-01", platform(1, true)), domaintest.At("2026-03-01", granted(2)))))
	then := domaintest.Clock("2026-03-05")
	m, err := merging(10).Decide(from, file(domaintest.Thandi(), nil))
	if err != nil {
		t.Fatal(err)
	}

	into := withAccount(recorded(nil, 1000, then, m.IntoConsents))
	into.History = []domain.Recorded{{Position: 999, Event: &domain.ResidentMerged{From: from.Resident.ID}}}
	from.Resident.MergedInto, from.Consents = into.Resident.ID, recorded(from.Consents, 2000, then, m.FromConsents)
	back, err := merging(20).Undo(from, into)
	if err != nil {
		t.Fatal(err)
	}

	both := []string{domain.PlatformRegistrationCode, "newsletter"}
	for i, want := range []bool{true, false} {
		if allows(both[i], recorded(into.Consents, 5000, then, back.IntoConsents), time.Time{}) != want {
			t.Errorf("the account is left with %s: %t", both[i], !want)
		}
		if !allows(both[i], recorded(from.Consents, 4000, then, back.FromConsents), time.Time{}) {
			t.Errorf("the other record is left without %s", both[i])
		}
	}
}
