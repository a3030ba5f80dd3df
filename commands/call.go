package commands

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Call is who calls and in what circumstances. Its zero value is an anonymous caller.
type Call struct {
	Tenant      domain.TenantID
	User        domain.UserID // zero: nobody is signed in
	Session     uuid.UUID
	Origin      domain.Origin
	Key         string    // Idempotency-Key; empty: none
	IfMatch     int       // the version that a change is meant for; 0: any; -1: one that never existed
	SelfOnly    bool      // the caller acts only for themselves here, whatever their role
	Correlation uuid.UUID // of the request

	// Guess is called before a password is checked, with the e-mail address of the
	// account that the password may belong to. It may block; its error is the answer. If
	// it is nil, passwords may be tried without limit.
	Guess func(ctx context.Context, email string) error

	actor  domain.User // as Authenticate found it
	factor domain.SecondFactor
	// municipality is the caller's, as Authenticate found it; SALGA is none.
	municipality domain.Municipality
	program      domain.ServiceAccount // as AuthenticateProgram found it; zero: the caller is no program
	session      ProgramSession        // of that program
	system       bool
	command      string // name of the command that execute carries out
}

func (c Call) guess(ctx context.Context, email string) error {
	if c.Guess == nil {
		return nil
	}
	return c.Guess(ctx, email)
}

// System is the caller of an operator's command, who may do whatever a tenant's admin
// may.
func System(tenant domain.TenantID) Call { return Call{Tenant: tenant, system: true} }

// Role is the caller's role as Authenticate found it, not the role when the token was
// made.
func (c Call) Role() domain.Role { return c.actor.Role }

// Actor is the caller's account as Authenticate found it, without its personal fields.
func (c Call) Actor() domain.User { return c.actor }

// SecondFactor is the caller's second factor as Authenticate found it.
func (c Call) SecondFactor() domain.SecondFactor { return c.factor }

// Municipality is the caller's as Authenticate found it; zero for SALGA's people.
func (c Call) Municipality() domain.Municipality { return c.municipality }

// Program is the service account of a calling program as AuthenticateProgram found it;
// zero: the caller is no program.
func (c Call) Program() domain.ServiceAccount { return c.program }

// IsProgram reports whether a program calls. It is nobody's account: User is zero.
func (c Call) IsProgram() bool { return c.program.Exists() }

// Has reports whether the token of a calling program has a scope that its service account
// still has.
func (c Call) Has(scope domain.Scope) bool {
	return slices.Contains(c.session.Scopes, scope) && slices.Contains(c.program.Scopes, scope)
}

// ActorID is the id under which the log names the caller: an account's, or a program's
// service account's; zero: nobody known.
func (c Call) ActorID() domain.UserID {
	if c.IsProgram() {
		return c.program.ID.Actor()
	}
	return c.User
}

// own returns the stream that says what the caller may do, and its version.
func (c Call) own() (domain.Stream, int) {
	if c.IsProgram() {
		return domain.ServiceAccountOf(c.program.ID), c.program.Version
	}
	return domain.UserOf(c.User), c.actor.Version
}

func (c Call) roleName() string {
	switch {
	case c.system:
		return domain.RoleSystem
	case c.IsProgram():
		return domain.RoleProgram
	case c.User.IsZero():
		return domain.RoleAnonymous
	default:
		return string(c.actor.Role)
	}
}

// Authenticate checks that the session is open, and the account and municipality active,
// now. The Call it returns knows the caller's current role. Errors: session_ended,
// account_inactive, municipality_inactive.
func (h *Handler) Authenticate(ctx context.Context, call Call) (Call, error) {
	user, municipality := domain.UserOf(call.User), domain.MunicipalityOf(call.Tenant)
	events, open, err := h.Store.LoadSession(ctx, call.Tenant, call.User, call.Session, user, municipality)
	if err != nil {
		return Call{}, err
	}

	call.actor = domain.Fold[domain.User](of(events, user))
	call.factor = domain.Fold[domain.SecondFactor](of(events, user))
	m := domain.Fold[domain.Municipality](of(events, municipality))
	call.municipality = m

	switch {
	case !call.actor.Exists(), call.actor.Erased:
		return Call{}, sessionEnded()
	case !call.actor.Active:
		return Call{}, domain.Refuse(domain.CodeAccountInactive, "This account is not active.")
	case !call.Tenant.IsPlatform() && !m.Active: // before !open: this is why the session has ended
		return Call{}, domain.Refuse(domain.CodeMunicipalityInactive, "This municipality is not active.")
	case !open:
		return Call{}, sessionEnded()
	}
	return call, nil
}

func sessionEnded() *domain.Error {
	return domain.Refuse(domain.CodeSessionEnded, "This session has ended: sign in again.")
}

// of picks the events of one stream.
func of(events []domain.Recorded, s domain.Stream) []domain.Recorded {
	var picked []domain.Recorded
	for _, e := range events {
		if e.Stream == s {
			picked = append(picked, e)
		}
	}
	return picked
}
