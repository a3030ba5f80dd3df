package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// Headers of this API.
const (
	headerKey         = "Idempotency-Key"
	headerPosition    = "Event-Position"
	headerMinPosition = "Min-Event-Position"
	headerLog         = "Event-Log"
	headerTenant      = "X-Tenant-ID"
	headerRequestID   = "X-Request-ID"
	headerIfMatch     = "If-Match"
)

// maxBody is the size limit of a body, in bytes.
const maxBody = 1 << 20

type callKey struct{}

// callOf returns the caller of a request, as the guard found.
func callOf(ctx context.Context) commands.Call {
	call, _ := ctx.Value(callKey{}).(commands.Call)
	return call
}

// guard lets through what a route's entry in the table allows. It checks, in this order:
// address, rate, caller, permission, query, headers, body.
func (s *server) guard(rt *route, op *huma.Operation, next http.Handler) http.Handler {
	asks := questionsOf(rt, op)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		trace := traceOf(ctx)
		trace.route, trace.id = rt.path, rt.id
		ctx, cancel := s.within(ctx, w)
		defer cancel()

		call, reach, err := s.admit(ctx, rt, asks, r)
		if err == nil && (op.RequestBody != nil || rt.command()) {
			err = readBody(w, r, rt, op.RequestBody != nil)
		}
		if err != nil {
			s.turnAway(ctx, w, rt, err)
			return
		}
		endReading(w)

		ctx = context.WithValue(context.WithValue(ctx, callKey{}, call), reachKey{}, reach)
		named := &logNamer{ResponseWriter: w, log: func() (uuid.UUID, error) {
			return s.config.Commands.Store.Log(ctx, logAge)
		}}
		next.ServeHTTP(named, r.WithContext(ctx))
	})
}

// turnAway answers with a refusal, in the form that the route's clients understand.
func (s *server) turnAway(ctx context.Context, w http.ResponseWriter, rt *route, err error) {
	p := s.problemOf(ctx, err, rt.statuses)
	if rt.form && p.Code == codeUnknownParameter {
		inAddress().write(w)
		return
	}
	p.write(w)
}

// admit checks everything but the body, and returns the call and how far it reaches.
func (s *server) admit(
	ctx context.Context, rt *route, asks questions, r *http.Request,
) (call commands.Call, reach reach, err error) {
	trace := traceOf(ctx)
	if rt.who == scraper && !contains(s.config.ScrapeFrom, trace.address) {
		return call, nothing, domain.Refuse(domain.CodeForbidden, "This address may not read metrics.")
	}
	token, refusal := s.tokenOf(rt, r)
	if err := s.passFirst(ctx, trace, rt, token); err != nil {
		return call, nothing, err
	}
	if rt.readsLog() {
		if err := s.sameLog(ctx, r); err != nil {
			return call, nothing, err
		}
	}

	call = commands.Call{
		Origin: origin(r, trace.address), Correlation: trace.correlation, Guess: s.guess(rt, trace.address),
	}
	if refusal != nil {
		return call, nothing, refusal
	}
	if rt.reaches[anonymous] == nothing {
		if call, err = s.authenticate(ctx, rt, r, call, token); err != nil {
			return call, nothing, err
		}
	}
	if reach = rt.reaches[partyOf(call)]; reach == nothing {
		return call, nothing, domain.Refuse(domain.CodeForbidden, "This is for: %s.", rt.who)
	}
	if call.IsProgram() && !call.Has(rt.scope) {
		return call, nothing, domain.Refuse(domain.CodeInsufficientScope,
			"This needs the scope %s, which this token does not have.", rt.scope)
	}
	if err = asks.check(r); err != nil {
		return call, nothing, err
	}

	call.SelfOnly = reach < ownTenant
	if rt.command() {
		call.Key = r.Header.Get(headerKey)
	}
	if rt.versioned {
		if call.IfMatch, err = ifMatch(r.Header.Values(headerIfMatch)); err != nil {
			return call, nothing, err
		}
	}
	return call, reach, s.wait(ctx, rt, r)
}

// tokenOf reads the access token of a request, a person's or a program's, if the route
// needs one. It shows who asks, but not yet whether they still may.
func (s *server) tokenOf(rt *route, r *http.Request) (bearer, error) {
	if rt.reaches[anonymous] != nothing {
		return bearer{}, nil
	}

	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return bearer{}, domain.Refuse(codeNotSignedIn,
			"Sign in, and send the access token as Authorization: Bearer.")
	}
	return s.config.Tokens.verify(strings.TrimSpace(token), accessToken, programToken)
}

// passFirst counts a request before anything is looked up: a program's by its service
// account, which has a limit of its own, any other by its network address.
func (s *server) passFirst(ctx context.Context, trace *requestTrace, rt *route, token bearer) error {
	if token.kind == programToken {
		return s.pass(ctx, s.gates[programRate].person, token.user.String())
	}
	return s.pass(ctx, s.gatesOf(trace, rt).address, addressKey(trace.address))
}

// gatesOf returns the gates of a route. What a page asks of the API was counted with the
// page, unless it has a limit of its own, such as a sign-in.
func (s *server) gatesOf(trace *requestTrace, rt *route) gates {
	if trace.inside && (rt.rate == accountRate || rt.rate == publicRate || rt.rate == assetRate) {
		return gates{}
	}
	return s.gates[rt.rate]
}

// authenticate finds a caller's current rights in the log.
func (s *server) authenticate(
	ctx context.Context, rt *route, r *http.Request, call commands.Call, b bearer,
) (_ commands.Call, err error) {
	traceOf(ctx).user = b.user
	if b.kind == programToken {
		if call, err = s.config.Commands.AuthenticateProgram(ctx, call, b.program()); err != nil {
			return call, err
		}
		return call, s.sameTenant(ctx, rt, call, r.Header.Get(headerTenant))
	}

	if err := s.pass(ctx, s.gatesOf(traceOf(ctx), rt).person, b.user.String()); err != nil {
		return call, err
	}

	call.Tenant, call.User, call.Session = b.tenant, b.user, b.session
	if admitted := traceOf(ctx).admitted; admitted.isOf(call) {
		call = admitted.asks(call)
	} else if call, err = s.config.Commands.Authenticate(ctx, call); err != nil {
		return call, err
	}
	if !rt.bare && !call.SecondFactor().IsSet() && slices.Contains(s.config.RequireTOTP, call.Role()) {
		return call, domain.Refuse(domain.CodeTOTPSetupRequired,
			"Your role needs a second factor: set one up with POST %s/users/me/totp.", apiBase)
	}
	return call, s.sameTenant(ctx, rt, call, r.Header.Get(headerTenant))
}

// sameTenant checks the tenant header against the token, which alone decides. A request
// that names another tenant is recorded.
func (s *server) sameTenant(ctx context.Context, rt *route, call commands.Call, header string) error {
	if header == "" {
		return nil
	}
	id, ok := parseID(header)
	if !ok {
		return domain.Refuse(codeMalformed, "X-Tenant-ID is not an id.")
	}

	if id != call.Tenant.UUID {
		mismatch := commands.RecordTenantMismatch{Route: rt.method + " " + rt.path, Named: domain.TenantID{UUID: id}}
		if _, err := s.config.Commands.RecordTenantMismatch(ctx, call, mismatch); err != nil {
			return err
		}
		return domain.Refuse(codeTenantMismatch, "X-Tenant-ID is not the tenant of your token.")
	}
	return nil
}

// wait waits until the table or log that a query reads has reached the position that the
// client knows of.
func (s *server) wait(ctx context.Context, rt *route, r *http.Request) error {
	if rt.waits == "" {
		return nil
	}

	text := r.Header.Get(headerMinPosition)
	if isBeyond(text) || isBeyond(r.URL.Query().Get("position")) {
		return unknownPosition()
	}
	if text == "" {
		return nil
	}
	least, err := strconv.ParseInt(text, 10, 64)
	if err != nil || least < 0 {
		var f domain.Faults
		f.Add(headerMinPosition, "invalid", "Give the Event-Position of an earlier answer.")
		return f.Err()
	}

	if rt.waits != logItself {
		return s.config.Queries.WaitFor(ctx, rt.waits, least)
	}
	head, err := s.config.Commands.Store.Head(ctx)
	if err == nil && head < least { // a position is given out only once it is in the log
		err = unknownPosition()
	}
	return err
}

// entityTag matches one entity tag, weak or strong (RFC 9110 §8.8.3).
var entityTag = regexp.MustCompile(`^(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"$`)

// ownVersion matches what etag puts between the quotes.
var ownVersion = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)

// noVersion is the version of a well-formed tag that is not ours: it matches nothing.
const noVersion = -1

// ifMatch returns the version that a change is meant for; 0: any. A weak tag counts as a
// strong one, since proxies that compress weaken ours.
func ifMatch(headers []string) (int, error) {
	text := strings.TrimSpace(strings.Join(headers, ","))
	if text == "" || text == "*" {
		return 0, nil
	}

	found := entityTag.FindStringSubmatch(text)
	if found == nil {
		return 0, domain.Refuse(codeMalformed, "If-Match must be a single ETag, from an answer.")
	}
	if !ownVersion.MatchString(found[1]) {
		return noVersion, nil
	}
	return strconv.Atoi(found[1])
}

// readBody reads the whole body, so that nothing after it depends on the network. If the
// route takes no body, it must be empty: anything requested in it would not be done.
func readBody(w http.ResponseWriter, r *http.Request, rt *route, taken bool) error {
	if r.ContentLength > maxBody {
		return tooLarge()
	}

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return tooLarge()
	}
	if err != nil {
		return domain.Refuse(codeMalformed, "The body did not arrive completely.").Because(err)
	}

	if rt.form {
		r.Body = &heldBody{*bytes.NewReader(body)}
		return nil
	}
	if len(body) > 0 && !isJSON(r.Header.Get("Content-Type")) {
		return unsupportedMedia()
	}
	if !taken {
		return nothingIn(body)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Body = &heldBody{*bytes.NewReader(body)}
	return nil
}

// heldBody is a body that was read from the network. Closing it releases the memory, so
// that a request waiting for its turn does not hold a MiB.
type heldBody struct{ bytes.Reader }

// Close implements io.Closer.
func (b *heldBody) Close() error {
	b.Reset(nil)
	return nil
}

// nothingIn refuses a body with anything in it. Many clients send {} for an empty body.
func nothingIn(body []byte) error {
	if len(body) == 0 {
		return nil
	}

	var tree any
	if err := strictJSON(body, &tree); err != nil {
		return malformedBody()
	}
	if object, ok := tree.(map[string]any); ok && len(object) == 0 {
		return nil
	}

	var f domain.Faults
	f.Add("body", "unknown_field", "This route takes no body.")
	return f.Err()
}

func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	media, parameters, err := mime.ParseMediaType(contentType)
	charset := parameters["charset"]
	return err == nil && (media == "application/json" ||
		(strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))) &&
		(charset == "" || strings.EqualFold(charset, "utf-8"))
}

// requestTrace is what is known of a request in progress: for the log and for origins.
type requestTrace struct {
	correlation uuid.UUID
	address     netip.Addr
	route       string        // its pattern
	id          string        // of the route in the table
	user        domain.UserID // zero: nobody, or not yet known
	began       time.Time
	gone        <-chan struct{} // closed when the client has left
	inside      bool            // a page asks, see pages.go
	admitted    *visit          // who has been admitted to the page that asks; nil: not yet
	looks       *looks          // of a page, which records them itself; nil: each is recorded at once
}

type traceKey struct{}

func traceOf(ctx context.Context) *requestTrace {
	if t, ok := ctx.Value(traceKey{}).(*requestTrace); ok {
		return t
	}
	return &requestTrace{}
}
