package domain_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// annulledHistory draws a history in which some entries are annulled, each after it was
// recorded.
func annulledHistory(t *rapid.T) (history []domain.Recorded) {
	drawn := anyHistory(t, rapid.Bool().Draw(t, "back-dated"))
	if rapid.Bool().Draw(t, "with claims") {
		drawn = anyClaims(t, drawn)
	}
	for i, e := range drawn {
		e.Position, e.EventID = int64(len(history)+1), domaintest.ID(0xe, i+1)
		history = append(history, e)

		for rapid.IntRange(0, 3).Draw(t, "annul") == 0 {
			of := history[rapid.IntRange(0, len(history)-1).Draw(t, "entry")]
			purpose, _ := facts(of.Event)
			if purpose == "" {
				continue // an annulment
			}
			history = append(history, domain.Recorded{
				Position: int64(len(history) + 1), Stream: consents(), EventID: uuid.New(), Subject: of.Subject,
				EffectiveAt: e.RecordedAt, RecordedAt: e.RecordedAt,
				Event: &domain.ConsentAnnulled{
					ConsentID: domain.ConsentID{UUID: domain.RecordOf(of.Event, of.Stream)}, Purpose: purpose,
					Annuls: of.EventID,
				},
			})
		}
	}
	return history
}

// stood returns a history without the entries that were known to be annulled, and without
// the annulments.
func stood(history []domain.Recorded, knownAt time.Time) (rest []domain.Recorded) {
	void := map[uuid.UUID]bool{}
	for _, r := range history {
		if e, is := r.Event.(*domain.ConsentAnnulled); is && (knownAt.IsZero() || !r.RecordedAt.After(knownAt)) {
			void[e.Annuls] = true
		}
	}
	for _, r := range history {
		if _, is := r.Event.(*domain.ConsentAnnulled); !is && !void[r.EventID] {
			rest = append(rest, r)
		}
	}
	return rest
}

func TestAnAnnulledEntryNeverCountedAsKnownFromThenOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := annulledHistory(t)
		at, known := anyInstant(t, "at"), anyInstant(t, "known at")
		got := domain.ConsentsAt(rapid.Permutation(history).Draw(t, "order"), at, known)
		want := domain.ConsentsAt(stood(history, known), at, known)

		for _, p := range purposes() {
			allowed, by, decided := want.Check(p)
			if a, b, d := got.Check(p); a != allowed || d != decided || b.Position != by.Position {
				t.Fatalf("%s: allowed %t by %d, without the annulled entries %t by %d", p, a, b.Position, allowed,
					by.Position)
			}
		}

		var counts []domain.Consent
		for _, c := range got.Records() {
			if c.AnnulledAt.IsZero() {
				counts = append(counts, c)
			}
		}
		if diff := domaintest.Diff(want.Records(), counts); diff != "" {
			t.Fatalf("records that count (-without the annulled entries +fold):\n%s", diff)
		}
		demandInvariants(t, got)
	})
}

func TestATailWithAnnulmentsSaysWhatTheWholeHistorySays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := annulledHistory(t)
		purpose := rapid.SampledFrom(purposes()).Draw(t, "about")
		history := slices.DeleteFunc(all, func(r domain.Recorded) bool { return aboutPurpose(r.Event) != purpose })
		at, known := anyInstant(t, "at"), anyInstant(t, "known at")

		enough := domain.TailFor(domaintest.Thandi(), purpose, at, known).Enough
		want, _ := domain.ConsentsFor(purpose, history, at, known).InForce(purpose)
		for _, newest := range tails(history) {
			if !enough(newest) {
				continue
			}
			got, _ := domain.ConsentsFor(purpose, newest, at, known).InForce(purpose)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%d of %d events have %v in force, all have %v", len(newest), len(history), got, want)
			}
		}

		for _, e := range history {
			id := domain.ConsentID{UUID: domain.RecordOf(e.Event, e.Stream)}
			want, found := domain.ConsentIn(history, id)
			if !found {
				continue
			}
			for _, newest := range tails(history) {
				if !domain.TailOf(domaintest.Thandi(), id).Enough(newest) {
					continue
				}
				if got, _ := domain.ConsentIn(newest, id); !reflect.DeepEqual(got, want) {
					t.Fatalf("%d of %d events leave it as %v, all as %v", len(newest), len(history), got, want)
				}
			}
		}
	})
}

func aboutPurpose(e domain.Event) string {
	if a, is := e.(*domain.ConsentAnnulled); is {
		return a.Purpose
	}
	purpose, _ := facts(e)
	return purpose
}

// withIDs gives the events of a history ids, as the log does.
func withIDs(history []domain.Recorded) []domain.Recorded {
	for i := range history {
		history[i].EventID = domaintest.ID(0xe, i+1)
	}
	return history
}

// annul decides an annulment and returns the history after it.
func annul(
	t *testing.T, history []domain.Recorded, c domain.AnnulConsent, user domain.User,
) ([]domain.Recorded, []domain.Event, error) {
	t.Helper()
	now := history[len(history)-1].RecordedAt.Add(time.Hour)
	events, err := c.Decide(user, history, now)
	for _, e := range events {
		history = append(history[:len(history):len(history)], domain.Recorded{
			Position: int64(len(history) + 1), Stream: consents(), EventID: uuid.New(), Event: e, EffectiveAt: now,
			RecordedAt: now,
		})
	}
	return history, events, err
}

func TestAnAnnulledGrantRevivesWhatItSuperseded(t *testing.T) {
	t.Parallel()
	history := withIDs(domaintest.History(consents(), domaintest.At("2026-03-01", granted(1)),
		domaintest.At("2026-03-02", granted(2))))

	wrong := domain.AnnulConsent{ID: domaintest.Consent(2), Reason: "wrong person"}
	after, _, err := annul(t, history, wrong, domain.User{})
	if err != nil {
		t.Fatal(err)
	}
	in, _ := domain.ConsentsAt(after, time.Time{}, time.Time{}).InForce("newsletter")
	if in.ID != domaintest.Consent(1) {
		t.Errorf("in force is %s", in.ID)
	}
	then := domain.ConsentsAt(after, time.Time{}, domaintest.Clock("2026-03-02"))
	if in, _ := then.InForce("newsletter"); in.ID != domaintest.Consent(2) {
		t.Errorf("as known before, in force is %s", in.ID)
	}
	if c, _ := domain.ConsentIn(after, domaintest.Consent(2)); c.AnnulledAt.IsZero() {
		t.Error("the annulled grant does not show")
	}

	// Once more changes nothing, and there is nothing to withdraw.
	if _, events, err := annul(t, after, domain.AnnulConsent{ID: domaintest.Consent(2), Reason: "again"},
		domain.User{}); err != nil || len(events) > 0 {
		t.Errorf("%d events, %v", len(events), err)
	}
	_, err = domain.WithdrawConsent{ID: domaintest.Consent(2)}.Decide(after, domaintest.Clock("2026-04-01"))
	if !errors.Is(err, domain.Refuse(domain.CodeAnnulled, "")) {
		t.Errorf("withdrawn all the same: %v", err)
	}
}

func TestAnAnnulmentThatAllowsMoreNeedsEvidence(t *testing.T) {
	t.Parallel()
	evidence := &domain.Evidence{SHA256: domain.WordingHash("note"), Reference: "box 5"}
	for name, c := range map[string]struct {
		last  domain.Event
		annul domain.AnnulConsent
	}{
		"a withdrawal": {withdrawn(1), domain.AnnulConsent{ID: domaintest.Consent(1), Entry: domain.WithdrawalEntry}},
		"a refusal":    {refused(2), domain.AnnulConsent{ID: domaintest.Consent(2)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			history := withIDs(domaintest.History(consents(), domaintest.At("2026-03-01", granted(1)),
				domaintest.At("2026-03-02", c.last)))

			c.annul.Reason = "wrong person"
			if _, _, err := annul(t, history, c.annul, domain.User{}); !errors.Is(err,
				domain.Refuse(domain.CodeEvidenceRequired, "")) {
				t.Errorf("without evidence: %v", err)
			}

			c.annul.Evidence = evidence
			after, _, err := annul(t, history, c.annul, domain.User{})
			if err != nil {
				t.Fatal(err)
			}
			if allowed, _, _ := domain.ConsentsAt(after, time.Time{}, time.Time{}).Check("newsletter"); !allowed {
				t.Error("the grant before it is not in force")
			}
		})
	}
}

func TestAnAnnulmentThatAllowsMoreAtOtherInstantsNeedsEvidenceToo(t *testing.T) {
	t.Parallel()
	until := func(n int, end string) domain.Event {
		grant := granted(n)
		grant.ValidUntil = at(end)
		return grant
	}

	for name, c := range map[string]struct {
		said   []domain.Event // one a day, from 1 March
		annul  int
		entry  domain.Entry
		demand bool
	}{
		"a withdrawal before another grant": {
			[]domain.Event{granted(1), withdrawn(1), granted(2)}, 1, domain.WithdrawalEntry, true,
		},
		"a refusal before another grant": {
			[]domain.Event{granted(1), refused(2), granted(3)}, 2, domain.DecisionEntry, true,
		},
		"a grant that ends, over one that does not": {
			[]domain.Event{granted(1), until(2, "2026-12-01")}, 2, domain.DecisionEntry, true,
		},
		"a grant that has ended, over one that has not": {
			[]domain.Event{granted(1), until(2, "2026-03-02 00:01")}, 2, domain.DecisionEntry, true,
		},
		"a grant that ends, over one that ends before": {
			[]domain.Event{until(1, "2026-05-01"), until(2, "2026-12-01")}, 2, domain.DecisionEntry, false,
		},
		"a refusal after a grant that had ended": {
			[]domain.Event{until(1, "2026-03-01 12:00"), refused(2)}, 2, domain.DecisionEntry, false,
		},
		"a withdrawal after a grant that had ended": {
			[]domain.Event{until(1, "2026-03-01 12:00"), withdrawn(1)}, 1, domain.WithdrawalEntry, false,
		},
	} {
		var said []domaintest.Fact
		for i, e := range c.said {
			said = append(said, domaintest.At(fmt.Sprintf("2026-03-%02d", i+1), e))
		}
		var want error
		if c.demand {
			want = domain.Refuse(domain.CodeEvidenceRequired, "")
		}

		_, _, err := annul(t, withIDs(domaintest.History(consents(), said...)), domain.AnnulConsent{
			ID: domaintest.Consent(c.annul), Entry: c.entry, Reason: "wrong person",
			Own: []domain.Purpose{domaintest.Newsletter()},
		}, domain.User{})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestTheConsentThatAnAccountRestsOnIsNotAnnulled(t *testing.T) {
	t.Parallel()
	grant := granted(1)
	grant.Purpose = domain.PlatformRegistrationCode
	history := withIDs(domaintest.History(consents(), domaintest.At("2026-03-01", grant)))
	c := domain.AnnulConsent{ID: domaintest.Consent(1), Reason: "wrong person"}

	for _, u := range []struct {
		user domain.User
		want error
	}{
		{domain.User{Role: domain.Citizen, Account: true, Active: true}, domain.Refuse(domain.CodeAccountRestsOn, "")},
		{domain.User{Role: domain.Citizen, Active: true}, nil},
		{domain.User{Role: domain.Manager, Account: true, Active: true}, nil},
		{domain.User{Role: domain.Citizen, Account: true}, nil},
	} {
		if _, _, err := annul(t, history, c, u.user); !errors.Is(err, u.want) {
			t.Errorf("%+v: %v", u.user, err)
		}
	}
}

func TestAnnulmentsThatCannotBe(t *testing.T) {
	t.Parallel()
	history := withIDs(domaintest.History(consents(), domaintest.At("2026-03-01", granted(1)),
		domaintest.At("2026-03-02", withdrawn(1)), domaintest.At("2026-03-03", refused(2))))

	consent := domaintest.Consent
	for name, c := range map[string]struct {
		annul domain.AnnulConsent
		want  domain.Code
	}{
		"no reason":        {domain.AnnulConsent{ID: consent(1), Reason: " "}, domain.CodeInvalid},
		"an unknown entry": {domain.AnnulConsent{ID: consent(1), Reason: "x", Entry: "all"}, domain.CodeInvalid},
		"nobody's":         {domain.AnnulConsent{ID: consent(9), Reason: "x"}, domain.CodeNotFound},
		"a refusal's no": {
			domain.AnnulConsent{ID: consent(2), Reason: "x", Entry: domain.WithdrawalEntry}, domain.CodeNotGranted,
		},
	} {
		if _, _, err := annul(t, history, c.annul, domain.User{}); !errors.Is(err, domain.Refuse(c.want, "")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
