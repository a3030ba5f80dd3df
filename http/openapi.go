package http

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/salga-trust/engine/domain"
)

const schemaPrefix = "#/components/schemas/"

func apiConfig(version string) huma.Config {
	format := jsonFormat()
	c := huma.DefaultConfig("SALGA Trust Engine", version)
	// These are served from our own table.
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	// The hooks would put $schema links in answers.
	c.CreateHooks = nil

	c.Formats = map[string]huma.Format{"application/json": format, "json": format}
	c.DefaultFormat = "application/json"
	c.Transformers = []huma.Transformer{translate}

	c.Info.Description = "Accounts, consent under POPIA (Act 4 of 2013) and an audit trail for South African " +
		"municipalities."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {
			Type: "http", Scheme: "bearer", BearerFormat: "JWT",
			Description: "The access token from login or refresh.",
		},
		"program": {
			Type: "oauth2", Description: "The access token of a program, from " + apiBase + "/auth/token.",
			Flows: &huma.OAuthFlows{ClientCredentials: &huma.OAuthFlow{
				TokenURL: apiBase + "/auth/token", Scopes: scopesInWords(),
			}},
		},
	}
	return c
}

func scopesInWords() map[string]string {
	return map[string]string{
		string(domain.ScopeCheck):  "Ask whether data may be processed.",
		string(domain.ScopeRecord): "Record and withdraw consents for people.",
		string(domain.ScopeRead):   "Read the consents of people.",
		string(domain.ScopeEvents): "Read the consent events of people.",
	}
}

// operation describes a route from its entry in the table; huma adds the handler's types.
func operation(r *route) *huma.Operation {
	status := r.status
	if status == 0 {
		status = http.StatusOK
	}
	op := &huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Summary: r.summary, DefaultStatus: status,
		Description: "For: " + string(r.who) + ".", Tags: []string{tag(r.path)}, Hidden: r.hidden,
		Parameters: headersOf(r), Responses: map[string]*huma.Response{},
		// The guard has read the body, within its limits.
		MaxBodyBytes: -1, BodyReadTimeout: -1,
	}
	if r.who.account() {
		op.Security = []map[string][]string{{"bearer": {}}}
	}
	if r.scope != "" {
		op.Description = strings.TrimSuffix(op.Description, ".") + "; programs with the scope " + string(r.scope) + "."
		op.Security = append(op.Security, map[string][]string{"program": {string(r.scope)}})
	}

	if r.raw != nil {
		op.Responses["200"] = &huma.Response{Description: r.summary}
	}
	if len(r.formats) > 0 {
		op.Responses["200"] = &huma.Response{Description: r.summary, Content: map[string]*huma.MediaType{}}
		for _, f := range r.formats {
			op.Responses["200"].Content[f.mediaType()] = &huma.MediaType{Schema: f.schema()}
		}
	}
	if r.media != "" {
		op.Responses["200"] = &huma.Response{Description: r.summary, Content: map[string]*huma.MediaType{
			r.media: {Schema: schemaOf(r.media)},
		}}
	}

	byStatus := map[int][]string{}
	for _, code := range refusals(r) {
		s := newProblem(domain.Refuse(code, ""), r.statuses).Status
		byStatus[s] = append(byStatus[s], string(code))
	}
	for s, codes := range byStatus {
		slices.Sort(codes)
		op.Responses[strconv.Itoa(s)] = &huma.Response{
			Description: http.StatusText(s) + ": " + strings.Join(slices.Compact(codes), ", "),
			Content: map[string]*huma.MediaType{
				problemType: {Schema: &huma.Schema{Ref: schemaPrefix + problemName}},
			},
		}
	}
	if r.form {
		describeToken(op)
	}
	return op
}

// schemaOf describes an answer that is handed on as a whole: a page, or a file with a
// form of its own.
func schemaOf(media string) *huma.Schema {
	if media != bundleMedia {
		return &huma.Schema{Type: huma.TypeString}
	}
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true,
		Description: "A decision bundle, to be kept as it is: trust proof check verifies it.",
		Examples:    []any{map[string]any{"type": "salga-trust/decision-bundle", "version": 1}},
	}
}

func tag(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/")
	if strings.HasPrefix(path, "/api/") {
		return name
	}
	return "operations"
}

// refusals lists the codes that a route may answer with.
func refusals(r *route) []domain.Code {
	codes := append([]domain.Code{codeMalformed, codeInternal}, r.codes...)

	if r.who == scraper || r.who.account() {
		codes = append(codes, domain.CodeForbidden)
	}
	if r.who.account() {
		codes = append(codes, codeNotSignedIn, domain.CodeInvalidToken, domain.CodeSessionEnded,
			domain.CodeAccountInactive, domain.CodeMunicipalityInactive, codeTenantMismatch)
		if !r.bare {
			codes = append(codes, domain.CodeTOTPSetupRequired)
		}
	}

	if r.rate != unlimited {
		codes = append(codes, codeRateLimited)
	}
	if r.readsLog() {
		codes = append(codes, codeAnotherLog, domain.CodeUnavailable, domain.CodeTimeout, domain.CodeNewerLog,
			domain.CodeLogDamaged)
	}
	if strings.HasPrefix(r.path, apiBase+"/") && !r.form {
		codes = append(codes, codeUnknownParameter)
	}
	if r.scope != "" {
		codes = append(codes, domain.CodeInsufficientScope)
	}

	if r.waits != "" {
		codes = append(codes, domain.CodeReadModelBehind, domain.CodeUnknownPosition, domain.CodeInvalid)
	}
	if r.command() {
		codes = append(codes, codeTooLarge, codeUnsupportedMedia, domain.CodeInvalid, domain.CodeIdempotencyKeyReused,
			domain.CodeBusy, domain.CodeOverloaded, domain.CodeOutcomeUnknown, domain.CodeClockDiffers)
	}
	if r.query {
		codes = append(codes, codeTooLarge, codeUnsupportedMedia, domain.CodeInvalid, domain.CodeOverloaded)
	}
	if r.versioned {
		codes = append(codes, domain.CodeStale)
	}
	return codes
}

// headersOf lists the headers that follow from a route's entry in the table.
func headersOf(r *route) []*huma.Param {
	var params []*huma.Param
	add := func(name, description string, schema huma.Schema) {
		params = append(params, &huma.Param{Name: name, In: "header", Description: description, Schema: &schema})
	}

	if r.who.account() {
		add(headerTenant, "Optional; must be the tenant of your token.",
			huma.Schema{Type: huma.TypeString, Format: "uuid"})
	}
	if r.waits != "" {
		least := 0.0
		add(headerMinPosition, "Wait for this position to be visible: at most 2 s, then 503 read_model_behind. "+
			"A position beyond the log's end: 422 unknown_position at once.",
			huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: &least})
	}
	if r.readsLog() {
		add(headerLog, "The log that your positions belong to. If the server has another log: 409 another_log, "+
			"and nothing is done.",
			huma.Schema{Type: huma.TypeString, Format: "uuid"})
	}
	if r.command() {
		most := domain.MaxIdempotencyKey
		add(headerKey, "A repeated request with the same key and body returns the first answer. Ignored by login, "+
			"refresh, logout and password.",
			huma.Schema{Type: huma.TypeString, MaxLength: &most})
	}
	if r.versioned {
		add(headerIfMatch, "ETag of the version that you are changing; if it is no longer current: 412.",
			huma.Schema{Type: huma.TypeString})
	}
	return params
}

const problemName = "Problem"

// describe writes the OpenAPI document. It registers the routes a second time, with
// nothing behind them, because huma checks requests by the schemas that it serves, and
// those of the document say more.
func (s *server) describe() ([]byte, error) {
	api := huma.NewAPI(apiConfig(s.config.Version), describer{})
	for _, listed := range routes() {
		r := s.routes[listed.id]
		op := operation(r)
		switch {
		case r.hidden:
		case r.raw != nil:
			api.OpenAPI().AddOperation(op)
		default:
			r.serve(s, api, r, *op)
		}
	}

	schemas := api.OpenAPI().Components.Schemas
	// These are huma's own: no answer has them.
	delete(schemas.Map(), "ErrorModel")
	delete(schemas.Map(), "ErrorDetail")

	schemas.Schema(reflect.TypeFor[problem](), true, problemName)
	schemas.Map()[problemName].Properties["code"].Enum = allCodes()
	finish(schemas)

	var faults []error
	for _, item := range api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				nameHeaders(op)
				faults = append(faults, exemplify(schemas, op, s.routes[op.OperationID]))
			}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return json.Marshal(api.OpenAPI())
}

// describer takes routes for the document alone.
type describer struct{}

// Handle implements huma.Adapter.
func (describer) Handle(op *huma.Operation, _ func(huma.Context)) {
	for _, p := range op.Parameters {
		p.AllowEmptyValue = p.Name == cursorParameter
		if p.In == "path" && p.Name == "id" && op.OperationID != byIDOrCode {
			// Served, another text is a 404, not a faulty parameter.
			said := *p.Schema
			said.Format = "uuid"
			p.Schema = &said
		}
	}
}

// ServeHTTP implements huma.Adapter.
func (describer) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// allCodes lists every code that an answer may have.
func allCodes() []any {
	known := slices.AppendSeq(slices.Collect(maps.Keys(edgeRefusals())), maps.Keys(domain.Refusals()))
	slices.Sort(known)

	codes := make([]any, len(known))
	for i, code := range known {
		codes[i] = code
	}
	return codes
}

// nameHeaders adds the headers that every answer has.
func nameHeaders(op *huma.Operation) {
	for _, status := range slices.Collect(maps.Keys(op.Responses)) {
		response := op.Responses[status]
		if response.Headers == nil {
			response.Headers = map[string]*huma.Header{}
		}

		response.Headers[headerRequestID] = &huma.Header{
			Description: "Correlation id of the request.", Schema: &huma.Schema{Type: huma.TypeString, Format: "uuid"},
		}

		if response.Headers[headerPosition] != nil {
			response.Headers[headerLog] = &huma.Header{
				Description: "The log that the position belongs to.",
				Schema:      &huma.Schema{Type: huma.TypeString, Format: "uuid"},
			}
		}
		if status == "401" {
			response.Headers["WWW-Authenticate"] = &huma.Header{
				Description: "Bearer (RFC 6750 §3).", Schema: &huma.Schema{Type: huma.TypeString},
			}
		}
		if status == "429" || status == "503" {
			response.Headers["Retry-After"] = &huma.Header{
				Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger},
			}
		}
	}
}

func (s *server) openapi() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document, err := s.document()
		if err != nil {
			s.problemOf(r.Context(), err, nil).write(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document)
	})
}
