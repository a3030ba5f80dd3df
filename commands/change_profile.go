package commands

import (
	"context"
	"errors"

	"github.com/salga-trust/engine/domain"
)

// ChangeProfile is a person's wish to change their own details; nil fields stay.
type ChangeProfile struct {
	FullName          *string          `json:"full_name,omitempty"`
	Phone             *string          `json:"phone,omitempty"`
	PreferredLanguage *domain.Language `json:"preferred_language,omitempty"`
	Email             *string          `json:"email,omitempty"`
	CurrentPassword   string           `json:"-"` // a new e-mail address needs it
}

// ChangeProfile changes the caller's own details. A new e-mail address moves claim and credential in the same append. Errors:
// validation_failed, stale, password_wrong, email_taken.
func (h *Handler) ChangeProfile(ctx context.Context, call Call, c ChangeProfile) (Answer[domain.User], error) {
	r := request{name: "user.change_profile", tenant: call.Tenant, scope: scopeOf(call), body: c}
	checked := false
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		user, _, err := h.person(ctx, call.Tenant, call.User)
		if err != nil {
			return domain.Append{}, err
		}
		if err := matching(call, user.Version); err != nil {
			return domain.Append{}, err
		}
		events, err := c.tidy().Decide(user)
		if err != nil || len(events) == 0 {
			return domain.Append{}, err
		}
		a := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: domain.UserOf(call.User), Expected: user.Version, Events: events}},
		}
		if _, moves := events[len(events)-1].(*domain.UserEmailChanged); !moves {
			return a, nil
		}
		if !checked {
			if err := h.checkPassword(ctx, call, c.CurrentPassword); err != nil {
				return domain.Append{}, err
			}
			checked = true
		}
		a.Side = moveEmail(user, tidy(*c.Email))
		return a, nil
	})
	if _, taken := errors.AsType[*domain.ClaimTakenError](err); taken {
		return Answer[domain.User]{}, emailTaken().Because(err)
	}
	if err != nil {
		return Answer[domain.User]{}, err
	}
	if len(done.Events) == 0 {
		return h.Me(ctx, call)
	}
	return h.userAnswer(ctx, call.Tenant, done)
}

func (c ChangeProfile) tidy() domain.ChangeProfile {
	d := domain.ChangeProfile{PreferredLanguage: c.PreferredLanguage}
	if c.FullName != nil {
		d.FullName = new(domain.TidyName(tidy(*c.FullName)))
	}
	if c.Phone != nil {
		d.Phone = new(E164(*c.Phone))
	}
	if c.Email != nil {
		d.Email = new(tidy(*c.Email))
	}
	return d
}

func moveEmail(user domain.User, email string) []domain.SideWrite {
	from, to := domain.CanonicalEmail(user.Email), domain.CanonicalEmail(email)
	if from == to {
		return nil // only letter case differs
	}
	return []domain.SideWrite{
		domain.TakeClaim{Claim: emailClaim(user.Tenant, to), Holder: user.ID.UUID},
		domain.ReleaseClaim{Claim: emailClaim(user.Tenant, from), Holder: user.ID.UUID},
		domain.SetCredential{User: user.ID, Email: to},
	}
}

// checkPassword refuses a wrong password of the signed-in caller.
func (h *Handler) checkPassword(ctx context.Context, call Call, password string) error {
	verifier, err := h.Store.Verifier(ctx, call.Tenant, call.User)
	if err != nil {
		return err
	}
	ok, err := h.hasher.matches(ctx, password, verifier)
	if err != nil {
		return err
	}
	if !ok {
		return domain.Refuse(domain.CodePasswordWrong, "The current password is wrong.")
	}
	return nil
}
