package domain_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// at reads an instant, and the empty text as no bound.
func at(text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	return domaintest.Clock(text)
}

func TestAPaperGrantOf1MarchRecordedOn6March(t *testing.T) {
	t.Parallel()
	// Given on 1 March, 9:30.
	history := domaintest.History(consents(), domaintest.At("2026-03-06 11:00", domaintest.PaperGrant()))

	for name, c := range map[string]struct {
		at, knownAt    string
		allowed, known bool
	}{
		"before it was given":                              {"2026-03-01 09:29", "", false, false},
		"from the instant it was given":                    {"2026-03-01 09:30", "", true, true},
		"on 2 March, as we know today":                     {"2026-03-02", "", true, true},
		"on 2 March, as we knew then":                      {"2026-03-02", "2026-03-02", false, false},
		"on 2 March, as we knew just before it came in":    {"2026-03-02", "2026-03-06 10:59", false, false},
		"on 2 March, as we knew in the instant it came":    {"2026-03-02", "2026-03-06 11:00", true, true},
		"today, as we know today":                          {"", "", true, true},
		"today, as we knew on 2 March":                     {"", "2026-03-02", false, false},
		"on 1 March before it was given, as we know today": {"2026-03-01", "2026-12-31", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			allowed, by, decided := domain.ConsentsAt(history, at(c.at), at(c.knownAt)).Check("newsletter")
			if allowed != c.allowed || decided != c.known || (decided && by.Position != 1) {
				t.Errorf("allowed %t, decided %t", allowed, decided)
			}
		})
	}
}

func TestAWithdrawalHoldsFromWhenItWasGiven(t *testing.T) {
	t.Parallel()
	dated := withdrawn(1)
	dated.GivenAt = domaintest.Clock("2026-04-10") // by a letter that came in ten days later
	history := domaintest.History(consents(), domaintest.At("2026-03-01", granted(1)),
		domaintest.At("2026-04-20", dated))

	for name, c := range map[string]struct {
		at, knownAt string
		allowed     bool
		withdrawnAt string
	}{
		"before the withdrawal, as we know today": {"2026-04-09", "", true, ""},
		"after it was given, as we know today":    {"2026-04-15", "", false, "2026-04-10"},
		"after it was given, as we knew then":     {"2026-04-15", "2026-04-15", true, ""},
		"after it came in":                        {"2026-04-21", "2026-04-21", false, "2026-04-10"},
		"in the instant it was given":             {"2026-04-10", "", false, "2026-04-10"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := domain.ConsentsAt(history, at(c.at), at(c.knownAt))
			allowed, _, _ := state.Check("newsletter")
			record, ok := state.Record(domaintest.Consent(1))
			if !ok || allowed != c.allowed || !record.WithdrawnAt.Equal(at(c.withdrawnAt)) {
				t.Errorf("allowed %t, withdrawn at %s", allowed, record.WithdrawnAt)
			}
		})
	}
}

func TestAGrantThatComesInLateDoesNotUndoALaterWithdrawal(t *testing.T) {
	t.Parallel()
	late := domaintest.PaperGrant() // given on 1 March 9:30
	late.ConsentID = domaintest.Consent(2)
	history := domaintest.History(consents(), domaintest.At("2026-03-02", granted(1)),
		domaintest.At("2026-03-04", withdrawn(1)), domaintest.At("2026-03-06", late))

	state := domain.ConsentsAt(history, time.Time{}, time.Time{})
	if allowed, by, _ := state.Check("newsletter"); allowed || by.Position != 2 {
		t.Errorf("allowed %t by position %d", allowed, by.Position)
	}
	if r, _ := state.Record(domaintest.Consent(2)); !r.WithdrawnAt.Equal(domaintest.Clock("2026-03-04")) {
		t.Errorf("the late grant is withdrawn at %s", r.WithdrawnAt)
	}
}

func TestARefusalThatWasGivenLaterOnPaperEndsWhatWasGrantedBefore(t *testing.T) {
	t.Parallel()
	// Given on 1 March, recorded on the 6th; a refusal of the 4th came in before it.
	late := domaintest.PaperGrant()
	history := domaintest.History(consents(), domaintest.At("2026-03-04", refused(2)),
		domaintest.At("2026-03-06", late))

	state := domain.ConsentsAt(history, time.Time{}, time.Time{})
	if allowed, by, _ := state.Check("newsletter"); allowed || by.Position != 1 {
		t.Errorf("allowed %t by position %d", allowed, by.Position)
	}
	if _, ok := state.InForce("newsletter"); ok {
		t.Error("a grant before the refusal is in force")
	}

	before := domain.ConsentsAt(history, domaintest.Clock("2026-03-02"), time.Time{})
	if allowed, _, _ := before.Check("newsletter"); !allowed {
		t.Error("it was not in force until then")
	}
}

func TestARecordHoldsTheWholeDecision(t *testing.T) {
	t.Parallel()
	want := domaintest.PaperGrant()
	history := domaintest.History(consents(), domaintest.At("2026-03-06", want))

	got, ok := domain.ConsentsAt(history, time.Time{}, time.Time{}).InForce("newsletter")
	if !ok {
		t.Fatal("not in force")
	}

	record := domain.Consent{
		ID: want.ConsentID, Subject: domaintest.Thandi(), Tenant: domaintest.Msunduzi(), Purpose: want.Purpose,
		NoticeVersion: 1, Wording: want.Wording, SHA256: want.SHA256, Language: want.Language, Consented: true,
		Channel: domain.Paper, GivenBy: domain.ByCompetentPerson, RecordedBy: domaintest.Clerk(),
		EvidenceSHA256: want.EvidenceSHA256, GivenAt: want.GivenAt, RecordedAt: domaintest.Clock("2026-03-06"),
		Position: 1, UpdatedAt: domaintest.Clock("2026-03-06"), UpdatedBy: domaintest.Clerk(),
	}
	if diff := domaintest.Diff(record, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// Properties.

func purposes() []string { return []string{"newsletter", "research", "whatsapp_news"} }

// anyHistory draws what a log may hold: positions follow recorded time, effective time is
// at most recorded time.
func anyHistory(t *rapid.T, backDated bool) []domain.Recorded {
	n := rapid.IntRange(0, 25).Draw(t, "events")
	clock := domaintest.Clock("2026-03-01")
	history := make([]domain.Recorded, 0, n)

	for i := 1; i <= n; i++ {
		clock = clock.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "minutes on")) * time.Minute)
		effective := clock
		if backDated {
			effective = clock.Add(-time.Duration(rapid.IntRange(0, 8).Draw(t, "minutes back")) * time.Minute)
		}

		purpose := rapid.SampledFrom(purposes()).Draw(t, "purpose")
		d := domain.Decision{ConsentID: domaintest.Consent(i), Purpose: purpose, NoticeVersion: 1, GivenAt: effective}

		var e domain.Event
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0, 1:
			grant := &domain.ConsentGranted{Decision: d}
			if minutes := rapid.IntRange(-20, 20).Draw(t, "holds for"); minutes > 0 {
				grant.ValidUntil = effective.Add(time.Duration(minutes) * time.Minute)
			}
			e = grant
		case 2:
			e = &domain.ConsentRefused{Decision: d}
		default:
			e = &domain.ConsentWithdrawn{
				ConsentID: domaintest.Consent(rapid.IntRange(1, i).Draw(t, "of")), Purpose: purpose, GivenAt: effective,
			}
		}

		history = append(history, domain.Recorded{
			Position: int64(i), Stream: consents(), Version: i, Subject: domaintest.Thandi(), Event: e,
			EffectiveAt: effective, RecordedAt: clock,
			Actor: rapid.SampledFrom([]domain.UserID{domaintest.Thandi(), domaintest.Clerk()}).Draw(t, "by"),
		})
	}
	return history
}

// anyInstant draws an instant around the histories' time, or no bound.
func anyInstant(t *rapid.T, label string) time.Time {
	minutes := rapid.IntRange(-10, 80).Draw(t, label)
	if minutes > 70 {
		return time.Time{}
	}
	return domaintest.Clock("2026-03-01").Add(time.Duration(minutes) * time.Minute)
}

func demandSame(t *rapid.T, what string, want, got domain.Consents) {
	t.Helper()
	if diff := domaintest.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func TestConsentsDoNotDependOnTheOrderOfTheInput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := anyHistory(t, true)
		at, known := anyInstant(t, "at"), anyInstant(t, "known at")
		want := domain.ConsentsAt(history, at, known)

		shuffled := rapid.Permutation(history).Draw(t, "order")
		kept := slices.Clone(shuffled)
		demandSame(t, "another order", want, domain.ConsentsAt(shuffled, at, known))
		if diff := domaintest.Diff(kept, shuffled); diff != "" {
			t.Fatalf("the input was changed:\n%s", diff)
		}
	})
}

func TestEventsRecordedOrEffectiveLaterNeverMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := anyHistory(t, true)
		at, known := anyInstant(t, "at"), anyInstant(t, "known at")
		full := domain.ConsentsAt(history, at, known)

		then := slices.DeleteFunc(slices.Clone(history), func(r domain.Recorded) bool {
			return (!known.IsZero() && r.RecordedAt.After(known)) || (!at.IsZero() && r.EffectiveAt.After(at))
		})

		demandSame(t, "the log as it was then", full, domain.ConsentsAt(then, at, known))
		demandSame(t, "the log as it was then, without bounds", full, domain.ConsentsAt(then, time.Time{}, time.Time{}))
	})
}

// oracle is a second, slower telling of the rules, in the words of their definition.
type oracle struct {
	allowed   map[string]bool
	withdrawn map[domain.ConsentID]time.Time
}

// fold goes through events one by one, in the given order.
func fold(events []domain.Recorded) oracle {
	o := oracle{allowed: map[string]bool{}, withdrawn: map[domain.ConsentID]time.Time{}}
	open := map[string][]domain.ConsentID{}

	for _, r := range events {
		switch e := r.Event.(type) {
		case *domain.ConsentGranted:
			o.allowed[e.Purpose], o.withdrawn[e.ConsentID] = true, time.Time{}
			open[e.Purpose] = append(open[e.Purpose], e.ConsentID)
		case *domain.ConsentRefused:
			o.allowed[e.Purpose], o.withdrawn[e.ConsentID] = false, time.Time{}
		case *domain.ConsentWithdrawn:
			o.allowed[e.Purpose] = false
			for _, id := range open[e.Purpose] {
				o.withdrawn[id] = r.EffectiveAt
			}
			delete(open, e.Purpose)
		}
	}
	return o
}

func (o oracle) agree(t *rapid.T, c domain.Consents) {
	t.Helper()
	for _, p := range purposes() {
		if allowed, _, _ := c.Check(p); allowed != o.allowed[p] {
			t.Fatalf("%s: allowed %t, by the oracle %t", p, allowed, o.allowed[p])
		}
	}

	if len(c.Records()) != len(o.withdrawn) {
		t.Fatalf("%d records, by the oracle %d", len(c.Records()), len(o.withdrawn))
	}
	for _, r := range c.Records() {
		if want, ok := o.withdrawn[r.ID]; !ok || !r.WithdrawnAt.Equal(want) {
			t.Fatalf("consent %s: withdrawn at %s, by the oracle %s", r.ID, r.WithdrawnAt, want)
		}
	}
}

// slow is the fold as one would write it first: what was annulled is struck out, and each
// withdrawal looks through every record. It is obviously right, and quadratic.
type slow struct {
	records []domain.Consent
	current map[string]domain.Recorded
}

func slowly(events []domain.Recorded, at, knownAt time.Time) slow {
	var visible []domain.Recorded
	for _, e := range stood(events, knownAt) {
		if (at.IsZero() || !e.EffectiveAt.After(at)) && (knownAt.IsZero() || !e.RecordedAt.After(knownAt)) {
			visible = append(visible, e)
		}
	}
	slices.SortStableFunc(visible, func(a, b domain.Recorded) int {
		return cmp.Or(a.EffectiveAt.Compare(b.EffectiveAt), claimedRank(a)-claimedRank(b),
			strings.Compare(claimedWords(a), claimedWords(b)), cmp.Compare(firstRecorded(a), firstRecorded(b)))
	})

	s := slow{current: map[string]domain.Recorded{}}
	for _, r := range visible {
		switch e := r.Event.(type) {
		case *domain.ConsentGranted:
			s.decide(r, e.Decision, true, e.ValidUntil)
		case *domain.ConsentRefused:
			s.decide(r, e.Decision, false, time.Time{})
		case *domain.ConsentWithdrawn:
			s.withdraw(r, e.Purpose)
		case *domain.ConsentClaimed:
			s.claim(r, e, decidedHere(events, e.Purpose, r.EffectiveAt, knownAt))
		}
	}

	position := map[domain.ConsentID]int64{} // of the decision
	for _, e := range slices.Backward(events) {
		position[domain.ConsentID{UUID: domain.RecordOf(e.Event, e.Stream)}] = e.Position
	}
	slices.SortStableFunc(s.records, func(a, b domain.Consent) int {
		return cmp.Or(a.GivenAt.Compare(b.GivenAt), cmp.Compare(position[a.ID], position[b.ID]))
	})
	return s
}

// claimedRank puts a claim before what was said here at the same instant, and of several
// the one that permits least last.
func claimedRank(r domain.Recorded) int {
	e, is := r.Event.(*domain.ConsentClaimed)
	if !is {
		return len(domain.Outcomes())
	}
	return slices.Index(domain.Outcomes(), e.Claim.Decided)
}

// claimedWords orders claims of one instant that say the same: the newer words first.
func claimedWords(r domain.Recorded) string {
	e, is := r.Event.(*domain.ConsentClaimed)
	if !is {
		return ""
	}
	return fmt.Sprintf("%03d %s %s %s", 999-e.NoticeVersion, e.SHA256, e.Claim.Source, e.ConsentID)
}

// decidedHere reports whether the person had decided here by an instant, whatever else is
// known of that time.
func decidedHere(events []domain.Recorded, purpose string, by, knownAt time.Time) bool {
	return slices.ContainsFunc(stood(events, knownAt), func(e domain.Recorded) bool {
		_, claimed := e.Event.(*domain.ConsentClaimed)
		return !claimed && isAbout(e.Event, purpose) && !e.EffectiveAt.After(by) &&
			(knownAt.IsZero() || !e.RecordedAt.After(knownAt))
	})
}

func (s *slow) claim(r domain.Recorded, e *domain.ConsentClaimed, outvoted bool) {
	if e.Claim.Decided == domain.OutcomeWithdrawn {
		for i := range s.records {
			rec := &s.records[i]
			if rec.Purpose == e.Purpose && rec.Grade != "" && rec.Consented && !rec.Withdrawn() {
				rec.WithdrawnAt = r.EffectiveAt
				if rec.Position < r.Position {
					rec.Position, rec.UpdatedAt, rec.UpdatedBy = r.Position, r.RecordedAt, r.Actor
				}
			}
		}
	}

	before := slices.Clone(s.records)
	last, decided := s.current[e.Purpose]
	s.decide(r, e.Decision, e.Claim.Decided == domain.OutcomeGranted, e.Until(r.EffectiveAt))
	if outvoted {
		copy(s.records, before)
		if s.current[e.Purpose] = last; !decided {
			delete(s.current, e.Purpose)
		}
	}

	rec := &s.records[len(s.records)-1]
	rec.Grade, rec.Source = e.Claim.Grade, e.Claim.Source
	if outvoted {
		rec.SupersededAt = r.EffectiveAt
	}
	if e.Claim.Decided == domain.OutcomeWithdrawn {
		rec.WithdrawnAt = r.EffectiveAt
	}
	if !rec.Consented {
		rec.ValidUntil = time.Time{}
	}
}

// firstRecorded is the position at which somebody first recorded what an event says.
func firstRecorded(r domain.Recorded) int64 {
	copied := func(c *domain.CopyOf) int64 {
		if c == nil {
			return r.Position
		}
		return c.Position
	}

	switch e := r.Event.(type) {
	case *domain.ConsentGranted:
		return copied(e.Copy)
	case *domain.ConsentRefused:
		return copied(e.Copy)
	case *domain.ConsentWithdrawn:
		return copied(e.Copy)
	default:
		return r.Position
	}
}

func (s *slow) decide(r domain.Recorded, d domain.Decision, consented bool, until time.Time) {
	for i := range s.records {
		if rec := &s.records[i]; rec.Purpose == d.Purpose && rec.SupersededAt.IsZero() {
			rec.SupersededAt = r.EffectiveAt
		}
	}
	s.records = append(s.records, domain.Consent{
		ID: d.ConsentID, Subject: r.Subject, Purpose: d.Purpose, NoticeVersion: d.NoticeVersion, Consented: consented,
		GivenAt: r.EffectiveAt, RecordedAt: r.RecordedAt, ValidUntil: until, Position: r.Position,
		UpdatedAt: r.RecordedAt, UpdatedBy: r.Actor, RecordedBy: r.Actor, GivenBy: d.GivenBy,
	})
	s.current[d.Purpose] = r
}

func (s *slow) withdraw(r domain.Recorded, purpose string) {
	for i := range s.records {
		rec := &s.records[i]
		if rec.Purpose == purpose && rec.Consented && !rec.Withdrawn() {
			rec.WithdrawnAt = r.EffectiveAt
			if rec.Position < r.Position {
				rec.Position, rec.UpdatedAt, rec.UpdatedBy = r.Position, r.RecordedAt, r.Actor
			}
			s.current[purpose] = r
		}
	}
}

func (s *slow) of(purpose string) (records []domain.Consent) {
	for _, r := range s.records {
		if r.Purpose == purpose {
			records = append(records, r)
		}
	}
	return records
}

func TestTheFoldEqualsTheSlowFold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := anyHistory(t, true)
		if rapid.Bool().Draw(t, "with claims") {
			history = anyClaims(t, history)
		}
		at, known := anyInstant(t, "at"), anyInstant(t, "known at")
		want, got := slowly(history, at, known), domain.ConsentsAt(history, at, known)
		if diff := domaintest.Diff(want.records, got.Records()); diff != "" {
			t.Fatalf("records (-slow +fold):\n%s", diff)
		}

		for _, p := range purposes() {
			decides, ok := want.current[p]
			alone := domain.ConsentsFor(p, history, at, known)
			for _, c := range []domain.Consents{got, alone} {
				if _, by, decided := c.Check(p); decided != ok || by.Position != decides.Position {
					t.Fatalf("%s is decided %t at %d, by the slow fold %t at %d",
						p, decided, by.Position, ok, decides.Position)
				}
			}

			if diff := domaintest.Diff(want.of(p), alone.Records()); diff != "" {
				t.Fatalf("records for %s alone (-slow +fold):\n%s", p, diff)
			}
		}
		for _, want := range slowly(history, time.Time{}, time.Time{}).records {
			if got, ok := domain.ConsentIn(history, want.ID); !ok || domaintest.Diff(want, got) != "" {
				t.Fatalf("consent %s alone is %+v, by the slow fold %+v", want.ID, got, want)
			}
		}
	})
}

// One person may decide as often as they like. Ten times as many decisions must take ten
// times as long, not a hundred times: then this would take minutes.
func TestAPersonWithVeryManyDecisionsIsFoldedInTime(t *testing.T) {
	t.Parallel()
	const n = 100_000
	history := make([]domain.Recorded, 0, 2*n)
	clock := domaintest.Clock("2026-03-01")
	for i := range n {
		clock = clock.Add(time.Second)
		id := domain.ConsentID{}
		id.UUID[0], id.UUID[1], id.UUID[2] = byte(i>>16), byte(i>>8), byte(i)
		for j, e := range []domain.Event{
			&domain.ConsentGranted{Decision: domain.Decision{ConsentID: id, Purpose: "newsletter"}},
			&domain.ConsentWithdrawn{ConsentID: id, Purpose: "newsletter"},
		} {
			history = append(history, domain.Recorded{
				Position: int64(2*i + j + 1), Version: 2*i + j + 1, Stream: consents(), Event: e, EffectiveAt: clock,
				RecordedAt: clock,
			})
		}
	}

	c := domain.ConsentsAt(history, time.Time{}, time.Time{})
	last := c.Records()[n-1]
	if !last.Withdrawn() || last.Position != 2*n {
		t.Errorf("the last record is %+v", last)
	}
	if events := domain.WithdrawAll(history[:2*n-1], false); len(events) != 1 {
		t.Errorf("%d withdrawals end one grant", len(events))
	}
}

func TestWithoutBackDatingTheStateAtAnInstantIsTheLogFoldedUntilThen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := anyHistory(t, false)
		until := anyInstant(t, "at")

		var prefix []domain.Recorded
		for _, r := range history {
			if until.IsZero() || !r.RecordedAt.After(until) {
				prefix = append(prefix, r)
			}
		}

		state := domain.ConsentsAt(history, until, time.Time{})
		fold(prefix).agree(t, state)
		demandSame(t, "known then and known today", state, domain.ConsentsAt(history, until, until))
	})
}

func TestTheStateIsTheFoldInOrderOfEffectiveTimeAndPosition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := anyHistory(t, true)
		at, known := anyInstant(t, "at"), anyInstant(t, "known at")

		var visible []domain.Recorded
		for _, r := range history {
			if (at.IsZero() || !r.EffectiveAt.After(at)) && (known.IsZero() || !r.RecordedAt.After(known)) {
				visible = append(visible, r)
			}
		}
		slices.SortFunc(visible, func(a, b domain.Recorded) int {
			return cmp.Or(a.EffectiveAt.Compare(b.EffectiveAt), cmp.Compare(a.Position, b.Position))
		})

		fold(visible).agree(t, domain.ConsentsAt(history, at, known))
	})
}

func TestInvariantsOfConsents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := anyHistory(t, true)
		if rapid.Bool().Draw(t, "with claims") {
			history = anyClaims(t, history)
		}
		demandInvariants(t, domain.ConsentsAt(history, anyInstant(t, "at"), anyInstant(t, "known at")))
	})
}

// demandInvariants holds for every history, possible or not.
func demandInvariants(t *rapid.T, c domain.Consents) {
	t.Helper()
	for _, r := range c.Records() {
		if r.Withdrawn() && (r.WithdrawnAt.Before(r.GivenAt) || !r.Consented && r.Grade == "") {
			t.Fatalf("consent %s, given %s, consented %t, is withdrawn at %s", r.ID, r.GivenAt, r.Consented,
				r.WithdrawnAt)
		}
		if got, ok := c.Record(r.ID); !ok || domaintest.Diff(r, got) != "" {
			t.Fatalf("consent %s is not found by its id", r.ID)
		}
	}

	for _, p := range purposes() {
		allowed, by, decided := c.Check(p)
		in, ok := c.InForce(p)
		if allowed != ok || (allowed && !decided) {
			t.Fatalf("%s: allowed %t, decided %t, in force %t", p, allowed, decided, ok)
		}
		if !ok {
			continue
		}
		if in.Purpose != p || !in.Consented || in.Withdrawn() || in.Position != by.Position {
			t.Fatalf("%s: in force is %+v", p, in)
		}

		// At most one: no other open grant is as new.
		for _, r := range c.Records() {
			if r.ID != in.ID && r.Purpose == p && r.Consented && !r.Withdrawn() && r.AnnulledAt.IsZero() &&
				r.GivenAt.After(in.GivenAt) && (r.Grade == "" || in.Grade != "") {
				t.Fatalf("%s: consent %s is newer than the one in force", p, r.ID)
			}
		}
	}
}

// What Decide accepts must have the effect that was asked for, whatever came before.
func TestWhatIsDecidedTakesEffect(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		purpose := domaintest.Newsletter()
		now := domaintest.Clock("2026-03-31 23:00") // the second notice comes an hour later
		var history []domain.Recorded

		for i := range rapid.IntRange(1, 20).Draw(t, "commands") {
			now = now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "minutes on")) * time.Minute)
			given := time.Time{}
			if back := rapid.IntRange(-1, 90).Draw(t, "minutes back"); back >= 0 {
				given = now.Add(-time.Duration(back) * time.Minute)
			}

			events, err := anyCommand(t, i+1, given).decide(history, purpose, now)
			if err != nil {
				continue
			}
			for _, e := range events {
				effective := cmp.Or(domain.EffectiveOf(e), now)
				before, n := domain.ConsentsAt(history, effective, time.Time{}), len(history)+1
				history = append(history, domain.Recorded{
					Position: int64(n), Version: n, Stream: consents(), Event: e, EffectiveAt: effective,
					RecordedAt: now,
				})
				demandEffect(t, e, before, domain.ConsentsAt(history, effective, time.Time{}))
			}
			demandInvariants(t, domain.ConsentsAt(history, time.Time{}, time.Time{}))
		}
	})
}

func demandEffect(t *rapid.T, e domain.Event, before, after domain.Consents) {
	t.Helper()
	was, _, _ := before.Check("newsletter")
	is, _, _ := after.Check("newsletter")

	ok := true
	switch e.(type) {
	case *domain.ConsentGranted:
		ok = is
	case *domain.ConsentRefused:
		ok = !was && !is
	case *domain.ConsentWithdrawn:
		ok = !is
	}

	if !ok {
		t.Fatalf("after %s: allowed %t, before %t", e.EventType(), is, was)
	}
}

type anyone struct {
	decide func([]domain.Recorded, domain.Purpose, time.Time) ([]domain.Event, error)
}

func anyCommand(t *rapid.T, n int, given time.Time) anyone {
	if rapid.IntRange(0, 2).Draw(t, "withdraw") == 0 {
		w := domain.WithdrawConsent{ID: domaintest.Consent(rapid.IntRange(1, n).Draw(t, "of")), GivenAt: given}
		return anyone{func(h []domain.Recorded, _ domain.Purpose, now time.Time) ([]domain.Event, error) {
			return w.Decide(h, now)
		}}
	}

	c := domain.RecordConsent{
		ID: domaintest.Consent(n), Purpose: "newsletter",
		Language:  rapid.SampledFrom(domain.Languages()).Draw(t, "language"),
		Consented: rapid.Bool().Draw(t, "consented"), Channel: domain.Paper, GivenAt: given,
		Evidence: &domain.Evidence{SHA256: domain.WordingHash("scan"), Reference: fmt.Sprint("form ", n)},
	}
	return anyone{c.Decide}
}
