package commands

import (
	"context"
	"time"

	"github.com/salga-trust/engine/domain"
)

// IssueSignInCode asks for a code with which somebody whom staff recorded gets an
// account.
type IssueSignInCode struct {
	User domain.UserID `json:"user"`
	// IdentityDocument says which document of theirs the caller has seen.
	IdentityDocument string `json:"identity_document"`
}

// IssueSignInCode makes it, for the caller to hand over; it is shown once. Whoever
// redeems it is from then on this very person, so that everything recorded about them is
// theirs. Errors: forbidden, not_found, validation_failed, subject_erased,
// subject_merged, has_account; for a repeat idempotency_key_reused.
func (h *Handler) IssueSignInCode(ctx context.Context, call Call, c IssueSignInCode) (Answer[NewCode], error) {
	if err := call.demandStaff(); err != nil {
		return Answer[NewCode]{}, err
	}
	channel := domain.CodeByStaff
	if call.system {
		channel = domain.CodeByOperator
	}

	var made NewCode
	person := domain.UserOf(c.User)
	r := request{name: "resident.issue_sign_in_code", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		history, err := h.Store.Load(ctx, call.Tenant, person)
		if err != nil {
			return domain.Append{}, err
		}
		user := domain.Fold[domain.User](history)
		if !user.Exists() {
			return domain.Append{}, domain.Refuse(domain.CodeNotFound, "There is no such person.")
		}

		seen, err := domain.IssueSignInCode{IdentityDocument: c.IdentityDocument}.Decide(user)
		if err != nil {
			return domain.Append{}, err
		}

		text, issue := h.newCode(call.Tenant, c.User, domain.SignInCode)
		made = NewCode{Text: text, ExpiresAt: issue.ExpiresAt}
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: person, Expected: user.Version, Events: []domain.Event{
				&domain.SignInCodeIssued{CodeIssue: domain.CodeIssue{
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
		if first, is := done.Events[0].Event.(*domain.SignInCodeIssued); is {
			made.ExpiresAt = first.ExpiresAt
		}
	}
	return Answer[NewCode]{Value: made, Position: done.Position()}, nil
}

// openFirstAccount makes an account of somebody whom staff had recorded: what they sign
// in with, and the consent that it rests on. If that consent was given at the counter
// before, it stands. Errors: validation_failed, code_invalid, consent_required,
// wording_mismatch, email_taken.
func (h *Handler) openFirstAccount(
	ctx context.Context, code domain.OneTimeCode, c RedeemCode,
) (domain.Append, error) {
	wish := domain.OpenAccount{Email: c.Email, Password: c.Password}
	if err := wish.Validate(); err != nil {
		return domain.Append{}, err
	}
	if !c.Consent.isGiven() {
		return domain.Append{}, domain.Refuse(domain.CodeConsentRequired,
			"An account needs consent to the purpose platform_registration.")
	}

	account, err := h.openAccount(ctx, code.Tenant, code.User)
	if err != nil {
		return domain.Append{}, err
	}
	if !account.open {
		return domain.Append{}, domain.InvalidCode()
	}
	opened, err := wish.Decide(account.user, code.ID)
	if err != nil {
		return domain.Append{}, err
	}

	tail := domain.TailFor(code.User, domain.PlatformRegistrationCode, time.Time{}, time.Time{})
	history, version, err := h.Store.LoadTail(ctx, code.Tenant, tail)
	if err != nil {
		return domain.Append{}, err
	}
	granted, err := domain.RecordConsent{
		ID: domain.ConsentID{UUID: h.newID()}, Purpose: domain.PlatformRegistrationCode,
		Description: c.Consent.Description, Language: c.Consent.Language, Consented: true,
	}.Decide(history, domain.PlatformRegistration(), h.now())
	if err != nil && !hasCode(err, domain.CodeAlreadyGranted) {
		return domain.Append{}, err
	}

	if err := h.demandFree(ctx, code.Tenant, c.Email, code.User); err != nil {
		return domain.Append{}, err
	}
	verifier, err := h.hasher.hash(ctx, c.Password)
	if err != nil {
		return domain.Append{}, err
	}

	a := domain.Append{
		Tenant: code.Tenant, Actor: code.User, Expects: account.expects,
		Writes: []domain.Write{
			{Stream: domain.UserOf(code.User), Expected: account.user.Version, Events: opened},
		},
		Side: []domain.SideWrite{
			spend(code),
			domain.TakeClaim{Claim: emailClaim(code.Tenant, c.Email), Holder: code.User.UUID},
			domain.SetCredential{User: code.User, Email: domain.CanonicalEmail(c.Email), Verifier: verifier},
		},
	}
	if len(granted) > 0 {
		a.Writes = append(a.Writes, domain.Write{Stream: tail.Stream, Expected: version, Events: granted})
	} else {
		a.Expects = append(a.Expects, domain.Expectation{Tenant: code.Tenant, Stream: tail.Stream, Version: version})
	}
	return a, nil
}

// isGiven reports whether this is the consent that an account rests on.
func (c *RegisterConsent) isGiven() bool {
	return c != nil && c.Consented && domain.CanonicalPurposeCode(c.Purpose) == domain.PlatformRegistrationCode
}

// onlyAPassword refuses what a code for a new password does not ask for.
func onlyAPassword() error {
	var f domain.Faults
	f.Add("email", "invalid", "This code is for a new password: it takes no email and no consent.")
	return f.Err()
}
