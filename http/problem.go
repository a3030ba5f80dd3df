package http

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Refusals that only this package knows.
const (
	codeMalformed        domain.Code = "malformed"
	codeUnsupportedMedia domain.Code = "unsupported_media_type"
	codeTooLarge         domain.Code = "too_large"
	codeMethodNotAllowed domain.Code = "method_not_allowed"
	codeRateLimited      domain.Code = "rate_limited"
	codeInternal         domain.Code = "internal"
)

// statuses gives every refusal its status. A test fails for a code of package domain without one.
func statuses() map[domain.Code]int {
	return map[domain.Code]int{
		codeMalformed:        http.StatusBadRequest,
		codeUnsupportedMedia: http.StatusUnsupportedMediaType,
		codeTooLarge:         http.StatusRequestEntityTooLarge,
		codeMethodNotAllowed: http.StatusMethodNotAllowed,
		codeRateLimited:      http.StatusTooManyRequests,
		codeInternal:         http.StatusInternalServerError,

		domain.CodeInvalid:              http.StatusUnprocessableEntity,
		domain.CodeNotFound:             http.StatusNotFound,
		domain.CodeForbidden:            http.StatusForbidden,
		domain.CodeNotSignedIn:          http.StatusUnauthorized,
		domain.CodeInvalidCredentials:   http.StatusUnauthorized,
		domain.CodeInvalidToken:         http.StatusUnauthorized,
		domain.CodeSessionEnded:         http.StatusUnauthorized,
		domain.CodeAccountInactive:      http.StatusForbidden,
		domain.CodeUnknownMunicipality:  http.StatusNotFound,
		domain.CodeMunicipalityInactive: http.StatusForbidden, // 400 where nobody is signed in: see route.statuses
		domain.CodeEmailTaken:           http.StatusConflict,
		domain.CodeCodeTaken:            http.StatusConflict,
		domain.CodeNameTaken:            http.StatusConflict,
		domain.CodeConsentRequired:      http.StatusUnprocessableEntity,
		domain.CodeUnknownPurpose:       http.StatusUnprocessableEntity,
		domain.CodePurposeTaken:         http.StatusConflict,
		domain.CodePurposeNotConsent:    http.StatusUnprocessableEntity,
		domain.CodeWordingMismatch:      http.StatusUnprocessableEntity,
		domain.CodeNoticeChanged:        http.StatusConflict,
		domain.CodeAlreadyGranted:       http.StatusConflict,
		domain.CodeInForce:              http.StatusConflict,
		domain.CodeNotGranted:           http.StatusConflict,
		domain.CodeEvidenceRequired:     http.StatusUnprocessableEntity,
		domain.CodeCompetentPerson:      http.StatusUnprocessableEntity,
		domain.CodeGivenInFuture:        http.StatusUnprocessableEntity,
		domain.CodeLastAdmin:            http.StatusConflict,
		domain.CodePasswordWrong:        http.StatusUnauthorized,
		domain.CodeIdempotencyKeyReused: http.StatusUnprocessableEntity,
		domain.CodeStale:                http.StatusPreconditionFailed,
		domain.CodeTenantMismatch:       http.StatusForbidden,
		domain.CodeOverloaded:           http.StatusServiceUnavailable,
		domain.CodeUnavailable:          http.StatusServiceUnavailable,
		domain.CodeTimeout:              http.StatusServiceUnavailable,
		domain.CodeBusy:                 http.StatusServiceUnavailable,
		domain.CodeReadModelBehind:      http.StatusServiceUnavailable,
		domain.CodeSubjectErased:        http.StatusConflict,
		domain.CodeRetentionHold:        http.StatusConflict,
		domain.CodeStaffRecordKept:      http.StatusConflict,
		domain.CodeRequestClosed:        http.StatusConflict,
	}
}

// retryAfter is when to try again what failed for a passing reason.
func retryAfter(code domain.Code) time.Duration {
	if code == domain.CodeUnavailable {
		return 5 * time.Second // a database that restarts
	}
	return time.Second
}

// problem is the body of every answer that is not a success (RFC 9457).
type problem struct {
	Type      string              `json:"type" doc:"Always about:blank; code says what it is."`
	Title     string              `json:"title" doc:"The status in words."`
	Status    int                 `json:"status"`
	Detail    string              `json:"detail" doc:"A sentence for a person."`
	Code      domain.Code         `json:"code" doc:"Stable name of the refusal, for programs."`
	Errors    []domain.FieldError `json:"errors" nullable:"false" doc:"Faulty fields; empty when the fault is none of them."`
	ConsentID *uuid.UUID          `json:"consent_id,omitempty" format:"uuid" doc:"The consent that stands in the way (already_granted, in_force)."`

	headers http.Header
}

// Error implements error.
func (p *problem) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *problem) GetHeaders() http.Header { return p.headers }

// ContentType implements huma.ContentTypeFilter.
func (*problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

// newProblem makes the answer to a refusal. exceptions are a route's own statuses.
func newProblem(e *domain.Error, exceptions map[domain.Code]int) *problem {
	status, ok := exceptions[e.Code]
	if !ok {
		status, ok = statuses()[e.Code]
	}
	if !ok {
		return internalProblem()
	}
	p := &problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: e.Message, Code: e.Code, Errors: e.Fields,
		headers: http.Header{},
	}
	if p.Errors == nil {
		p.Errors = []domain.FieldError{}
	}
	if e.ConsentID.UUID != uuid.Nil {
		p.ConsentID = &e.ConsentID.UUID
	}
	switch status {
	case http.StatusServiceUnavailable:
		p.retry(retryAfter(e.Code))
	case http.StatusUnauthorized:
		p.headers.Set("WWW-Authenticate", "Bearer")
	}
	return p
}

func (p *problem) retry(after time.Duration) *problem {
	p.headers.Set("Retry-After", strconv.Itoa(max(1, int((after+time.Second-1)/time.Second))))
	return p
}

func internalProblem() *problem {
	return newProblem(domain.Refuse(codeInternal, "Something went wrong on our side. Tell us the X-Request-ID of this answer."), nil)
}

// write sends the problem where huma does not.
func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(p) // a client that has gone away needs no answer
}

// problemOf makes the answer to any error, and keeps in the log what must not leave.
func (s *server) problemOf(ctx context.Context, err error, exceptions map[domain.Code]int) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*domain.Error](err); ok {
		p := newProblem(e, exceptions)
		level := slog.LevelDebug
		switch {
		case p.Status == http.StatusServiceUnavailable:
			level = slog.LevelWarn
		case p.Code == codeInternal:
			level = slog.LevelError
		case s.config.Debug:
			level = slog.LevelInfo
		}
		s.log(ctx, level, "refused", err)
		return p
	}
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) { // the client has gone, or we took too long
		s.log(ctx, slog.LevelDebug, "given up", err)
		return newProblem(domain.Refuse(domain.CodeUnavailable, "This took too long; try again."), nil)
	}
	s.log(ctx, slog.LevelError, "failed", err)
	return internalProblem()
}

func (s *server) log(ctx context.Context, level slog.Level, what string, err error) {
	t := traceOf(ctx)
	s.config.Logger.LogAttrs(ctx, level, what,
		slog.String("correlation", t.correlation.String()), slog.String("route", t.route), slog.Any("error", err))
}
