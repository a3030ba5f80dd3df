package commands

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/salga-trust/engine/domain"
)

const (
	codeStep    = 30 * time.Second // RFC 6238 §5.2; the only step that every authenticator supports
	codeWindow  = 1                // steps before and after now, since phones' clocks differ
	secretSize  = 20               // bytes; RFC 4226 §4 R6
	offerLasts  = 10 * time.Minute
	otpIssuer   = "SALGA Trust Engine"
	codeInvalid = "This code is wrong, too old or already used: send the one that your authenticator shows now. " +
		"Each code works once."
)

// NewSecondFactor is a second factor to be confirmed by a code. The secret is shown only
// once; the answer to a repeat leaves it out.
type NewSecondFactor struct {
	Secret    string // base32
	URI       string // otpauth://, for a QR code
	ExpiresAt time.Time
}

// BeginSecondFactor asks to set up a second factor for the caller's account.
type BeginSecondFactor struct {
	CurrentPassword string `json:"-"` // a stolen session must not be enough
}

// BeginSecondFactor makes the secret of a second factor, which has no effect until a code
// confirms it. One that was begun before is forgotten. Errors: password_wrong,
// totp_already_set; for a repeat idempotency_key_reused.
func (h *Handler) BeginSecondFactor(
	ctx context.Context, call Call, c BeginSecondFactor,
) (Answer[NewSecondFactor], error) {
	var begun NewSecondFactor
	r := request{name: "user.begin_second_factor", tenant: call.Tenant, scope: scopeOf(call)}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		user, history, err := h.person(ctx, call.Tenant, call.User)
		if err != nil {
			return domain.Append{}, err
		}

		if err := h.checkPassword(ctx, call, c.CurrentPassword); err != nil {
			return domain.Append{}, err
		}
		if domain.Fold[domain.SecondFactor](history).IsSet() {
			return domain.Append{}, domain.Refuse(domain.CodeTOTPAlreadySet,
				"This account already has a second factor: remove it first.")
		}

		key, err := totp.Generate(totp.GenerateOpts{
			Issuer: otpIssuer, AccountName: user.Email + " (" + user.MunicipalityCode + ")", SecretSize: secretSize,
		})
		if err != nil {
			return domain.Append{}, err
		}
		begun = NewSecondFactor{Secret: key.Secret(), URI: key.URL(), ExpiresAt: h.now().Add(offerLasts)}

		factor := uuid.New()
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: domain.UserOf(call.User), Expected: user.Version, Events: []domain.Event{
				&domain.SecondFactorBegun{FactorID: factor, ExpiresAt: begun.ExpiresAt},
			}}},
			Side: []domain.SideWrite{domain.OfferSecondFactor{
				User: call.User, Factor: factor, Secret: []byte(begun.Secret), ExpiresAt: begun.ExpiresAt,
			}},
		}, nil
	})
	if err != nil {
		return Answer[NewSecondFactor]{}, err
	}

	if done.Repeat {
		if err := h.samePassword(ctx, call, done, c.CurrentPassword); err != nil {
			return Answer[NewSecondFactor]{}, err
		}

		begun = NewSecondFactor{}
		if first, is := done.Events[0].Event.(*domain.SecondFactorBegun); is {
			begun.ExpiresAt = first.ExpiresAt
		}
	}
	return Answer[NewSecondFactor]{Value: begun, Position: done.Position()}, nil
}

// ConfirmSecondFactor asks to put the second factor that was begun into force.
type ConfirmSecondFactor struct {
	Code string `json:"totp"`
}

// ConfirmSecondFactor puts it into force, which uses up the code, and ends all other
// sessions, so that none remains that began without it. Errors: not_found (nothing was
// begun, or too long ago), totp_required (a wrong code); for a repeat
// idempotency_key_reused.
func (h *Handler) ConfirmSecondFactor(ctx context.Context, call Call, c ConfirmSecondFactor) (Answer[struct{}], error) {
	r := request{name: "user.confirm_second_factor", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		a, err := h.Store.Authenticator(ctx, call.Tenant, call.User)
		if err != nil {
			return domain.Append{}, err
		}
		if a.Offered == uuid.Nil || !h.now().Before(a.OfferedUntil) {
			return domain.Append{}, domain.Refuse(domain.CodeNotFound,
				"No second factor is being set up, or setting it up took too long: begin again.")
		}

		step, fits := h.stepOf(c.Code, a.OfferedSecret, 0)
		if !fits {
			return domain.Append{}, domain.Refuse(domain.CodeTOTPRequired, codeInvalid)
		}

		set := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{
				Stream: domain.UserOf(call.User), Expected: call.actor.Version,
				Events: []domain.Event{&domain.SecondFactorSet{FactorID: a.Offered}},
			}},
			Side: []domain.SideWrite{domain.SetSecondFactor{User: call.User, Factor: a.Offered, Step: step}},
		}
		endOthers(&set, call)
		return set, nil
	})
	return Answer[struct{}]{Position: done.Position()}, err
}

// RemoveSecondFactor asks to remove the caller's own second factor.
type RemoveSecondFactor struct {
	CurrentPassword string `json:"-"`
	Code            string `json:"totp"`
}

// RemoveSecondFactor removes it and ends all other sessions. Errors: not_found (there is
// none), password_wrong, totp_required, totp_locked; for a repeat idempotency_key_reused.
func (h *Handler) RemoveSecondFactor(ctx context.Context, call Call, c RemoveSecondFactor) (Answer[struct{}], error) {
	r := request{name: "user.remove_second_factor", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		if !call.factor.IsSet() {
			return domain.Append{}, domain.NoSecondFactor()
		}

		// The password first: someone who does not know it must not learn whether a code
		// is right.
		if err := h.checkPassword(ctx, call, c.CurrentPassword); err != nil {
			return domain.Append{}, err
		}
		spent, err := h.proveCode(ctx, call, r.name, c.Code)
		if err != nil {
			return domain.Append{}, err
		}

		removed := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{
				Stream: domain.UserOf(call.User), Expected: call.actor.Version,
				Events: []domain.Event{&domain.SecondFactorRemoved{FactorID: call.factor.ID, Cause: domain.BySelf}},
			}},
			Side: append(spent, domain.RemoveSecondFactor{User: call.User}),
		}
		endOthers(&removed, call)
		return removed, nil
	})
	if err == nil && done.Repeat {
		err = h.samePassword(ctx, call, done, c.CurrentPassword)
	}
	return Answer[struct{}]{Position: done.Position()}, err
}

// RecoverSecondFactor asks to remove the second factor of another person, who has lost
// their authenticator.
type RecoverSecondFactor struct {
	User     domain.UserID    `json:"-"`
	Reason   string           `json:"reason"`
	Evidence *domain.Evidence `json:"evidence,omitempty"`
}

// RecoverSecondFactor removes it and ends all their sessions. Nobody may do it for
// themselves, or a thief with a session and a password could. Errors: forbidden,
// not_found, stale, validation_failed; for a repeat idempotency_key_reused.
func (h *Handler) RecoverSecondFactor(
	ctx context.Context, call Call, c RecoverSecondFactor,
) (Answer[domain.User], error) {
	if c.User == call.User {
		return Answer[domain.User]{}, domain.Refuse(domain.CodeForbidden,
			"Remove your own second factor with your password and a code; if you have lost it, ask another admin.")
	}

	return h.changeStaff(ctx, call, "user.recover_second_factor", c.User, c,
		func(s *staffChange) ([]domain.Event, error) {
			events, err := domain.RecoverSecondFactor{Reason: c.Reason, Evidence: c.Evidence}.Decide(s.factor)
			if err != nil {
				return nil, err
			}

			s.change.Writes = append(s.change.Writes, domain.Write{
				Stream: domain.SessionsOf(c.User), Expected: domain.AnyVersion,
				Events: []domain.Event{&domain.SessionEnded{Scope: domain.ScopeAll, Cause: domain.CauseSecondFactor}},
			})
			s.change.Side = append(s.change.Side,
				domain.RemoveSecondFactor{User: c.User}, domain.EndSessions{User: c.User})
			return events, nil
		})
}

// endOthers adds to an append the end of all the caller's sessions except this one.
func endOthers(a *domain.Append, call Call) {
	a.Writes = append(a.Writes, domain.Write{
		Stream: domain.SessionsOf(call.User), Expected: domain.AnyVersion, Events: []domain.Event{&domain.SessionEnded{
			SessionID: call.Session, Scope: domain.ScopeOthers, Cause: domain.CauseSecondFactor,
		}},
	})
	a.Side = append(a.Side, domain.EndSessions{User: call.User, Except: call.Session})
}

// samePassword refuses a repeat whose password is not the account's. It is a different
// request, which the fingerprint cannot tell, since it covers no password.
func (h *Handler) samePassword(ctx context.Context, call Call, done domain.Appended, password string) error {
	call.command = done.Events[0].Metadata.Command
	same, err := h.isPasswordOf(ctx, call, call.User, password)
	if err == nil && !same {
		err = keyReused()
	}
	return err
}

// proveCode checks the caller's code, if their account has a second factor, and returns
// the side write that uses the code up. Call it only once the password is proven, because
// its answer differs from account to account. A wrong code is counted and recorded in one
// append; if another code was checked meanwhile, that append fails and execute has this
// one checked again.
func (h *Handler) proveCode(ctx context.Context, call Call, command, code string) ([]domain.SideWrite, error) {
	if !call.factor.IsSet() {
		return nil, nil
	}
	if code == "" {
		return nil, domain.Refuse(domain.CodeTOTPRequired,
			"Send the 6 digits that your authenticator shows now, in totp.")
	}

	a, err := h.Store.Authenticator(ctx, call.Tenant, call.User)
	if err != nil {
		return nil, err
	}
	if a.Factor != call.factor.ID { // after a restore of keys and events of different days
		return nil, domain.Refuse(domain.CodeTOTPRequired,
			"No code opens this account, as its second factor was lost: another admin or the operator must remove it.")
	}
	if wait := a.LockedUntil().Sub(h.now()); wait > 0 {
		return nil, totpLocked(a.LockedUntil(), wait)
	}

	seen := domain.CodesSeen{Step: a.Step, Wrong: a.WrongCodes}
	if step, fits := h.stepOf(code, a.Secret, a.Step); fits {
		return []domain.SideWrite{domain.SpendCode{User: call.User, Factor: a.Factor, Step: step, Seen: seen}}, nil
	}

	if err := h.countWrongCode(ctx, call, command, seen); err != nil {
		return nil, err
	}
	return nil, domain.Refuse(domain.CodeTOTPRequired, codeInvalid)
}

func totpLocked(until time.Time, wait time.Duration) error {
	refusal := domain.Refuse(domain.CodeTOTPLocked,
		"Too many wrong codes: try again at %s. If this was not you, somebody knows your password.",
		until.UTC().Truncate(time.Second).Add(time.Second).Format(time.RFC3339))
	refusal.Wait = wait

	return refusal
}

// stepOf returns the time step that a code belongs to, if that is near now and later than
// the last one used.
func (h *Handler) stepOf(code string, secret []byte, last int64) (step int64, fits bool) {
	code = strings.Join(strings.Fields(code), "") // authenticators show 123 456
	now := h.now().Unix() / int64(codeStep/time.Second)

	for step := max(now-codeWindow, last+1, 0); step <= now+codeWindow; step++ {
		ok, err := hotp.ValidateCustom(code, uint64(step), string(secret), hotp.ValidateOpts{
			Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
		})
		if ok && err == nil {
			return step, true
		}
	}
	return 0, false
}

// countWrongCode records every wrong code at once. The password was right, so no stranger
// can fill the log with these, and the pauses limit them.
func (h *Handler) countWrongCode(ctx context.Context, call Call, command string, seen domain.CodesSeen) error {
	a := domain.Append{
		ID: h.newID(), Tenant: call.Tenant, Origin: call.Origin,
		Metadata: domain.Metadata{ActorRole: domain.RoleAnonymous, Correlation: call.Correlation, Command: command},
		Writes: []domain.Write{{
			Stream: domain.SessionsOf(call.User), Expected: domain.AnyVersion,
			Events: []domain.Event{&domain.SignInFailed{Count: 1, Cause: domain.FailedByCode}},
		}},
		Side: []domain.SideWrite{domain.CountWrongCode{
			User: call.User, Factor: call.factor.ID, At: h.now(), Seen: seen,
		}},
	}
	if call.Session != uuid.Nil {
		a.Actor, a.Metadata.ActorRole = call.User, call.roleName()
	}

	_, err := h.Store.Append(ctx, a)
	if hasCode(err, domain.CodeSubjectErased) { // just now; nothing is recorded about them any more
		return nil
	}
	return err
}

// isStale reports whether a code must be checked again.
func isStale(err error) bool {
	_, stale := errors.AsType[*domain.CodeStaleError](err)
	// Whoever took an external id meanwhile is named when it is decided again.
	return stale || isClaimTaken(err, domain.ExternalIDClaim)
}
