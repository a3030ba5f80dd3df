package http

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// Programs get their tokens as RFC 6749 §4.4 says, so that any OAuth 2.0 library can. Of
// a refusal it says the form, too: what is wrong with a request is 400, a client that is
// not proven 401; all else (too many requests, a database that is away) is a problem, as
// everywhere.

// tokenError is a refusal in the form of RFC 6749 §5.2.
type tokenError struct {
	Name        string `json:"error"`
	Description string `json:"error_description"`
}

// Error implements error.
func (e *tokenError) Error() string { return e.Name + ": " + e.Description }

// The refusals of RFC 6749 §5.2 that can be.
const (
	invalidRequest   = "invalid_request"
	invalidClient    = "invalid_client"
	invalidScope     = "invalid_scope"
	unsupportedGrant = "unsupported_grant_type"
)

func badTokenRequest(description string) error {
	return &tokenError{Name: invalidRequest, Description: description}
}

func (e *tokenError) write(w http.ResponseWriter) {
	status := http.StatusBadRequest
	if e.Name == invalidClient {
		// Also where the client did not use Basic: no 401 goes without (RFC 9110
		// §15.5.2).
		w.Header().Set("WWW-Authenticate", `Basic realm="trust", charset="UTF-8"`)
		status = http.StatusUnauthorized
	}
	writeToken(w, status, e)
}

// writeToken writes an answer that no cache may keep (RFC 6749 §5.1; Cache-Control is set
// for the whole API).
func writeToken(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Pragma", "no-cache")
	w.WriteHeader(status)

	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // a client that has gone away needs no answer
}

// inAddress is the refusal of parameters in the address of a request, where RFC 6749
// §2.3.1 forbids them: a secret that was sent there is in the log of every proxy.
func inAddress() *tokenError {
	return &tokenError{invalidRequest, "Send everything in the body: addresses are written into logs. " +
		"A secret that was sent in one should be rotated."}
}

type issuedToken struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
}

// token proves a client and makes a token.
func (s *server) token() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		issued, err := s.issueToken(r)
		if refusal, is := errors.AsType[*tokenError](err); is {
			refusal.write(w)
			return
		}
		if err != nil {
			s.problemOf(r.Context(), err, nil).write(w)
			return
		}
		writeToken(w, http.StatusOK, issued)
	})
}

func (s *server) issueToken(r *http.Request) (issuedToken, error) {
	ctx := r.Context()
	form, err := formOf(r)
	if err != nil {
		return issuedToken{}, err
	}
	switch form["grant_type"] {
	case "client_credentials":
	case "":
		return issuedToken{}, badTokenRequest("Give grant_type: client_credentials.")
	default:
		return issuedToken{}, &tokenError{unsupportedGrant, "The only grant_type here is client_credentials."}
	}

	id, secret, err := credentialsOf(r, form)
	if err != nil {
		return issuedToken{}, err
	}
	client := commands.Client{Secret: secret}
	client.Account.UUID, _ = parseID(id) // of another text: nobody's, and refused as such
	for name := range strings.FieldsSeq(form["scope"]) {
		client.Scopes = append(client.Scopes, domain.Scope(name))
	}

	session, err := s.admitProgram(ctx, id, client)
	if err != nil {
		return issuedToken{}, err
	}

	traceOf(ctx).user = session.Account.Actor()
	access, err := s.config.Tokens.issueProgram(session)
	return issuedToken{
		AccessToken: access, TokenType: "Bearer", ExpiresIn: int(programTokenLasts.Seconds()),
		Scope: scopeText(session.Scopes),
	}, err
}

// admitProgram proves a client. Guesses count by client and network address, by client,
// and by network address, with the limits that sign-ins have, but apart from them. Right
// secrets do not count: unlike a password's, their check costs nothing, and a fleet that
// starts at once fetches its tokens from one address.
func (s *server) admitProgram(ctx context.Context, id string, c commands.Client) (commands.ProgramSession, error) {
	from := addressKey(traceOf(ctx).address)
	gates := s.gates[loginRate]
	counts := []struct {
		gate *gate
		key  []string
	}{{gates.address, []string{"client", from}}, {gates.person, []string{"client", id, from}}}

	for _, c := range counts {
		if err := s.pass(ctx, c.gate, c.key...); err != nil {
			return commands.ProgramSession{}, err
		}
	}
	if s.config.RateLimit {
		if err := s.slow(ctx, gates.slow.over(ctx, s.limitKey("client", id))); err != nil {
			return commands.ProgramSession{}, err
		}
	}

	session, err := s.config.Commands.AdmitProgram(ctx, c)
	refusal, is := errors.AsType[*domain.Error](err)
	switch {
	case is && refusal.Code == domain.CodeInvalidCredentials:
		return session, &tokenError{invalidClient, refusal.Message}
	case is && refusal.Code == domain.CodeInsufficientScope:
		err = &tokenError{invalidScope, refusal.Message}
	case err != nil:
		return session, err
	}

	for _, c := range counts {
		s.giveBack(ctx, c.gate, c.key...)
	}
	s.giveBack(ctx, gates.slow, "client", id)
	return session, err
}

// formOf reads the parameters of a token request. Unknown ones are ignored and empty ones
// count as missing, as RFC 6749 §3.2 demands.
func formOf(r *http.Request) (map[string]string, error) {
	media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := parameters["charset"]
	if err != nil || media != formType || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return nil, badTokenRequest("Send the body as " + formType + ".")
	}

	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	sent, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badTokenRequest("The body is not a form.")
	}

	form := map[string]string{}
	for name, values := range sent {
		switch {
		case len(values) > 1:
			return nil, badTokenRequest("A parameter is given more than once.")
		case !isText(name) || !isText(values[0]):
			return nil, badTokenRequest("The body must be UTF-8 without NUL.")
		}
		form[name] = values[0]
	}
	return form, nil
}

const formType = "application/x-www-form-urlencoded"

// credentialsOf returns what a client proves itself by: HTTP Basic, or two parameters,
// and not both (RFC 6749 §2.3).
func credentialsOf(r *http.Request, form map[string]string) (id, secret string, err error) {
	header := r.Header.Values("Authorization")
	id, secret = form["client_id"], form["client_secret"]
	if len(header) == 0 {
		if id == "" || secret == "" {
			return "", "", &tokenError{invalidClient, "Give client_id and client_secret, by HTTP Basic or in the body."}
		}
		return id, secret, nil
	}

	basicID, basicSecret, ok := basicOf(header)
	switch {
	case !ok:
		return "", "", &tokenError{
			invalidClient, "Authorization must be Basic, with client_id and client_secret in form encoding.",
		}
	case secret != "" || (id != "" && id != basicID):
		return "", "", badTokenRequest("Prove the client in one way: by HTTP Basic, or in the body.")
	}
	return basicID, basicSecret, nil
}

// basicOf reads HTTP Basic, in which RFC 6749 §2.3.1 encodes both halves as in a form.
func basicOf(header []string) (id, secret string, ok bool) {
	scheme, encoded, _ := strings.Cut(header[0], " ")
	if len(header) > 1 || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", false
	}

	first, second, both := strings.Cut(string(decoded), ":")
	id, badID := url.QueryUnescape(first)
	secret, badSecret := url.QueryUnescape(second)
	ok = both && badID == nil && badSecret == nil && id != "" && secret != "" && isText(id) && isText(secret)
	return id, secret, ok
}

// describeToken completes the document's operation of a route that takes a form.
func describeToken(op *huma.Operation) {
	text := func(description string, example any) *huma.Schema {
		s := &huma.Schema{Type: huma.TypeString, Description: description}
		if example != nil {
			s.Examples = []any{example}
		}
		return s
	}

	grant := text("", nil)
	grant.Enum = []any{"client_credentials"}
	form := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"grant_type"},
		Properties: map[string]*huma.Schema{
			"grant_type":    grant,
			"client_id":     text("Unless sent by HTTP Basic.", nil),
			"client_secret": text("Unless sent by HTTP Basic.", nil),
			"scope": text("Those wanted, separated by blanks; default: all that the client has.",
				"consents:check"),
		},
	}
	op.RequestBody = &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{formType: {Schema: form}},
	}

	op.Responses["200"].Content = map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: false,
		Required: []string{"access_token", "token_type", "expires_in", "scope"},
		Properties: map[string]*huma.Schema{
			"access_token": text("Send it as Authorization: Bearer.", "eyJhbGciOiJIUzI1NiJ9.e30.cHJvZ3JhbQ"),
			"token_type":   {Type: huma.TypeString, Enum: []any{"Bearer"}},
			"expires_in": {
				Type: huma.TypeInteger, Description: "Lifetime in seconds.",
				Examples: []any{int(programTokenLasts.Seconds())},
			},
			"scope": text("What the token allows.", "consents:check"),
		},
	}}}

	for status, names := range map[string][]any{
		"400": {invalidRequest, unsupportedGrant, invalidScope}, "401": {invalidClient},
	} {
		refused := op.Responses[status]
		if refused == nil {
			refused = &huma.Response{Description: "RFC 6749 §5.2", Content: map[string]*huma.MediaType{}}
			op.Responses[status] = refused
		}
		refused.Content["application/json"] = &huma.MediaType{Schema: &huma.Schema{
			Type: huma.TypeObject, AdditionalProperties: false, Required: []string{"error", "error_description"},
			Properties: map[string]*huma.Schema{
				"error":             {Type: huma.TypeString, Enum: names},
				"error_description": text("An explanation for people.", "What was wrong."),
			},
		}}
	}
}
