package domain

import (
	"fmt"
	"strings"
)

// Code is the stable name of a refusal. Clients branch on it; it never changes once released.
type Code string

// The refusals of the system. Package http maps each to a status; a test fails for a code without one.
const (
	CodeInvalid              Code = "validation_failed"
	CodeNotFound             Code = "not_found"
	CodeForbidden            Code = "forbidden"
	CodeNotSignedIn          Code = "not_signed_in"
	CodeInvalidCredentials   Code = "invalid_credentials"
	CodeInvalidToken         Code = "invalid_token"
	CodeSessionEnded         Code = "session_ended"
	CodeAccountInactive      Code = "account_inactive"
	CodeUnknownMunicipality  Code = "unknown_municipality"
	CodeMunicipalityInactive Code = "municipality_inactive"
	CodeEmailTaken           Code = "email_taken"
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
	CodeEvidenceRequired     Code = "evidence_required"
	CodeCompetentPerson      Code = "competent_person_required"
	CodeGivenInFuture        Code = "given_at_in_future"
	CodeLastAdmin            Code = "last_admin"
	CodePasswordWrong        Code = "password_wrong"
	CodeIdempotencyKeyReused Code = "idempotency_key_reused"
	CodeStale                Code = "stale"
	CodeTenantMismatch       Code = "tenant_mismatch"
	CodeOverloaded           Code = "overloaded"
	CodeUnavailable          Code = "unavailable"
	CodeTimeout              Code = "timeout"
	CodeBusy                 Code = "busy"
	CodeReadModelBehind      Code = "read_model_behind"
	CodeSubjectErased        Code = "subject_erased"
	CodeRetentionHold        Code = "retention_hold"
	CodeStaffRecordKept      Code = "staff_record_kept"
	CodeRequestClosed        Code = "request_closed"
)

// Error is a refusal: a stable code for programs, a sentence for people, and a cause that only the log sees. Neither the
// message nor the field errors ever repeat the value that was refused.
type Error struct {
	Code    Code
	Message string
	Fields  []FieldError
	// ConsentID is set where an existing consent is the reason (already_granted, in_force).
	ConsentID ConsentID
	cause     error
}

// FieldError names one faulty field of the input.
type FieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Refuse makes a refusal.
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

// Is lets errors.Is compare refusals by code: errors.Is(err, domain.Refuse(domain.CodeNotFound, "")).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Faults collects the faulty fields of one input, so that a caller learns all of them at once.
type Faults struct{ fields []FieldError }

// Add notes one faulty field.
func (f *Faults) Add(field, code, message string) {
	f.fields = append(f.fields, FieldError{Field: field, Code: code, Message: message})
}

// Err is nil without faults, else one validation error with all of them.
func (f *Faults) Err() error {
	if len(f.fields) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalid, Message: "The input is not valid; see errors.", Fields: f.fields}
}
