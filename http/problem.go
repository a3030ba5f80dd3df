package http

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// The refusals that only this package makes. Each has a line in edgeRefusals.
const (
	codeMalformed        domain.Code = "malformed"
	codeUnknownParameter domain.Code = "unknown_parameter"
	codeUnsupportedMedia domain.Code = "unsupported_media_type"
	codeTooLarge         domain.Code = "too_large"
	codeMethodNotAllowed domain.Code = "method_not_allowed"
	codeNotSignedIn      domain.Code = "not_signed_in"
	codeTenantMismatch   domain.Code = "tenant_mismatch"
	codeAnotherLog       domain.Code = "another_log"
	codeRateLimited      domain.Code = "rate_limited"
	codeInternal         domain.Code = "internal"
)

// refusal is how a code is answered: its status, and an example sentence for the
// document.
type refusal struct {
	status  int
	example string
}

//nolint:gochecknoglobals // made once, never written
var edgeRefusals = sync.OnceValue(func() map[domain.Code]refusal {
	return map[domain.Code]refusal{
		codeMalformed: {
			http.StatusBadRequest, "The body must be one JSON document in UTF-8, without repeated names.",
		},
		codeUnknownParameter: {http.StatusUnprocessableEntity, "This route has no such parameter; see errors."},
		codeUnsupportedMedia: {http.StatusUnsupportedMediaType, "Send the body as application/json."},
		codeTooLarge:         {http.StatusRequestEntityTooLarge, "A body may have at most 1 MiB."},
		codeMethodNotAllowed: {http.StatusMethodNotAllowed, "This path does not support this method; see Allow."},
		codeNotSignedIn:      {http.StatusUnauthorized, "Sign in, and send the access token as Authorization: Bearer."},
		codeTenantMismatch:   {http.StatusForbidden, "X-Tenant-ID is not the tenant of your token."},
		codeAnotherLog: {
			http.StatusConflict, "This is another log: discard the positions you hold and read again.",
		},
		codeRateLimited: {http.StatusTooManyRequests, "Too many requests; try again later."},
		codeInternal: {
			http.StatusInternalServerError,
			"Something went wrong on our side. Please report this answer's X-Request-ID.",
		},
	}
})

// refusalOf returns how a code is answered, unless a route's line says otherwise.
func refusalOf(code domain.Code) (found refusal, known bool) {
	if found, known = edgeRefusals()[code]; known {
		return found, true
	}

	described, known := domain.Refusals()[code]
	return refusal{status: statusOf(described.Class), example: described.Example}, known
}

// statusOf returns the status of a class; 0 for none.
func statusOf(class domain.Class) int {
	switch class {
	case domain.ClassInvalid:
		return http.StatusUnprocessableEntity
	case domain.ClassUnauthenticated:
		return http.StatusUnauthorized
	case domain.ClassForbidden:
		return http.StatusForbidden
	case domain.ClassAbsent:
		return http.StatusNotFound
	case domain.ClassConflict:
		return http.StatusConflict
	case domain.ClassStale:
		return http.StatusPreconditionFailed
	case domain.ClassUnavailable:
		return http.StatusServiceUnavailable
	case domain.ClassTooMany:
		return http.StatusTooManyRequests
	}
	return 0
}

// retryAfter returns how long to wait before retrying after a temporary failure.
func retryAfter(e *domain.Error) time.Duration {
	if e.Wait > 0 {
		return e.Wait
	}
	switch e.Code {
	case domain.CodeUnavailable, domain.CodeOutcomeUnknown:
		// The database restarts.
		return 5 * time.Second
	case domain.CodeNewerLog, domain.CodeClockDiffers, domain.CodeLogDamaged:
		// A rollout or an operator has to finish.
		return 30 * time.Second
	default:
		return time.Second
	}
}

// problem is the body of every answer that is not a success (RFC 9457).
type problem struct {
	Type      string              `json:"type" doc:"Always about:blank; see code."`
	Title     string              `json:"title" doc:"The status in words."`
	Status    int                 `json:"status"`
	Detail    string              `json:"detail" doc:"An explanation for people."`
	Code      domain.Code         `json:"code" doc:"Stable name of the refusal, for programs."`
	Errors    []domain.FieldError `json:"errors" nullable:"false" doc:"Faulty fields; empty if no field is at fault."`
	ConsentID *uuid.UUID          `json:"consent_id,omitempty" format:"uuid" doc:"The other consent (already_granted, in_force, annulled)."`
	SubjectID *uuid.UUID          `json:"subject_id,omitempty" format:"uuid" doc:"The other record (external_id_taken, subject_merged)."`
	Since     *instant            `json:"since,omitempty" doc:"When the count began (being_counted)."`

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

// newProblem makes the answer to a refusal. The exceptions are a route's own statuses.
func newProblem(e *domain.Error, exceptions map[domain.Code]int) *problem {
	found, known := refusalOf(e.Code)
	if !known {
		return internalProblem()
	}

	status := found.status
	if own, ok := exceptions[e.Code]; ok {
		status = own
	}

	p := &problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: e.Message, Code: e.Code, Errors: e.Fields, headers: http.Header{},
	}
	if p.Errors == nil {
		p.Errors = []domain.FieldError{}
	}
	if e.ConsentID.UUID != uuid.Nil {
		p.ConsentID = &e.ConsentID.UUID
	}
	if !e.SubjectID.IsZero() {
		p.SubjectID = &e.SubjectID.UUID
	}
	if !e.Since.IsZero() {
		p.Since = instantOrNull(e.Since)
	}

	switch status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		p.retry(retryAfter(e))
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
	return newProblem(domain.Refuse(codeInternal,
		"Something went wrong on our side. Please report this answer's X-Request-ID."), nil)
}

// write sends a problem outside huma.
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

// problemOf makes the answer to any error, and logs the cause, which must not leave.
func (s *server) problemOf(ctx context.Context, err error, exceptions map[domain.Code]int) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}

	if s.isCut(ctx, err) {
		err = domain.Refuse(domain.CodeOutcomeUnknown, "%s", domain.Refusals()[domain.CodeOutcomeUnknown].Example).
			Because(err)
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

	// The client has gone, or we took too long.
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		s.log(ctx, slog.LevelDebug, "given up", err)
		return newProblem(domain.Refuse(domain.CodeUnavailable, "This took too long; try again."), nil)
	}

	s.log(ctx, slog.LevelError, "failed", err)
	return internalProblem()
}

// isCut reports whether a command ran out of time. It may have been carried out all the
// same.
func (s *server) isCut(ctx context.Context, err error) bool {
	route := s.routes[traceOf(ctx).id]
	if route == nil || !route.command() || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return false
	}

	refusal, refused := errors.AsType[*domain.Error](err)
	return !refused || refusal.Code == domain.CodeUnavailable || refusal.Code == domain.CodeTimeout
}

func (s *server) log(ctx context.Context, level slog.Level, what string, err error) {
	t := traceOf(ctx)
	s.config.Logger.LogAttrs(ctx, level, what,
		slog.String("correlation", t.correlation.String()), slog.String("route", t.route), slog.Any("error", err))
}
