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

func tokenDigest(token uuid.UUID) [32]byte { return sha256.Sum256(token[:]) }
