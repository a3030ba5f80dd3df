package commands

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// SignIn is somebody's wish to sign in.
type SignIn struct {
	Email            string
	Password         string
	MunicipalityCode string // empty: wherever the address has an account, if it is only one
}

// Grant is an open session: what tokens are made of.
type Grant struct {
	Tenant    domain.TenantID
	User      domain.UserID
	Role      domain.Role
	Session   uuid.UUID
	Token     uuid.UUID // id of the refresh token that is valid now
	ExpiresAt time.Time // of that token
	Position  int64     // of session.started; 0 for a refresh, which is no event
}

// SignIn opens a session. Every failure is the same invalid_credentials after the same work. A failure on a known account is
// recorded.
func (h *Handler) SignIn(ctx context.Context, call Call, c SignIn) (Grant, error) {
	account, err := h.account(ctx, c)
	if err != nil {
		return Grant{}, err
	}
	ok, err := h.hasher.matches(ctx, c.Password, account.Verifier)
	if err != nil {
		return Grant{}, err
	}
	if account.User.IsZero() {
		return Grant{}, invalidCredentials()
	}
	call.Tenant = account.Tenant
	user, municipality := domain.UserOf(account.User), domain.MunicipalityOf(account.Tenant)
	events, err := h.Store.Load(ctx, account.Tenant, user, municipality)
	if err != nil {
		return Grant{}, err
	}
	u := domain.Fold[domain.User](of(events, user))
	open := account.Tenant.IsPlatform() || domain.Fold[domain.Municipality](of(events, municipality)).Active
	switch {
	case !ok:
		return Grant{}, h.signInFailed(ctx, call, account.User, "password")
	case !u.Active:
		return Grant{}, h.signInFailed(ctx, call, account.User, "account_inactive")
	case !open:
		return Grant{}, h.signInFailed(ctx, call, account.User, "municipality_inactive")
	}
	g, err := h.startSession(ctx, call, u)
	if refusal, is := errors.AsType[*domain.Error](err); is && (refusal.Code == domain.CodeSessionEnded || refusal.Code == domain.CodeAccountInactive) {
		err = invalidCredentials() // closed or erased while the password was checked
	}
	return g, err
}

// account finds the one account meant; the zero account when there is none or more than one.
func (h *Handler) account(ctx context.Context, c SignIn) (domain.Account, error) {
	var tenant domain.TenantID
	if c.MunicipalityCode != "" {
		id, found, err := h.tenantOf(ctx, c.MunicipalityCode)
		if err != nil || !found {
			return domain.Account{}, err
		}
		tenant = id
	}
	accounts, err := h.Store.Accounts(ctx, domain.CanonicalEmail(tidy(c.Email)), tenant)
	if err != nil || len(accounts) != 1 {
		return domain.Account{}, err
	}
	return accounts[0], nil
}

func (h *Handler) startSession(ctx context.Context, call Call, u domain.User) (Grant, error) {
	g := Grant{
		Tenant: u.Tenant, User: u.ID, Role: u.Role, Session: h.newID(), Token: uuid.New(), // a token's id is a secret: random
		ExpiresAt: h.now().Add(h.sessions),
	}
	call.User, call.actor = u.ID, u
	call.Key = ""
	done, err := h.execute(ctx, call, request{name: "session.start", tenant: u.Tenant}, func(context.Context, Call) (domain.Append, error) {
		return domain.Append{
			Tenant: u.Tenant,
			Writes: []domain.Write{{Stream: domain.SessionsOf(u.ID), Expected: domain.AnyVersion, Events: []domain.Event{
				&domain.SessionStarted{SessionID: g.Session, ExpiresAt: g.ExpiresAt},
			}}},
			Side: []domain.SideWrite{domain.StartSession{
				Session: g.Session, User: u.ID, Token: tokenDigest(g.Token), ExpiresAt: g.ExpiresAt,
			}},
		}, nil
	})
	g.Position = done.Position()
	return g, err
}

func (h *Handler) signInFailed(ctx context.Context, call Call, user domain.UserID, cause string) error {
	if count := h.failures.note(user); count > 0 {
		a := domain.Append{
			ID: h.newID(), Tenant: call.Tenant, Origin: call.Origin,
			Metadata: domain.Metadata{ActorRole: domain.RoleAnonymous, Correlation: call.Correlation, Command: "session.start"},
			Writes: []domain.Write{{Stream: domain.SessionsOf(user), Expected: domain.AnyVersion, Events: []domain.Event{
				&domain.SignInFailed{Count: count, Cause: cause},
			}}},
		}
		_, err := h.Store.Append(ctx, a)
		if refusal, is := errors.AsType[*domain.Error](err); err != nil && (!is || refusal.Code != domain.CodeSubjectErased) {
			return err // of who was erased a moment ago nothing is recorded
		}
	}
	return invalidCredentials()
}

func invalidCredentials() *domain.Error {
	return domain.Refuse(domain.CodeInvalidCredentials,
		"Invalid credentials. If you are registered in more than one municipality, give municipality_code.")
}

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

func tokenDigest(token uuid.UUID) [32]byte { return sha256.Sum256(token[:]) }
