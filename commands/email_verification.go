package commands

import (
	"context"

	"github.com/salga-trust/engine/domain"
)

// BeginEmailVerification asks to send a code to the address of the caller's account.
type BeginEmailVerification struct{}

// BeginEmailVerification sends it, in the background. If the address is verified already,
// nothing is sent. Errors: mail_not_set_up, overloaded; for a repeat
// idempotency_key_reused.
func (h *Handler) BeginEmailVerification(
	ctx context.Context, call Call, _ BeginEmailVerification,
) (Answer[domain.User], error) {
	if h.mail == nil {
		return Answer[domain.User]{}, domain.Refuse(domain.CodeMailNotSetUp,
			"This server sends no e-mail, so no code can be sent; staff can hand one over.")
	}

	var letter domain.Letter
	r := request{name: "user.begin_email_verification", tenant: call.Tenant, scope: scopeOf(call)}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		account, err := h.openAccount(ctx, call.Tenant, call.User)
		if err != nil || !account.user.EmailVerifiedAt.IsZero() {
			return domain.Append{}, err
		}

		text, issue := h.newCode(call.User, domain.EmailVerificationCode)
		letter = account.letter(issue, text)
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{
				Stream: domain.UserOf(call.User), Expected: account.user.Version,
				Events: []domain.Event{&domain.EmailVerificationBegun{CodeID: issue.Code, ExpiresAt: issue.ExpiresAt}},
			}},
			Side: []domain.SideWrite{issue},
		}, nil
	})
	if err != nil {
		return Answer[domain.User]{}, err
	}

	if len(done.Events) == 0 {
		return h.userNow(ctx, call.Tenant, call.User)
	}
	if !done.Repeat {
		if err := h.mail(letter); err != nil {
			return Answer[domain.User]{}, err
		}
	}
	return h.userAnswer(ctx, call.Tenant, done)
}

// VerifyEmail asks to take a code as proof that the caller reads what is sent to the
// address of their account.
type VerifyEmail struct {
	Code string `json:"code"`
}

// VerifyEmail uses the code up. One that was sent to a former address is none any more.
// Errors: code_invalid; for a repeat idempotency_key_reused.
func (h *Handler) VerifyEmail(ctx context.Context, call Call, c VerifyEmail) (Answer[domain.User], error) {
	text := domain.ParseCodeText(c.Code)
	own := func(code domain.OneTimeCode) bool {
		return code.Kind == domain.EmailVerificationCode && code.Tenant == call.Tenant && code.User == call.User
	}

	r := request{name: "user.verify_email", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		code, err := h.proveOneTimeCode(ctx, call, r.name, text, own)
		if err != nil {
			return domain.Append{}, err
		}
		return domain.Append{
			Tenant: call.Tenant,
			// As the caller was authenticated: with another address they would have no code.
			Writes: []domain.Write{{
				Stream: domain.UserOf(call.User), Expected: call.actor.Version,
				Events: []domain.Event{&domain.EmailVerified{CodeID: code.ID}},
			}},
			Side: []domain.SideWrite{spend(code)},
		}, nil
	})
	if err != nil {
		return Answer[domain.User]{}, err
	}
	return h.userAnswer(ctx, call.Tenant, done)
}

// letter returns the letter that brings a code to the account's address.
func (s accountState) letter(issue domain.IssueOneTimeCode, text domain.CodeText) domain.Letter {
	return domain.Letter{
		Kind: issue.Kind, To: domain.CanonicalEmail(s.user.Email), Language: s.user.PreferredLanguage,
		Municipality: s.municipality, Code: text, ExpiresAt: issue.ExpiresAt,
	}
}
