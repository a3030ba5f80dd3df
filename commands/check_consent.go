package commands

import (
	"context"
	"time"

	"github.com/salga-trust/engine/domain"
)

// Check is the answer to "may personal data be processed for this purpose".
type Check struct {
	Allowed bool
	Decided bool            // false: nothing was ever decided
	By      domain.Recorded // the event that decides
}

// CheckConsent answers from the log for a subject and purpose at an instant, as known at an instant; zero times mean now. It
// discloses nothing personal. Errors: forbidden, not_found.
func (h *Handler) CheckConsent(ctx context.Context, call Call, subject domain.UserID, purpose string, at, knownAt time.Time) (Check, error) {
	subject, err := call.Subject(subject)
	if err != nil {
		return Check{}, err
	}
	stream, person := domain.ConsentsOf(subject), domain.UserOf(subject)
	events, err := h.Store.Load(ctx, call.Tenant, stream, person)
	if err != nil {
		return Check{}, err
	}
	if len(of(events, person)) == 0 {
		return Check{}, domain.Refuse(domain.CodeNotFound, "There is no such person.")
	}
	var c Check
	c.Allowed, c.By, c.Decided = domain.ConsentsAt(of(events, stream), at, knownAt).Check(purpose)
	return c, nil
}
