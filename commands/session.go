package commands

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Session is an open session, from which tokens are made.
type Session struct {
	ID        uuid.UUID
	Tenant    domain.TenantID
	User      domain.UserID
	Role      domain.Role
	Token     uuid.UUID // id of the refresh token that is valid now
	IssuedAt  time.Time // when that token was made
	ExpiresAt time.Time // of that token
}

// SignIn asks to open a session.
type SignIn struct {
	Email            string
	Password         string
	MunicipalityCode string // empty: wherever the address has an account, if it has only one
	Code             string // of the second factor, if the account has one
}

// SignIn opens a session. As long as the password is wrong, every failure is the same
// invalid_credentials, after the same work and the same SQL statements, whether or not
// there is an account. Once it is right, an account with a second factor asks for its
// code. A failure on a known account is recorded in the background. Errors:
// invalid_credentials, totp_required, totp_locked.
func (h *Handler) SignIn(ctx context.Context, call Call, c SignIn) (Answer[Session], error) {
	if domain.Oversize(c.Email, domain.MaxEmail) {
		c.Email = "" // nobody's either
	}
	if err := call.guess(ctx, c.Email); err != nil {
		return Answer[Session]{}, err
	}

	account, err := h.account(ctx, c)
	if err != nil {
		return Answer[Session]{}, err
	}

	matched, err := h.hasher.match(ctx, c.Password, account.Verifier)
	if err != nil {
		return Answer[Session]{}, err
	}

	call.Tenant = account.Tenant
	user, municipality := domain.UserOf(account.User), domain.MunicipalityOf(account.Tenant)
	events, err := h.Store.Load(ctx, account.Tenant, user, municipality)
	if err != nil {
		return Answer[Session]{}, err
	}

	// Hashing took time: the address and password must still be those of the version that
	// the session starts on.
	again, err := h.account(ctx, c)
	if err != nil {
		return Answer[Session]{}, err
	}
	if again != account {
		matched = noMatch
	}

	u := domain.Fold[domain.User](of(events, user))
	open := account.Tenant.IsPlatform() || domain.Fold[domain.Municipality](of(events, municipality)).Active
	switch {
	case matched == noMatch:
		return Answer[Session]{}, h.signInFailed(call, account.User, "password")
	case !u.Active:
		return Answer[Session]{}, h.signInFailed(call, account.User, "account_inactive")
	case !open:
		return Answer[Session]{}, h.signInFailed(call, account.User, "municipality_inactive")
	}

	var renewed string
	if matched == olderMatch {
		if renewed, err = h.hasher.hash(ctx, c.Password); err != nil {
			return Answer[Session]{}, err
		}
	}

	call.factor = domain.Fold[domain.SecondFactor](of(events, user))
	a, err := h.startSession(ctx, call, u, c.Code, renewed)
	if hasCode(err, domain.CodeSessionEnded) || hasCode(err, domain.CodeAccountInactive) {
		err = invalidCredentials() // closed or erased while the password was checked
	}
	return a, err
}

// nobody returns the account that stands in for a missing one in a tenant. The log has
// nothing of it, and it has no password. It is looked up and checked like any other, so
// that an address without an account costs the same as one with an account.
func nobody(tenant domain.TenantID) domain.Account {
	if tenant.IsZero() {
		tenant.UUID = uuid.Max
	}
	return domain.Account{Tenant: tenant, User: domain.UserID{UUID: uuid.Max}}
}

// account finds the one account that is meant; it returns nobody's if there is none or
// more than one.
func (h *Handler) account(ctx context.Context, c SignIn) (domain.Account, error) {
	var tenant domain.TenantID
	if c.MunicipalityCode != "" {
		id, found, err := h.tenantOf(ctx, c.MunicipalityCode)
		if err != nil {
			return domain.Account{}, err
		}
		if tenant = id; !found {
			tenant = nobody(domain.TenantID{}).Tenant
		}
	}

	return h.accountOf(ctx, c.Email, tenant)
}

// accountOf looks under every spelling of an address, even once it has found something,
// so that the number of look-ups depends on the request alone. Within a municipality the
// spelling that was given comes first: two accounts whose addresses have become the same,
// and so could not be re-keyed, are each still opened by the spelling they were
// registered with.
func (h *Handler) accountOf(ctx context.Context, email string, tenant domain.TenantID) (domain.Account, error) {
	found := map[domain.TenantID]domain.Account{}
	for _, spelling := range domain.EmailSpellings(email) {
		accounts, err := h.Store.Accounts(ctx, spelling, tenant)
		if err != nil {
			return domain.Account{}, err
		}
		for _, account := range accounts {
			if _, known := found[account.Tenant]; !known {
				found[account.Tenant] = account
			}
		}
	}

	if len(found) == 1 {
		for _, account := range found {
			return account, nil
		}
	}
	return nobody(tenant), nil
}

// startSession opens a session for a user as they are now. If a verifier is given, it
// replaces the hash of the password as it was sent with one of its canonical form. The
// append expects the version on which the password was proven, so a newer password is
// never undone.
func (h *Handler) startSession(
	ctx context.Context, call Call, u domain.User, code, verifier string,
) (Answer[Session], error) {
	s := Session{
		ID: h.newID(), Tenant: u.Tenant, User: u.ID, Role: u.Role,
		Token: uuid.New(), // a token's id is a secret: random
	}
	s.IssuedAt = h.now()
	s.ExpiresAt = s.IssuedAt.Add(h.sessions)

	call.User, call.actor = u.ID, u
	call.Key = ""

	r := request{name: "session.start", tenant: u.Tenant}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		municipality, err := h.isOpen(ctx, u.Tenant)
		if err != nil {
			return domain.Append{}, err
		}
		spent, err := h.proveCode(ctx, call, r.name, code)
		if err != nil {
			return domain.Append{}, err
		}

		a := domain.Append{
			Tenant: u.Tenant, Expects: municipality,
			Writes: []domain.Write{{
				Stream: domain.SessionsOf(u.ID), Expected: domain.AnyVersion,
				Events: []domain.Event{&domain.SessionStarted{SessionID: s.ID, ExpiresAt: s.ExpiresAt}},
			}},
			Side: append(spent, domain.StartSession{
				Session: s.ID, User: u.ID, Token: tokenDigest(s.Token), ExpiresAt: s.ExpiresAt,
			}),
		}
		if verifier != "" {
			a.Writes = append(a.Writes, domain.Write{
				Stream: domain.UserOf(u.ID), Expected: u.Version,
				Events: []domain.Event{&domain.UserPasswordRehashed{}},
			})
			a.Side = append(a.Side, domain.SetCredential{User: u.ID, Verifier: verifier})
		}
		return a, nil
	})
	return Answer[Session]{Value: s, Position: done.Position()}, err
}

// isOpen demands that a municipality is open and stays open until the append.
func (h *Handler) isOpen(ctx context.Context, tenant domain.TenantID) ([]domain.Expectation, error) {
	if tenant.IsPlatform() {
		return nil, nil
	}

	stream := domain.MunicipalityOf(tenant)
	history, err := h.Store.Load(ctx, tenant, stream)
	if err != nil {
		return nil, err
	}

	m := domain.Fold[domain.Municipality](history)
	if !m.Active {
		return nil, sessionEnded()
	}
	return []domain.Expectation{{Tenant: tenant, Stream: stream, Version: m.Version}}, nil
}

func (h *Handler) signInFailed(call Call, user domain.UserID, cause string) error {
	if user != nobody(call.Tenant).User {
		h.passwordFailed(call, user, "session.start", cause)
	}
	return invalidCredentials()
}

func invalidCredentials() *domain.Error {
	return domain.Refuse(domain.CodeInvalidCredentials,
		"Invalid credentials. If you are registered in more than one municipality, send municipality_code.")
}

func hasCode(err error, code domain.Code) bool {
	refusal, is := errors.AsType[*domain.Error](err)
	return is && refusal.Code == code
}

// RefreshSession asks to exchange a refresh token of the caller's session.
type RefreshSession struct {
	Token uuid.UUID // id of the token
}

// RefreshSession exchanges a refresh token for the next one of its family. The token
// exchanged last returns the same successor again for 10 s, unless that has been used:
// two tabs may ask at once, and an answer may get lost. Any other token that was
// exchanged before ends the whole family: either the holder or a thief has an old one,
// and nobody can tell which. Position is 0, as there is no event. Errors: session_ended,
// account_inactive, municipality_inactive.
func (h *Handler) RefreshSession(ctx context.Context, call Call, c RefreshSession) (Answer[Session], error) {
	call.Key = ""
	call, err := h.Authenticate(ctx, call)
	if err != nil {
		return Answer[Session]{}, err
	}

	s := Session{
		ID: call.Session, Tenant: call.Tenant, User: call.User, Role: call.Role(),
		Token: h.successor(call.Session, c.Token),
	}
	expires := h.now().Add(h.sessions)

	r := request{name: "session.refresh", tenant: call.Tenant}
	_, err = h.execute(ctx, call, r, func(context.Context, Call) (domain.Append, error) {
		return domain.Append{
			Tenant: call.Tenant,
			Side: []domain.SideWrite{domain.RotateSession{
				Session: call.Session, From: tokenDigest(c.Token), To: tokenDigest(s.Token), ExpiresAt: expires,
			}},
		}, nil
	})

	if _, stale := errors.AsType[*domain.SessionStaleError](err); stale {
		return Answer[Session]{}, h.reused(ctx, call)
	}
	if err != nil {
		return Answer[Session]{}, err
	}

	// From the log, not from our clock, so that everybody who presents the same token
	// gets the same successor.
	var open bool
	if s.ExpiresAt, open, err = h.Store.SessionExpires(ctx, call.Tenant, call.Session); err != nil {
		return Answer[Session]{}, err
	}
	if !open {
		return Answer[Session]{}, sessionEnded()
	}

	s.IssuedAt = s.ExpiresAt.Add(-h.sessions)
	return Answer[Session]{Value: s}, nil
}

// successor returns the id of the token that replaces another. It is derived, so that
// every process returns the same one and none is stored; without the key it is
// indistinguishable from a random one.
func (h *Handler) successor(session, token uuid.UUID) uuid.UUID {
	return h.derivedID("refresh", session.String(), token.String())
}

// reused ends the family of a token that was presented again.
func (h *Handler) reused(ctx context.Context, call Call) error {
	_, err := h.endSession(ctx, call, domain.CauseReuse, &domain.SessionReuseDetected{SessionID: call.Session})
	if err != nil {
		return err
	}
	return domain.Refuse(domain.CodeSessionEnded,
		"This token has already been used, so the session has ended: sign in again.")
}

// SignOut asks to end the caller's session.
type SignOut struct{}

// SignOut ends it; a session that has ended already stays ended.
func (h *Handler) SignOut(ctx context.Context, call Call, _ SignOut) (Answer[struct{}], error) {
	done, err := h.endSession(ctx, call, domain.CauseLogout)
	return Answer[struct{}]{Position: done.Position()}, err
}

func (h *Handler) endSession(
	ctx context.Context, call Call, cause string, before ...domain.Event,
) (domain.Appended, error) {
	user := domain.UserOf(call.User)
	events, open, err := h.Store.LoadSession(ctx, call.Tenant, call.User, call.Session, user)
	if err != nil || !open {
		return domain.Appended{}, err
	}

	call.actor = domain.Fold[domain.User](events)
	ended := &domain.SessionEnded{SessionID: call.Session, Scope: domain.ScopeOne, Cause: cause}

	done, err := h.Store.Append(ctx, domain.Append{
		ID: h.newID(), Tenant: call.Tenant, Actor: call.User, Origin: call.Origin,
		Metadata: domain.Metadata{ActorRole: call.roleName(), Correlation: call.Correlation, Command: "session.end"},
		Writes: []domain.Write{
			{Stream: domain.SessionsOf(call.User), Expected: domain.AnyVersion, Events: append(before, ended)},
		},
		Side: []domain.SideWrite{domain.EndSession{Session: call.Session}},
	})
	if _, ended := errors.AsType[*domain.SessionStaleError](err); ended {
		return domain.Appended{}, nil // by another request meanwhile, which recorded it
	}
	return done, err
}

func tokenDigest(token uuid.UUID) [32]byte { return sha256.Sum256(token[:]) }
