package commands

import (
	"context"
	"slices"
	"time"

	"github.com/salga-trust/engine/domain"
)

// CheckConsent asks "may personal data be processed for this purpose?".
type CheckConsent struct {
	Subject domain.UserID // zero: the caller
	Purpose string        // in any letter case
	At      time.Time     // when it has to hold; zero: now
	KnownAt time.Time     // as known when; zero: now
}

// Check is the answer to it.
type Check struct {
	domain.Check

	Position int64 // of the log: the answer rests on everything up to it, and on nothing after it
}

// CheckConsent answers from the log, at one position of it: the head is read first, and what came after it is left out. So the
// answer is that of one moment, though several streams of two tenants bear on it. It discloses nothing personal. Errors:
// forbidden, not_found, unknown_purpose.
func (h *Handler) CheckConsent(ctx context.Context, call Call, c CheckConsent) (Check, error) {
	subject, err := call.Subject(c.Subject)
	if err != nil {
		return Check{}, err
	}
	code := domain.CanonicalPurposeCode(c.Purpose)

	head, err := h.Store.Head(ctx)
	if err != nil {
		return Check{}, err
	}
	person, own := domain.UserOf(subject), domain.PurposeOf(call.Tenant, code)
	tail := domain.TailFor(subject, code, c.At, c.KnownAt)
	enough := tail.Enough
	tail.Enough = func(newest []domain.Recorded) bool { return enough(upTo(head, newest)) }
	events, _, err := h.Store.LoadTail(ctx, call.Tenant, tail, person, own)
	if err != nil {
		return Check{}, err
	}
	if len(of(events, person)) == 0 {
		return Check{}, domain.Refuse(domain.CodeNotFound, "There is no such person.")
	}

	q := domain.Inquiry{
		Purpose: code, At: c.At, KnownAt: c.KnownAt,
		Person: upTo(head, of(events, person)), Consents: upTo(head, of(events, tail.Stream)), Own: upTo(head, of(events, own)),
	}
	if platform := domain.PlatformTenant(); call.Tenant != platform && code != domain.PlatformRegistrationCode {
		shared, err := h.Store.Load(ctx, platform, domain.PurposeOf(platform, code))
		if err != nil {
			return Check{}, err
		}
		q.Default = upTo(head, shared)
	}

	check, err := q.Answer()
	return Check{Check: check, Position: head}, err
}

// upTo leaves out the events after a position.
func upTo(position int64, events []domain.Recorded) []domain.Recorded {
	return slices.DeleteFunc(slices.Clone(events), func(e domain.Recorded) bool { return e.Position > position })
}
