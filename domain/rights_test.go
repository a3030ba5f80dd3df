package domain_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

func TestARequestIsDueInThirtyDaysByTheSouthAfricanCalendar(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ lodged, due string }{
		"a plain Thursday":                          {"2026-11-24T08:00:00Z", "2026-12-24"},
		"Christmas, Goodwill, and then a Sunday":    {"2026-11-25T08:00:00Z", "2026-12-28"},
		"the Day of Reconciliation":                 {"2026-11-16T08:00:00Z", "2026-12-17"},
		"Good Friday: Saturdays count":              {"2026-03-04T08:00:00Z", "2026-04-04"},
		"Easter Sunday, and then Family Day":        {"2026-03-06T08:00:00Z", "2026-04-07"},
		"Good Friday of a late Easter":              {"2025-03-19T08:00:00Z", "2025-04-19"},
		"Family Day of an early Easter":             {"2024-03-02T08:00:00Z", "2024-04-02"},
		"the Monday after a holiday on a Sunday":    {"2025-03-29T08:00:00Z", "2025-04-29"},
		"a holiday on a Sunday itself":              {"2025-03-28T08:00:00Z", "2025-04-29"},
		"Women's Day on a Sunday, and its Monday":   {"2026-07-10T08:00:00Z", "2026-08-11"},
		"half an hour after midnight, over there":   {"2026-11-23T22:30:00Z", "2026-12-24"},
		"half an hour before midnight, over there":  {"2026-11-23T21:30:00Z", "2026-12-23"},
		"over the turn of the year, past New Year":  {"2026-12-02T08:00:00Z", "2027-01-02"},
		"in a leap year":                            {"2028-01-30T08:00:00Z", "2028-02-29"},
		"Workers' Day":                              {"2026-04-01T08:00:00Z", "2026-05-02"},
		"Human Rights Day on a Sunday, its Monday":  {"2027-02-19T08:00:00Z", "2027-03-23"},
		"the Monday that follows is Family Day too": {"2027-02-27T08:00:00Z", "2027-03-30"},
	} {
		lodged, err := time.Parse(time.RFC3339, c.lodged)
		if err != nil {
			t.Fatal(err)
		}
		if got := domain.DueDate(lodged); got != domain.Date(c.due) {
			t.Errorf("%s: lodged %s is due %s, want %s", name, c.lodged, got, c.due)
		}
	}
}

func rightsStream() domain.Stream { return domain.RightsOf(domaintest.Thandi()) }

func theRequest() domain.RequestID { return domain.RequestID{UUID: domaintest.ID(0xa, 7)} }

func theHold() domain.HoldID { return domain.HoldID{UUID: domaintest.ID(0xb, 7)} }

func lodged(kind domain.RequestKind) *domain.RequestLodged {
	return &domain.RequestLodged{RequestID: theRequest(), Kind: kind, LodgedBy: domain.BySelf, DueOn: "2026-04-07"}
}

// rightsOf decides on a person's rights.
func rightsOf(decide func(domain.Rights) ([]domain.Event, error)) func([]domain.Recorded) ([]domain.Event, error) {
	return func(h []domain.Recorded) ([]domain.Event, error) { return decide(domain.Fold[domain.Rights](h)) }
}

func TestARequestIsLodgedAndClosedOnce(t *testing.T) {
	t.Parallel()
	details := domain.Known(domain.FreeText{Text: "my surname"})
	command := domain.LodgeRequest{
		ID: theRequest(), Kind: domain.CorrectionRequest, Details: "my surname", ByStaff: true,
	}

	domaintest.Given(rightsStream()).
		When(func([]domain.Recorded) ([]domain.Event, error) { return command.Decide(domaintest.Clock("2026-03-06")) }).
		Then(t, &domain.RequestLodged{
			RequestID: theRequest(), Kind: domain.CorrectionRequest, LodgedBy: domain.ByStaff, DueOn: "2026-04-07",
			Private: details,
		})

	fulfil := rightsOf(func(r domain.Rights) ([]domain.Event, error) { return r.Fulfil(theRequest(), "done") })
	refuse := rightsOf(func(r domain.Rights) ([]domain.Event, error) {
		return r.RefuseRequest(theRequest(), domain.GroundIdentity, "")
	})

	open := domaintest.Given(rightsStream(), domaintest.At("2026-03-06", lodged(domain.AccessRequest)))
	open.When(fulfil).Then(t, &domain.RequestFulfilled{
		RequestID: theRequest(), Kind: domain.AccessRequest, Private: domain.Known(domain.FreeText{Text: "done"}),
	})
	open.When(refuse).Then(t, &domain.RequestRefused{
		RequestID: theRequest(), Kind: domain.AccessRequest, Ground: domain.GroundIdentity,
	})

	done := domaintest.Given(rightsStream(), domaintest.At("2026-03-06", lodged(domain.AccessRequest),
		&domain.RequestFulfilled{RequestID: theRequest(), Kind: domain.AccessRequest}))
	done.When(fulfil).ThenNothing(t)
	done.When(refuse).ThenRefused(t, domain.CodeRequestClosed)

	domaintest.Given(rightsStream()).When(fulfil).ThenRefused(t, domain.CodeNotFound)
	open.When(rightsOf(func(r domain.Rights) ([]domain.Event, error) {
		return r.RefuseRequest(theRequest(), "because", "")
	})).ThenFaulty(t, "ground invalid")
	domaintest.Given(rightsStream()).When(func([]domain.Recorded) ([]domain.Event, error) {
		return domain.LodgeRequest{Kind: "money"}.Decide(domaintest.Clock("2026-03-06"))
	}).ThenFaulty(t, "kind invalid")
}

func TestALetterIsDueThirtyDaysAfterItArrived(t *testing.T) {
	t.Parallel()
	now := domaintest.Clock("2026-03-20")
	lodging := func(arrived time.Time, byStaff bool) func(domain.Rights) ([]domain.Event, error) {
		return func(r domain.Rights) ([]domain.Event, error) {
			_, events, err := r.Lodge(domain.LodgeRequest{
				ID: theRequest(), Kind: domain.AccessRequest, ReceivedAt: arrived, ByStaff: byStaff,
			}, domaintest.Clerk(), now)
			return events, err
		}
	}

	letter := &domain.RequestLodged{
		RequestID: theRequest(), Kind: domain.AccessRequest, LodgedBy: domain.ByStaff, DueOn: "2026-04-07",
		ReceivedAt: domaintest.Clock("2026-03-06"),
	}
	none := domaintest.Given(rightsStream())
	none.When(rightsOf(lodging(letter.ReceivedAt, true))).Then(t, letter)

	for name, arrived := range map[string]time.Time{
		"in the future": now.Add(time.Second), "in another year": now.Add(-domain.MaxLetterAge - time.Second),
		"in the year 1": time.Time{}.Add(time.Nanosecond),
	} {
		t.Log(name)
		none.When(rightsOf(lodging(arrived, true))).ThenFaulty(t, "received_at invalid")
	}
	none.When(rightsOf(lodging(letter.ReceivedAt, false))).ThenFaulty(t, "received_at invalid")

	lodged := domaintest.Given(rightsStream(), domaintest.At("2026-03-10", letter))
	lodged.When(rightsOf(lodging(letter.ReceivedAt, true))).ThenNothing(t)
	lodged.When(rightsOf(lodging(time.Time{}, true))).ThenNothing(t)
	another := *letter
	another.ReceivedAt, another.DueOn = domaintest.Clock("2026-03-04"), "2026-04-04"
	lodged.When(rightsOf(lodging(another.ReceivedAt, true))).Then(t, &another)

	rights := domain.Fold[domain.Rights](domaintest.History(rightsStream(), domaintest.At("2026-03-10", letter)))
	if at := rights.Requests[0].LodgedAt; !at.Equal(letter.ReceivedAt) {
		t.Errorf("lodged at %s", at)
	}
}

func TestAHoldHoldsUntilItIsLifted(t *testing.T) {
	t.Parallel()
	placed := domaintest.At("2026-03-06", &domain.HoldPlaced{HoldID: theHold()})
	lift := rightsOf(func(r domain.Rights) ([]domain.Event, error) { return r.Lift(theHold(), "settled") })

	domaintest.Given(rightsStream(), placed).When(lift).
		Then(t, &domain.HoldLifted{HoldID: theHold(), Private: domain.Known(domain.FreeText{Text: "settled"})})

	lifted := domaintest.At("2026-03-07", &domain.HoldLifted{HoldID: theHold()})
	domaintest.Given(rightsStream(), placed, lifted).When(lift).ThenNothing(t)
	domaintest.Given(rightsStream()).When(lift).ThenRefused(t, domain.CodeNotFound)

	for _, f := range []func(domain.Rights) ([]domain.Event, error){
		func(domain.Rights) ([]domain.Event, error) { return domain.PlaceHold{Reason: "  "}.Decide() },
		func(r domain.Rights) ([]domain.Event, error) { return r.Lift(theHold(), "") },
	} {
		domaintest.Given(rightsStream(), placed).When(rightsOf(f)).ThenFaulty(t, "reason required")
	}

	for want, history := range map[bool][]domaintest.Fact{true: {placed}, false: {placed, lifted}} {
		if rights := domain.Fold[domain.Rights](domaintest.History(rightsStream(), history...)); rights.Held() != want {
			t.Errorf("held is %v: %+v", rights.Held(), rights)
		}
	}
}

func TestAnErasureWaitsForAHoldAndHappensOnce(t *testing.T) {
	t.Parallel()
	user := domain.User{ID: domaintest.Thandi(), Active: true, Version: 3}
	held := domain.Rights{Holds: []domain.Hold{{ID: theHold()}}}
	events, err := user.Erase(held, domain.BySelf, domain.RequestID{})
	domaintest.Refusal(t, events, err, domain.CodeRetentionHold)

	erased := domain.User{ID: domaintest.Thandi(), Erased: true, Version: 4}
	events, err = erased.Erase(domain.Rights{}, domain.BySelf, domain.RequestID{})
	domaintest.Refusal(t, events, err, domain.CodeSubjectErased)

	events, err = user.Erase(domain.Rights{}, domain.CauseRequest, theRequest())
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}

	certificate := events[0].(*domain.UserErased)
	if !slices.Equal(certificate.Keys, []uuid.UUID{domaintest.Thandi().UUID}) ||
		certificate.RequestID != theRequest() || len(certificate.Destroyed) == 0 || len(certificate.Kept) == 0 {
		t.Errorf("certificate %+v", certificate)
	}
}

func TestNothingStaysAllowedForAnErasedPerson(t *testing.T) {
	t.Parallel()
	second := granted(2)
	second.NoticeVersion = 2 // superseded the first
	other := granted(3)
	other.Purpose = "sms_alert"

	history := domaintest.History(consents(), domaintest.At("2026-03-01", granted(1), second, other),
		domaintest.At("2026-03-02", &domain.ConsentRefused{Decision: plain(4, 1, "x")}))

	// The refusal now decides on the newsletter, so only the other purpose is in force.
	events := domain.WithdrawAll(history, true)
	if len(events) != 1 || events[0].(*domain.ConsentWithdrawn).Purpose != "sms_alert" ||
		events[0].(*domain.ConsentWithdrawn).RecordedBy != domain.ByStaff {
		t.Errorf("withdrawn: %+v", events)
	}

	all := domaintest.History(consents(), domaintest.At("2026-03-01", granted(1), second, other))
	if n := len(domain.WithdrawAll(all, false)); n != 2 {
		t.Errorf("%d withdrawals, want one for each purpose", n)
	}
}
