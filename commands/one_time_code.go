package commands

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// NewCode is a one-time code that was just made. It is shown only once; the answer to a
// repeat leaves it out.
type NewCode struct {
	Text      domain.CodeText
	ExpiresAt time.Time
}

// IssueResetCode asks for a code with which another person can set a new password.
type IssueResetCode struct {
	User domain.UserID `json:"user"`
	// IdentityDocument says which document of theirs the caller has seen.
	IdentityDocument string `json:"identity_document"`
}

// IssueResetCode makes it, for the caller to hand over. Nobody gets one for themselves,
// or a thief with a session could set a password. Errors: forbidden, not_found,
// validation_failed, subject_erased, account_inactive, no_sign_in; for a repeat
// idempotency_key_reused.
func (h *Handler) IssueResetCode(ctx context.Context, call Call, c IssueResetCode) (Answer[NewCode], error) {
	if err := call.demandStaff(); err != nil {
		return Answer[NewCode]{}, err
	}
	if c.User == call.User {
		return Answer[NewCode]{}, domain.Refuse(domain.CodeForbidden,
			"Change your own password with the present one; if you have forgotten it, somebody else on the staff "+
				"hands you a code.")
	}
	by, channel := call.Role(), domain.CodeByStaff
	if call.system {
		by, channel = domain.RoleSystem, domain.CodeByOperator
	}

	var made NewCode
	person := domain.UserOf(c.User)
	r := request{name: "user.issue_reset_code", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		history, err := h.Store.Load(ctx, call.Tenant, person)
		if err != nil {
			return domain.Append{}, err
		}
		user := domain.Fold[domain.User](history)
		if !user.Exists() {
			return domain.Append{}, domain.Refuse(domain.CodeNotFound, "There is no such user.")
		}

		verifier, err := h.Store.Verifier(ctx, call.Tenant, c.User)
		if err != nil {
			return domain.Append{}, err
		}
		seen, err := domain.IssueResetCode{By: by, IdentityDocument: c.IdentityDocument}.Decide(user, verifier != "")
		if err != nil {
			return domain.Append{}, err
		}

		text, issue := h.newCode(call.Tenant, c.User, domain.PasswordResetCode)
		made = NewCode{Text: text, ExpiresAt: issue.ExpiresAt}
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: person, Expected: user.Version, Events: []domain.Event{
				&domain.ResetCodeIssued{CodeIssue: domain.CodeIssue{
					CodeID: issue.Code, Channel: channel, ExpiresAt: issue.ExpiresAt, Private: domain.Known(seen),
				}},
			}}},
			Side: []domain.SideWrite{issue},
		}, nil
	})
	if err != nil {
		return Answer[NewCode]{}, err
	}

	if done.Repeat {
		made = NewCode{}
		if first, is := done.Events[0].Event.(*domain.ResetCodeIssued); is {
			made.ExpiresAt = first.ExpiresAt
		}
	}
	return Answer[NewCode]{Value: made, Position: done.Position()}, nil
}

// RedeemCode asks for what a one-time code is good for. Whoever has the code needs
// nothing else.
type RedeemCode struct {
	Code     string `json:"-"`
	Password string `json:"-"` // the new one
	// Email and Consent are for a code that opens an account.
	Email   string           `json:"email,omitempty"`
	Consent *RegisterConsent `json:"consent,omitempty"`
}

// RedeemCode carries it out and uses the code up. A code that cannot be redeemed is
// always the same code_invalid, whether it is wrong, spent, replaced, expired or tried
// out, or its account or municipality is closed. A sign-in code opens an account, with
// the consent that it rests on. Errors: validation_failed, code_invalid; for a sign-in
// code also consent_required, wording_mismatch, email_taken; for a repeat
// idempotency_key_reused.
func (h *Handler) RedeemCode(ctx context.Context, call Call, c RedeemCode) (Answer[struct{}], error) {
	text := domain.ParseCodeText(c.Code)

	var f domain.Faults
	if c.Code == "" {
		f.Add("code", "required", "Give the code.")
	}
	f.Password("password", c.Password)
	if err := f.Err(); err != nil {
		return Answer[struct{}]{}, err
	}

	scope := h.Store.Digest("redemption", string(text))
	r := request{name: "user.redeem_code", body: c, scope: "redeem:" + hex.EncodeToString(scope[:])}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		code, err := h.proveOneTimeCode(ctx, call, r.name, text, redeemable)
		if err != nil {
			return domain.Append{}, err
		}

		// A kind of code that is redeemed for something else gets its case here, its
		// place in redeemable, and a row of trust.side_rules that lets
		// spend_one_time_code stand beside the event that it makes.
		if code.Kind == domain.SignInCode {
			return h.openFirstAccount(ctx, code, c)
		}
		if c.Email != "" || c.Consent != nil {
			return domain.Append{}, onlyAPassword()
		}
		return h.resetPassword(ctx, code, c.Password)
	})
	if isClaimTaken(err, domain.EmailClaim) {
		return Answer[struct{}]{}, emailTaken().Because(err)
	}
	if err != nil {
		return Answer[struct{}]{}, err
	}

	if done.Repeat {
		// The fingerprint covers no password: the repeat must show the one that was set.
		call.Tenant, call.command = done.Events[0].Tenant, r.name
		same, err := h.isPasswordOf(ctx, call, domain.UserID{UUID: done.Events[0].Stream.ID}, c.Password)
		if err != nil {
			return Answer[struct{}]{}, err
		}
		if !same {
			return Answer[struct{}]{}, keyReused()
		}
	}
	return Answer[struct{}]{Position: done.Position()}, nil
}

// redeemable tells whether a code is for RedeemCode.
func redeemable(code domain.OneTimeCode) bool {
	return code.Kind == domain.PasswordResetCode || code.Kind == domain.SignInCode
}

// resetPassword replaces the password of an account and ends all its sessions. A second
// factor stays: the next sign-in still needs it. Error: code_invalid.
func (h *Handler) resetPassword(
	ctx context.Context, code domain.OneTimeCode, password string,
) (domain.Append, error) {
	account, err := h.openAccount(ctx, code.Tenant, code.User)
	if err != nil {
		return domain.Append{}, err
	}
	formerly, err := h.Store.Verifier(ctx, code.Tenant, code.User)
	if err != nil {
		return domain.Append{}, err
	}
	if !account.open || formerly == "" {
		return domain.Append{}, domain.InvalidCode()
	}

	verifier, err := h.hasher.hash(ctx, password)
	if err != nil {
		return domain.Append{}, err
	}

	return domain.Append{
		Tenant: code.Tenant, Actor: code.User, Expects: account.expects,
		Writes: []domain.Write{
			{Stream: domain.UserOf(code.User), Expected: account.user.Version, Events: []domain.Event{
				&domain.UserPasswordChanged{Cause: domain.CauseReset, CodeID: code.ID},
			}},
			{Stream: domain.SessionsOf(code.User), Expected: domain.AnyVersion, Events: []domain.Event{
				&domain.SessionEnded{Scope: domain.ScopeAll, Cause: domain.CausePasswordChanged},
			}},
		},
		Side: []domain.SideWrite{
			spend(code), domain.SetCredential{User: code.User, Verifier: verifier}, domain.EndSessions{User: code.User},
		},
	}, nil
}

// accountState is an account as codes are issued and redeemed for it.
type accountState struct {
	user         domain.User // with personal fields
	municipality string      // its name
	open         bool        // both the account and the municipality are
	expects      []domain.Expectation
}

// openAccount loads an account and its municipality, which need not exist.
func (h *Handler) openAccount(
	ctx context.Context, tenant domain.TenantID, user domain.UserID,
) (accountState, error) {
	person, municipality := domain.UserOf(user), domain.MunicipalityOf(tenant)
	events, err := h.Store.LoadPersonal(ctx, tenant, person, municipality)
	if err != nil {
		return accountState{}, err
	}

	s := accountState{user: domain.Fold[domain.User](of(events, person)), municipality: domain.PlatformCode}
	s.open = s.user.Active
	if !tenant.IsPlatform() {
		m := domain.Fold[domain.Municipality](of(events, municipality))
		s.municipality, s.open = m.Name, s.open && m.Active
		s.expects = []domain.Expectation{{Tenant: tenant, Stream: municipality, Version: m.Version}}
	}
	return s, nil
}

// newCode makes a code, and the side write that keeps its digests.
func (h *Handler) newCode(
	tenant domain.TenantID, user domain.UserID, kind domain.CodeKind,
) (domain.CodeText, domain.IssueOneTimeCode) {
	var random [domain.CodeEntropy]byte
	_, _ = rand.Read(random[:]) // never fails
	text := domain.NewCodeText(random)

	code := domain.OneTimeCode{
		ID: uuid.New(), Tenant: tenant, User: user, Kind: kind, ExpiresAt: h.now().Add(domain.CodeLasts),
	}
	return text, domain.IssueOneTimeCode{
		User: user, Kind: kind, Code: code.ID, FirstHalf: h.firstDigest(text), Digest: h.wholeDigest(code, text),
		ExpiresAt: code.ExpiresAt,
	}
}

func (h *Handler) firstDigest(text domain.CodeText) [32]byte {
	return h.Store.Digest("one-time code, first half", text.FirstHalf())
}

// wholeDigest binds a code to all that its row says of it: with the row of a code of
// their own, somebody who writes to the database cannot make it another's, nor make it
// last.
func (h *Handler) wholeDigest(code domain.OneTimeCode, text domain.CodeText) [32]byte {
	return h.Store.Digest("one-time code", code.Tenant.String(), code.User.String(), string(code.Kind),
		code.ID.String(), code.ExpiresAt.UTC().Format(time.RFC3339Nano), string(text))
}

// proveOneTimeCode returns the code that somebody typed, if it can be redeemed now. One
// whose first half is that of a code, and whose second is not, is counted against that
// code and recorded, in one append; if another was judged meanwhile, that append fails
// and execute has this one judged again. One whose first half is nobody's leaves no trace
// here: guesses at it are limited by network address. Nor does a guess at one that is not
// meant for this command, which tells the same of a right one. Error: code_invalid.
func (h *Handler) proveOneTimeCode(
	ctx context.Context, call Call, command string, text domain.CodeText, meant func(domain.OneTimeCode) bool,
) (domain.OneTimeCode, error) {
	if text == "" {
		return domain.OneTimeCode{}, domain.InvalidCode()
	}
	code, err := h.Store.OneTimeCode(ctx, h.firstDigest(text))
	if err != nil {
		return domain.OneTimeCode{}, err
	}
	if !code.Usable(h.now()) || !meant(code) {
		return domain.OneTimeCode{}, domain.InvalidCode()
	}

	whole := h.wholeDigest(code, text)
	if subtle.ConstantTimeCompare(whole[:], code.Digest[:]) == 1 {
		return code, nil
	}
	if err := h.countWrongTry(ctx, call, command, code); err != nil {
		return domain.OneTimeCode{}, err
	}
	return domain.OneTimeCode{}, domain.InvalidCode()
}

// spend returns the side write that uses a proven code up.
func spend(code domain.OneTimeCode) domain.SideWrite {
	return domain.SpendOneTimeCode{User: code.User, Kind: code.Kind, Code: code.ID, Wrong: code.Wrong}
}

// countWrongTry records every wrong try at once: a code has few of them, and only
// somebody who has seen half of it can use them up.
func (h *Handler) countWrongTry(ctx context.Context, call Call, command string, code domain.OneTimeCode) error {
	a := domain.Append{
		ID: h.newID(), Tenant: code.Tenant, Origin: call.Origin,
		Metadata: domain.Metadata{ActorRole: call.roleName(), Correlation: call.Correlation, Command: command},
		Writes: []domain.Write{{
			Stream: domain.SessionsOf(code.User), Expected: domain.AnyVersion,
			Events: []domain.Event{&domain.SignInFailed{Count: 1, Cause: domain.FailedByOneTimeCode}},
		}},
		Side: []domain.SideWrite{domain.CountWrongTry{
			User: code.User, Kind: code.Kind, Code: code.ID, Wrong: code.Wrong,
		}},
	}
	if actor := call.ActorID(); !actor.IsZero() {
		a.Actor, a.ActorTenant = actor, call.Tenant
	}

	_, err := h.Store.Append(ctx, a)
	if hasCode(err, domain.CodeSubjectErased) { // just now; nothing is recorded about them any more
		return nil
	}
	return err
}
