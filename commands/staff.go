package commands

import (
	"context"
	"errors"
	"time"

	"github.com/salga-trust/engine/domain"
)

// ChangeRole asks to change the role of an account of the caller's tenant.
type ChangeRole struct {
	User domain.UserID
	Role domain.Role
}

// ChangeRole changes the role. Errors: forbidden, not_found, stale, validation_failed,
// no_account, last_admin, consent_required, subject_erased.
func (h *Handler) ChangeRole(ctx context.Context, call Call, c ChangeRole) (Answer[domain.User], error) {
	return h.changeStaff(ctx, call, "user.change_role", c.User, c.Role, func(s *staffChange) ([]domain.Event, error) {
		s.restOnConsents()
		events, err := s.user.ChangeRole(c.Role, s.consents)
		lacks := errors.Is(err, domain.Refuse(domain.CodeConsentRequired, ""))
		if !lacks && (err != nil || len(events) == 0) {
			return nil, err
		}

		if last := s.administer(s.user.Active && c.Role == domain.Admin); last != nil {
			return nil, last // before a lack of consent, which would not help
		}
		return events, err
	})
}

// DeactivateUser asks to close an account of the caller's tenant.
type DeactivateUser struct {
	User domain.UserID
}

// DeactivateUser closes the account and ends its sessions, so its next request is
// refused. Errors: forbidden, not_found, stale, no_account, last_admin, subject_erased.
func (h *Handler) DeactivateUser(ctx context.Context, call Call, c DeactivateUser) (Answer[domain.User], error) {
	return h.changeStaff(ctx, call, "user.deactivate", c.User, nil, func(s *staffChange) ([]domain.Event, error) {
		if s.user.Erased {
			return nil, subjectErased()
		}

		if !s.user.Account {
			return nil, domain.NoAccount()
		}

		events := s.user.Deactivate(domain.CauseAdmin)
		if len(events) == 0 {
			return nil, nil
		}
		endSessions(&s.change, c.User)
		return events, s.administer(false)
	})
}

// ReactivateUser asks to open an account of the caller's tenant again.
type ReactivateUser struct {
	User domain.UserID
}

// ReactivateUser opens the account again. Errors: forbidden, not_found, stale,
// consent_required, subject_erased.
func (h *Handler) ReactivateUser(ctx context.Context, call Call, c ReactivateUser) (Answer[domain.User], error) {
	return h.changeStaff(ctx, call, "user.reactivate", c.User, nil, func(s *staffChange) ([]domain.Event, error) {
		s.restOnConsents()
		events, err := s.user.Reactivate(s.closedBy, s.consents)
		if err != nil || len(events) == 0 {
			return nil, err
		}
		return events, s.administer(s.user.Role == domain.Admin)
	})
}

// staffChange is the state that an admin's change of an account is decided on, and the
// append that the change becomes.
type staffChange struct {
	user     domain.User
	closedBy string
	consents domain.Consents
	decided  int // version of the consents stream
	admins   domain.Admins
	factor   domain.SecondFactor
	change   domain.Append
}

// restOnConsents makes the append expect the consents as they were found. Withdrawing the
// consent to a closed account writes to no other stream, so only this one shows it.
func (s *staffChange) restOnConsents() {
	s.change.Expects = append(s.change.Expects, domain.Expectation{
		Tenant: s.user.Tenant, Stream: domain.ConsentsOf(s.user.ID), Version: s.decided,
	})
}

// administer adds the user to the tenant's admins or removes them. Either way the append
// expects the version of the admins stream, so that of two changes at once the second is
// decided on the result of the first.
func (s *staffChange) administer(admin bool) error {
	events := s.admins.Add(s.user.ID)
	if !admin {
		var err error
		if events, err = s.admins.Remove(s.user.ID); err != nil {
			return err
		}
	}

	if len(events) > 0 {
		s.change.Writes = append(s.change.Writes, domain.Write{
			Stream: domain.AdminsOf(s.user.Tenant), Expected: s.admins.Version, Events: events,
		})
	}
	return nil
}

func (h *Handler) changeStaff(ctx context.Context, call Call, name string, id domain.UserID, body any,
	decide func(*staffChange) ([]domain.Event, error),
) (Answer[domain.User], error) {
	if err := call.demandAdmin("change other people's accounts"); err != nil {
		return Answer[domain.User]{}, err
	}

	person, consents, admins := domain.UserOf(id), domain.ConsentsOf(id), domain.AdminsOf(call.Tenant)
	r := request{name: name, tenant: call.Tenant, scope: scopeOf(call), body: []any{id, body}}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		history, err := h.Store.Load(ctx, call.Tenant, person, consents, admins)
		if err != nil {
			return domain.Append{}, err
		}

		s := &staffChange{
			user:     domain.Fold[domain.User](of(history, person)),
			closedBy: domain.DeactivationCause(of(history, person)),
			consents: domain.ConsentsAt(of(history, consents), time.Time{}, time.Time{}),
			decided:  len(of(history, consents)),
			admins:   domain.Fold[domain.Admins](of(history, admins)),
			factor:   domain.Fold[domain.SecondFactor](of(history, person)),
			change:   domain.Append{Tenant: call.Tenant},
		}
		if !s.user.Exists() {
			return domain.Append{}, domain.Refuse(domain.CodeNotFound, "There is no such user.")
		}
		if err := matching(call, s.user.Version); err != nil {
			return domain.Append{}, err
		}

		events, err := decide(s)
		if err != nil || len(events) == 0 {
			return domain.Append{}, err
		}

		// The user's stream first: the version in the answer follows from its newest
		// event.
		own := domain.Write{Stream: person, Expected: s.user.Version, Events: events}
		s.change.Writes = append([]domain.Write{own}, s.change.Writes...)
		keepOfficers(&s.change, s.user, events)
		return s.change, nil
	})
	if err != nil {
		return Answer[domain.User]{}, err
	}

	if len(done.Events) > 0 {
		return h.userAnswer(ctx, call.Tenant, done)
	}
	return h.userNow(ctx, call.Tenant, id)
}

// endSessions adds to an append the end of all sessions of a closed account.
func endSessions(a *domain.Append, user domain.UserID) {
	a.Writes = append(a.Writes, domain.Write{
		Stream: domain.SessionsOf(user), Expected: domain.AnyVersion, Events: []domain.Event{
			&domain.SessionEnded{Scope: domain.ScopeAll, Cause: domain.CauseDeactivated},
		},
	})
	a.Side = append(a.Side, domain.EndSessions{User: user})
}
