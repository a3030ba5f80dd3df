package commands

import (
	"context"

	"github.com/salga-trust/engine/domain"
)

// ChangePassword is a person's wish for another password.
type ChangePassword struct {
	Current string `json:"-"`
	New     string `json:"-"`
}

// ChangePassword replaces the caller's password and ends all their other sessions. Errors: validation_failed, password_wrong.
func (h *Handler) ChangePassword(ctx context.Context, call Call, c ChangePassword) (int64, error) {
	var f domain.Faults
	f.Password("new_password", c.New)
	if err := f.Err(); err != nil {
		return 0, err
	}
	call.Key = "" // a password is never fingerprinted
	r := request{name: "user.change_password", tenant: call.Tenant}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		if err := h.checkPassword(ctx, call, c.Current); err != nil {
			return domain.Append{}, err
		}
		verifier, err := h.hasher.hash(ctx, c.New)
		if err != nil {
			return domain.Append{}, err
		}
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{
				{Stream: domain.UserOf(call.User), Expected: call.actor.Version, Events: []domain.Event{&domain.UserPasswordChanged{}}},
				{Stream: domain.SessionsOf(call.User), Expected: domain.AnyVersion, Events: []domain.Event{&domain.SessionEnded{
					SessionID: call.Session, Scope: domain.ScopeOthers, Cause: domain.CausePasswordChanged,
				}}},
			},
			Side: []domain.SideWrite{
				domain.SetCredential{User: call.User, Verifier: verifier},
				domain.EndSessions{User: call.User, Except: call.Session},
			},
		}, nil
	})
	return done.Position(), err
}
