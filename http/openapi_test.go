package http_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

const adminRole = domain.Admin

// spec is the OpenAPI document.
type spec struct{ tree map[string]any }

func openapi(t testing.TB, w *world) spec {
	t.Helper()
	return spec{promiseOf(t, w).tree}
}

func (s spec) operation(l apphttp.Line) map[string]any {
	item, _ := s.tree["paths"].(map[string]any)[l.Path].(map[string]any)
	op, _ := item[strings.ToLower(l.Method)].(map[string]any)
	return op
}

// resolve follows a reference.
func (s spec) resolve(schema map[string]any) map[string]any {
	ref, ok := schema["$ref"].(string)
	if !ok {
		return schema
	}
	var at any = s.tree
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(map[string]any)[part]
	}
	return at.(map[string]any)
}

type bodyField struct {
	path []string
	kind string
}

// bodyOf returns the documented body of a route, nil if it takes none.
func (s spec) bodyOf(l apphttp.Line) map[string]any {
	body, _ := s.operation(l)["requestBody"].(map[string]any)
	content, _ := body["content"].(map[string]any)
	media, _ := content["application/json"].(map[string]any)
	return media
}

// bodyFields lists the fields of a route's body, nested ones too.
func (s spec) bodyFields(l apphttp.Line) []bodyField {
	return s.fields(nil, s.resolve(s.bodyOf(l)["schema"].(map[string]any)))
}

func (s spec) fields(at []string, schema map[string]any) []bodyField {
	var found []bodyField
	for name, property := range schema["properties"].(map[string]any) {
		p := s.resolve(property.(map[string]any))
		path := append(slices.Clone(at), name)
		kind, _ := p["type"].(string)
		if kinds, ok := p["type"].([]any); ok {
			kind = kinds[0].(string)
		}
		found = append(found, bodyField{path, kind})
		if kind == "object" {
			found = append(found, s.fields(path, p)...)
		}
	}
	return found
}

func TestTheDocumentIsCompleteAndTrue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := openapi(t, w)
	info := doc.tree["info"].(map[string]any)
	version, _ := doc.tree["openapi"].(string)
	if !strings.HasPrefix(version, "3.1") || info["title"] != "SALGA Trust Engine" || info["version"] != "0.1.0" {
		t.Errorf("openapi %v, info %v", doc.tree["openapi"], info)
	}

	documented, ids := 0, map[string]bool{}
	for _, l := range apphttp.Lines() {
		op := doc.operation(l)
		if l.Hidden {
			continue
		}
		documented++
		if op == nil {
			t.Errorf("%s %s is not in the document", l.Method, l.Path)
			continue
		}
		id, _ := op["operationId"].(string)
		if id != l.ID || ids[id] || op["summary"] == "" {
			t.Errorf("%s: operationId %q, summary %q", l.ID, id, op["summary"])
		}
		ids[id] = true
		checkOperation(t, doc, l, op)
	}

	listed := 0
	for _, item := range doc.tree["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if slices.Contains([]string{"get", "post", "put", "patch", "delete"}, method) {
				listed++
			}
		}
	}
	if listed != documented {
		t.Errorf("the document has %d operations, the table %d", listed, documented)
	}

	checkRefs(t, doc, doc.tree)

	text, _ := json.Marshal(doc.tree)
	for _, foreign := range []string{"ErrorModel", "ErrorDetail", "$schema"} {
		if strings.Contains(string(text), foreign) {
			t.Errorf("the document has %s, which no answer has", foreign)
		}
	}
}

// Wherever the document lists what may have become of a consent, in rows, filters and
// counts, the list is the same.
func TestEveryListOfStatusesIsWhole(t *testing.T) {
	t.Parallel()
	var want []any
	for _, status := range domain.Statuses() {
		want = append(want, string(status))
	}

	found := 0
	var walk func(node any)
	walk = func(node any) {
		switch n := node.(type) {
		case map[string]any:
			if values, _ := n["enum"].([]any); slices.Contains(values, any(string(domain.StatusLapsed))) {
				if found++; !slices.Equal(values, want) {
					t.Errorf("a list of statuses is %v, not %v", values, want)
				}
			}
			for _, child := range n {
				walk(child)
			}
		case []any:
			for _, child := range n {
				walk(child)
			}
		}
	}

	walk(openapi(t, newWorld(t)).tree)
	if found < 4 {
		t.Errorf("found %d lists: this test looks in the wrong place", found)
	}
}

func checkOperation(t *testing.T, doc spec, l apphttp.Line, op map[string]any) {
	t.Helper()
	responses := op["responses"].(map[string]any)
	says := func(status int, code string) {
		r, ok := responses[fmt.Sprint(status)].(map[string]any)
		if !ok || !strings.Contains(r["description"].(string), code) {
			t.Errorf("%s: %d %s is not documented", l.ID, status, code)
			return
		}
		content, _ := r["content"].(map[string]any)["application/problem+json"].(map[string]any)
		if content == nil || content["schema"].(map[string]any)["$ref"] != "#/components/schemas/Problem" {
			t.Errorf("%s: %d is not documented as a problem", l.ID, status)
		}
	}

	says(500, "internal")
	says(400, "malformed")
	if l.Account {
		says(401, "not_signed_in")
		says(403, "tenant_mismatch")
		if _, ok := op["security"]; !ok {
			t.Errorf("%s: no security", l.ID)
		}
	}

	if l.Limited {
		says(429, "rate_limited")
	}
	if l.ReadsLog {
		says(503, "unavailable")
		says(503, "timeout")
	}
	if l.Waits != "" {
		says(503, "read_model_behind")
	}
	if l.Command {
		says(422, "idempotency_key_reused")
		says(413, "too_large")
	}
	if l.Versioned {
		says(412, "stale")
	}

	success := 0
	for status, r := range responses {
		if status[0] == '2' {
			success++
			// 202: nothing has happened yet.
			if l.Command && status != "204" && status != "202" && !strings.Contains(l.Path, "/auth/log") &&
				!strings.Contains(l.Path, "/auth/refresh") {
				if _, ok := r.(map[string]any)["headers"].(map[string]any)["Event-Position"]; !ok {
					t.Errorf("%s: no Event-Position", l.ID)
				}
			}
		}
		if r.(map[string]any)["description"] == "" {
			t.Errorf("%s: %s has no description", l.ID, status)
		}
	}
	if success != 1 {
		t.Errorf("%s: %d successes", l.ID, success)
	}

	for _, name := range pathParameters(l.Path) {
		if !slices.ContainsFunc(op["parameters"].([]any), func(p any) bool {
			m := doc.resolve(p.(map[string]any))
			return m["in"] == "path" && m["name"] == name && m["required"] == true
		}) {
			t.Errorf("%s: path parameter %s is not documented", l.ID, name)
		}
	}
}

func pathParameters(path string) []string {
	var names []string
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(part, "{") {
			names = append(names, strings.Trim(part, "{}"))
		}
	}
	return names
}

// checkRefs follows every reference.
func checkRefs(t *testing.T, doc spec, at any) {
	t.Helper()
	switch v := at.(type) {
	case map[string]any:
		if _, ok := v["$ref"].(string); ok && doc.resolve(v) == nil {
			t.Errorf("a dangling reference: %v", v["$ref"])
		}
		for _, inner := range v {
			checkRefs(t, doc, inner)
		}
	case []any:
		for _, inner := range v {
			checkRefs(t, doc, inner)
		}
	}
}

// TestAnswersAreAsDocumented compares answers with their schemas: each field is there, no
// other is, and null only where it may be.
func TestAnswersAreAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := openapi(t, w)
	p := w.citizen("thandi@example.org")
	admin := w.staff(adminRole, "SALGA")

	for _, c := range []struct {
		by                     *person
		id, method, path, body string
		status                 int
	}{
		{p, "get_me", "GET", "/api/v1/users/me", "", 200},
		{p, "change_me", "PATCH", "/api/v1/users/me", `{"phone":null}`, 200},
		{p, "list_consents", "GET", "/api/v1/consents", "", 200},
		{p, "check_consent", "GET", "/api/v1/consents/check?purpose=platform_registration", "", 200},
		{
			p, "check_consent", "GET",
			"/api/v1/consents/check?purpose=platform_registration&known_at=0001-01-01T00:00:00Z", "", 200,
		},
		{p, "list_purposes", "GET", "/api/v1/purposes?municipality_code=kzn225", "", 200},
		{p, "list_municipalities", "GET", "/api/v1/municipalities?limit=1", "", 200},
		{p, "get_municipality", "GET", "/api/v1/municipalities/cpt", "", 200},
		{
			admin, "register_municipality", "POST", "/api/v1/municipalities",
			`{"name":"Ethekwini","code":"ETH","province":"KwaZulu-Natal","category":"A","population":4}`, 201,
		},
		{p, "login", "POST", "/api/v1/auth/login", `{"email":"thandi@example.org","password":"` + password + `"}`, 200},
		{p, "health", "GET", "/health", "", 200},
		{p, "ready", "GET", "/ready", "", 200},
	} {
		doc.answered(t, c.id, c.by.send(c.method, c.path, c.body).want(c.status))
	}

	problem := map[string]any{"$ref": "#/components/schemas/Problem"}
	doc.conforms(t, "problem", problem, w.send("GET", "/api/v1/users/me", "").json)
	doc.conforms(t, "problem with fields", problem, w.send("POST", "/api/v1/auth/register", "{}").want(422).json)
}

// answered compares an answer in JSON with the schema of its route and status.
func (s spec) answered(t *testing.T, id string, a *answer) {
	t.Helper()
	lines := apphttp.Lines()
	at := slices.IndexFunc(lines, func(l apphttp.Line) bool { return l.ID == id })
	responses := s.operation(lines[at])["responses"].(map[string]any)
	response, ok := responses[fmt.Sprint(a.status)].(map[string]any)
	if !ok {
		t.Errorf("%s: status %d is not documented", id, a.status)
		return
	}

	content, _ := response["content"].(map[string]any)
	media, _ := content["application/json"].(map[string]any)
	schema, documented := media["schema"].(map[string]any)
	switch {
	case documented:
		s.conforms(t, id, schema, a.json)
	case a.json != nil && a.header.Get("Content-Type") == "application/json":
		t.Errorf("%s: JSON that is not documented", id)
	}
}

func (s spec) conforms(t *testing.T, where string, schema map[string]any, value any) {
	t.Helper()
	if either, ok := schema["anyOf"].([]any); ok {
		if value == nil {
			return
		}
		schema = either[0].(map[string]any)
	}

	schema = s.resolve(schema)
	// Without a type, anything conforms.
	if schema["type"] == nil {
		return
	}
	kinds, ok := schema["type"].([]any)
	if !ok {
		kinds = []any{schema["type"]}
	}

	is := map[bool]any{true: "null"}[value == nil]
	switch v := value.(type) {
	case string:
		is = "string"
		checkFormat(t, where, schema["format"], v)
	case bool:
		is = "boolean"
	case float64:
		is = "integer"
	case []any:
		is = "array"
		for _, item := range v {
			s.conforms(t, where+"[]", schema["items"].(map[string]any), item)
		}
	case map[string]any:
		is = "object"
		properties, _ := schema["properties"].(map[string]any)
		if properties == nil {
			each, _ := schema["additionalProperties"].(map[string]any)
			for name, inner := range v {
				if each != nil {
					s.conforms(t, where+"."+name, each, inner)
				}
			}
			break
		}
		for name, inner := range v {
			p, ok := properties[name].(map[string]any)
			if !ok {
				t.Errorf("%s: %s is not documented", where, name)
				continue
			}
			s.conforms(t, where+"."+name, p, inner)
		}
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				t.Errorf("%s: %s is missing", where, name)
			}
		}
	}

	if !slices.Contains(kinds, is) {
		t.Errorf("%s: is %v, documented as %v", where, is, kinds)
	}
	if allowed, ok := schema["enum"].([]any); ok && value != nil && !slices.Contains(allowed, value) {
		t.Errorf("%s: %v is not one of %v", where, value, allowed)
	}
}

func checkFormat(t *testing.T, where string, format any, text string) {
	t.Helper()

	var err error
	switch format {
	case "uuid":
		_, err = uuid.Parse(text)
	case "date-time":
		_, err = time.Parse(time.RFC3339, text)
	}

	if err != nil {
		t.Errorf("%s: %q is not a %s", where, text, format)
	}
}

func TestTheDocumentationPageNeedsNoOtherHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.send("GET", "/docs", "").want(200)
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.raw, "swagger-ui") {
		t.Errorf("no page: %s", a.raw)
	}
	if strings.Contains(a.raw, "//") {
		t.Errorf("the page names another host: %s", a.raw)
	}
	if strings.Contains(a.raw, "<script>") || strings.Contains(a.raw, "onload") {
		t.Error("the page has an inline script, which its policy does not allow")
	}

	policy := a.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'self'") || strings.Contains(policy, "http") ||
		strings.Contains(policy, "script-src") {
		t.Errorf("policy %q", policy)
	}

	for part := range strings.SplitSeq(a.raw, `"`) {
		if !strings.HasPrefix(part, "docs/") {
			continue
		}

		asset := w.send("GET", "/"+part, "").want(200)
		packed := w.send("GET", "/"+part, "", "Accept-Encoding", "gzip, br").want(200)
		if asset.raw == "" || asset.header.Get("Content-Type") == "" {
			t.Errorf("%s is empty", part)
		}
		if packed.header.Get("Content-Encoding") == "gzip" && len(packed.raw) >= len(asset.raw) {
			t.Errorf("%s is not packed", part)
		}
		if got := http.DetectContentType([]byte(asset.raw)); strings.HasSuffix(part, ".png") != (got == "image/png") {
			t.Errorf("%s is %s", part, got)
		}
	}

	if strings.Contains(w.send("GET", "/docs/start.js", "").raw, "http") {
		t.Error("the start script names another host")
	}
}
