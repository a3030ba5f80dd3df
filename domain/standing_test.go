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

// town is a log about one person and one purpose: the tenant's own, and the default that
// it hides. Of the person there may be a second record, which is merged into the first
// and may be parted from it again. Everything in it was decided by the program's own
// deciders.
type town struct {
	now                 time.Time
	position            int64
	person, own, shared []domain.Recorded
	consents            []domain.Recorded
	second              []domain.Recorded // the decisions in the second record
	merges              []domain.Recorded // what merged it into the first, or undid that
	merged              bool
	copies              int
	instants            []time.Time // at which something begins or ends
}

func secondRecord() domain.UserID { return domaintest.Clerk() }

const libraryCode = "library"

func (w *town) record(history []domain.Recorded, tenant domain.TenantID, s domain.Stream, events ...domain.Event,
) []domain.Recorded {
	for _, e := range events {
		w.position++
		effective := domain.EffectiveOf(e)
		if effective.IsZero() {
			effective = w.now
		}
		history = append(history, domain.Recorded{
			Position: w.position, Tenant: tenant, Stream: s, Version: len(history) + 1,
			EventID: domaintest.ID(0xE, int(w.position)), Subject: domain.SubjectOf(e, s),
			Record: domain.RecordOf(e, s), Event: e, EffectiveAt: effective, RecordedAt: w.now,
		})
		w.instants = append(w.instants, effective, w.now)

		var until time.Time
		switch e := e.(type) {
		case *domain.ConsentGranted:
			until = e.Until(effective)
		case *domain.ConsentClaimed:
			until = e.Until(effective)
		}
		if !until.IsZero() {
			w.instants = append(w.instants, until)
		}
	}
	return history
}

// anyTown draws what may happen to a purpose and to a person's consents.
func anyTown(t *rapid.T) *town {
	w := &town{now: domaintest.Clock("2026-03-01 08:00")}
	w.person = w.record(nil, domaintest.Msunduzi(), domain.UserOf(domaintest.Thandi()),
		&domain.UserRegistered{Role: domain.Citizen})

	for i := range rapid.IntRange(1, 18).Draw(t, "acts") {
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "minutes on")) * time.Minute)
		switch rapid.SampledFrom([]string{
			"default", "default", "own", "own", "retire", "grant", "grant", "grant", "refuse", "withdraw",
			"grant elsewhere", "refuse elsewhere", "merge", "annul", "annul", "claim", "claim", "claim elsewhere",
		}).Draw(t, "act") {
		case "default":
			w.shared = w.notice(t, w.shared, domain.PlatformTenant())
		case "own":
			w.own = w.notice(t, w.own, domaintest.Msunduzi())
		case "retire":
			if rapid.IntRange(0, 2).Draw(t, "really") == 0 {
				s := domain.PurposeOf(domaintest.Msunduzi(), libraryCode)
				w.own = w.record(w.own, domaintest.Msunduzi(), s, domain.Fold[domain.Purpose](w.own).Retire()...)
			}
		case "grant":
			w.consents = w.decide(t, i, true, domaintest.Thandi(), w.consents)
		case "refuse":
			w.consents = w.decide(t, i, false, domaintest.Thandi(), w.consents)
		case "withdraw":
			w.withdraw(t)
		case "claim":
			w.consents = w.claim(t, i, domaintest.Thandi(), w.consents)
		case "claim elsewhere":
			w.second = w.claim(t, i, secondRecord(), w.second)
		case "grant elsewhere":
			w.second = w.decide(t, i, true, secondRecord(), w.second)
		case "refuse elsewhere":
			w.second = w.decide(t, i, false, secondRecord(), w.second)
		case "merge":
			w.merge(t)
		case "annul":
			w.annul(t)
		}
	}
	return w
}

// notice defines a purpose or publishes its next notice.
func (w *town) notice(t *rapid.T, history []domain.Recorded, tenant domain.TenantID) []domain.Recorded {
	p := domain.Fold[domain.Purpose](history)
	texts := domaintest.NewsletterTexts(fmt.Sprint("Words ", rapid.IntRange(0, 2).Draw(t, "words")))
	var days *int
	if n := rapid.IntRange(-3, 1).Draw(t, "days"); n > 0 {
		days = &n
	}

	var events []domain.Event
	var err error
	if !p.Exists() {
		events, err = domain.DefinePurpose{
			Code: libraryCode, Basis: domain.ConsentBasis, Retention: "a year", Texts: texts, ValidityDays: days,
		}.Decide(p, w.now)
	} else {
		publish := domain.PublishNotice{Texts: texts, ValidityDays: days}
		if minutes := rapid.IntRange(-20, 60).Draw(t, "reconsent in"); minutes >= 0 {
			at := w.now.Add(time.Duration(minutes) * time.Minute)
			publish.Reconsent = &at
			w.instants = append(w.instants, at)
		}
		events, err = publish.Decide(p, w.now)
	}
	if err != nil {
		return history // retired
	}
	return w.record(history, tenant, domain.PurposeOf(tenant, libraryCode), events...)
}

// given draws when a form was signed; zero: now.
func (w *town) given(t *rapid.T) time.Time {
	if back := rapid.IntRange(-30, 60).Draw(t, "minutes back"); back > 0 {
		return w.now.Add(-time.Duration(back) * time.Minute)
	}
	return time.Time{}
}

// decide records a decision in one of the person's records.
func (w *town) decide(
	t *rapid.T, i int, consented bool, in domain.UserID, history []domain.Recorded,
) []domain.Recorded {
	if w.merged && in == secondRecord() {
		return history // which takes no more
	}
	c := domain.RecordConsent{
		ID: domaintest.Consent(i + 1), Purpose: libraryCode, Language: domain.English, Consented: consented,
		Channel: domain.Paper, GivenAt: w.given(t),
		Evidence: &domain.Evidence{SHA256: domain.WordingHash("scan"), Reference: "box 1"},
	}
	if minutes := rapid.IntRange(-40, 40).Draw(t, "holds for"); consented && minutes > 0 {
		c.ValidUntil = w.now.Add(time.Duration(minutes) * time.Minute)
		if !c.GivenAt.IsZero() {
			c.ValidUntil = c.GivenAt.Add(time.Duration(minutes) * time.Minute)
		}
	}

	purpose, hidden := w.purpose(c.GivenAt)
	c.Hidden = hidden

	seen := history
	if tail := newestEnough(history, c.GivenAt); rapid.Bool().Draw(t, "from the tail") {
		seen = tail
	}
	events, err := c.Decide(seen, purpose, w.now)
	if err != nil {
		return history
	}
	return w.record(history, domaintest.Msunduzi(), domain.ConsentsOf(in), events...)
}

// merge merges the second record into the first, or undoes that.
func (w *town) merge(t *rapid.T) {
	from, into := file(secondRecord(), w.second), file(domaintest.Thandi(), w.consents)
	into.History = w.merges
	wish := domain.MergeResidents{NewID: func() domain.ConsentID {
		w.copies++
		return domaintest.Consent(1000 + w.copies)
	}}

	decide := wish.Decide
	if w.merged {
		decide, from.Resident.MergedInto = wish.Undo, into.Resident.ID
	}
	m, err := decide(from, into)
	if err != nil {
		t.Fatal(err)
	}

	w.merged = !w.merged
	w.merges = w.record(w.merges, domaintest.Msunduzi(), domain.UserOf(domaintest.Thandi()), m.Into...)
	w.consents = w.record(w.consents, domaintest.Msunduzi(), consents(), m.IntoConsents...)
	w.second = w.record(w.second, domaintest.Msunduzi(), domain.ConsentsOf(secondRecord()), m.FromConsents...)
}

// annul annuls an entry of the first record. Without evidence, nothing must be allowed
// after it that was not allowed before, at whatever instant.
func (w *town) annul(t *rapid.T) {
	records := domain.ConsentsAt(w.consents, time.Time{}, time.Time{}).Records()
	if len(records) == 0 {
		return
	}
	c := domain.AnnulConsent{
		ID:    rapid.SampledFrom(records).Draw(t, "annulled").ID,
		Entry: rapid.SampledFrom(domain.Entries()).Draw(t, "entry"), Reason: "wrong person",
		Own: domain.PurposesIn(w.own), Shared: domain.PurposesIn(w.shared),
	}
	if rapid.Bool().Draw(t, "with evidence") {
		c.Evidence = &domain.Evidence{SHA256: domain.WordingHash("note"), Reference: "box 5"}
	}
	events, err := c.Decide(domain.User{}, w.consents, w.now)
	if err != nil {
		return
	}

	before := w.consents
	w.consents = w.record(w.consents, domaintest.Msunduzi(), consents(), events...)
	for _, instant := range w.instants {
		for _, by := range []time.Duration{-1, 0, 1} {
			at := instant.Add(by * time.Microsecond)
			if c.Evidence == nil && w.allows(w.consents, at) && !w.allows(before, at) {
				t.Fatalf("without evidence, the annulment of %s allows more at %s", c.ID, at)
			}
		}
	}
}

// allows reports whether a history of decisions allows processing at an instant, as known
// now.
func (w *town) allows(history []domain.Recorded, at time.Time) bool {
	check, err := domain.Inquiry{
		Clocks: domain.Clocks{At: at, Now: w.now}, Purpose: libraryCode, Person: w.person, Own: w.own,
		Default: w.shared, Consents: history,
	}.Answer()
	return err == nil && check.Allowed
}

// purpose returns the purpose in use at an instant, and the default that it hides.
func (w *town) purpose(at time.Time) (in, hidden domain.Purpose) {
	own, shared := domain.Fold[domain.Purpose](w.own), domain.Fold[domain.Purpose](w.shared)
	if !own.WasInUse(at) && shared.Exists() {
		return shared, domain.Purpose{}
	}
	return own, shared
}

// claim imports what a list says into one of the person's records. It may know the
// version that was shown.
func (w *town) claim(t *rapid.T, i int, in domain.UserID, history []domain.Recorded) []domain.Recorded {
	if w.merged && in == secondRecord() {
		return history // which takes no more
	}
	c := domain.ClaimConsent{
		ID: domaintest.Consent(i + 1), Purpose: libraryCode,
		GivenAt: w.now.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t, "minutes back")) * time.Minute),
		Claim: domain.ConsentClaim{
			Decided: rapid.SampledFrom(domain.Outcomes()).Draw(t, "decided"), Grade: domain.GradeClaimed,
			Source: "an old list", FileSHA256: domain.WordingHash("list"), Line: i + 1,
		},
	}
	current, _ := w.purpose(time.Time{})
	then, _ := w.purpose(c.GivenAt)
	if n := then.NoticeAt(c.GivenAt); rapid.Bool().Draw(t, "knows the version") {
		c.NoticeVersion, c.Language = n.Version, domain.English
	}

	events, err := c.Decide(history, current, then, w.now)
	if err != nil {
		return history
	}
	return w.record(history, domaintest.Msunduzi(), domain.ConsentsOf(in), events...)
}

// newestEnough returns the newest events, as far back as a decision needs them.
func newestEnough(history []domain.Recorded, at time.Time) []domain.Recorded {
	for _, newest := range tails(history) {
		if domain.Settles(newest, at, time.Time{}) {
			return newest
		}
	}
	return history
}

func (w *town) withdraw(t *rapid.T) {
	records := domain.ConsentsAt(w.consents, time.Time{}, time.Time{}).Records()
	if len(records) == 0 {
		return
	}
	id := rapid.SampledFrom(records).Draw(t, "of").ID
	events, err := domain.WithdrawConsent{ID: id, GivenAt: w.given(t)}.Decide(w.consents, w.now)
	if err == nil {
		w.consents = w.record(w.consents, domaintest.Msunduzi(), consents(), events...)
	}
}

// instant draws an instant just before, at or just after one at which something begins or
// ends; or none.
func (w *town) instant(t *rapid.T, name string) time.Time {
	if rapid.IntRange(0, 4).Draw(t, name+" stated") == 0 {
		return time.Time{}
	}
	by := rapid.SampledFrom([]time.Duration{-1, 0, 1}).Draw(t, name+" by") * time.Microsecond
	return rapid.SampledFrom(w.instants).Draw(t, name).Add(by)
}

// told is the answer to "may I?" in the words of the rules, told by time alone: no
// version and no hash of a wording is compared.
type told struct {
	reason domain.Reason
	until  time.Time
}

func (w *town) tell(c domain.Clocks) told {
	instant := c.At
	if instant.IsZero() {
		instant = c.Now
	}
	known := func(history []domain.Recorded) (seen []domain.Recorded) {
		for _, e := range history {
			if c.KnownAt.IsZero() || !e.RecordedAt.After(c.KnownAt) {
				seen = append(seen, e)
			}
		}
		return seen
	}
	if len(known(w.person)) == 0 {
		return told{reason: domain.ReasonUnknownSubject}
	}

	own := domain.Fold[domain.Purpose](known(w.own))
	if own.Retired && !own.Retirement.At.After(instant) {
		return told{reason: domain.ReasonPurposeRetired}
	}

	s := slowly(w.consents, c.At, c.KnownAt)
	decides, decided := s.current[libraryCode]
	if !decided {
		for _, r := range slowly(w.consents, time.Time{}, c.KnownAt).records {
			if r.Consented {
				return told{reason: domain.ReasonNotYetGiven}
			}
		}
		return told{reason: domain.ReasonNeverAsked}
	}

	var expires, lapses time.Time
	words := true // whether they are known
	switch e := decides.Event.(type) {
	case *domain.ConsentGranted:
		expires = e.Until(decides.EffectiveAt)
	case *domain.ConsentRefused:
		return told{reason: domain.ReasonRefused}
	case *domain.ConsentWithdrawn:
		return told{reason: domain.ReasonWithdrawn}
	case *domain.ConsentClaimed:
		if e.Claim.Decided != domain.OutcomeGranted {
			return told{reason: map[domain.Outcome]domain.Reason{
				domain.OutcomeRefused: domain.ReasonRefused, domain.OutcomeWithdrawn: domain.ReasonWithdrawn,
			}[e.Claim.Decided]}
		}
		expires, words = e.Until(decides.EffectiveAt), e.NoticeVersion > 0
	}
	for _, p := range []domain.Purpose{own, domain.Fold[domain.Purpose](known(w.shared))} {
		for _, n := range p.Notices {
			hidden := p.Tenant.IsPlatform() && own.Exists() && !n.Reconsent.Before(own.Notices[0].InUseSince)
			older := !words || decides.EffectiveAt.Before(n.InUseSince)
			if !n.Reconsent.IsZero() && !hidden && older && (lapses.IsZero() || n.Reconsent.Before(lapses)) {
				lapses = n.Reconsent
			}
		}
	}

	ended := func(at time.Time) bool { return !at.IsZero() && !at.After(instant) }
	end := expires
	if expires.IsZero() || !lapses.IsZero() && lapses.Before(expires) {
		end = lapses
	}
	switch {
	case ended(expires) && end.Equal(expires):
		return told{domain.ReasonExpired, end}
	case ended(end):
		return told{domain.ReasonSuperseded, end}
	default:
		return told{domain.ReasonGranted, end}
	}
}

// Whatever happened, and whatever two instants are asked about, every answer says the
// same: a check, a check from the newest decisions alone, the rows of lists and exports,
// the table that a query joins, and the rules as one tells them.
func TestEveryAnswerAboutAConsentSaysTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyTown(t)
		c := domain.Clocks{At: w.instant(t, "at"), KnownAt: w.instant(t, "known at"), Now: w.now}
		if later := rapid.IntRange(0, 90).Draw(t, "asked later"); later > 0 {
			c.Now = c.Now.Add(time.Duration(later) * time.Minute)
		}

		q := domain.Inquiry{
			Clocks: c, Purpose: libraryCode, Person: w.person, Own: w.own, Default: w.shared, Consents: w.consents,
		}
		check, err := q.Answer()
		if err != nil {
			if len(w.own)+len(w.shared) > 0 {
				t.Fatal(err)
			}
			return
		}

		if want := w.tell(c); check.Reason != want.reason || !check.ValidUntil.Equal(want.until) ||
			check.Allowed != (want.reason == domain.ReasonGranted) {
			t.Fatalf("%+v\nis answered %s until %s, but it is %s until %s", c, check.Reason, check.ValidUntil,
				want.reason, want.until)
		}
		w.demandTails(t, q, check)
		w.demandRows(t, c, check)
	})
}

func (w *town) demandTails(t *rapid.T, q domain.Inquiry, want domain.Check) {
	t.Helper()
	for _, newest := range tails(w.consents) {
		if q.Consents = newest; !domain.Settles(newest, q.At, q.KnownAt) {
			continue
		}
		if got, err := q.Answer(); err != nil || got != want {
			t.Fatalf("%d of %d decisions say %+v, all say %+v", len(newest), len(w.consents), got, want)
		}
	}
}

func (w *town) demandRows(t *rapid.T, c domain.Clocks, check domain.Check) {
	t.Helper()
	own, shared := domain.PurposesIn(w.own), domain.PurposesIn(w.shared)
	rules := domain.RulesOf(own, shared, c)

	// As a replay has it: what was recorded later is not there at all.
	then := func(e domain.Recorded) bool { return !c.KnownAt.IsZero() && e.RecordedAt.After(c.KnownAt) }
	replayed := domain.RulesOf(domain.PurposesIn(slices.DeleteFunc(slices.Clone(w.own), then)),
		domain.PurposesIn(slices.DeleteFunc(slices.Clone(w.shared), then)), domain.Clocks{At: c.At, Now: c.Now})

	var inForce []domain.Decided
	for _, r := range domain.ConsentsAt(w.consents, c.At, c.KnownAt).Records() {
		d := rules.Of(r)
		if again := replayed.Of(r); again != d {
			t.Fatalf("%+v\nis a row %+v, and replayed %+v", c, d, again)
		}
		if joined := lapseIn(rules.Lapses(), r); d.Status != domain.StatusRefused && !r.Withdrawn() &&
			d.Status != domain.StatusAnnulled && !joined.Equal(d.Lapse.At) {
			t.Fatalf("%+v\nlapses at %s, and joined at %s", r, d.Lapse.At, joined)
		}

		if d.InForce {
			inForce = append(inForce, d)
		}
		if check.By.EventID != domaintest.ID(0xE, int(r.Position)) || r.Withdrawn() {
			continue
		}
		if want := map[domain.Reason]domain.Status{
			domain.ReasonGranted: domain.StatusGranted, domain.ReasonExpired: domain.StatusExpired,
			domain.ReasonRefused: domain.StatusRefused, domain.ReasonSuperseded: domain.StatusLapsed,
		}[check.Reason]; d.Status != want {
			t.Fatalf("%+v\nis answered %s, and the row is %s", c, check.Reason, d.Status)
		}
	}

	granted := check.Reason == domain.ReasonGranted
	if len(inForce) > 1 || granted != (len(inForce) == 1) ||
		granted && !inForce[0].Until().Equal(check.ValidUntil) && check.Reason != domain.ReasonUnknownSubject {
		t.Fatalf("%+v\nis answered %s, and in force are %+v", c, check.Reason, inForce)
	}
}

// lapseIn joins a decision with the table of lapses as a query does.
func lapseIn(lapses []domain.WordingLapse, c domain.Consent) (first time.Time) {
	listed := slices.ContainsFunc(lapses, func(l domain.WordingLapse) bool {
		return l.Purpose == c.Purpose && l.NoticeVersion == c.NoticeVersion && l.SHA256 == c.SHA256
	})
	for _, l := range lapses {
		applies := l.Purpose == c.Purpose && (!listed && l.NoticeVersion == 0 ||
			listed && l.NoticeVersion == c.NoticeVersion && l.SHA256 == c.SHA256 &&
				(l.Before.IsZero() || c.GivenAt.Before(l.Before)))
		if applies && !l.At.IsZero() && (first.IsZero() || l.At.Before(first)) {
			first = l.At
		}
	}
	return first
}

func TestAGrantHoldsUpToTheInstantOfItsEnd(t *testing.T) {
	t.Parallel()
	grant := granted(1)
	grant.ValidUntil = domaintest.Clock("2026-05-01 12:00")
	history := domaintest.History(consents(), domaintest.At("2026-03-01", grant))
	record := domain.ConsentsAt(history, time.Time{}, time.Time{}).Records()[0]

	for instant, want := range map[string]domain.Status{
		"2026-03-01": domain.StatusGranted, "2026-05-01 11:59:59.999999": domain.StatusGranted,
		"2026-05-01 12:00": domain.StatusExpired, "2026-05-01 12:00:00.000001": domain.StatusExpired,
	} {
		rules := domain.RulesOf([]domain.Purpose{domaintest.Newsletter()}, nil,
			domain.Clocks{Now: domaintest.Clock(instant)})
		if d := rules.Of(record); d.Status != want || d.InForce != (want == domain.StatusGranted) {
			t.Errorf("at %s it is %s, in force %t, want %s", instant, d.Status, d.InForce, want)
		}
	}
}

func TestOfTheEndOfAGrantAndThatOfItsPurposeTheEarlierCounts(t *testing.T) {
	t.Parallel()
	given := domaintest.Clock("2026-03-01 09:30")
	for name, c := range map[string]struct {
		until string
		days  int
		want  string
	}{
		"neither":               {"", 0, ""},
		"the days":              {"", 30, "2026-03-31 09:30"},
		"its own":               {"2026-03-05", 0, "2026-03-05"},
		"its own is earlier":    {"2026-03-05", 30, "2026-03-05"},
		"the purpose's earlier": {"2027-01-01", 30, "2026-03-31 09:30"},
	} {
		grant := domain.ConsentGranted{ValidUntil: at(c.until), ValidityDays: c.days}
		if got := grant.Until(given); !got.Equal(at(c.want)) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
