package commands

import (
	"context"

	"github.com/salga-trust/engine/domain"
)

// AnnulConsent asks to annul an entry made in error.
type AnnulConsent struct {
	Consent  domain.ConsentID `json:"consent_id"`
	Entry    domain.Entry     `json:"entry,omitempty"` // empty: the decision
	Reason   string           `json:"reason"`
	Evidence *domain.Evidence `json:"evidence,omitempty"`
}

// AnnulConsent annuls the entry, as known from now on; annulling it again changes
// nothing. Errors: validation_failed, forbidden, not_found, subject_erased, not_granted,
// not_withdrawn, annulled, evidence_required, account_rests_on_consent.
func (h *Handler) AnnulConsent(ctx context.Context, call Call, c AnnulConsent) (Answer[domain.Decided], error) {
	if err := call.demandOverseer("annul entries"); err != nil {
		return Answer[domain.Decided]{}, err
	}
	subject, err := h.subjectOf(ctx, call, c.Consent)
	if err != nil {
		return Answer[domain.Decided]{}, err
	}

	wish := domain.AnnulConsent{ID: c.Consent, Entry: c.Entry, Reason: c.Reason, Evidence: c.Evidence}
	person, tail := domain.UserOf(subject), domain.WholeTail(subject, c.Consent)
	var history []domain.Recorded

	r := request{name: "consent.annul", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		events, version, err := h.Store.LoadTail(ctx, call.Tenant, tail, person)
		if err != nil {
			return domain.Append{}, err
		}

		history = of(events, tail.Stream)
		user := domain.Fold[domain.User](of(events, person))
		if user.Erased { // and no reason can be kept
			return domain.Append{}, subjectErased()
		}

		if entry, found := domain.ConsentIn(history, c.Consent); found {
			if wish.Own, wish.Shared, err = h.purposesWith(ctx, call.Tenant, entry.Purpose); err != nil {
				return domain.Append{}, err
			}
		}

		decided, err := wish.Decide(user, history, h.now())
		if err != nil || len(decided) == 0 {
			return domain.Append{}, err
		}
		return besideUser(call, user, domain.Write{Stream: tail.Stream, Expected: version, Events: decided}), nil
	})
	if err != nil {
		return Answer[domain.Decided]{}, err
	}

	if len(done.Events) == 0 {
		consent, _ := domain.ConsentIn(history, c.Consent)
		standing, err := h.Standing(ctx, call.Tenant, consent)
		if err != nil {
			return Answer[domain.Decided]{}, err
		}
		return Answer[domain.Decided]{Value: standing[0], Position: consent.Position, Stood: true}, nil
	}
	return h.consentAnswer(ctx, history, done)
}
