package domain_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// claimed is what a list says about the newsletter, of which it knows only the day.
func claimed(id int, decided domain.Outcome, given string) *domain.ConsentClaimed {
	return &domain.ConsentClaimed{
		Decision: domain.Decision{
			ConsentID: domaintest.Consent(id), Purpose: "newsletter", GivenAt: domaintest.Clock(given),
			RecordedBy: domain.ByStaff, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
		},
		Claim: domain.ConsentClaim{
			Decided: decided, Grade: domain.GradeClaimed, Source: "an old list",
			FileSHA256: domain.WordingHash("list"), Line: id,
		},
	}
}

// What the person decided here on 10 March, and a claim of before or after that: the
// answer for the 20th, as known before the claim came in and after it.
func TestAClaimCountsUntilThePersonDecidesHere(t *testing.T) {
	t.Parallel()
	granting, refusing := granted(1), refused(1)
	taking := []domain.Event{granted(1), withdrawn(1)}
	late := domaintest.PaperGrant()
	late.GivenAt = domaintest.Clock("2026-03-10")

	for name, c := range map[string]struct {
		here    []domain.Event
		decided domain.Outcome
		given   string
		allowed bool
		grade   domain.Grade // of the answer
	}{
		"nothing, granted":   {nil, domain.OutcomeGranted, "2026-03-01", true, domain.GradeClaimed},
		"nothing, refused":   {nil, domain.OutcomeRefused, "2026-03-01", false, domain.GradeClaimed},
		"nothing, withdrawn": {nil, domain.OutcomeWithdrawn, "2026-03-01", false, domain.GradeClaimed},

		"a grant, granted before":    {[]domain.Event{granting}, domain.OutcomeGranted, "2026-03-01", true, ""},
		"a grant, refused before":    {[]domain.Event{granting}, domain.OutcomeRefused, "2026-03-01", true, ""},
		"a grant, withdrawn before":  {[]domain.Event{granting}, domain.OutcomeWithdrawn, "2026-03-01", true, ""},
		"a grant, granted after":     {[]domain.Event{granting}, domain.OutcomeGranted, "2026-03-15", true, ""},
		"a grant, refused after":     {[]domain.Event{granting}, domain.OutcomeRefused, "2026-03-15", true, ""},
		"a grant, withdrawn after":   {[]domain.Event{granting}, domain.OutcomeWithdrawn, "2026-03-15", true, ""},
		"a grant, withdrawn at once": {[]domain.Event{granting}, domain.OutcomeWithdrawn, "2026-03-10", true, ""},

		"a refusal, granted before":  {[]domain.Event{refusing}, domain.OutcomeGranted, "2026-03-01", false, ""},
		"a refusal, granted after":   {[]domain.Event{refusing}, domain.OutcomeGranted, "2026-03-15", false, ""},
		"a refusal, granted at once": {[]domain.Event{refusing}, domain.OutcomeGranted, "2026-03-10", false, ""},

		"a withdrawal, granted before": {taking, domain.OutcomeGranted, "2026-03-01", false, ""},
		"a withdrawal, granted after":  {taking, domain.OutcomeGranted, "2026-03-15", false, ""},
		"paper, withdrawn before":      {[]domain.Event{late}, domain.OutcomeWithdrawn, "2026-03-01", true, ""},
		"paper, refused after":         {[]domain.Event{late}, domain.OutcomeRefused, "2026-03-15", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			facts := []domaintest.Fact{domaintest.At("2026-03-10", c.here...)}
			claim := domaintest.At("2026-05-01", claimed(9, c.decided, c.given))
			history := domaintest.History(consents(), append(facts, claim)...)

			for _, known := range []string{"", "2026-05-01"} {
				allowed, by, decided := domain.ConsentsAt(history, at("2026-03-20"), at(known)).Check("newsletter")
				if allowed != c.allowed || !decided || domain.GradeOf(by.Event) != c.grade {
					t.Errorf("known at %q: allowed %t by %s", known, allowed, by.Event.EventType())
				}
			}

			// As known before the claim came in, it never matters.
			before := domain.ConsentsAt(history, at("2026-03-20"), at("2026-04-30"))
			without := domain.ConsentsAt(domaintest.History(consents(), facts...), at("2026-03-20"), time.Time{})
			if diff := domaintest.Diff(without, before); diff != "" {
				t.Errorf("before it was known (-without +with):\n%s", diff)
			}
		})
	}
}

func TestAClaimThatCameInBeforeALateDecisionNoLongerCounts(t *testing.T) {
	t.Parallel()
	refusal := refused(2)
	refusal.GivenAt = domaintest.Clock("2026-03-05")
	history := domaintest.History(consents(),
		domaintest.At("2026-04-01", claimed(1, domain.OutcomeGranted, "2026-03-10")),
		domaintest.At("2026-04-20", refusal))

	if allowed, _, _ := domain.ConsentsAt(history, time.Time{}, at("2026-04-10")).Check("newsletter"); !allowed {
		t.Error("as known before the refusal came in, the claim counts")
	}
	state := domain.ConsentsAt(history, time.Time{}, time.Time{})
	if allowed, by, _ := state.Check("newsletter"); allowed || by.Position != 2 {
		t.Errorf("a claim outvotes a refusal given here: position %d", by.Position)
	}
	if len(state.AllInForce()) != 0 || len(state.Records()) != 2 {
		t.Errorf("in force %v, of %d records", state.AllInForce(), len(state.Records()))
	}
}

func TestAWithdrawalHereEndsAClaimedGrant(t *testing.T) {
	t.Parallel()
	history := domaintest.History(consents(),
		domaintest.At("2026-04-01", claimed(1, domain.OutcomeGranted, "2026-03-10")),
		domaintest.At("2026-04-20", withdrawn(1)))

	record, _ := domain.ConsentsAt(history, time.Time{}, time.Time{}).Record(domaintest.Consent(1))
	if !record.WithdrawnAt.Equal(domaintest.Clock("2026-04-20")) || record.Grade != domain.GradeClaimed ||
		record.Source != "an old list" || record.NoticeVersion != 0 || record.Wording != "" {
		t.Errorf("the record is %+v", record)
	}
}

func TestAClaimedWithdrawalEndsClaimedGrantsAlone(t *testing.T) {
	t.Parallel()
	history := domaintest.History(consents(),
		domaintest.At("2026-03-10", granted(1)),
		domaintest.At("2026-04-01", claimed(2, domain.OutcomeGranted, "2026-03-01"),
			claimed(3, domain.OutcomeWithdrawn, "2026-03-05"), claimed(4, domain.OutcomeWithdrawn, "2026-03-20")))

	state := domain.ConsentsAt(history, time.Time{}, time.Time{})
	ends := map[int]string{1: "", 2: "2026-03-05", 3: "2026-03-05", 4: "2026-03-20"}
	for id, want := range ends {
		r, _ := state.Record(domaintest.Consent(id))
		if !r.WithdrawnAt.Equal(at(want)) || r.Consented != (id <= 2) {
			t.Errorf("%d: consented %t, withdrawn at %s", id, r.Consented, r.WithdrawnAt)
		}
	}
}

// anyClaims adds claims to a history: they were given at any time before, and came in at
// the end.
func anyClaims(t *rapid.T, history []domain.Recorded) []domain.Recorded {
	clock := domaintest.Clock("2026-03-01").Add(90 * time.Minute)
	n := len(history)
	for i := range rapid.IntRange(1, 8).Draw(t, "claims") {
		minutes := rapid.IntRange(-10, 60).Draw(t, "minutes in")
		given := domaintest.Clock("2026-03-01").Add(time.Duration(minutes) * time.Minute)
		e := claimed(100+i, rapid.SampledFrom(domain.Outcomes()).Draw(t, "decided"), "2026-03-01")
		e.Purpose, e.GivenAt = rapid.SampledFrom(purposes()).Draw(t, "purpose"), given

		history = append(history, domain.Recorded{
			Position: int64(n + i + 1), Stream: consents(), Version: n + i + 1, Subject: domaintest.Thandi(), Event: e,
			Record: e.ConsentID.UUID, EffectiveAt: given, RecordedAt: clock,
		})
	}
	return history
}

func TestTheOrderInWhichClaimsAreImportedDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		here := anyHistory(t, true)
		history := anyClaims(t, slices.Clone(here))
		claims := history[len(here):]

		other := slices.Clone(here)
		for i, from := range rapid.Permutation(claims).Draw(t, "another order") {
			from.Position, from.Version = claims[i].Position, claims[i].Version
			other = append(other, from)
		}

		instant := anyInstant(t, "at")
		want, got := domain.ConsentsAt(history, instant, time.Time{}), domain.ConsentsAt(other, instant, time.Time{})
		for _, p := range purposes() {
			allowed, by, _ := want.Check(p)
			again, byAgain, _ := got.Check(p)
			if allowed != again || by.Event != byAgain.Event {
				t.Fatalf("%s: allowed %t, and in another order %t", p, allowed, again)
			}
		}
		if diff := domaintest.Diff(byID(want), byID(got)); diff != "" {
			t.Fatalf("records in another order:\n%s", diff)
		}
	})
}

// byID returns the records without their positions.
func byID(c domain.Consents) map[domain.ConsentID]domain.Consent {
	records := map[domain.ConsentID]domain.Consent{}
	for _, r := range c.Records() {
		r.Position = 0
		records[r.ID] = r
	}
	return records
}

func TestNoClaimOutvotesWhatAPersonDecidedHere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		here := anyHistory(t, true)
		history := anyClaims(t, slices.Clone(here))
		instant := anyInstant(t, "at")
		with, without := domain.ConsentsAt(history, instant, time.Time{}), domain.ConsentsAt(here, instant, time.Time{})

		for _, p := range purposes() {
			want, _, decided := without.Check(p)
			if got, by, _ := with.Check(p); decided && (got != want || domain.GradeOf(by.Event) != "") {
				t.Fatalf("%s: allowed %t without claims, and %t with them, by %s", p, want, got, by.Event.EventType())
			}
		}

		for _, r := range without.Records() { // nor does one change the records of what was decided here
			if got, _ := with.Record(r.ID); got != r {
				t.Fatalf("a record becomes %+v, from %+v", got, r)
			}
		}
	})
}

func TestATailThatIsEnoughAnswersAsTheWholeWithClaims(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := anyClaims(t, anyHistory(t, false))
		instant, purpose := anyInstant(t, "at"), rapid.SampledFrom(purposes()).Draw(t, "of")
		tail := domain.TailFor(domaintest.Thandi(), purpose, instant, time.Time{})
		want, by, _ := domain.ConsentsFor(purpose, history, instant, time.Time{}).Check(purpose)

		for i := range history {
			newest := slices.DeleteFunc(slices.Clone(history[i:]), func(r domain.Recorded) bool {
				return !isAbout(r.Event, purpose)
			})
			if len(newest) == 0 || !tail.Enough(newest) {
				continue
			}
			got, decides, _ := domain.ConsentsFor(purpose, newest, instant, time.Time{}).Check(purpose)
			if got != want || decides.Position != by.Position {
				t.Fatalf("the newest %d: allowed %t by %d, and by all %t by %d", len(newest), got, decides.Position,
					want, by.Position)
			}
		}
	})
}

func isAbout(e domain.Event, purpose string) bool {
	switch e := e.(type) {
	case *domain.ConsentGranted:
		return e.Purpose == purpose
	case *domain.ConsentRefused:
		return e.Purpose == purpose
	case *domain.ConsentWithdrawn:
		return e.Purpose == purpose
	case *domain.ConsentClaimed:
		return e.Purpose == purpose
	default:
		return false
	}
}

// claiming asks to record that somebody is said to have agreed to the newsletter on 1
// March, with a change to that.
func claiming(change func(*domain.ClaimConsent)) func([]domain.Recorded) ([]domain.Event, error) {
	return func(h []domain.Recorded) ([]domain.Event, error) {
		c := domain.ClaimConsent{
			ID: domaintest.Consent(7), Purpose: "newsletter", GivenAt: domaintest.Clock("2026-03-01"),
			Claim: domain.ConsentClaim{
				Decided: domain.OutcomeGranted, Grade: domain.GradeClaimed, Source: "an  old list", Line: 7,
				FileSHA256: domain.WordingHash("list"),
			},
		}
		change(&c)
		p := domaintest.Newsletter()
		if c.Purpose != p.Code {
			p = domain.Purpose{}
		}
		return c.Decide(h, p, p, domaintest.Clock("2026-06-01"))
	}
}

func TestAClaimWithoutKnownWordsIsNoConsentToAnyWords(t *testing.T) {
	t.Parallel()
	nobodys := domain.WordingHash("words that were never registered")

	for name, c := range map[string]struct {
		change  func(*domain.ClaimConsent)
		version int
		words   string
		hash    string
	}{
		"nothing is known":           {func(*domain.ClaimConsent) {}, 0, "", ""},
		"only the language is known": {func(c *domain.ClaimConsent) { c.Language = domain.Zulu }, 0, "", ""},
		"the hash of other words":    {func(c *domain.ClaimConsent) { c.WordingSHA256 = nobodys }, 0, "", nobodys},
		"the hash of words of later": {func(c *domain.ClaimConsent) {
			c.WordingSHA256 = domain.WordingHash(domaintest.NewsletterNewWords)
		}, 0, "", domain.WordingHash(domaintest.NewsletterNewWords)},
		"the hash of the words then": {func(c *domain.ClaimConsent) {
			c.WordingSHA256 = domain.WordingHash(domaintest.NewsletterWordsZu)
		}, 1, domaintest.NewsletterWordsZu, domain.WordingHash(domaintest.NewsletterWordsZu)},
		"the version then": {func(c *domain.ClaimConsent) {
			c.NoticeVersion, c.Language = 1, domain.English
		}, 1, domaintest.NewsletterWords, domain.WordingHash(domaintest.NewsletterWords)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events, err := claiming(c.change)(nil)
			if err != nil {
				t.Fatal(err)
			}

			d := events[0].(*domain.ConsentClaimed)
			if d.NoticeVersion != c.version || d.Wording != c.words || d.SHA256 != c.hash ||
				d.Claim.Source != "an old list" {
				t.Errorf("it is about version %d, %q", d.NoticeVersion, d.Wording)
			}
		})
	}
}

func TestAClaimIsRefused(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		change func(*domain.ClaimConsent)
		want   domain.Code
	}{
		"in the future": {func(c *domain.ClaimConsent) {
			c.GivenAt = at("2026-06-02")
		}, domain.CodeGivenInFuture},
		"of an unknown purpose": {func(c *domain.ClaimConsent) { c.Purpose = "nope" }, domain.CodeUnknownPurpose},
		"documented by nothing": {func(c *domain.ClaimConsent) {
			c.Claim.Grade = domain.GradeDocumented
		}, domain.CodeEvidenceRequired},
		"witnessed by nothing": {func(c *domain.ClaimConsent) {
			c.Claim.Grade = domain.GradeWitnessed
		}, domain.CodeEvidenceRequired},
		"under a version of later": {func(c *domain.ClaimConsent) {
			c.NoticeVersion, c.Language = 2, domain.English
		}, domain.CodeNoticeChanged},
		"under a version of no time": {func(c *domain.ClaimConsent) {
			c.NoticeVersion, c.Language = 9, domain.English
		}, domain.CodeNoticeChanged},
		"under other words": {func(c *domain.ClaimConsent) {
			c.NoticeVersion, c.Language, c.WordingSHA256 = 1, domain.English, domain.WordingHash("other")
		}, domain.CodeWordingMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			domaintest.Given(consents()).When(claiming(c.change)).ThenRefused(t, c.want)
		})
	}
}

func TestAllFaultsOfAClaimAreToldAtOnce(t *testing.T) {
	t.Parallel()
	domaintest.Given(consents()).When(claiming(func(c *domain.ClaimConsent) {
		c.Purpose, c.GivenAt, c.Language, c.Channel = "", time.Time{}, "xh", "fax"
		c.NoticeVersion, c.WordingSHA256 = -1, "abc"
		c.Claim = domain.ConsentClaim{Decided: "perhaps", Grade: "sworn"}
		c.Evidence, c.GivenBy = &domain.Evidence{}, &domain.CompetentPerson{}
	})).ThenFaulty(t, "purpose required", "decision invalid", "evidence_grade invalid", "source required",
		"given_at invalid", "language invalid", "channel invalid", "notice_version invalid", "wording_sha256 invalid",
		"evidence.sha256 invalid", "evidence.reference required", "given_by.name too_short",
		"given_by.relation required", "given_by.authority required")

	domaintest.Given(consents()).When(claiming(func(c *domain.ClaimConsent) {
		c.Purpose, c.GivenAt = domain.PlatformRegistrationCode, domaintest.Clock("1899-12-31")
	})).ThenFaulty(t, "purpose invalid", "given_at invalid")

	// 9999-12-31T23:59:59-12:00 cannot be written in UTC: it ended a whole import.
	domaintest.Given(consents()).When(claiming(func(c *domain.ClaimConsent) {
		c.GivenAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -12*60*60))
	})).ThenFaulty(t, "given_at invalid")
}

func TestAClaimOfAfterADecisionHereIsRefused(t *testing.T) {
	t.Parallel()
	for i, here := range [][]domain.Event{{granted(1)}, {refused(1)}, {granted(1), withdrawn(1)}} {
		for _, decided := range domain.Outcomes() {
			t.Run(fmt.Sprint(i, decided), func(t *testing.T) {
				t.Parallel()
				story := func(when string) domaintest.Story {
					return domaintest.Given(consents(), domaintest.At(when, here...)).
						When(claiming(func(c *domain.ClaimConsent) { c.Claim.Decided = decided }))
				}
				story("2026-02-28").ThenRefused(t, domain.CodeDecidedHere)
				story("2026-03-01").ThenRefused(t, domain.CodeDecidedHere)
				later := domaintest.History(consents(), domaintest.At("2026-03-02", here...))
				events, err := claiming(func(c *domain.ClaimConsent) { c.Claim.Decided = decided })(later)
				if err != nil || len(events) != 1 {
					t.Errorf("of before: %v", err)
				}
			})
		}
	}
}

func TestWhatIsOnlyClaimedCanBeAgreedTo(t *testing.T) {
	t.Parallel()
	claim := claimed(1, domain.OutcomeGranted, "2026-03-01")
	claim.NoticeVersion, claim.Language = 2, domain.English
	claim.Wording = domaintest.NewsletterNewWords
	claim.SHA256 = domain.WordingHash(claim.Wording)
	history := domaintest.History(consents(), domaintest.At("2026-05-01", claim))

	events, err := deciding(yes(), domaintest.Newsletter(), "2026-05-02")(history)
	if err != nil || len(events) != 1 {
		t.Fatalf("a grant of the same words is refused: %v", err)
	}
	_, err = deciding(yes(no), domaintest.Newsletter(), "2026-05-02")(history)
	domaintest.Refusal(t, nil, err, domain.CodeInForce)
}

func TestACheckThatRestsOnAClaimNamesItsGrade(t *testing.T) {
	t.Parallel()
	history := domaintest.History(consents(), domaintest.At("2026-04-01", domaintest.ClaimedGrant()))
	person := domaintest.History(domain.UserOf(domaintest.Thandi()),
		domaintest.At("2026-01-10", &domain.UserRegistered{}))
	defined := domaintest.Examples()
	purpose := domaintest.History(domain.PurposeOf(domaintest.Msunduzi(), "newsletter"), domaintest.At("2026-01-05",
		&domain.PurposeDefined{Code: "newsletter", Basis: domain.ConsentBasis, Retention: "a year"},
		defined[slices.IndexFunc(defined, func(e domain.Event) bool {
			_, is := e.(*domain.PurposeNoticePublished)
			return is
		})]))

	check, err := domain.Inquiry{
		Purpose: "newsletter", Person: person, Own: purpose, Consents: history,
	}.Answer()
	if err != nil || !check.Allowed || check.Reason != domain.ReasonGranted || check.Grade != domain.GradeDocumented {
		t.Errorf("the check is %+v, %v", check, err)
	}
}

// What a read table has, which knows the records as of now alone, is what a replay as of
// an earlier instant says: it needs no more than when each was ended or superseded.
func TestRecordsOfNowSayWhatWasSoWithClaims(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := anyClaims(t, anyHistory(t, true))
		instant := anyInstant(t, "at")
		if instant.IsZero() {
			return
		}
		cut := func(end time.Time) time.Time {
			if end.After(instant) {
				return time.Time{}
			}
			return end
		}

		then := domain.ConsentsAt(history, instant, time.Time{})
		for _, r := range domain.ConsentsAt(history, time.Time{}, time.Time{}).Records() {
			was, is := then.Record(r.ID)
			if is == r.GivenAt.After(instant) {
				t.Fatalf("%+v is a record at %s: %t", r, instant, is)
			}
			if is && (!was.WithdrawnAt.Equal(cut(r.WithdrawnAt)) || !was.SupersededAt.Equal(cut(r.SupersededAt))) {
				t.Fatalf("%+v\nwas at %s %+v", r, instant, was)
			}
		}
	})
}

// Which claim is in force, and what has become of the others.
func TestOfSeveralClaimsTheNewestIsInForceUntilThePersonDecides(t *testing.T) {
	t.Parallel()
	lists := []domain.Event{
		claimed(1, domain.OutcomeRefused, "2026-01-01"), claimed(2, domain.OutcomeGranted, "2026-02-01"),
		claimed(3, domain.OutcomeGranted, "2026-03-01"), claimed(4, domain.OutcomeGranted, "2026-03-20"),
	}
	late := domaintest.PaperGrant()
	late.ConsentID, late.GivenAt = domaintest.Consent(5), domaintest.Clock("2026-03-10")
	history := domaintest.History(consents(), domaintest.At("2026-04-01", lists...), domaintest.At("2026-05-01", late))
	rules := domain.RulesOf([]domain.Purpose{domaintest.Newsletter()}, nil,
		domain.Clocks{Now: domaintest.Clock("2026-06-01")})

	for known, want := range map[string]struct {
		inForce    int
		superseded map[int]string
	}{
		"2026-04-01": {4, map[int]string{1: "2026-02-01", 2: "2026-03-01", 3: "2026-03-20", 4: ""}},
		"":           {5, map[int]string{1: "2026-02-01", 2: "2026-03-01", 3: "2026-03-10", 4: "2026-03-20", 5: ""}},
	} {
		for _, r := range domain.ConsentsAt(history, time.Time{}, at(known)).Records() {
			for id := range 6 {
				if r.ID != domaintest.Consent(id) {
					continue
				}
				d := rules.Of(r)
				if !r.SupersededAt.Equal(at(want.superseded[id])) || d.InForce != (id == want.inForce) {
					t.Errorf("known at %q: %d is in force: %t, superseded at %s", known, id, d.InForce, r.SupersededAt)
				}
			}
		}
	}
}

func TestAClaimedWithdrawalHasTheStatusOfAWithdrawal(t *testing.T) {
	t.Parallel()
	history := domaintest.History(consents(),
		domaintest.At("2026-04-01", claimed(1, domain.OutcomeWithdrawn, "2026-03-01")))
	record := domain.ConsentsAt(history, time.Time{}, time.Time{}).Records()[0]
	if d := (domain.Rules{}).Of(record); d.Status != domain.StatusWithdrawn || d.InForce || d.Consented {
		t.Errorf("it is %+v", d)
	}
}

// A notice that demands that people are asked again lapses what is claimed under words
// that nobody knows, and the answer still says what it rested on.
func TestAClaimUnderUnknownWordsLapsesAsTheOldestDo(t *testing.T) {
	t.Parallel()
	purpose := domaintest.Newsletter()
	again := domaintest.Clock("2026-05-01")
	purpose.Notices[len(purpose.Notices)-1].Reconsent = again
	newest := purpose.Current()

	unknown, current := claimed(1, domain.OutcomeGranted, "2026-03-01"), claimed(1, domain.OutcomeGranted, "2026-03-01")
	current.GivenAt = newest.InUseSince
	current.NoticeVersion, current.Language = newest.Version, domain.English
	current.SHA256 = newest.SHA256[domain.English]
	for name, c := range map[string]struct {
		event *domain.ConsentClaimed
		now   string
		want  domain.Status
	}{
		"unknown, before":         {unknown, "2026-04-30", domain.StatusGranted},
		"unknown, from then on":   {unknown, "2026-05-01", domain.StatusLapsed},
		"the words of the notice": {current, "2026-05-01", domain.StatusGranted},
	} {
		rules := domain.RulesOf([]domain.Purpose{purpose}, nil, domain.Clocks{Now: domaintest.Clock(c.now)})
		history := domaintest.History(consents(), domaintest.At("2026-04-01", c.event))
		d := rules.Of(domain.ConsentsAt(history, time.Time{}, time.Time{}).Records()[0])
		if d.Status != c.want || d.Grade != domain.GradeClaimed {
			t.Errorf("%s: it is %s, %s", name, d.Status, d.Grade)
		}
	}
}

// A purpose whose grants hold for some days gives claimed ones no longer.
func TestAClaimedGrantHoldsAsLongAsOneGivenHere(t *testing.T) {
	t.Parallel()
	year, two := 365, 730
	purpose := domaintest.Newsletter()
	purpose.Notices[0].ValidityDays, purpose.Notices[1].ValidityDays = year, two
	before := purpose.Notices[0].InUseSince.Add(-time.Hour)

	for name, c := range map[string]struct {
		decided domain.Outcome
		given   time.Time
		want    int
	}{
		"under the first words":  {domain.OutcomeGranted, purpose.Notices[0].InUseSince, year},
		"under the second":       {domain.OutcomeGranted, purpose.Notices[1].InUseSince, two},
		"before there were any":  {domain.OutcomeGranted, before, two},
		"a refusal":              {domain.OutcomeRefused, purpose.Notices[1].InUseSince, 0},
		"a withdrawal of before": {domain.OutcomeWithdrawn, before, 0},
	} {
		wish := domain.ClaimConsent{
			ID: domaintest.Consent(7), Purpose: "newsletter", GivenAt: c.given,
			Claim: domain.ConsentClaim{Decided: c.decided, Grade: domain.GradeClaimed, Source: "a list", Line: 2},
		}
		events, err := wish.Decide(nil, purpose, purpose, domaintest.Clock("2027-06-01"))
		if err != nil || events[0].(*domain.ConsentClaimed).ValidityDays != c.want {
			t.Errorf("%s: %+v, %v", name, events, err)
		}
	}
}

// What was entered here in error outvotes nothing: neither what is claimed already nor
// what is imported then.
func TestAnAnnulledDecisionOutvotesNoClaim(t *testing.T) {
	t.Parallel()
	refusal := refused(1)
	refusal.GivenAt = domaintest.Clock("2026-02-01")
	history := withIDs(domaintest.History(consents(), domaintest.At("2026-03-10", refusal),
		domaintest.At("2026-04-01", claimed(2, domain.OutcomeGranted, "2026-03-01"))))
	if allowed, _, _ := domain.ConsentsAt(history, time.Time{}, time.Time{}).Check("newsletter"); allowed {
		t.Error("a claim outvotes a refusal given here")
	}

	history = append(history, domain.Recorded{
		Position: 3, Stream: consents(), Subject: domaintest.Thandi(), EventID: domaintest.ID(0xd, 3),
		Event: &domain.ConsentAnnulled{
			ConsentID: domaintest.Consent(1), Purpose: "newsletter", Entry: domain.DecisionEntry,
			Annuls: history[0].EventID,
		},
		EffectiveAt: domaintest.Clock("2026-05-01"), RecordedAt: domaintest.Clock("2026-05-01"),
	})
	allowed, by, _ := domain.ConsentsAt(history, time.Time{}, time.Time{}).Check("newsletter")
	if !allowed || domain.GradeOf(by.Event) != domain.GradeClaimed {
		t.Errorf("after the annulment: allowed %t by %+v", allowed, by)
	}
	events, err := claiming(func(c *domain.ClaimConsent) { c.GivenAt = at("2026-03-15") })(history)
	if err != nil || len(events) != 1 {
		t.Errorf("and a claim is refused: %v", err)
	}
}

// A claim of a wrong list is annulled like any entry made in error.
func TestAClaimIsAnnulled(t *testing.T) {
	t.Parallel()
	for _, decided := range domain.Outcomes() {
		history := withIDs(domaintest.History(consents(), domaintest.At("2026-04-01",
			claimed(1, domain.OutcomeGranted, "2026-02-01"), claimed(2, decided, "2026-03-01"))))
		wish := domain.AnnulConsent{
			ID: domaintest.Consent(2), Reason: "The list was of another town.",
			Evidence: &domain.Evidence{SHA256: domain.WordingHash("note"), Reference: "box 5"},
		}
		events, err := wish.Decide(domain.User{}, history, domaintest.Clock("2026-05-01"))
		if err != nil || len(events) != 1 {
			t.Fatalf("%s: %v, %v", decided, events, err)
		}

		history = append(history, domain.Recorded{
			Position: 3, Stream: consents(), Event: events[0], RecordedAt: domaintest.Clock("2026-05-01"),
			EffectiveAt: domaintest.Clock("2026-05-01"),
		})
		state := domain.ConsentsAt(history, time.Time{}, time.Time{})
		if allowed, by, _ := state.Check("newsletter"); !allowed || by.Position != 1 {
			t.Errorf("%s: allowed %t by %d", decided, allowed, by.Position)
		}
		if c, _ := state.Record(domaintest.Consent(2)); c.AnnulledAt.IsZero() || c.Grade != domain.GradeClaimed {
			t.Errorf("%s: annulled it is %+v", decided, c)
		}
	}
}

// Claims move with the record, grade and all.
func TestAClaimIsCopiedWhenRecordsAreMerged(t *testing.T) {
	t.Parallel()
	from := withIDs(domaintest.History(consents(), domaintest.At("2026-04-01", domaintest.ClaimedGrant())))
	m, err := merging(100).Decide(file(domaintest.Clerk(), from), file(domaintest.Thandi(), nil))
	if err != nil || len(m.IntoConsents) != 1 || len(m.FromConsents) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	copied, is := m.IntoConsents[0].(*domain.ConsentClaimed)
	if !is || copied.Claim != domaintest.ClaimedGrant().Claim || !domain.IsCopy(copied) ||
		copied.ConsentID == domaintest.ClaimedGrant().ConsentID {
		t.Errorf("the copy is %+v", m.IntoConsents[0])
	}
}
