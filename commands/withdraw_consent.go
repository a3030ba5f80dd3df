package commands

import (
	"context"
	"slices"
	"time"

	"github.com/salga-trust/engine/domain"
)

// WithdrawConsent is the wish to take a consent back.
type WithdrawConsent struct {
	Consent domain.ConsentID `json:"consent_id"`
	Reason  string           `json:"reason,omitempty"`
	GivenAt time.Time        `json:"given_at,omitzero"`
}

// WithdrawConsent takes a consent back; a second time changes nothing and the first stands. Withdrawing platform_registration is
// never refused (POPIA s11(2)(b)): the same append closes the account and ends its sessions. A consent of another tenant, or for
// a citizen of another person, answers as an absent one. Errors: validation_failed, not_found, not_granted,
// given_at_in_future.
func (h *Handler) WithdrawConsent(ctx context.Context, call Call, c WithdrawConsent) (Answer[domain.Consent], error) {
	subject, err := h.subjectOf(ctx, call, c.Consent)
	if err != nil {
		return Answer[domain.Consent]{}, err
	}
	wish := domain.WithdrawConsent{
		ID: c.Consent, Reason: c.Reason, GivenAt: c.GivenAt.UTC().Truncate(time.Microsecond), ByStaff: subject != call.User,
	}
	stream, person, admins := domain.ConsentsOf(subject), domain.UserOf(subject), domain.AdminsOf(call.Tenant)
	var history []domain.Recorded
	r := request{name: "consent.withdraw", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		events, err := h.Store.Load(ctx, call.Tenant, stream, person, admins)
		if err != nil {
			return domain.Append{}, err
		}
		history = of(events, stream)
		withdrawn, err := wish.Decide(history, h.now())
		if err != nil || len(withdrawn) == 0 {
			return domain.Append{}, err
		}
		a := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: stream, Expected: len(history), Events: withdrawn}},
		}
		if withdrawn[0].(*domain.ConsentWithdrawn).Purpose == domain.PlatformRegistrationCode {
			closeAccount(&a, domain.Fold[domain.User](of(events, person)), domain.Fold[domain.Admins](of(events, admins)))
		}
		return a, nil
	})
	if err != nil {
		return Answer[domain.Consent]{}, err
	}
	if len(done.Events) == 0 {
		consent, _ := domain.ConsentsAt(history, time.Time{}, time.Time{}).Record(c.Consent)
		return Answer[domain.Consent]{Value: consent, Position: consent.Position}, nil
	}
	return h.consentAnswer(ctx, history, done)
}

// subjectOf finds whose consent it is, without a read table.
func (h *Handler) subjectOf(ctx context.Context, call Call, id domain.ConsentID) (domain.UserID, error) {
	stream, found, err := h.Store.StreamOf(ctx, call.Tenant, id.UUID)
	if err != nil {
		return domain.UserID{}, err
	}
	subject := stream.Subject()
	if !found || stream.Type != domain.ConsentStream || (subject != call.User && !call.isStaff()) {
		return domain.UserID{}, domain.Refuse(domain.CodeNotFound, "There is no such consent.")
	}
	return subject, nil
}

// closeAccount adds to an append what closes an account that rests on a consent which is no more. This is never refused, not even
// to a tenant's last admin: SALGA can appoint another.
func closeAccount(a *domain.Append, user domain.User, admins domain.Admins) {
	events := user.Deactivate(domain.CauseConsentWithdrawn)
	if len(events) == 0 {
		return
	}
	a.Writes = append(a.Writes, domain.Write{Stream: domain.UserOf(user.ID), Expected: user.Version, Events: events})
	if slices.Contains(admins.Users, user.ID) {
		a.Writes = append(a.Writes, domain.Write{
			Stream: domain.AdminsOf(user.Tenant), Expected: admins.Version, Events: []domain.Event{&domain.AdminRemoved{User: user.ID}},
		})
	}
	endSessions(a, user.ID)
}
