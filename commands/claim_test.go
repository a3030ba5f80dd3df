package commands_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// claim is what a list says about somebody and SMS alerts, as of ten days ago.
func claim(subject domain.UserID, change ...func(*commands.ClaimConsent)) commands.ClaimConsent {
	c := commands.ClaimConsent{
		Subject: subject, Purpose: "sms_alert", Decided: domain.OutcomeGranted, GivenAt: at(-10 * 24 * time.Hour),
		Grade: domain.GradeClaimed, Source: "an old list", FileSHA256: domain.WordingHash("list"), Line: 2,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func TestAClaimIsRecordedOnceAndNamedInTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	says := claim(citizen.User)

	first, err := w.ClaimConsent(t.Context(), commands.System(w.cpt), says)
	ok(t, err)
	if c := w.check(t, citizen, "sms_alert", time.Time{}, time.Time{}); !c.Allowed || c.Grade != domain.GradeClaimed {
		t.Errorf("the check is %+v", c)
	}

	w.unchanged(t, func() {
		says.FileSHA256, says.Line = domain.WordingHash("another file"), 9
		again, err := w.ClaimConsent(t.Context(), commands.System(w.cpt), says)
		ok(t, err)
		if !again.Stood || first.Stood || again.Value != first.Value || again.Value.Line != 2 {
			t.Errorf("again %+v, first %+v", again, first)
		}

		for name, change := range map[string]func(*commands.ClaimConsent){
			"decided": func(c *commands.ClaimConsent) { c.Decided = domain.OutcomeRefused },
			"channel": func(c *commands.ClaimConsent) { c.Channel = domain.Paper },
		} {
			changed := says
			change(&changed)
			if _, err := w.ClaimConsent(t.Context(), commands.System(w.cpt), changed); err == nil {
				t.Errorf("the source may change its %s", name)
			} else {
				refused(t, err, domain.CodeClaimChanged)
			}
		}
	})
}

func TestASourcesOwnIDOfARecordTellsRepeatsFromChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	numbered := claim(citizen.User, func(c *commands.ClaimConsent) { c.Record = "17" })
	_, err := w.ClaimConsent(t.Context(), commands.System(w.cpt), numbered)
	ok(t, err)

	numbered.GivenAt = numbered.GivenAt.Add(-time.Hour)
	_, err = w.ClaimConsent(t.Context(), commands.System(w.cpt), numbered)
	refused(t, err, domain.CodeClaimChanged)

	numbered.Record = "18"
	_, err = w.ClaimConsent(t.Context(), commands.System(w.cpt), numbered)
	ok(t, err)
}

func TestOneClaimOfManyAtOnceIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	before, says := w.head(t), claim(citizen.User)

	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := w.ClaimConsent(t.Context(), commands.System(w.cpt), says); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if after := w.head(t); after != before+1 {
		t.Errorf("%d events", after-before)
	}
}

func TestAClaimOfNobodyIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	elsewhere := w.municipality(t, "JHB", "City of Johannesburg")
	citizen, stranger := w.citizen(t, "CPT", "one@example.co.za"), w.citizen(t, "JHB", "two@example.co.za")
	_, err := w.EraseMe(t.Context(), citizen, commands.EraseMe{
		Confirmation: commands.EraseConfirmation, Password: password,
	})
	ok(t, err)

	here, there := commands.System(w.cpt), commands.System(elsewhere)
	of := func(purpose string) commands.ClaimConsent {
		return claim(stranger.User, func(c *commands.ClaimConsent) { c.Purpose = purpose })
	}
	for name, c := range map[string]struct {
		call commands.Call
		says commands.ClaimConsent
		want domain.Code
	}{
		"of somebody erased":       {here, claim(citizen.User), domain.CodeSubjectErased},
		"of nobody":                {here, claim(domain.UserID{UUID: uuid.New()}), domain.CodeNotFound},
		"of another municipality":  {here, claim(stranger.User), domain.CodeNotFound},
		"by an account":            {stranger, claim(stranger.User), domain.CodeForbidden},
		"about billing":            {there, of("account_billing"), domain.CodePurposeNotConsent},
		"about nothing":            {there, of("nope"), domain.CodeUnknownPurpose},
		"about a child, by nobody": {there, of("child_programme"), domain.CodeCompetentPerson},
		"about an account":         {there, of("platform_registration"), domain.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.ClaimConsent(t.Context(), c.call, c.says)
			refused(t, err, c.want)
		})
	}
}

func TestARetiredPurposeTakesNoClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	_, err := w.RetirePurpose(t.Context(), commands.System(domain.PlatformTenant()),
		commands.RetirePurpose{Code: "sms_alert"})
	ok(t, err)

	_, err = w.ClaimConsent(t.Context(), commands.System(w.cpt), claim(citizen.User))
	refused(t, err, domain.CodeUnknownPurpose)
}

func TestWhatAPersonDecidesHereCountsWhateverIsClaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	says := claim(citizen.User)
	_, err := w.ClaimConsent(t.Context(), commands.System(w.cpt), says)
	ok(t, err)

	granted, err := w.RecordConsent(t.Context(), citizen, smsAlert())
	ok(t, err)
	if c := w.check(t, citizen, "sms_alert", time.Time{}, time.Time{}); !c.Allowed || c.Grade != "" {
		t.Errorf("after a consent the check is %+v", c)
	}
	_, err = w.WithdrawConsent(t.Context(), citizen, commands.WithdrawConsent{Consent: granted.Value.ID})
	ok(t, err)

	w.clock.advance(time.Hour)
	says.GivenAt = at(30 * time.Minute)
	_, err = w.ClaimConsent(t.Context(), commands.System(w.cpt), says)
	refused(t, err, domain.CodeDecidedHere)
	c := w.check(t, citizen, "sms_alert", time.Time{}, time.Time{})
	if c.Allowed || c.Reason != domain.ReasonWithdrawn {
		t.Errorf("after a withdrawal the check is %+v", c)
	}
}

// What is claimed to be withdrawn is not a refusal, and to withdraw it again changes
// nothing.
func TestAClaimedWithdrawalIsWithdrawnAlready(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	wish := claim(citizen.User)
	wish.Decided = domain.OutcomeWithdrawn
	a, err := w.ClaimConsent(t.Context(), commands.System(w.cpt), wish)
	ok(t, err)
	events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(citizen.User))
	ok(t, err)
	record := domain.ConsentID{UUID: events[len(events)-1].Record}

	again, err := w.WithdrawConsent(t.Context(), citizen, commands.WithdrawConsent{Consent: record})
	ok(t, err)
	if c := again.Value; again.Position != a.Position || !c.WithdrawnAt.Equal(wish.GivenAt.Truncate(time.Microsecond)) {
		t.Errorf("withdrawn again: %+v at %d", c, again.Position)
	}
	_, err = w.WithdrawConsent(t.Context(), citizen, commands.WithdrawConsent{
		Consent: record, GivenAt: wish.GivenAt.Add(-time.Hour),
	})
	refused(t, err, domain.CodeInvalid)
}

func TestAClaimedGrantIsWithdrawnLikeAnyOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	a, err := w.ClaimConsent(t.Context(), commands.System(w.cpt), claim(citizen.User))
	ok(t, err)
	events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(citizen.User))
	ok(t, err)
	last := events[len(events)-1]
	if last.Position != a.Position {
		t.Fatalf("the claim is not the newest event")
	}

	withdrawn, err := w.WithdrawConsent(t.Context(), citizen,
		commands.WithdrawConsent{Consent: domain.ConsentID{UUID: last.Record}})
	ok(t, err)
	if c := withdrawn.Value; !c.Withdrawn() || c.Grade != domain.GradeClaimed || c.Source != "an old list" {
		t.Errorf("withdrawn %+v", c)
	}
	if w.check(t, citizen, "sms_alert", time.Time{}, time.Time{}).Allowed {
		t.Error("it is still allowed")
	}
}
