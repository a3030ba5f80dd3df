package commands_test

import (
	"sync"
	"testing"
	"time"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestAGrantIsAllowedUntilItIsWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	before := w.check(t, call, "sms_alert", time.Time{}, time.Time{})
	granted, err := w.RecordConsent(t.Context(), call, smsAlert())
	ok(t, err)
	if c := granted.Value; !c.Consented || c.Wording != "sms_alert ngesiZulu." || c.NoticeVersion != 1 ||
		c.Withdrawn() || c.Channel != domain.Web {
		t.Errorf("granted %+v", c)
	}

	_, err = w.RecordConsent(t.Context(), call, smsAlert())
	refused(t, err, domain.CodeAlreadyGranted)
	refusal := smsAlert()
	refusal.Consented = false
	_, err = w.RecordConsent(t.Context(), call, refusal)
	refused(t, err, domain.CodeInForce)
	between := w.check(t, call, "sms_alert", time.Time{}, time.Time{})

	withdrawn, err := w.WithdrawConsent(t.Context(), call,
		commands.WithdrawConsent{Consent: granted.Value.ID, Reason: "too many"})
	ok(t, err)
	after := w.check(t, call, "sms_alert", time.Time{}, time.Time{})
	then := w.check(t, call, "sms_alert", granted.Value.GivenAt, time.Time{})
	if before.Allowed || before.Decided || !between.Allowed || after.Allowed || !after.Decided || !then.Allowed {
		t.Errorf("allowed before %v, between %v, after %v, for then %v",
			before.Allowed, between.Allowed, after.Allowed, then.Allowed)
	}

	w.unchanged(t, func() {
		again, err := w.WithdrawConsent(t.Context(), call, commands.WithdrawConsent{Consent: granted.Value.ID})
		ok(t, err)
		if again.Value != withdrawn.Value || again.Position != withdrawn.Position {
			t.Errorf("again %+v, first %+v", again, withdrawn)
		}
	})

	refusedConsent, err := w.RecordConsent(t.Context(), call, refusal)
	ok(t, err)
	_, err = w.WithdrawConsent(t.Context(), call, commands.WithdrawConsent{Consent: refusedConsent.Value.ID})
	refused(t, err, domain.CodeNotGranted)
}

func (w *world) check(t *testing.T, call commands.Call, purpose string, at, known time.Time) commands.Check {
	t.Helper()
	c, err := w.CheckConsent(t.Context(), call, commands.CheckConsent{Purpose: purpose, At: at, KnownAt: known})
	ok(t, err)
	return c
}

func TestAPaperGrantShowsBothClocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")
	paper := smsAlert()
	paper.Subject, paper.Channel, paper.GivenAt = citizen.User, domain.Paper, at(-5*24*time.Hour)

	_, err := w.RecordConsent(t.Context(), clerk, paper)
	refused(t, err, domain.CodeEvidenceRequired)

	paper.Evidence = evidence()
	granted, err := w.RecordConsent(t.Context(), clerk, paper)
	ok(t, err)
	if granted.Value.RecordedBy != clerk.User || granted.Value.Subject != citizen.User {
		t.Errorf("recorded %+v", granted.Value)
	}

	day := at(-3 * 24 * time.Hour)
	if !w.check(t, citizen, "sms_alert", day, time.Time{}).Allowed {
		t.Error("as known today it was in force then")
	}
	if w.check(t, citizen, "sms_alert", day, day).Allowed {
		t.Error("as known then it was not")
	}
}

func TestAConsentIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	other := w.citizen(t, "CPT", "two@example.co.za")

	for name, c := range map[string]struct {
		change func(*commands.RecordConsent)
		want   domain.Code
	}{
		"for an unknown purpose": {func(c *commands.RecordConsent) {
			c.Purpose = "nope"
		}, domain.CodeUnknownPurpose},
		"for no purpose": {func(c *commands.RecordConsent) { c.Purpose = "" }, domain.CodeInvalid},
		"for a purpose of another basis": {func(c *commands.RecordConsent) {
			c.Purpose = "account_billing"
		}, domain.CodePurposeNotConsent},
		"with false wording": {func(c *commands.RecordConsent) {
			c.Description = "We sell it."
		}, domain.CodeWordingMismatch},
		"under an old notice": {func(c *commands.RecordConsent) {
			c.NoticeVersion = 9
		}, domain.CodeNoticeChanged},
		"given in the future": {func(c *commands.RecordConsent) {
			c.GivenAt = at(time.Hour)
		}, domain.CodeGivenInFuture},
		"given long ago on the web": {func(c *commands.RecordConsent) {
			c.GivenAt = at(-time.Hour)
		}, domain.CodeEvidenceRequired},
		"for a child by the child": {func(c *commands.RecordConsent) {
			c.Purpose = "child_programme"
		}, domain.CodeCompetentPerson},
		"in a language not shown": {func(c *commands.RecordConsent) { c.Language = "xh" }, domain.CodeInvalid},
		"on an unknown channel": {func(c *commands.RecordConsent) {
			c.Channel = "pigeon"
		}, domain.CodeInvalid},
		"for another person by a citizen": {func(c *commands.RecordConsent) {
			c.Subject = other.User
		}, domain.CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			command := smsAlert()
			c.change(&command)
			w.unchanged(t, func() {
				_, err := w.RecordConsent(t.Context(), call, command)
				refused(t, err, c.want)
			})
		})
	}
}

func TestStaffActOnlyWithinTheirMunicipality(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.municipality(t, "JHB", "City of Johannesburg")
	stranger := w.citizen(t, "JHB", "one@example.co.za")
	granted, err := w.RecordConsent(t.Context(), stranger, smsAlert())
	ok(t, err)
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")
	other := smsAlert()
	other.Subject = stranger.User

	_, err = w.RecordConsent(t.Context(), clerk, other)
	refused(t, err, domain.CodeNotFound)
	_, err = w.WithdrawConsent(t.Context(), clerk, commands.WithdrawConsent{Consent: granted.Value.ID})
	refused(t, err, domain.CodeNotFound)
	c, err := w.CheckConsent(t.Context(), clerk, commands.CheckConsent{Subject: stranger.User, Purpose: "sms_alert"})
	ok(t, err)
	if c.Allowed || c.Reason != domain.ReasonUnknownSubject || c.Known {
		t.Errorf("somebody of another municipality: %+v", c)
	}

	citizen := w.citizen(t, "CPT", "two@example.co.za")
	_, err = w.WithdrawConsent(t.Context(), citizen, commands.WithdrawConsent{Consent: granted.Value.ID})
	refused(t, err, domain.CodeNotFound)
}

func TestWithdrawingTheConsentToRegistrationClosesTheAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(call.User))
	ok(t, err)
	before := w.head(t)

	done, err := w.WithdrawConsent(t.Context(), call,
		commands.WithdrawConsent{Consent: domain.ConsentID{UUID: events[0].Record}})
	ok(t, err)
	if !done.Value.Withdrawn() || done.Position != before+3 {
		t.Errorf("withdrawn %v at %d, want the append's last position %d",
			done.Value.Withdrawn(), done.Position, before+3)
	}

	_, err = w.Authenticate(t.Context(), call)
	refused(t, err, domain.CodeAccountInactive)
	_, err = w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: "one@example.co.za", Password: password})
	refused(t, err, domain.CodeInvalidCredentials)
}

func TestARetriedConsentGivesTheFirstAnswerEvenAfterItWasWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	keyed := call
	keyed.Key = newKey()
	first, err := w.RecordConsent(t.Context(), keyed, smsAlert())
	ok(t, err)

	_, err = w.WithdrawConsent(t.Context(), call, commands.WithdrawConsent{Consent: first.Value.ID})
	ok(t, err)
	w.unchanged(t, func() {
		again, err := w.RecordConsent(t.Context(), keyed, smsAlert())
		ok(t, err)
		if again != first {
			t.Errorf("again %+v, first %+v", again, first)
		}

		other := smsAlert()
		other.Language = domain.English
		_, err = w.RecordConsent(t.Context(), keyed, other)
		refused(t, err, domain.CodeIdempotencyKeyReused)
		_, err = w.WithdrawConsent(t.Context(), keyed, commands.WithdrawConsent{Consent: first.Value.ID})
		refused(t, err, domain.CodeIdempotencyKeyReused)
	})
}

func TestOneKeyUsedByManyAtOnceAppendsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	call.Key = newKey()
	before := w.head(t)
	var wg sync.WaitGroup
	answers := make(chan commands.Answer[domain.Decided], 8)

	for range cap(answers) {
		wg.Go(func() {
			answer, err := w.RecordConsent(t.Context(), call, smsAlert())
			if err != nil {
				t.Error(err)
			}
			answers <- answer
		})
	}

	wg.Wait()

	first := <-answers
	for range cap(answers) - 1 {
		if again := <-answers; again != first {
			t.Errorf("again %+v, first %+v", again, first)
		}
	}
	if head := w.head(t); head != before+1 {
		t.Errorf("the log grew by %d events", head-before)
	}
}

func TestAPurposeThatChangesElsewhereIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	w := &world{clock: &clock{at: time.Now()}}
	w.Handler, w.store = handler(t, db, w.clock)
	w.cpt = w.municipality(t, "CPT", "City of Cape Town")
	elsewhere, _ := handler(t, db, w.clock)

	platform := commands.System(domain.PlatformTenant())
	_, err := w.DefinePurpose(t.Context(), platform, purpose("sms_alert", domain.ConsentBasis))
	ok(t, err)
	call := w.citizen(t, "CPT", "one@example.co.za")
	_, err = w.RecordConsent(t.Context(), call, smsAlert()) // the default is in memory now
	ok(t, err)

	own := purpose("sms_alert", domain.ConsentBasis)
	own.Texts = texts("our own")
	_, err = elsewhere.DefinePurpose(t.Context(), commands.System(w.cpt), own)
	ok(t, err)

	call2 := w.citizen(t, "CPT", "two@example.co.za")
	granted, err := w.RecordConsent(t.Context(), call2, smsAlert())
	ok(t, err)
	if granted.Value.Wording != "our own ngesiZulu." {
		t.Errorf("the wording recorded is %q", granted.Value.Wording)
	}

	inForce, err := w.Purposes(t.Context(), w.cpt)
	ok(t, err)
	if len(inForce) != 2 || inForce[1].Tenant != w.cpt {
		t.Errorf("in force: %+v", inForce)
	}
}

func TestMunicipalitiesHaveUniqueCodesAndNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	platform := commands.System(domain.PlatformTenant())
	register := func(code, name string) error {
		_, err := w.RegisterMunicipality(t.Context(), platform,
			domain.RegisterMunicipality{Code: code, Name: name, Province: "Gauteng"})
		return err
	}

	refused(t, register("cpt", "Another"), domain.CodeCodeTaken)
	refused(t, register("ETH", "city of  CAPE town"), domain.CodeNameTaken)
	refused(t, register("salga", "SALGA"), domain.CodeCodeTaken)
	ok(t, register("ETH", "eThekwini"))
	_, err := w.RegisterMunicipality(t.Context(), w.staff(t, domain.Admin, "admin@example.co.za"),
		domain.RegisterMunicipality{})
	refused(t, err, domain.CodeForbidden)

	name := "eThekwini"
	_, err = w.ChangeMunicipality(t.Context(), platform,
		commands.ChangeMunicipality{Municipality: w.cpt, Details: domain.ChangeMunicipality{Name: &name}})
	refused(t, err, domain.CodeNameTaken)

	name = "Cape Town"
	changed, err := w.ChangeMunicipality(t.Context(), platform,
		commands.ChangeMunicipality{Municipality: w.cpt, Details: domain.ChangeMunicipality{Name: &name}})
	ok(t, err)
	if changed.Value.Name != name || changed.Value.Code != "CPT" {
		t.Errorf("changed %+v", changed.Value)
	}
	ok(t, register("OLD", "City of Cape Town")) // the old name is free

	keyed := platform
	keyed.Key = newKey()
	first, err := w.RegisterMunicipality(t.Context(), keyed,
		domain.RegisterMunicipality{Code: "BUF", Name: "Buffalo City", Province: "Eastern Cape"})
	ok(t, err)
	again, err := w.RegisterMunicipality(t.Context(), keyed,
		domain.RegisterMunicipality{Code: "BUF", Name: "Buffalo City", Province: "Eastern Cape"})
	ok(t, err)
	if again != first {
		t.Errorf("again %+v, first %+v", again, first)
	}
}

func TestAGrantUnderANewerNoticeSupersedesTheOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	platform := commands.System(domain.PlatformTenant())
	call := w.citizen(t, "CPT", "one@example.co.za")
	old, err := w.RecordConsent(t.Context(), call, smsAlert())
	ok(t, err)

	published, err := w.PublishNotice(t.Context(), platform,
		commands.PublishNotice{Code: "sms_alert", Texts: texts("new words")})
	ok(t, err)
	if published.Value.Current().Version != 2 {
		t.Errorf("published version %d", published.Value.Current().Version)
	}
	w.unchanged(t, func() {
		_, err := w.PublishNotice(t.Context(), platform,
			commands.PublishNotice{Code: "sms_alert", Texts: texts("new words")})
		ok(t, err)
	})

	shownOld := smsAlert()
	shownOld.NoticeVersion = 1
	_, err = w.RecordConsent(t.Context(), call, shownOld)
	refused(t, err, domain.CodeNoticeChanged)
	renewed, err := w.RecordConsent(t.Context(), call, smsAlert())
	ok(t, err)
	if renewed.Value.NoticeVersion != 2 || renewed.Value.Wording != "new words ngesiZulu." {
		t.Errorf("renewed %+v", renewed.Value)
	}

	_, err = w.WithdrawConsent(t.Context(), call, commands.WithdrawConsent{Consent: old.Value.ID}) // ends both
	ok(t, err)
	if w.check(t, call, "sms_alert", time.Time{}, time.Time{}).Allowed {
		t.Error("a withdrawal of the superseded grant left the new one in force")
	}

	_, err = w.RetirePurpose(t.Context(), platform, commands.RetirePurpose{Code: "sms_alert"})
	ok(t, err)
	_, err = w.RecordConsent(t.Context(), call, smsAlert())
	refused(t, err, domain.CodeUnknownPurpose)
	_, err = w.RetirePurpose(t.Context(), w.staff(t, domain.Admin, "admin@example.co.za"),
		commands.RetirePurpose{Code: "newsletter"})
	refused(t, err, domain.CodeUnknownPurpose) // a default is not theirs to retire
}

// letter is evidence for what somebody else says that a person wrote.
func letter() *domain.Evidence { return evidence() }

// A letter from six days ago is found after a click from yesterday: every answer agrees
// that the withdrawal was six days ago.
func TestAWithdrawalFoundLaterStandsFromWhenItWasGiven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	paper := smsAlert()
	paper.Subject, paper.Channel = citizen.User, domain.Paper
	paper.GivenAt, paper.Evidence = at(-10*24*time.Hour), evidence()
	granted, err := w.RecordConsent(t.Context(), clerk, paper)
	ok(t, err)

	withdraw := func(
		call commands.Call, given time.Time, proof *domain.Evidence,
	) (commands.Answer[domain.Decided], error) {
		return w.WithdrawConsent(t.Context(), call,
			commands.WithdrawConsent{Consent: granted.Value.ID, GivenAt: given, Evidence: proof})
	}

	click, err := withdraw(citizen, at(-24*time.Hour), nil)
	ok(t, err)
	written := at(-6 * 24 * time.Hour)
	w.unchanged(t, func() {
		for _, given := range []time.Time{{}, at(-time.Hour), click.Value.WithdrawnAt} {
			again, err := withdraw(clerk, given, nil)
			ok(t, err)
			if !again.Value.WithdrawnAt.Equal(click.Value.WithdrawnAt) || again.Position != click.Position {
				t.Errorf("given at %s: %+v at %d", given, again.Value, again.Position)
			}
		}

		_, err = withdraw(clerk, written, nil)
		refused(t, err, domain.CodeEvidenceRequired)
		_, err = withdraw(clerk, at(-11*24*time.Hour), letter())
		refused(t, err, domain.CodeInvalid)
	})

	keyed := clerk
	keyed.Key = newKey()
	found, err := withdraw(keyed, written, letter())
	ok(t, err)
	again, err := withdraw(keyed, written, letter())
	ok(t, err)
	if !found.Value.WithdrawnAt.Equal(written.Truncate(time.Microsecond)) || again != found {
		t.Errorf("found %+v, again %+v", found, again)
	}

	check := func(at, known time.Time) bool {
		c, err := w.CheckConsent(t.Context(), citizen,
			commands.CheckConsent{Purpose: "sms_alert", At: at, KnownAt: known})
		ok(t, err)
		return c.Allowed
	}

	events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(citizen.User))
	ok(t, err)
	before := events[len(events)-1].RecordedAt.Add(-time.Microsecond)
	if check(at(-5*24*time.Hour), time.Time{}) || !check(at(-7*24*time.Hour), time.Time{}) ||
		!check(at(-5*24*time.Hour), before) {
		t.Error("the letter does not count from when it was written, or was known before it was found")
	}
}

func TestWhoLeavesTakesBackWhatTheyGaveThroughTheirAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	_, err := w.RecordConsent(t.Context(), citizen, smsAlert())
	ok(t, err)

	paper := commands.RecordConsent{
		Subject: citizen.User, Purpose: "newsletter", Language: domain.Zulu, Consented: true, Channel: domain.Paper,
		Evidence: evidence(),
	}
	stays, err := w.RecordConsent(t.Context(), clerk, paper)
	ok(t, err)

	citizen.Key = newKey()
	before := w.head(t)
	left, err := w.WithdrawConsent(t.Context(), citizen,
		commands.WithdrawConsent{Consent: w.registrationOf(t, citizen.User)})
	ok(t, err)
	if left.Position != before+4 {
		t.Errorf("at %d: want two withdrawals, the closing and the end of sessions after %d", left.Position, before)
	}

	staying, open, err := w.Staying(t.Context(), w.cpt, left)
	ok(t, err)
	if open || len(staying) != 1 || staying[0].ID != stays.Value.ID {
		t.Errorf("open %t, staying %+v", open, staying)
	}

	for purpose, want := range map[string]bool{"sms_alert": false, "newsletter": true} {
		c, err := w.CheckConsent(t.Context(), clerk, commands.CheckConsent{Subject: citizen.User, Purpose: purpose})
		ok(t, err)
		if c.Allowed != want {
			t.Errorf("%s is allowed: %t", purpose, c.Allowed)
		}
		decided, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(citizen.User))
		ok(t, err)
		for _, e := range decided {
			gone, is := e.Event.(*domain.ConsentWithdrawn)
			if is && e.EventID == c.By.EventID && gone.Cause != domain.CauseAccountClosed {
				t.Errorf("withdrawn because of %q", gone.Cause)
			}
		}
	}

	_, err = w.WithdrawConsent(t.Context(), clerk, commands.WithdrawConsent{Consent: stays.Value.ID})
	ok(t, err)
	then, _, err := w.Staying(t.Context(), w.cpt, left)
	ok(t, err)
	if len(then) != 1 {
		t.Errorf("a repeat answers %+v, first %+v", then, staying)
	}
}

func TestClosingAnotherPersonsAccountNeedsEvidenceAndForStaffAnAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(t, domain.Manager, "clerk@example.co.za")
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	_, err := w.RecordConsent(t.Context(), admin, commands.RecordConsent{
		Purpose: domain.PlatformRegistrationCode, Language: domain.Zulu, Consented: true,
	})
	ok(t, err)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	second := w.staff(t, domain.Admin, "second@example.co.za")

	take := func(by commands.Call, from domain.UserID, proof *domain.Evidence) error {
		_, err := w.WithdrawConsent(t.Context(), by,
			commands.WithdrawConsent{Consent: w.registrationOf(t, from), Evidence: proof})
		return err
	}

	w.unchanged(t, func() {
		refused(t, take(clerk, citizen.User, nil), domain.CodeEvidenceRequired)
		refused(t, take(clerk, admin.User, nil), domain.CodeForbidden)
		refused(t, take(clerk, admin.User, letter()), domain.CodeForbidden)
		refused(t, take(second, admin.User, nil), domain.CodeEvidenceRequired)
	})

	ok(t, take(clerk, citizen.User, letter()))
	_, err = w.Authenticate(t.Context(), citizen)
	refused(t, err, domain.CodeAccountInactive)

	_, err = w.DeactivateUser(t.Context(), admin, commands.DeactivateUser{User: second.User})
	ok(t, err)
	w.unchanged(t, func() {
		refused(t, take(commands.System(w.cpt), admin.User, letter()), domain.CodeLastAdmin)
	})
	ok(t, take(admin, admin.User, nil)) // one's own is never refused
}

// registrationOf returns the consent that an account rests on.
func (w *world) registrationOf(t *testing.T, user domain.UserID) domain.ConsentID {
	t.Helper()
	events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(user))
	ok(t, err)

	in, found := domain.ConsentsAt(events, time.Time{}, time.Time{}).InForce(domain.PlatformRegistrationCode)
	if !found {
		t.Fatal("there is no consent to registration in force")
	}
	return in.ID
}

func TestALateWithdrawalOfAnEarlierRegistrationLeavesTheAccountOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	first := w.registrationOf(t, citizen.User)

	_, err := w.WithdrawConsent(t.Context(), citizen, commands.WithdrawConsent{Consent: first})
	ok(t, err)
	_, err = w.RecordConsent(t.Context(), admin, commands.RecordConsent{
		Subject: citizen.User, Purpose: domain.PlatformRegistrationCode, Language: domain.Zulu, Consented: true,
		Channel: domain.Counter,
	})
	ok(t, err)
	_, err = w.ReactivateUser(t.Context(), admin, commands.ReactivateUser{User: citizen.User})
	ok(t, err)
	back := w.signedIn(t, "CPT", "one@example.co.za")

	events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(citizen.User))
	ok(t, err)
	_, err = w.WithdrawConsent(t.Context(), admin, commands.WithdrawConsent{
		Consent: first, GivenAt: events[0].EffectiveAt.Add(time.Microsecond), Evidence: letter(),
	})
	ok(t, err)
	_, err = w.Authenticate(t.Context(), back)
	ok(t, err)
}

// A form signed while a default's wording was in use is about that wording, even if the
// municipality has had its own since.
func TestAFormFromBeforeAMunicipalityHadItsOwnWordsIsAboutTheDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, citizen := w.staff(t, domain.Admin, "admin@example.co.za"), w.citizen(t, "CPT", "one@example.co.za")
	form := commands.RecordConsent{
		Subject: citizen.User, Purpose: "sms_alert", Language: domain.Zulu, Consented: true, Channel: domain.Paper,
		GivenAt: at(-6 * 24 * time.Hour), Evidence: evidence(),
	}
	_, err := w.DefinePurpose(t.Context(), admin, domain.DefinePurpose{
		Code: "sms_alert", Basis: domain.ConsentBasis, Retention: "a year", Texts: map[domain.Language]string{
			domain.English: "Ours.", domain.Zulu: "Okwethu.", domain.Afrikaans: "Ons s'n.",
		},
	})
	ok(t, err)

	now, err := w.RecordConsent(t.Context(), citizen,
		commands.RecordConsent{Purpose: "sms_alert", Language: domain.Zulu, Consented: true})
	ok(t, err)
	before, err := w.RecordConsent(t.Context(), admin, form)
	ok(t, err)
	if now.Value.Wording != "Okwethu." || before.Value.Wording == "Okwethu." || before.Value.Wording == "" {
		t.Errorf("today's words are %q, those of six days ago %q", now.Value.Wording, before.Value.Wording)
	}
}

// A letter that says when somebody left also moves back the withdrawals that followed
// from it.
func TestALeavingThatWasFoundEarlierMovesBackWhatItCaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, citizen := w.staff(t, domain.Admin, "admin@example.co.za"), w.citizen(t, "CPT", "one@example.co.za")
	granted, err := w.RecordConsent(t.Context(), citizen, smsAlert())
	ok(t, err)
	account := w.registrationOf(t, citizen.User)
	left, err := w.WithdrawConsent(t.Context(), citizen, commands.WithdrawConsent{Consent: account})
	ok(t, err)

	letterOf := granted.Value.GivenAt.Add(time.Microsecond)
	w.clock.advance(time.Hour)
	for range 2 { // a second time changes nothing
		_, err = w.WithdrawConsent(t.Context(), admin,
			commands.WithdrawConsent{Consent: account, GivenAt: letterOf, Evidence: letter()})
		ok(t, err)
	}

	events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(citizen.User))
	ok(t, err)
	fell, _ := domain.ConsentIn(events, granted.Value.ID)
	if !fell.WithdrawnAt.Equal(letterOf) {
		t.Errorf("the consent fell with the account at %s, the letter is of %s", fell.WithdrawnAt, letterOf)
	}

	known := domain.ConsentsFor("sms_alert", events, letterOf, left.Value.WithdrawnAt)
	if allowed, _, _ := known.Check("sms_alert"); !allowed {
		t.Error("as known before the letter it is not in force then")
	}
	if len(events) != 6 { // two grants, two withdrawals of the click, two of the letter
		t.Errorf("%d events", len(events))
	}
}

func TestWordsOfAnAdminAreInUseSinceTheirPublicationUnlessStated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	paper := func(code string) error {
		c := commands.RecordConsent{
			Purpose: code, Language: domain.Zulu, Consented: true, Channel: domain.Paper,
			GivenAt: at(-6 * 24 * time.Hour), Evidence: evidence(),
		}
		_, err := w.RecordConsent(t.Context(), admin, c)
		return err
	}

	_, err := w.DefinePurpose(t.Context(), admin, purpose("own_words", domain.ConsentBasis))
	ok(t, err)
	refused(t, paper("own_words"), domain.CodeNoticeChanged)

	since := purpose("older_words", domain.ConsentBasis)
	since.InUseSince = new(at(-7 * 24 * time.Hour))
	_, err = w.DefinePurpose(t.Context(), admin, since)
	ok(t, err)
	ok(t, paper("older_words"))
	ok(t, paper("sms_alert")) // a default, imported

	before := w.head(t)
	published, err := w.PublishNotice(t.Context(), admin, commands.PublishNotice{
		Code: "own_words", Texts: texts("other words"), InUseSince: new(at(time.Hour)),
	})
	refused(t, err, domain.CodeInvalid)
	_, err = w.PublishNotice(t.Context(), admin, commands.PublishNotice{
		Code: "own_words", Texts: texts("other words"), InUseSince: new(at(-7 * 24 * time.Hour)),
	})
	refused(t, err, domain.CodeInvalid) // earlier than the words that these replace
	if published.Position != 0 || w.head(t) != before {
		t.Error("something was published")
	}
}
