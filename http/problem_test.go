package http_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

func is(err error, code domain.Code) bool { return errors.Is(err, domain.Refuse(code, "")) }

// codes reads the codes of package domain from its source, so that no new one is left
// out.
func codes(t *testing.T) []domain.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../domain/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}

	var found []domain.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, domain.Code(text))
		}
		return true
	})

	if len(found) < 35 {
		t.Fatalf("only %d codes found", len(found))
	}
	return found
}

// contract returns the status of each released code, on which clients rely. A new code
// may be missing until its release: its status is then the document's.
func contract() map[int]string {
	return map[int]string{
		400: "malformed",
		401: "not_signed_in invalid_credentials invalid_token session_ended password_wrong",
		403: "forbidden account_inactive municipality_inactive tenant_mismatch",
		404: "not_found unknown_municipality",
		405: "method_not_allowed",
		409: `email_taken code_taken name_taken purpose_taken already_granted in_force not_granted notice_changed
			last_admin subject_erased retention_hold staff_record_kept request_closed another_log
			decided_here claim_changed`, // the last two of an import, which has no route
		412: "stale",
		413: "too_large",
		415: "unsupported_media_type",
		422: `validation_failed consent_required unknown_purpose purpose_not_consent_based wording_mismatch
			evidence_required competent_person_required given_at_in_future idempotency_key_reused unknown_position`,
		429: "rate_limited",
		500: "internal",
		503: "overloaded unavailable timeout busy read_model_behind newer_log clock_differs",
	}
}

// contracted returns the status of every code, from the contract or else from the
// document.
func contracted(doc spec) map[domain.Code]int {
	want := map[domain.Code]int{}
	for status, names := range doc.statuses() {
		for _, name := range names {
			want[domain.Code(name)] = status
		}
	}

	for status, names := range contract() {
		for name := range strings.FieldsSeq(names) {
			want[domain.Code(name)] = status
		}
	}
	return want
}

// statuses returns the codes of each status of the document.
func (s spec) statuses() map[int][]string {
	found := map[int][]string{}
	for _, l := range apphttp.Lines() {
		responses, _ := s.operation(l)["responses"].(map[string]any)
		for text, response := range responses {
			status, _ := strconv.Atoi(text)
			_, listed, _ := strings.Cut(response.(map[string]any)["description"].(string), ": ")
			if status >= 400 {
				found[status] = append(found[status], strings.Split(listed, ", ")...)
			}
		}
	}
	return found
}

// TestEveryCodeThroughTheFullStack lets the log refuse with each code in turn.
func TestEveryCodeThroughTheFullStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	want := contracted(openapi(t, w))
	p := w.citizen("thandi@example.org")
	w.injecting = true

	for _, code := range append(codes(t), apphttp.EdgeCodes()...) {
		status, ok := want[code]
		if !ok {
			t.Errorf("%s: neither the contract nor a route of the document knows this code", code)
			continue
		}

		cause := errors.New("cause-that-stays-inside")
		w.store.fail(fmt.Errorf("wrapped: %w", domain.Refuse(code, "A sentence.").Because(cause)))
		a := p.send("GET", "/api/v1/users/me", "").wantProblem(status, code)
		if a.text("detail") != "A sentence." || strings.Contains(a.raw, "inside") {
			t.Errorf("%s: %s", code, a.raw)
		}
	}
}

func TestAnUnknownCodeIsOurFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	w.store.fail(domain.Refuse("a_code_without_status", "Whatever."))
	p.send("GET", "/api/v1/users/me", "").wantProblem(500, "internal")
}

func TestFailuresStayInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	w.store.fail(errors.New(`ERROR: relation "trust.secret_table" does not exist`))
	a := p.send("GET", "/api/v1/users/me", "").wantProblem(500, "internal")
	if strings.Contains(a.raw, "secret_table") || strings.Contains(a.raw, "ERROR") {
		t.Errorf("the cause shows: %s", a.raw)
	}

	id := a.header.Get("X-Request-ID")
	if log := w.log.String(); !strings.Contains(log, "secret_table") || !strings.Contains(log, id) {
		t.Errorf("the cause is not in the log under %s: %s", id, log)
	}
}

func TestPanicsStayInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.Queries = nilQueries{} })
	a := w.send("GET", "/api/v1/municipalities", "").wantProblem(500, "internal")
	if strings.Contains(a.raw, "goroutine") || strings.Contains(a.raw, "deliberate") {
		t.Errorf("the cause shows: %s", a.raw)
	}

	id := a.header.Get("X-Request-ID")
	if log := w.log.String(); !strings.Contains(log, "deliberate") || !strings.Contains(log, id) {
		t.Errorf("the panic is not in the log: %s", log)
	}
}

func TestTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	w.store.fail(domain.Refuse(domain.CodeUnavailable, "The database is not responding; try again shortly."))

	for _, l := range apphttp.Lines() {
		path, body := w.sample(l)
		switch l.ID {
		case "health", "ready", "metrics", "root", "docs", "docs_asset", "openapi":
			p.send(l.Method, path, body).want(200)
		case "get_municipality":
			// The fake queries answer before they fail.
		case "request_password_reset":
			// It looks nothing up, so that its answer tells nothing.
			p.send(l.Method, path, body).want(202)
		case "redeem_code":
			// Only what looks like a code is looked up.
			body = fmt.Sprintf(`{"code":"0123-4567-89AB-CDEF","password":%q}`, password)
			p.send(l.Method, path, body).wantProblem(503, domain.CodeUnavailable)
		case "token":
			(&client{w: w, id: p.id, secret: "x"}).fetch().wantProblem(503, domain.CodeUnavailable)
		case "refresh", "logout":
			w.send(l.Method, path, fmt.Sprintf(`{"refresh_token":%q}`, p.rotating)).
				wantProblem(503, domain.CodeUnavailable)
		default:
			p.send(l.Method, path, body).wantProblem(503, domain.CodeUnavailable)
		}
	}
}

// mark is a text, and markNumber a number, that no answer may repeat.
const (
	mark       = "MaRk-7f3e9-hunter2"
	markNumber = "918273645546372"
)

// TestNothingIsEchoed puts a secret into every wrong place, and looks for it in every
// refusal and in the log.
func TestNothingIsEchoed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := openapi(t, w)
	refusals := 0

	look := func(what string, a *answer) {
		t.Helper()
		if a.status < 400 {
			return
		}
		refusals++

		text := a.raw
		for name, values := range a.header {
			text += name + strings.Join(values, " ")
		}
		if strings.Contains(text, mark) || strings.Contains(text, markNumber) || strings.Contains(text, "hunter2") {
			t.Errorf("%s: echoed: %s", what, text)
		}
	}

	places := []string{
		`"` + mark + `"`, markNumber, `["` + mark + `"]`, `{"` + mark + `":"` + mark + `"}`,
		`{"password":"` + mark + `"}`, `"2026-` + mark + `"`, `"` + strings.Repeat(mark, 500) + `"`,
		markNumber + "." + markNumber, `"` + mark + `<b>"`,
	}

	for _, l := range apphttp.Lines() {
		p := w.adminFor(l)
		path, body := w.sample(l)
		if body != "" {
			for _, whole := range []string{
				mark, `"` + mark + `"`, `["` + mark + `"]`, `{"` + mark + `":1}`, `{"password":"` + mark,
				`{"password":"` + mark + `"}x` + mark, body[:len(body)-1] + `,"` + mark + `":"` + mark + `"}`,
				`{"a":"` + mark + "\xff" + `"}`,
			} {
				look(l.ID+" whole", p.send(l.Method, path, whole))
			}
			look(l.ID+" content type", p.send(l.Method, path, body, "Content-Type", mark))

			for _, f := range doc.bodyFields(l) {
				for _, place := range places {
					tree := map[string]any{}
					must(t, json.Unmarshal([]byte(body), &tree))
					setField(tree, f.path, json.RawMessage(place))
					changed, err := json.Marshal(tree)
					must(t, err)
					look(l.ID+" "+strings.Join(f.path, "."), p.send(l.Method, path, string(changed)))
				}
			}
		}

		for _, name := range []string{
			"limit", "after", "is_active", "province", "category", "municipality_code", "subject_id", "at", "known_at",
		} {
			look(l.ID+" ?"+name, p.send(l.Method, with(path, name, mark), body))
		}
		look(l.ID+" query", p.send(l.Method, path+"?"+mark+"=%zz"+mark, body))

		if strings.Contains(l.Path, "{") {
			named := strings.NewReplacer("{id}", mark, "{asset}", mark).Replace(l.Path)
			look(l.ID+" path", p.send(l.Method, named, body))
		}

		for _, header := range []string{
			"If-Match", "Min-Event-Position", "X-Tenant-ID", "Authorization", "X-Request-ID", "User-Agent", "Accept",
			"Origin",
		} {
			look(l.ID+" "+header, p.send(l.Method, path, body, header, mark))
		}

		look(l.ID+" Idempotency-Key", p.send(l.Method, path, body, "Idempotency-Key", strings.Repeat(mark, 10)))
		look(l.ID+" method", p.send("SEARCH", path, body))
	}

	look("path", w.send("GET", "/api/v1/"+mark, ""))
	look("NUL", w.send("GET", "/api/v1/municipalities/"+mark+"%00", ""))
	if refusals < 500 {
		t.Errorf("only %d refusals", refusals)
	}

	if log := w.log.String(); strings.Contains(log, mark) || strings.Contains(log, "hunter2") ||
		strings.Contains(log, password) || strings.Contains(log, "example.org") {
		t.Errorf("in the log: %s", lineWith(log, mark, "hunter2", password, "example.org"))
	}

	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %.2000s", failed)
	}
}

func lineWith(log string, parts ...string) string {
	for line := range strings.Lines(log) {
		for _, part := range parts {
			if strings.Contains(line, part) {
				return line
			}
		}
	}
	return ""
}

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.send("POST", "/api/v1/auth/register",
		`{"email":"no","password":"short","full_name":"x","phone":"1","preferred_language":"xx",
			"municipality_code":"KZN225"}`)
	faults := a.wantProblem(422, domain.CodeInvalid).faults()

	for _, field := range []string{"email", "password", "full_name", "phone", "preferred_language"} {
		if faults[field] == "" {
			t.Errorf("%s is not named: %v", field, faults)
		}
	}

	faults = w.send("POST", "/api/v1/auth/register", `{"consent":{}}`).wantProblem(422, domain.CodeInvalid).faults()
	for _, field := range []string{"email", "password", "full_name", "municipality_code"} {
		if faults[field] != "required" {
			t.Errorf("%s is %q, want required: %v", field, faults[field], faults)
		}
	}

	a = w.send("POST", "/api/v1/auth/register", `{"email":7,"full_name":true,"consent":{"consented":"yes","x":1}}`)
	faults = a.wantProblem(422, domain.CodeInvalid).faults()
	for field, code := range map[string]string{
		"email": "wrong_type", "full_name": "wrong_type", "consent.consented": "wrong_type",
		"consent.x": "unknown_field",
	} {
		if faults[field] != code {
			t.Errorf("%s is %q, want %q: %s", field, faults[field], code, a.raw)
		}
	}
}

func TestTextThatNoDatabaseCanHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	for _, path := range []string{
		"/api/v1/municipalities?q=%00", "/api/v1/municipalities?q=%ff%fe", "/api/v1/municipalities/%00",
		"/api/v1/municipalities/%ff", "/api/v1/purposes?municipality_code=a%00b", "/api/v1/municipalities?%00=1",
		"/api/v1/municipalities?q=%zz", "/api/v1/municipalities?a;b=1",
	} {
		p.send("GET", path, "").wantProblem(400, "malformed")
	}

	p.send("PATCH", "/api/v1/users/me", `{"full_name":"a\u0000b"}`).wantProblem(400, "malformed")
	p.send("PATCH", "/api/v1/users/me", "{\"full_name\":\"a\xffb\"}").wantProblem(400, "malformed")
	p.send("PATCH", "/api/v1/users/me", `{"full_name":"a\ud800b"}`).wantProblem(400, "malformed")
	p.send("PATCH", "/api/v1/users/me", `{"full_name":"a\u0007b"}`).wantProblem(422, domain.CodeInvalid)

	a := p.send("PATCH", "/api/v1/users/me", `{"full_name":"!Kheis Ṱhoho ǂKhoe"}`).want(200)
	if a.text("full_name") != "!Kheis Ṱhoho ǂKhoe" {
		t.Errorf("letters were lost: %s", a.raw)
	}
}

func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"a":1}`, registration("a@example.org"), `{"x":{"y":["\u0000"]}}`, "\xff", `{"":{"":{}}}`, "null", `1e400`,
	} {
		f.Add([]byte(seed))
	}

	f.Fuzz(func(t *testing.T, body []byte) {
		var tree any
		err := apphttp.StrictJSON(body, &tree)
		if err == nil && (!utf8.Valid(body) || !json.Valid(body)) {
			t.Errorf("%q was accepted", body)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("%q: %v", body, err)
		}
	})
}

func FuzzRegister(f *testing.F) {
	for _, seed := range []string{
		`{}`, registration("a@example.org"), `{"consent":{"consented":1}}`, `{"email":{"a":{"b":"c"}}}`,
	} {
		f.Add(seed, "application/json")
	}

	w := newWorld(f)
	f.Fuzz(func(t *testing.T, body, contentType string) {
		here := &world{t: t, api: w.api, log: w.log}
		a := here.send("POST", "/api/v1/auth/register", body, "Content-Type", contentType)

		if a.status >= 500 || (a.status >= 400 && a.header.Get("Content-Type") != "application/problem+json") {
			t.Errorf("%q: %d %s", body, a.status, a.raw)
		}
	})
}
