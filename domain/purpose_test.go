package domain_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

func newsletterDefinition() domain.DefinePurpose {
	return domain.DefinePurpose{
		Code: "newsletter", Basis: domain.ConsentBasis, Retention: "until withdrawn",
		Texts: domaintest.NewsletterTexts(domaintest.NewsletterWords),
	}
}

func published(code string, version int, english string) *domain.PurposeNoticePublished {
	e := &domain.PurposeNoticePublished{
		Code: code, Notice: version, Texts: domaintest.NewsletterTexts(english), SHA256: map[domain.Language]string{},
	}
	for l, text := range e.Texts {
		e.SHA256[l] = domain.WordingHash(text)
	}
	return e
}

func newsletterStream() domain.Stream { return domain.PurposeOf(domaintest.Msunduzi(), "newsletter") }

func defined() domaintest.Fact {
	return domaintest.At("2026-01-05",
		&domain.PurposeDefined{Code: "newsletter", Basis: domain.ConsentBasis, Retention: "until withdrawn"},
		published("newsletter", 1, domaintest.NewsletterWords))
}

func retired() domaintest.Fact {
	return domaintest.At("2026-06-01", &domain.PurposeRetired{Code: "newsletter"})
}

func TestDefiningAPurposePublishesItsFirstNotice(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		command func(*domain.DefinePurpose)
		then    domain.PurposeDefined
	}{
		"as given": {
			func(*domain.DefinePurpose) {},
			domain.PurposeDefined{Code: "newsletter", Basis: domain.ConsentBasis, Retention: "until withdrawn"},
		},
		"the code is lower-cased and trimmed": {
			func(c *domain.DefinePurpose) { c.Code = " News_Letter2 " },
			domain.PurposeDefined{Code: "news_letter2", Basis: domain.ConsentBasis, Retention: "until withdrawn"},
		},
		"for children, of special personal information": {
			func(c *domain.DefinePurpose) { c.Special, c.CompetentPerson = true, true },
			domain.PurposeDefined{
				Code: "newsletter", Basis: domain.ConsentBasis, Retention: "until withdrawn", Special: true,
				CompetentPerson: true,
			},
		},
		"blanks around the words do not count": {
			func(c *domain.DefinePurpose) { c.Texts[domain.English] = "\n " + domaintest.NewsletterWords + " \n" },
			domain.PurposeDefined{Code: "newsletter", Basis: domain.ConsentBasis, Retention: "until withdrawn"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := newsletterDefinition()
			c.command(&command)
			domaintest.Given(newsletterStream()).
				When(func(h []domain.Recorded) ([]domain.Event, error) {
					return command.Decide(domain.Fold[domain.Purpose](h), domaintest.Clock("2026-06-01"))
				}).
				Then(t, &c.then, published(c.then.Code, 1, domaintest.NewsletterWords))
		})
	}
}

func TestAPurposeIsDefinedOnce(t *testing.T) {
	t.Parallel()
	for name, given := range map[string][]domaintest.Fact{
		"while it is in force":     {defined()},
		"and not after it retired": {defined(), retired()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			domaintest.Given(newsletterStream(), given...).
				When(func(h []domain.Recorded) ([]domain.Event, error) {
					return newsletterDefinition().Decide(domain.Fold[domain.Purpose](h), domaintest.Clock("2026-06-01"))
				}).
				ThenRefused(t, domain.CodePurposeTaken)
		})
	}

	command := newsletterDefinition()
	command.Code = "Platform_Registration"
	events, err := command.Decide(domain.Purpose{}, domaintest.Clock("2026-06-01"))
	domaintest.Refusal(t, events, err, domain.CodePurposeTaken)
}

func TestPurposeCodes(t *testing.T) {
	t.Parallel()

	for code, ok := range map[string]bool{
		"a": true, "child_programme": true, "indigent_support_2026": true, strings.Repeat("a", 64): true,
		"": false, "_a": false, "a_": false, "a__b": false, "2a": false, "a-b": false, "a b": false, "ṱ": false,
		strings.Repeat("a", 65): false,
	} {
		command := newsletterDefinition()
		command.Code = code
		if _, err := command.Decide(domain.Purpose{}, domaintest.Clock("2026-06-01")); (err == nil) != ok {
			t.Errorf("code %q: %v", code, err)
		}
	}
}

func TestAPurposesFaultsAreReportedAtOnceAndEchoNoInput(t *testing.T) {
	t.Parallel()
	command := domain.DefinePurpose{
		Code: "zq-code", Basis: "zq", Retention: " ",
		Texts: map[domain.Language]string{domain.Zulu: "  ", domain.Afrikaans: "zq\x00", "xh": "zq"},
	}

	story := domaintest.Given(newsletterStream()).
		When(func([]domain.Recorded) ([]domain.Event, error) {
			return command.Decide(domain.Purpose{}, domaintest.Clock("2026-06-01"))
		})
	story.ThenFaulty(t, "code invalid", "basis invalid", "retention required", "notice.texts.en required",
		"notice.texts.zu required", "notice.texts.af invalid", "notice.texts invalid")
	demandNoEcho(t, story.ThenRefused(t, domain.CodeInvalid), "zq", "xh")
}

func TestANoticeIsAsLongAsItMayBe(t *testing.T) {
	t.Parallel()
	command := newsletterDefinition()
	command.Texts[domain.Zulu] = strings.Repeat("ṱ", domain.MaxNotice)
	if _, err := command.Decide(domain.Purpose{}, domaintest.Clock("2026-06-01")); err != nil {
		t.Errorf("5000 characters: %v", err)
	}

	command.Texts[domain.Zulu] += "a"
	command.Retention = strings.Repeat("a", domain.MaxRetention+1)
	_, err := command.Decide(domain.Purpose{}, domaintest.Clock("2026-06-01"))
	want := []string{"retention too_long", "notice.texts.zu too_long"}
	if diff := domaintest.Diff(want, domaintest.FaultsOf(err)); diff != "" {
		t.Error(diff)
	}
}

func TestPublishingANotice(t *testing.T) {
	t.Parallel()
	publish := func(english string) func(h []domain.Recorded) ([]domain.Event, error) {
		return func(h []domain.Recorded) ([]domain.Event, error) {
			return domain.PublishNotice{Texts: domaintest.NewsletterTexts(english)}.
				Decide(domain.Fold[domain.Purpose](h), domaintest.Clock("2026-06-01"))
		}
	}
	second := domaintest.At("2026-04-01", published("newsletter", 2, domaintest.NewsletterNewWords))

	t.Run("new words are the next version", func(t *testing.T) {
		t.Parallel()
		domaintest.Given(newsletterStream(), defined()).When(publish(domaintest.NewsletterNewWords)).
			Then(t, published("newsletter", 2, domaintest.NewsletterNewWords))
	})
	t.Run("the same words change nothing", func(t *testing.T) {
		t.Parallel()
		domaintest.Given(newsletterStream(), defined()).When(publish(" " + domaintest.NewsletterWords)).ThenNothing(t)
	})
	t.Run("older words come back as a new version", func(t *testing.T) {
		t.Parallel()
		domaintest.Given(newsletterStream(), defined(), second).When(publish(domaintest.NewsletterWords)).
			Then(t, published("newsletter", 3, domaintest.NewsletterWords))
	})
	t.Run("not of a purpose that was retired", func(t *testing.T) {
		t.Parallel()
		domaintest.Given(newsletterStream(), defined(), retired()).When(publish(domaintest.NewsletterNewWords)).
			ThenRefused(t, domain.CodeUnknownPurpose)
	})
	t.Run("not of a purpose that was never defined", func(t *testing.T) {
		t.Parallel()
		domaintest.Given(newsletterStream()).When(publish(domaintest.NewsletterNewWords)).
			ThenRefused(t, domain.CodeUnknownPurpose)
	})
	t.Run("not without words", func(t *testing.T) {
		t.Parallel()
		domaintest.Given(newsletterStream(), defined()).When(publish("")).ThenFaulty(t, "texts.en required")
	})
}

func TestRetiringAPurpose(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		given []domaintest.Fact
		then  []domain.Event
	}{
		"one in force":      {[]domaintest.Fact{defined()}, []domain.Event{&domain.PurposeRetired{Code: "newsletter"}}},
		"one retired":       {[]domaintest.Fact{defined(), retired()}, nil},
		"one never defined": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			domaintest.Given(newsletterStream(), c.given...).
				When(func(h []domain.Recorded) ([]domain.Event, error) {
					return domain.Fold[domain.Purpose](h).Retire(), nil
				}).
				Then(t, c.then...)
		})
	}
}

func TestTheNoticeInForceAtAnInstant(t *testing.T) {
	t.Parallel()
	for instant, want := range map[string]int{
		"1998-07-01":       0, // before its words were in use
		"2026-01-05":       1,
		"2026-03-31 23:59": 1,
		"2026-04-01":       2, // from the instant of publication on
		"2027-01-01":       2,
	} {
		if got := domaintest.Newsletter().NoticeAt(domaintest.Clock(instant)).Version; got != want {
			t.Errorf("at %s notice %d, want %d", instant, got, want)
		}
	}

	if got := domaintest.Newsletter().Current().Version; got != 2 {
		t.Errorf("the current notice is %d", got)
	}
}

func TestAPurposeIsWhatItsEventsSay(t *testing.T) {
	t.Parallel()
	if domain.Fold[domain.Purpose](nil).Exists() {
		t.Error("a purpose without events exists")
	}

	history := domaintest.History(newsletterStream(), defined(),
		domaintest.At("2026-04-01", published("newsletter", 2, domaintest.NewsletterNewWords)), retired())
	got := domain.Fold[domain.Purpose](history)

	first, second := published("newsletter", 1, domaintest.NewsletterWords),
		published("newsletter", 2, domaintest.NewsletterNewWords)
	want := domain.Purpose{
		Tenant: domaintest.Msunduzi(), Code: "newsletter", Basis: domain.ConsentBasis, Retention: "until withdrawn",
		Notices: []domain.Notice{
			{
				Version: 1, Texts: first.Texts, SHA256: first.SHA256, PublishedAt: domaintest.Clock("2026-01-05"),
				InUseSince: domaintest.Clock("2026-01-05"), Event: history[1].Ref(),
			},
			{
				Version: 2, Texts: second.Texts, SHA256: second.SHA256, PublishedAt: domaintest.Clock("2026-04-01"),
				InUseSince: domaintest.Clock("2026-04-01"), Event: history[2].Ref(),
			},
		},
		Retired: true, Version: 4, Definition: history[0].Ref(), Retirement: history[3].Ref(),
	}
	if diff := domaintest.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestAnOlderStateIsNotChangedByWhatFollows(t *testing.T) {
	t.Parallel()
	state := domain.Fold[domain.Purpose](domaintest.History(newsletterStream(), defined(),
		domaintest.At("2026-04-01", published("newsletter", 2, "Second."), published("newsletter", 3, "Third."))))

	next := func(english string) domain.Purpose {
		return state.Evolve(domain.Recorded{Version: 5, Event: published("newsletter", 4, english)})
	}

	a, b := next("One future."), next("Another future.")
	if a.Current().Texts[domain.English] != "One future." || b.Current().Texts[domain.English] != "Another future." ||
		len(state.Notices) != 3 {
		t.Error("two futures of one state share their notices")
	}
}

func TestTheBuiltInPurposeCanBeConsentedToInEveryLanguage(t *testing.T) {
	t.Parallel()
	p := domain.PlatformRegistration()
	if !p.Exists() || p.Basis != domain.ConsentBasis || !p.Tenant.IsPlatform() || p.Retired || p.CompetentPerson ||
		p.Retention == "" {
		t.Errorf("built-in purpose %+v", p)
	}
	for _, l := range domain.Languages() {
		if n := p.Current(); n.Texts[l] == "" || n.SHA256[l] != domain.WordingHash(n.Texts[l]) {
			t.Errorf("no true wording in %s", l)
		}
	}

	// A changed word needs a new notice: these hashes are in consents for ever.
	want := map[domain.Language]string{
		domain.English:   "53d65dc877c1005fba1083a39442a1446ce2a3043b12fec8654ab47df5bad024",
		domain.Zulu:      "197a09b878bd74aa566cd62174715581b0ad6c4c22d7efcd2ba5992dda107650",
		domain.Afrikaans: "67e9fdc7f478014338f329ce83240a3fc788c8832731a21cac928c30a2862dfe",
	}
	if diff := domaintest.Diff(want, p.Notices[0].SHA256); diff != "" {
		t.Errorf("notice 1 was reworded (-released +now):\n%s", diff)
	}
}

func TestWordsAreInUseSinceTheirPublicationOrAsStated(t *testing.T) {
	t.Parallel()
	now, day := domaintest.Clock("2026-06-01"), domaintest.Clock
	long, operator := day("2024-01-01"), domain.Metadata{ActorRole: domain.RoleSystem}
	publish := func(since *time.Time, by domain.Metadata) domain.Purpose {
		e := published("newsletter", 1, domaintest.NewsletterWords)
		e.InUseSince = since
		return domain.Purpose{Code: "newsletter"}.Evolve(domain.Recorded{
			Event: e, EffectiveAt: day("2026-01-05"), Metadata: by, Version: 1,
		})
	}

	for name, c := range map[string]struct {
		p    domain.Purpose
		want time.Time
	}{
		"nothing said":                   {publish(nil, domain.Metadata{ActorRole: "admin"}), day("2026-01-05")},
		"long ago":                       {publish(&long, domain.Metadata{ActorRole: "admin"}), long},
		"before everything":              {publish(&time.Time{}, domain.Metadata{ActorRole: "admin"}), time.Time{}},
		"imported before there was this": {publish(nil, operator), time.Time{}},
		"imported, and said":             {publish(&long, operator), long},
		"the built-in one":               {domain.PlatformRegistration(), time.Time{}},
	} {
		if got := c.p.Notices[0].InUseSince; !got.Equal(c.want) {
			t.Errorf("%s: in use since %s, want %s", name, got, c.want)
		}
	}

	for name, c := range map[string]struct {
		since   time.Time
		refused bool
	}{
		"in the future":                     {now.Add(time.Microsecond), true},
		"now":                               {now, false},
		"since before the former":           {day("2026-01-04"), true},
		"in the same instant as the former": {day("2026-01-05"), false},
	} {
		_, err := domain.PublishNotice{
			Texts: domaintest.NewsletterTexts(domaintest.NewsletterNewWords), InUseSince: &c.since,
		}.Decide(publish(nil, domain.Metadata{}), now)
		if (err != nil) != c.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADecisionIsOnWordsThatWereInUseThen(t *testing.T) {
	t.Parallel()
	since := domaintest.Clock("2026-03-01")
	next, err := domain.PublishNotice{
		Texts: domaintest.NewsletterTexts(domaintest.NewsletterNewWords), InUseSince: &since,
	}.Decide(domaintest.PurposeWith(func(*domain.DefinePurpose) {}), domaintest.Clock("2026-04-01"))
	if err != nil {
		t.Fatal(err)
	}

	p := domaintest.PurposeWith(func(*domain.DefinePurpose) {}).
		Evolve(domain.Recorded{Event: next[0], EffectiveAt: domaintest.Clock("2026-04-01")})

	for _, c := range []struct {
		given            string
		version, becomes int
	}{
		{"2026-01-04 23:59", 0, 0}, // before there were any
		{"2026-01-04 23:59", 1, 0},
		{"2026-01-05", 0, 1},
		{"2026-02-28", 1, 1},
		{"2026-02-28", 2, 0},
		{"2026-03-01", 0, 2}, // before they were published here
		{"2026-03-01", 1, 0},
		{"2026-03-01", 2, 2},
		{"2026-03-01", 3, 0},
	} {
		events, err := domain.RecordConsent{
			Purpose: "newsletter", Language: domain.English, Consented: true, Channel: domain.Paper,
			GivenAt: domaintest.Clock(c.given), NoticeVersion: c.version,
			Evidence: &domain.Evidence{SHA256: domain.WordingHash("form"), Reference: "box 1"},
		}.Decide(nil, p, domaintest.Clock("2026-04-02"))

		switch {
		case c.becomes == 0:
			if !errors.Is(err, domain.Refuse(domain.CodeNoticeChanged, "")) {
				t.Errorf("given %s on version %d: %v", c.given, c.version, err)
			}
		case err != nil || events[0].(*domain.ConsentGranted).NoticeVersion != c.becomes:
			t.Errorf("given %s on version %d: %v, %v", c.given, c.version, events, err)
		}
	}
}
