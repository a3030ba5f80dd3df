package domain

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Code is the stable name of a refusal. Clients branch on it; it never changes once
// released.
type Code string

// The refusals of the system. Each is described in Refusals below; a test fails for a
// code that is not.
const (
	CodeInvalid              Code = "validation_failed"
	CodeNotFound             Code = "not_found"
	CodeForbidden            Code = "forbidden"
	CodeInvalidCredentials   Code = "invalid_credentials"
	CodeInvalidToken         Code = "invalid_token"
	CodeSessionEnded         Code = "session_ended"
	CodeAccountInactive      Code = "account_inactive"
	CodeUnknownMunicipality  Code = "unknown_municipality"
	CodeMunicipalityInactive Code = "municipality_inactive"
	CodeEmailTaken           Code = "email_taken"
	CodeExternalIDTaken      Code = "external_id_taken"
	CodeHasAccount           Code = "has_account"
	CodeNoAccount            Code = "no_account"
	CodeMerged               Code = "subject_merged"
	CodeNotMerged            Code = "not_merged"
	CodeHasMerged            Code = "has_merged"
	CodeRequestsOpen         Code = "requests_open"
	CodeTooManyDecisions     Code = "too_many_decisions"
	CodeCodeTaken            Code = "code_taken"
	CodeNameTaken            Code = "name_taken"
	CodeConsentRequired      Code = "consent_required"
	CodeUnknownPurpose       Code = "unknown_purpose"
	CodePurposeTaken         Code = "purpose_taken"
	CodePurposeNotConsent    Code = "purpose_not_consent_based"
	CodeWordingMismatch      Code = "wording_mismatch"
	CodeNoticeChanged        Code = "notice_changed"
	CodeAlreadyGranted       Code = "already_granted"
	CodeInForce              Code = "in_force"
	CodeNotGranted           Code = "not_granted"
	CodeNotWithdrawn         Code = "not_withdrawn"
	CodeAnnulled             Code = "annulled"
	CodeAccountRestsOn       Code = "account_rests_on_consent"
	CodeEvidenceRequired     Code = "evidence_required"
	CodeCompetentPerson      Code = "competent_person_required"
	CodeGivenInFuture        Code = "given_at_in_future"
	CodeDecidedHere          Code = "decided_here"
	CodeClaimChanged         Code = "claim_changed"
	CodeLastAdmin            Code = "last_admin"
	CodePasswordWrong        Code = "password_wrong"
	CodeTOTPRequired         Code = "totp_required"
	CodeTOTPLocked           Code = "totp_locked"
	CodeTOTPAlreadySet       Code = "totp_already_set"
	CodeTOTPSetupRequired    Code = "totp_setup_required"
	CodeCodeInvalid          Code = "code_invalid"
	CodeNoSignIn             Code = "no_sign_in"
	CodeMailNotSetUp         Code = "mail_not_set_up"
	CodeIdempotencyKeyReused Code = "idempotency_key_reused"
	CodeStale                Code = "stale"
	CodeOverloaded           Code = "overloaded"
	CodeUnavailable          Code = "unavailable"
	CodeTimeout              Code = "timeout"
	CodeOutcomeUnknown       Code = "outcome_unknown"
	CodeBusy                 Code = "busy"
	CodeReadModelBehind      Code = "read_model_behind"
	CodeBeingCounted         Code = "being_counted"
	CodeUnknownPosition      Code = "unknown_position"
	CodeNewerLog             Code = "newer_log"
	CodeLogDamaged           Code = "log_damaged"
	CodeClockDiffers         Code = "clock_differs"
	CodeSubjectErased        Code = "subject_erased"
	CodeRetentionHold        Code = "retention_hold"
	CodeStaffRecordKept      Code = "staff_record_kept"
	CodeRequestClosed        Code = "request_closed"
	CodeSecondPerson         Code = "second_person_required"
	CodeTooManyOpen          Code = "too_many_open"

	CodeInsufficientScope     Code = "insufficient_scope"
	CodeServiceAccountRevoked Code = "service_account_revoked"
	CodeTooManySecrets        Code = "too_many_secrets"

	CodeProofPending Code = "proof_pending"
	CodeNotProvable  Code = "not_provable"

	CodeTooManyWebhooks Code = "too_many_webhooks"
	CodeWebhookDeleted  Code = "webhook_deleted"
)

// Class is the kind of a refusal: enough for a package that does not know the code to
// answer.
type Class int

// The classes of refusals. Package http maps each to a status.
const (
	// ClassInvalid is for input that is wrong in itself.
	ClassInvalid Class = iota + 1
	// ClassUnauthenticated is for a caller who did not prove who they are.
	ClassUnauthenticated
	// ClassForbidden is for a known caller who lacks permission.
	ClassForbidden
	// ClassAbsent is for a thing that does not exist, or not for this caller.
	ClassAbsent
	// ClassConflict is for a command that the current state does not allow.
	ClassConflict
	// ClassStale is for a command based on an earlier version.
	ClassStale
	// ClassUnavailable is for a command or query that may succeed a little later.
	ClassUnavailable
	// ClassTooMany is for something tried too often; it may be tried again later.
	ClassTooMany
)

// Refusal describes a code.
type Refusal struct {
	Class Class
	// Example is a sentence that the code is sent with, for documentation.
	Example string
}

// Refusals describes every code. Callers do not change it.
func Refusals() map[Code]Refusal { return refusals() }

// A new code needs nothing but its line here: its status and its place in the API's
// document follow from it.
//
//nolint:gochecknoglobals // made once, never written
var refusals = sync.OnceValue(func() map[Code]Refusal {
	return map[Code]Refusal{
		// The caller, and what it asks for.
		CodeInvalid:   {ClassInvalid, "The input is not valid; see errors."},
		CodeNotFound:  {ClassAbsent, "There is nothing with this id."},
		CodeForbidden: {ClassForbidden, "Only staff may act for another person."},
		CodeInvalidCredentials: {
			ClassUnauthenticated,
			"Invalid credentials. If you are registered in more than one municipality, send municipality_code.",
		},
		CodeInvalidToken:         {ClassUnauthenticated, "This token is not valid here, or has expired."},
		CodeSessionEnded:         {ClassUnauthenticated, "This session has ended: sign in again."},
		CodeAccountInactive:      {ClassForbidden, "This account is not active."},
		CodeUnknownMunicipality:  {ClassAbsent, "There is no municipality with this code."},
		CodeMunicipalityInactive: {ClassForbidden, "This municipality is not active."},

		// Accounts and municipalities.
		CodeEmailTaken: {ClassConflict, "An account with this e-mail address already exists in this municipality."},
		CodeExternalIDTaken: {
			ClassConflict, "Another person of this municipality has this meter; see subject_id.",
		},
		CodeHasAccount: {
			ClassConflict,
			"This person has an account, and changes their own details; staff change only their external ids.",
		},
		CodeNoAccount: {ClassConflict, "This person has no account: staff recorded them."},
		CodeMerged: {
			ClassConflict, "This record was merged into another of the same person: use that one; see subject_id.",
		},
		CodeNotMerged: {ClassConflict, "This record is not merged into another."},
		CodeHasMerged: {
			ClassConflict, "Other records were merged into this one: merge the other way round, or undo that first.",
		},
		CodeRequestsOpen: {
			ClassConflict, "This record has open requests or holds: close and lift them first.",
		},
		CodeTooManyDecisions: {
			ClassConflict, "This record has more than 500 decisions: too many to merge.",
		},
		CodeCodeTaken: {ClassConflict, "Another municipality has this code."},
		CodeNameTaken: {ClassConflict, "Another municipality has this name."},

		// Purposes and consents.
		CodeConsentRequired: {ClassInvalid, "An account needs consent to the purpose platform_registration."},
		CodeUnknownPurpose:  {ClassInvalid, "This municipality has no such purpose."},
		CodePurposeTaken:    {ClassConflict, "A purpose with this code already exists."},
		CodePurposeNotConsent: {
			ClassInvalid,
			"Processing for this purpose rests on a ground of POPIA s11 other than consent, so there is nothing to " +
				"consent to.",
		},
		CodeWordingMismatch: {ClassInvalid, "This is not the purpose's wording in this language."},
		CodeNoticeChanged:   {ClassConflict, "Notice version 2 was in use then; show that version."},
		CodeAlreadyGranted:  {ClassConflict, "A consent for this purpose under this notice is in force."},
		CodeInForce:         {ClassConflict, "A consent for this purpose is in force: withdraw it instead."},
		CodeNotGranted:      {ClassConflict, "This is a refusal: there is nothing to withdraw."},
		CodeNotWithdrawn:    {ClassConflict, "This consent is not withdrawn."},
		CodeAnnulled:        {ClassConflict, "This entry was annulled: it counts for nothing."},
		CodeAccountRestsOn: {
			ClassConflict, "This person's account rests on this consent: withdraw it, which closes the account.",
		},
		CodeEvidenceRequired: {
			ClassInvalid,
			"A decision given more than 5 minutes ago needs evidence, and a channel other than web.",
		},
		CodeCompetentPerson: {
			ClassInvalid,
			"For a child, a competent person must consent (POPIA s35): name them in given_by.",
		},
		CodeGivenInFuture: {ClassInvalid, "A decision cannot be given in the future."},
		CodeDecidedHere: {
			ClassConflict,
			"This person has decided about this purpose here, no later than this is said to have been given, and " +
				"that counts. If they changed their mind, record it with its evidence.",
		},
		CodeClaimChanged: {
			ClassConflict,
			"This source has said something else about this before, and that stands.",
		},

		// Admins, passwords and second factors.
		CodeLastAdmin:     {ClassConflict, "This is the last admin of this municipality: appoint another first."},
		CodePasswordWrong: {ClassUnauthenticated, "The current password is wrong."},
		CodeTOTPRequired: {
			ClassUnauthenticated,
			"Send the 6 digits that your authenticator shows now, in totp.",
		},
		CodeTOTPLocked: {
			ClassTooMany,
			"Too many wrong codes: try again at 2026-03-01T12:04:00Z. If this was not you, " +
				"somebody knows your password.",
		},
		CodeTOTPAlreadySet: {ClassConflict, "This account already has a second factor: remove it first."},
		CodeTOTPSetupRequired: {
			ClassForbidden,
			"Your role needs a second factor: set one up with POST /api/v1/users/me/totp.",
		},

		// One-time codes.
		CodeCodeInvalid: {
			ClassUnauthenticated,
			"This code is wrong, was used, replaced or tried too often, or has expired: ask for a new one.",
		},
		CodeNoSignIn: {ClassConflict, "This person has nothing to sign in with yet."},
		CodeMailNotSetUp: {
			ClassConflict,
			"This server sends no e-mail, so no code can be sent; staff can hand one over.",
		},

		// Programs.
		CodeInsufficientScope: {
			ClassForbidden,
			"This needs the scope consents:check, which this token does not have.",
		},
		CodeServiceAccountRevoked: {ClassConflict, "This service account was revoked: create another."},
		CodeTooManySecrets: {
			ClassConflict,
			"This service account already has 10 good secrets: end them, with overlap_seconds 0.",
		},

		// Proofs.
		CodeProofPending: {
			ClassUnavailable,
			"This process cannot sign proofs: the operator must set LOG_SIGNING_KEY.",
		},
		CodeNotProvable: {ClassConflict, "This person has more than 1000 decisions, too many for one file."},

		// Other systems.
		CodeTooManyWebhooks: {ClassConflict, "This municipality already has 20 webhooks: delete one first."},
		CodeWebhookDeleted:  {ClassConflict, "This webhook was deleted: register another."},

		// The system itself.
		CodeIdempotencyKeyReused: {ClassInvalid, "This idempotency key was used for another request."},
		CodeStale:                {ClassStale, "This has changed since you read it: read it again."},
		CodeOverloaded:           {ClassUnavailable, "Too many requests are waiting to be written; try again."},
		CodeUnavailable:          {ClassUnavailable, "The database is not responding; try again shortly."},
		CodeTimeout:              {ClassUnavailable, "The database took too long; try again shortly."},
		CodeOutcomeUnknown: {
			ClassUnavailable,
			"It is not known whether this was carried out: send it again, with the same Idempotency-Key if it had " +
				"one.",
		},
		CodeBusy:            {ClassUnavailable, "Too many changes to this at once; try again."},
		CodeReadModelBehind: {ClassUnavailable, "The read table has not reached position 1234 yet."},
		CodeBeingCounted: {
			ClassUnavailable,
			"These figures are still being counted, since 2026-03-14T07:30:00Z: ask again in a few seconds.",
		},
		CodeUnknownPosition: {ClassInvalid, "The log has no such position: read again without it."},
		CodeNewerLog: {
			ClassUnavailable,
			"The log holds events of a newer release than this server, which is about to be replaced; try again.",
		},
		CodeLogDamaged: {
			ClassUnavailable,
			"A record that this depends on is damaged, so nothing is read from it: the operator must investigate.",
		},
		CodeClockDiffers: {
			ClassUnavailable,
			"The clocks of this server and its database are 24h0m0s apart, so nothing is recorded: the operator " +
				"must set them right; then try again.",
		},

		// Data rights.
		CodeSubjectErased: {ClassConflict, "This person's data was erased."},
		CodeRetentionHold: {
			ClassConflict,
			"This person's data is under a retention hold and cannot be erased until the hold is lifted.",
		},
		CodeStaffRecordKept: {
			ClassConflict,
			"This account acted in office; what it did, and whose account it is, must stay on record " +
				"(POPIA s14(1)(a), s17).",
		},
		CodeRequestClosed: {ClassConflict, "This request is already closed."},
		CodeSecondPerson: {
			ClassConflict,
			"Another manager or admin must lodge this request, or another admin must carry it out: nobody erases a " +
				"person alone.",
		},
		CodeTooManyOpen: {
			ClassConflict,
			"This person already has 5 open requests of this kind: they must be answered first.",
		},
	}
})

// Error is a refusal: a stable code for programs, a sentence for people, and a cause that
// only the log sees. Neither the message nor the field errors ever repeat the refused
// value.
type Error struct {
	Code    Code
	Message string
	Fields  []FieldError
	// ConsentID is set where an existing consent is the reason (already_granted,
	// in_force).
	ConsentID ConsentID
	// SubjectID is set where another record is the reason (external_id_taken,
	// subject_merged).
	SubjectID UserID
	// Since is when what the refusal waits for began (being_counted).
	Since time.Time
	// Wait is how long the same command will be refused, where that is known.
	Wait  time.Duration
	cause error
}

// FieldError names one faulty field of the input.
type FieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Refuse returns a refusal.
func Refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Because keeps the cause of a refusal for the log.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Code))
	b.WriteString(": ")
	b.WriteString(e.Message)
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "; %s: %s", f.Field, f.Message)
	}
	if e.cause != nil {
		fmt.Fprintf(&b, " (%v)", e.cause)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.cause }

// Is lets errors.Is compare refusals by code: errors.Is(err,
// domain.Refuse(domain.CodeNotFound, "")).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Faults collects the invalid fields of one input, so that a caller learns of all of them
// at once.
type Faults struct{ fields []FieldError }

// Add records one invalid field.
func (f *Faults) Add(field, code, message string) {
	f.fields = append(f.fields, FieldError{Field: field, Code: code, Message: message})
}

// Err returns nil without faults, else one validation error that lists them all.
func (f *Faults) Err() error {
	if len(f.fields) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalid, Message: "The input is not valid; see errors.", Fields: f.fields}
}
