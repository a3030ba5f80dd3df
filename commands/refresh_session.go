package commands

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Refresh exchanges a refresh token for the next of its family. A token that was exchanged before ends the whole family: either
// the holder or a thief has an old one, and nobody can tell which. Errors: session_ended, account_inactive,
// municipality_inactive.
func (h *Handler) Refresh(ctx context.Context, call Call, token uuid.UUID) (Grant, error) {
	call.Key = ""
	call, err := h.Authenticate(ctx, call)
	if err != nil {
		return Grant{}, err
	}
	g := Grant{
		Tenant: call.Tenant, User: call.User, Role: call.Role(), Session: call.Session, Token: uuid.New(),
		ExpiresAt: h.now().Add(h.sessions),
	}
	_, err = h.execute(ctx, call, request{name: "session.refresh", tenant: call.Tenant}, func(context.Context, Call) (domain.Append, error) {
		return domain.Append{
			Tenant: call.Tenant,
			Side: []domain.SideWrite{domain.RotateSession{
				Session: call.Session, From: tokenDigest(token), To: tokenDigest(g.Token), ExpiresAt: g.ExpiresAt,
			}},
		}, nil
	})
	if _, stale := errors.AsType[*domain.SessionStaleError](err); stale {
		return Grant{}, h.reused(ctx, call)
	}
	return g, err
}

// reused ends the family of a token that was shown twice.
func (h *Handler) reused(ctx context.Context, call Call) error {
	err := h.endSession(ctx, call, domain.CauseReuse, &domain.SessionReuseDetected{SessionID: call.Session})
	if err != nil {
		return err
	}
	return domain.Refuse(domain.CodeSessionEnded, "This token was used before, so the session has ended: sign in again.")
}

// SignOut ends the session of a refresh token; a session that has ended already stays ended.
func (h *Handler) SignOut(ctx context.Context, call Call) error {
	call.Key = ""
	return h.endSession(ctx, call, domain.CauseLogout)
}

func (h *Handler) endSession(ctx context.Context, call Call, cause string, before ...domain.Event) error {
	user := domain.UserOf(call.User)
	events, open, err := h.Store.LoadSession(ctx, call.Tenant, call.Session, user)
	if err != nil || !open {
		return err
	}
	call.actor = domain.Fold[domain.User](events)
	a := domain.Append{
		ID: h.newID(), Tenant: call.Tenant, Actor: call.User, Origin: call.Origin,
		Metadata: domain.Metadata{ActorRole: call.roleName(), Correlation: call.Correlation, Command: "session.end"},
		Writes: []domain.Write{{Stream: domain.SessionsOf(call.User), Expected: domain.AnyVersion, Events: append(before,
			&domain.SessionEnded{SessionID: call.Session, Scope: domain.ScopeOne, Cause: cause})}},
		Side: []domain.SideWrite{domain.EndSession{Session: call.Session}},
	}
	_, err = h.Store.Append(ctx, a)
	return err
}
