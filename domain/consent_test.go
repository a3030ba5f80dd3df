package domain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

func consents() domain.Stream { return domain.ConsentsOf(domaintest.Thandi()) }

// yes asks to grant the newsletter on the web, just now.
func yes(change ...func(*domain.RecordConsent)) domain.RecordConsent {
	c := domain.RecordConsent{
		ID: domaintest.Consent(7), Purpose: "newsletter", Language: domain.English, Consented: true,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func no(c *domain.RecordConsent) { c.Consented = false }

func onPaper(given string) func(*domain.RecordConsent) {
	return func(c *domain.RecordConsent) {
		c.Channel, c.ByStaff, c.GivenAt = domain.Paper, true, domaintest.Clock(given)
		c.Evidence = &domain.Evidence{SHA256: domain.WordingHash("scan of form 17"), Reference: "box 4, form 17"}
	}
}

// plain is a decision on the newsletter on the web by the subject, without any optional
// part.
func plain(id, notice int, english string) domain.Decision {
	return domain.Decision{
		ConsentID: domaintest.Consent(id), Purpose: "newsletter", NoticeVersion: notice, Wording: english,
		SHA256: domain.WordingHash(english), Language: domain.English, Channel: domain.Web, RecordedBy: domain.BySelf,
		GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}
}

func granted(id int) *domain.ConsentGranted {
	return &domain.ConsentGranted{Decision: plain(id, 1, domaintest.NewsletterWords)}
}

func refused(id int) *domain.ConsentRefused {
	return &domain.ConsentRefused{Decision: plain(id, 1, domaintest.NewsletterWords)}
}

func withdrawn(id int) *domain.ConsentWithdrawn {
	return &domain.ConsentWithdrawn{ConsentID: domaintest.Consent(id), Purpose: "newsletter", RecordedBy: domain.BySelf}
}

// deciding decides on a consent for the newsletter at an instant.
func deciding(c domain.RecordConsent, p domain.Purpose, now string) func([]domain.Recorded) ([]domain.Event, error) {
	return func(h []domain.Recorded) ([]domain.Event, error) { return c.Decide(h, p, domaintest.Clock(now)) }
}

func TestADecisionIsRecordedWithTheWordsAsShown(t *testing.T) {
	t.Parallel()
	first := domaintest.NewsletterWords
	paper := plain(7, 1, first)
	paper.Channel, paper.RecordedBy, paper.GivenAt = domain.Paper, domain.ByStaff, domaintest.Clock("2026-03-01")
	paper.EvidenceSHA256 = domain.WordingHash("scan of form 17")
	paper.Private = domain.Known(domain.DecisionFacts{EvidenceReference: "box 4, form 17"})

	zulu := plain(7, 1, domaintest.NewsletterWordsZu)
	zulu.Language = domain.Zulu

	mother := &domain.CompetentPerson{Name: "Nomvula Nkosi", Relation: "mother", Authority: "birth certificate 26-0417"}
	child := plain(7, 1, first)
	child.GivenBy, child.Private = domain.ByCompetentPerson, domain.Known(domain.DecisionFacts{CompetentPerson: mother})

	prompt := plain(7, 1, first)
	prompt.GivenAt = domaintest.Clock("2026-03-06 09:55")

	for name, c := range map[string]struct {
		command domain.RecordConsent
		then    domain.Event
	}{
		"a grant on the web":        {yes(), &domain.ConsentGranted{Decision: plain(7, 1, first)}},
		"a refusal is its own fact": {yes(no), &domain.ConsentRefused{Decision: plain(7, 1, first)}},
		"on paper, five days ago":   {yes(onPaper("2026-03-01")), &domain.ConsentGranted{Decision: paper}},
		"a refusal on paper":        {yes(onPaper("2026-03-01"), no), &domain.ConsentRefused{Decision: paper}},
		"in isiZulu": {
			yes(func(c *domain.RecordConsent) { c.Language = domain.Zulu }),
			&domain.ConsentGranted{Decision: zulu},
		},
		"by a child's mother": {
			yes(func(c *domain.RecordConsent) { c.GivenBy = mother }),
			&domain.ConsentGranted{Decision: child},
		},
		"given exactly 5 minutes ago": {
			yes(func(c *domain.RecordConsent) { c.GivenAt = prompt.GivenAt }),
			&domain.ConsentGranted{Decision: prompt},
		},
		"the notice shown is named": {
			yes(func(c *domain.RecordConsent) { c.NoticeVersion = 1 }),
			&domain.ConsentGranted{Decision: plain(7, 1, first)},
		},
		"the same words, other blanks": {
			yes(func(c *domain.RecordConsent) { c.Description = "  " + strings.ReplaceAll(first, " ", "\n ") }),
			&domain.ConsentGranted{Decision: plain(7, 1, first)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := domaintest.PurposeWith(func(*domain.DefinePurpose) {})
			domaintest.Given(consents()).When(deciding(c.command, p, "2026-03-06 10:00")).Then(t, c.then)
		})
	}
}

func TestAStatedInstantIsKeptAsTheLogKeepsIt(t *testing.T) {
	t.Parallel()
	johannesburg := time.FixedZone("SAST", 2*60*60)
	c := yes(func(c *domain.RecordConsent) { c.GivenAt = time.Date(2026, 3, 6, 11, 59, 0, 123456789, johannesburg) })

	want := plain(7, 1, domaintest.NewsletterWords)
	want.GivenAt = domaintest.Clock("2026-03-06 09:59:00.123456")

	p := domaintest.PurposeWith(func(*domain.DefinePurpose) {})
	domaintest.Given(consents()).When(deciding(c, p, "2026-03-06 10:00")).
		Then(t, &domain.ConsentGranted{Decision: want})

	payload, _ := mustEncode(t, &domain.ConsentGranted{Decision: want})
	if !strings.Contains(string(payload), `"given_at":"2026-03-06T09:59:00.123456Z"`) {
		t.Errorf("payload %s", payload)
	}
}

func TestADecisionThatCannotBeRecordedIsRefused(t *testing.T) {
	t.Parallel()
	given := func(at string) func(*domain.RecordConsent) {
		return func(c *domain.RecordConsent) { c.GivenAt = domaintest.Clock(at) }
	}
	on := func(ch domain.Channel) func(*domain.RecordConsent) {
		return func(c *domain.RecordConsent) { c.Channel = ch }
	}
	notice := func(v int) func(*domain.RecordConsent) {
		return func(c *domain.RecordConsent) { c.NoticeVersion = v }
	}
	says := func(text string) func(*domain.RecordConsent) {
		return func(c *domain.RecordConsent) { c.Description = text }
	}

	plainPurpose := domaintest.PurposeWith(func(*domain.DefinePurpose) {})
	forChildren := domaintest.PurposeWith(func(c *domain.DefinePurpose) { c.CompetentPerson = true })
	retiredPurpose := plainPurpose.Evolve(domain.Recorded{
		Version: 3, Event: &domain.PurposeRetired{Code: "newsletter"},
	})

	for name, c := range map[string]struct {
		command domain.RecordConsent
		purpose domain.Purpose
		then    domain.Code
	}{
		"given in the future": {
			yes(given("2026-03-06 10:00:00.000001")), plainPurpose,
			domain.CodeGivenInFuture,
		},
		"a refusal in the future": {
			yes(no, given("2027-01-01")), plainPurpose,
			domain.CodeGivenInFuture,
		},
		"over 5 minutes ago on the web": {
			yes(given("2026-03-06 09:54:59.999999")), plainPurpose,
			domain.CodeEvidenceRequired,
		},
		"days ago on paper without evidence": {
			yes(given("2026-03-01"), on(domain.Paper)), plainPurpose,
			domain.CodeEvidenceRequired,
		},
		"days ago on the web with evidence": {
			yes(onPaper("2026-03-01"), on(domain.Web)), plainPurpose,
			domain.CodeEvidenceRequired,
		},
		"a refusal days ago without evidence": {
			yes(no, given("2026-03-01"), on(domain.Phone)), plainPurpose,
			domain.CodeEvidenceRequired,
		},
		"a purpose that nobody defined":            {yes(), domain.Purpose{}, domain.CodeUnknownPurpose},
		"a purpose that was retired":               {yes(), retiredPurpose, domain.CodeUnknownPurpose},
		"a child's grant without competent person": {yes(), forChildren, domain.CodeCompetentPerson},
		"a notice that was never published":        {yes(notice(3)), domaintest.Newsletter(), domain.CodeNoticeChanged},
		"a notice that is not yet in force":        {yes(notice(2)), plainPurpose, domain.CodeNoticeChanged},
		"other words than the notice's": {
			yes(says("To sell your address.")), plainPurpose,
			domain.CodeWordingMismatch,
		},
		"the words in another letter case": {
			yes(says(strings.ToUpper(domaintest.NewsletterWords))), plainPurpose,
			domain.CodeWordingMismatch,
		},
		"the words of another language": {
			yes(says(domaintest.NewsletterWordsAf)), plainPurpose,
			domain.CodeWordingMismatch,
		},
		"a refusal of other words": {yes(no, says("To sell your address.")), plainPurpose, domain.CodeWordingMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := domaintest.Given(consents()).When(deciding(c.command, c.purpose, "2026-03-06 10:00")).
				ThenRefused(t, c.then)
			demandNoEcho(t, err, "sell")
		})
	}
}

func TestOnlyWhatRestsOnConsentCanBeConsentedTo(t *testing.T) {
	t.Parallel()
	for _, basis := range domain.Bases() {
		p := domaintest.PurposeWith(func(c *domain.DefinePurpose) { c.Basis = basis })
		for _, c := range []domain.RecordConsent{yes(), yes(no)} {
			story := domaintest.Given(consents()).When(deciding(c, p, "2026-03-06 10:00"))
			if basis != domain.ConsentBasis {
				story.ThenRefused(t, domain.CodePurposeNotConsent)
			}
		}
	}
}

func TestAChildMayRefuseAlone(t *testing.T) {
	t.Parallel()
	p := domaintest.PurposeWith(func(c *domain.DefinePurpose) { c.CompetentPerson = true })
	domaintest.Given(consents()).When(deciding(yes(no), p, "2026-03-06 10:00")).Then(t, refused(7))
}

func TestTheNoticeIsTheOneInForceWhenThePersonDecided(t *testing.T) {
	t.Parallel()
	newWords := &domain.ConsentGranted{Decision: plain(7, 2, domaintest.NewsletterNewWords)}

	t.Run("just now: the newest", func(t *testing.T) {
		t.Parallel()
		domaintest.Given(consents()).When(deciding(yes(), domaintest.Newsletter(), "2026-04-02")).Then(t, newWords)
	})

	t.Run("just now, by a clock behind the log's: the newest", func(t *testing.T) {
		t.Parallel()
		c := yes(func(c *domain.RecordConsent) { c.NoticeVersion = 2 })
		domaintest.Given(consents()).When(deciding(c, domaintest.Newsletter(), "2026-03-31 23:59")).Then(t, newWords)
	})

	t.Run("on paper before the new notice: the old", func(t *testing.T) {
		t.Parallel()
		c := yes(onPaper("2026-03-01"), func(c *domain.RecordConsent) { c.NoticeVersion = 1 })
		events, err := c.Decide(nil, domaintest.Newsletter(), domaintest.Clock("2026-04-02"))
		if err != nil {
			t.Fatal(err)
		}

		e, ok := events[0].(*domain.ConsentGranted)
		if !ok || e.NoticeVersion != 1 || e.Wording != domaintest.NewsletterWords {
			t.Errorf("got %+v", events[0])
		}
	})

	t.Run("the old one is not in force any more", func(t *testing.T) {
		t.Parallel()
		c := yes(func(c *domain.RecordConsent) { c.NoticeVersion = 1 })
		domaintest.Given(consents()).When(deciding(c, domaintest.Newsletter(), "2026-04-02")).
			ThenRefused(t, domain.CodeNoticeChanged)
	})

	t.Run("the new one was not in force then", func(t *testing.T) {
		t.Parallel()
		c := yes(onPaper("2026-03-01"), func(c *domain.RecordConsent) { c.NoticeVersion = 2 })
		domaintest.Given(consents()).When(deciding(c, domaintest.Newsletter(), "2026-04-02")).
			ThenRefused(t, domain.CodeNoticeChanged)
	})

	t.Run("the old words under the new notice", func(t *testing.T) {
		t.Parallel()
		c := yes(func(c *domain.RecordConsent) { c.Description = domaintest.NewsletterWords })
		domaintest.Given(consents()).When(deciding(c, domaintest.Newsletter(), "2026-04-02")).
			ThenRefused(t, domain.CodeWordingMismatch)
	})
}

func TestADecisionMustFitWhatIsInForce(t *testing.T) {
	t.Parallel()
	grant := domaintest.At("2026-02-01", granted(1))
	first := domaintest.PurposeWith(func(*domain.DefinePurpose) {})
	reworded := domaintest.PurposeWith(func(c *domain.DefinePurpose) {
		c.Texts = domaintest.NewsletterTexts("A municipality's own words, which are its first notice.")
	})

	for name, c := range map[string]struct {
		given   []domaintest.Fact
		command domain.RecordConsent
		purpose domain.Purpose
		now     string
		then    domain.Code // empty: recorded
	}{
		"a second grant under the same notice": {
			[]domaintest.Fact{grant},
			yes(), first, "2026-03-06",
			domain.CodeAlreadyGranted,
		},
		"a second grant in another language": {
			[]domaintest.Fact{grant},
			yes(func(c *domain.RecordConsent) { c.Language = domain.Zulu }), first, "2026-03-06",
			domain.CodeAlreadyGranted,
		},
		"a refusal of what is granted": {
			[]domaintest.Fact{grant},
			yes(no), first, "2026-03-06",
			domain.CodeInForce,
		},
		"a refusal under a newer notice": {
			[]domaintest.Fact{grant},
			yes(no), domaintest.Newsletter(),
			"2026-04-02", domain.CodeInForce,
		},
		"a grant under a newer notice supersedes": {
			[]domaintest.Fact{grant},
			yes(), domaintest.Newsletter(),
			"2026-04-02", "",
		},
		"a grant of a first notice with other words": {[]domaintest.Fact{grant}, yes(), reworded, "2026-03-06", ""},
		"a grant after a refusal": {
			[]domaintest.Fact{domaintest.At("2026-02-01", refused(1))},
			yes(), first, "2026-03-06", "",
		},
		"a second refusal": {
			[]domaintest.Fact{domaintest.At("2026-02-01", refused(1))},
			yes(no),
			first, "2026-03-06", "",
		},
		"a grant after a withdrawal": {
			[]domaintest.Fact{grant, domaintest.At("2026-02-02", withdrawn(1))},
			yes(), first, "2026-03-06", "",
		},
		"a refusal after a withdrawal": {
			[]domaintest.Fact{grant, domaintest.At("2026-02-02", withdrawn(1))},
			yes(no), first, "2026-03-06", "",
		},
		"a refusal on paper before the grant": {
			[]domaintest.Fact{grant},
			yes(no, onPaper("2026-01-31")), first,
			"2026-03-06", "",
		},
		"a grant on paper before the grant": {
			[]domaintest.Fact{grant},
			yes(onPaper("2026-01-31")), first, "2026-03-06",
			"",
		},
		"a grant on paper while it was in force": {
			[]domaintest.Fact{grant, domaintest.At("2026-02-20", withdrawn(1))},
			yes(onPaper("2026-02-10")), first, "2026-03-06", domain.CodeAlreadyGranted,
		},
		"a refusal on paper while it was in force": {
			[]domaintest.Fact{grant, domaintest.At("2026-02-20", withdrawn(1))},
			yes(no, onPaper("2026-02-10")), first, "2026-03-06", domain.CodeInForce,
		},
		"a newer notice supersedes though this language's words stayed": {
			[]domaintest.Fact{domaintest.At("2026-02-01", inZulu(granted(1)))},
			yes(func(c *domain.RecordConsent) { c.Language = domain.Zulu }), domaintest.Newsletter(), "2026-04-02", "",
		},
		"a grant of another purpose does not matter": {
			[]domaintest.Fact{domaintest.At("2026-02-01", otherPurpose(granted(1)))}, yes(), first, "2026-03-06", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story := domaintest.Given(consents(), c.given...).When(deciding(c.command, c.purpose, c.now))
			if c.then != "" {
				if got := story.ThenRefused(t, c.then).ConsentID; got != domaintest.Consent(1) {
					t.Errorf("the refusal names consent %s", got)
				}
				return
			}

			history := domaintest.History(consents(), c.given...)
			events, err := c.command.Decide(history, c.purpose, domaintest.Clock(c.now))
			if err != nil || len(events) != 1 {
				t.Fatalf("events %v, error %v", events, err)
			}
		})
	}
}

func inZulu(e *domain.ConsentGranted) *domain.ConsentGranted {
	e.Language, e.Wording, e.SHA256 = domain.Zulu, domaintest.NewsletterWordsZu,
		domain.WordingHash(domaintest.NewsletterWordsZu)
	return e
}

func otherPurpose(e *domain.ConsentGranted) *domain.ConsentGranted {
	e.Purpose = "research"
	return e
}

func TestADecisionsFaultsAreReportedAtOnceAndEchoNoInput(t *testing.T) {
	t.Parallel()
	c := domain.RecordConsent{
		Language: "zq", Channel: "zq", Description: "zq", GivenAt: domaintest.Clock("2099-01-01"),
		Evidence: &domain.Evidence{SHA256: "ZQ", Reference: " "},
		GivenBy:  &domain.CompetentPerson{Name: "<zq>", Relation: "\t", Authority: strings.Repeat("zq", 251)},
	}

	story := domaintest.Given(consents()).When(deciding(c, domain.Purpose{}, "2026-03-06"))
	story.ThenFaulty(t, "language invalid", "channel invalid", "purpose required", "evidence.sha256 invalid",
		"evidence.reference required", "given_by.name invalid", "given_by.relation required",
		"given_by.authority too_long")
	demandNoEcho(t, story.ThenRefused(t, domain.CodeInvalid), "zq")
}

func TestEvidenceIsNamedByItsHash(t *testing.T) {
	t.Parallel()
	hash := domain.WordingHash("scan")
	for name, c := range map[string]struct{ sha256, fault string }{
		"64 lower-case digits": {hash, ""},
		"upper case":           {strings.ToUpper(hash), "invalid"},
		"63 digits":            {hash[1:], "invalid"},
		"65 digits":            {hash + "0", "invalid"},
		"none":                 {"", "invalid"},
		"a line break last":    {hash + "\n", "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c2 := yes(func(w *domain.RecordConsent) {
				w.Evidence = &domain.Evidence{SHA256: c.sha256, Reference: "box 4"}
			})
			_, err := c2.Decide(nil, domaintest.PurposeWith(func(*domain.DefinePurpose) {}),
				domaintest.Clock("2026-03-06"))
			demandFault(t, err, "evidence.sha256", c.fault)
		})
	}
}

func TestWithdrawing(t *testing.T) {
	t.Parallel()
	grant := domaintest.At("2026-02-01", granted(1))
	gone := domaintest.At("2026-02-20", withdrawn(1))

	dated := withdrawn(1)
	dated.GivenAt = domaintest.Clock("2026-02-10")

	told := withdrawn(1)
	told.RecordedBy, told.Private = domain.ByStaff, domain.Known(domain.WithdrawalFacts{Reason: "Te veel pos."})

	earlier := withdrawn(1)
	earlier.GivenAt = domaintest.Clock("2026-02-02")

	letter := &domain.Evidence{SHA256: domain.WordingHash("a letter"), Reference: "box 5, letter 3"}

	proved := withdrawn(1)
	proved.GivenAt, proved.RecordedBy, proved.EvidenceSHA256 = earlier.GivenAt, domain.ByStaff, letter.SHA256
	proved.Private = domain.Known(domain.WithdrawalFacts{EvidenceReference: letter.Reference})

	moments := withdrawn(1)
	moments.GivenAt, moments.RecordedBy = domaintest.Clock("2026-03-05 23:55"), domain.ByStaff

	for name, c := range map[string]struct {
		given   []domaintest.Fact
		command domain.WithdrawConsent
		then    []domain.Event
		code    domain.Code
		fault   string
	}{
		"what is in force ends": {given: []domaintest.Fact{grant}, then: []domain.Event{withdrawn(1)}},
		"at a counter, with a reason": {
			given: []domaintest.Fact{grant}, command: domain.WithdrawConsent{Reason: "Te veel pos.", ByStaff: true},
			then: []domain.Event{told},
		},
		"as of a stated instant": {
			given: []domaintest.Fact{grant}, command: domain.WithdrawConsent{GivenAt: dated.GivenAt},
			then: []domain.Event{dated},
		},
		"in the instant of the consent": {
			given: []domaintest.Fact{grant}, command: domain.WithdrawConsent{GivenAt: domaintest.Clock("2026-02-01")},
			then: []domain.Event{func() domain.Event {
				e := withdrawn(1)
				e.GivenAt = domaintest.Clock("2026-02-01")
				return e
			}()},
		},
		"a second time: the first counts": {given: []domaintest.Fact{grant, gone}},
		"a second time, in the same instant": {
			given:   []domaintest.Fact{grant, gone},
			command: domain.WithdrawConsent{GivenAt: domaintest.Clock("2026-02-20"), ByStaff: true},
		},
		"a second time, but given earlier": {
			given: []domaintest.Fact{grant, gone}, command: domain.WithdrawConsent{GivenAt: earlier.GivenAt},
			then: []domain.Event{earlier},
		},
		"a second time, but given earlier, by staff with evidence": {
			given:   []domaintest.Fact{grant, gone},
			command: domain.WithdrawConsent{GivenAt: earlier.GivenAt, ByStaff: true, Evidence: letter},
			then:    []domain.Event{proved},
		},
		"a second time, but given earlier, by staff without evidence": {
			given:   []domaintest.Fact{grant, gone},
			command: domain.WithdrawConsent{GivenAt: earlier.GivenAt, ByStaff: true},
			code:    domain.CodeEvidenceRequired,
		},
		"a second time, before the consent was given": {
			given:   []domaintest.Fact{grant, gone},
			command: domain.WithdrawConsent{GivenAt: domaintest.Clock("2026-01-31")},
			fault:   "given_at invalid",
		},
		"a third time, in between": {
			given:   []domaintest.Fact{grant, gone, domaintest.At("2026-02-21", earlier)},
			command: domain.WithdrawConsent{GivenAt: dated.GivenAt},
		},
		"long ago, by staff with evidence": {
			given:   []domaintest.Fact{grant},
			command: domain.WithdrawConsent{GivenAt: earlier.GivenAt, ByStaff: true, Evidence: letter},
			then:    []domain.Event{proved},
		},
		"long ago, by staff without evidence": {
			given: []domaintest.Fact{grant}, command: domain.WithdrawConsent{GivenAt: earlier.GivenAt, ByStaff: true},
			code: domain.CodeEvidenceRequired,
		},
		"five minutes ago, by staff without evidence": {
			given: []domaintest.Fact{grant}, command: domain.WithdrawConsent{GivenAt: moments.GivenAt, ByStaff: true},
			then: []domain.Event{moments},
		},
		"with evidence that is none": {
			given:   []domaintest.Fact{grant},
			command: domain.WithdrawConsent{Evidence: &domain.Evidence{SHA256: "AB", Reference: "x"}},
			fault:   "evidence.sha256 invalid",
		},
		"a second time, in the future": {
			given:   []domaintest.Fact{grant, gone},
			command: domain.WithdrawConsent{GivenAt: domaintest.Clock("2099-01-01")},
		},
		"one that was superseded": {
			given: []domaintest.Fact{grant, domaintest.At("2026-02-10", granted(2))},
			then:  []domain.Event{withdrawn(1)},
		},
		"a refusal": {
			given: []domaintest.Fact{domaintest.At("2026-02-01", refused(1))},
			code:  domain.CodeNotGranted,
		},
		"what was never recorded": {code: domain.CodeNotFound},
		"in the future": {
			given:   []domaintest.Fact{grant},
			command: domain.WithdrawConsent{GivenAt: domaintest.Clock("2026-03-07")}, code: domain.CodeGivenInFuture,
		},
		"before the consent was given": {
			given:   []domaintest.Fact{grant},
			command: domain.WithdrawConsent{GivenAt: domaintest.Clock("2026-01-31 23:59")}, fault: "given_at invalid",
		},
		"with a reason that has no end": {
			given:   []domaintest.Fact{grant},
			command: domain.WithdrawConsent{Reason: strings.Repeat("Ṱ", 1001)}, fault: "reason too_long",
		},
		"with a reason that is no text": {
			given:   []domaintest.Fact{grant},
			command: domain.WithdrawConsent{Reason: "zq\x00"}, fault: "reason invalid",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.command.ID = domaintest.Consent(1)
			story := domaintest.Given(consents(), c.given...).When(func(h []domain.Recorded) ([]domain.Event, error) {
				return c.command.Decide(h, domaintest.Clock("2026-03-06"))
			})

			switch {
			case c.code != "":
				story.ThenRefused(t, c.code)
			case c.fault != "":
				story.ThenFaulty(t, c.fault)
			case c.then == nil:
				story.ThenNothing(t)
			default:
				story.Then(t, c.then...)
			}
		})
	}
}

func TestTheEarliestKnownWithdrawalCounts(t *testing.T) {
	t.Parallel()
	earlier := withdrawn(1)
	earlier.GivenAt = domaintest.Clock("2026-02-04")
	history := domaintest.History(consents(), domaintest.At("2026-02-01", granted(1)),
		domaintest.At("2026-02-09", withdrawn(1)),
		domaintest.At("2026-02-10", earlier))

	for _, c := range []struct {
		at, known string
		allowed   bool
		withdrawn string
	}{
		{at: "2026-02-03", known: "2026-02-10", allowed: true},
		{at: "2026-02-04", known: "2026-02-10", withdrawn: "2026-02-04"},
		{at: "2026-02-08", known: "2026-02-10", withdrawn: "2026-02-04"},
		{at: "2026-02-11", known: "2026-02-11", withdrawn: "2026-02-04"},
		{at: "2026-02-08", known: "2026-02-09 12:00", allowed: true},
		{at: "2026-02-09", known: "2026-02-09 12:00", withdrawn: "2026-02-09"},
	} {
		state := domain.ConsentsAt(history, domaintest.Clock(c.at), domaintest.Clock(c.known))
		allowed, _, _ := state.Check("newsletter")
		record, _ := state.Record(domaintest.Consent(1))

		if allowed != c.allowed || record.Withdrawn() != (c.withdrawn != "") ||
			record.Withdrawn() && !record.WithdrawnAt.Equal(domaintest.Clock(c.withdrawn)) {
			t.Errorf("at %s as known at %s: allowed %t, withdrawn at %s", c.at, c.known, allowed, record.WithdrawnAt)
		}
	}
}

func TestLeavingWithdrawsWhatWasGivenThroughTheAccount(t *testing.T) {
	t.Parallel()
	decide := func(id int, purpose, by string) *domain.ConsentGranted {
		return &domain.ConsentGranted{Decision: domain.Decision{
			ConsentID: domaintest.Consent(id), Purpose: purpose, RecordedBy: by,
		}}
	}
	platform := decide(1, domain.PlatformRegistrationCode, domain.BySelf)
	left := &domain.ConsentWithdrawn{
		ConsentID: platform.ConsentID, Purpose: platform.Purpose, GivenAt: domaintest.Clock("2026-02-05"),
		RecordedBy: domain.ByStaff,
	}

	history := domaintest.History(consents(), domaintest.At("2026-02-01", platform, decide(2, "own", "")),
		domaintest.At("2026-02-02", decide(3, "paper", "")), domaintest.At("2026-02-06", decide(4, "since", "")))
	for i := range history {
		if purposes := history[i].Event.(*domain.ConsentGranted).Purpose; purposes != "paper" {
			history[i].Actor = history[i].Subject
		}
	}

	withdrawn, leaves := left.CloseAccount(history, domaintest.Clock("2026-02-07"))
	want := []domain.Event{
		&domain.ConsentWithdrawn{
			ConsentID: domaintest.Consent(2), Purpose: "own", GivenAt: left.GivenAt, RecordedBy: domain.ByStaff,
			Cause: domain.CauseAccountClosed,
		},
		&domain.ConsentWithdrawn{
			ConsentID: domaintest.Consent(4), Purpose: "since", RecordedBy: domain.ByStaff,
			Cause: domain.CauseAccountClosed,
		},
	}
	if diff := domaintest.Diff(want, withdrawn); diff != "" || !leaves {
		t.Errorf("leaves %t, withdrawn (-want +got):\n%s", leaves, diff)
	}

	again := domaintest.History(consents(), domaintest.At("2026-02-01", platform),
		domaintest.At("2026-02-06", decide(5, platform.Purpose, "")))
	if events, leaves := left.CloseAccount(again, domaintest.Clock("2026-02-07")); leaves || events != nil {
		t.Error("a withdrawal from before a new consent to the account closes it")
	}
}

func TestAWithdrawalEndsEveryGrantThatStillHolds(t *testing.T) {
	t.Parallel()
	history := domaintest.History(consents(),
		domaintest.At("2026-02-01", granted(1)), domaintest.At("2026-04-02", granted(2)),
		domaintest.At("2026-04-03", otherPurpose(granted(3))), domaintest.At("2026-05-04", withdrawn(1)))

	c := domain.ConsentsAt(history, time.Time{}, time.Time{})
	for id, want := range map[int]string{1: "2026-05-04", 2: "2026-05-04", 3: ""} {
		got, ok := c.Record(domaintest.Consent(id))
		if !ok || got.Withdrawn() != (want != "") || (want != "" && !got.WithdrawnAt.Equal(domaintest.Clock(want))) {
			t.Errorf("consent %d: withdrawn at %s, want %q", id, got.WithdrawnAt, want)
		}
	}

	for id, want := range map[int]int64{1: 4, 2: 4, 3: 3} {
		if got, _ := c.Record(domaintest.Consent(id)); got.Position != want {
			t.Errorf("the newest event about consent %d is at %d, want %d", id, got.Position, want)
		}
	}

	if allowed, by, _ := c.Check("newsletter"); allowed || by.Position != 4 {
		t.Errorf("newsletter: allowed %t by position %d", allowed, by.Position)
	}
	if allowed, _, decided := c.Check("research"); !allowed || !decided {
		t.Error("the withdrawal reached another purpose")
	}
	if _, _, decided := c.Check("never asked"); decided {
		t.Error("a purpose nobody was asked about is decided")
	}
}
