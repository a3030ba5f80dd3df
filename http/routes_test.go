package http_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// sample returns a well-formed request for a line of the route table, about things that
// do not exist. Its body is the document's example.
func (w *world) sample(l apphttp.Line) (path, body string) {
	w.t.Helper()

	path = strings.ReplaceAll(l.Path, "{id}", "01890a5d-ac96-774b-bcce-b302099a8057")
	path = strings.ReplaceAll(path, "{asset}", "start.js")
	path = strings.ReplaceAll(path, "{code}", "newsletter")
	path = strings.ReplaceAll(path, "{version}", "1")
	path = strings.ReplaceAll(path, "*", "0/000")

	switch l.ID {
	case "list_users":
		path += "?email=nobody@example.org"
	case "exposure":
		path += "?subject_id=01890a5d-ac96-774b-bcce-b302099a8057"
	case "check_consent":
		path += "?purpose=newsletter"
	case "count_consents":
		path += "?by=purpose"
	}

	if example := openapi(w.t, w).bodyOf(l)["example"]; example != nil {
		text, err := json.Marshal(example)
		must(w.t, err)
		body = string(text)
	}
	return path, body
}

func TestRouteTable(t *testing.T) {
	t.Parallel()
	if err := apphttp.FirstFault("", ""); err != nil {
		t.Errorf("the table is incomplete: %v", err)
	}

	for id, spoils := range map[string][]string{
		"get_me":   {"who", "unknown who", "rate", "handler", "waits", "id"},
		"register": {"who", "rate", "handler", "id"},
		"metrics":  {"who"},
	} {
		for _, spoil := range spoils {
			if apphttp.FirstFault(id, spoil) == nil {
				t.Errorf("%s with a fault in %s was not noticed", id, spoil)
			}
		}
	}

	if n := len(apphttp.Lines()); n < 24 {
		t.Errorf("only %d routes", n)
	}
}

func TestNobodyGetsInWithoutAnAccessToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")

	for _, l := range apphttp.Lines() {
		if !l.Account {
			continue
		}

		path, body := w.sample(l)
		for name, c := range map[string]struct {
			header string
			code   domain.Code
		}{
			"no token":        {"", "not_signed_in"},
			"another scheme":  {"Basic dGhhbmRpOng=", "not_signed_in"},
			"only the scheme": {"Bearer ", "not_signed_in"},
			"rubbish":         {"Bearer rubbish", domain.CodeInvalidToken},
			"a refresh token": {"Bearer " + p.rotating, domain.CodeInvalidToken},
		} {
			t.Run(l.ID+" with "+name, func(t *testing.T) {
				a := w.send(l.Method, path, body, "Authorization", c.header)
				a.t = t
				a.wantProblem(401, c.code)
				if a.header.Get("WWW-Authenticate") != "Bearer" {
					t.Error("no WWW-Authenticate")
				}
			})
		}
	}
}

func TestTheTokensRoleIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")

	register := func(token string) *answer {
		return w.send("POST", "/api/v1/municipalities",
			`{"name":"Ethekwini","code":"ETH","province":"KwaZulu-Natal"}`, "Authorization", "Bearer "+token)
	}

	claims := claimsOf(t, p.access)
	claims["role"] = "admin"
	claims["tenant_id"] = domain.PlatformTenant().String()
	// The secret signs it, but SALGA has no such account.
	register(forge(t, jwt.SigningMethodHS256, []byte(secret), claims)).wantProblem(401, domain.CodeSessionEnded)

	claims["tenant_id"] = p.tenant
	register(forge(t, jwt.SigningMethodHS256, []byte(secret), claims)).wantProblem(403, domain.CodeForbidden)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{
		"//", "/api", "/api/v1", "/api/v1/", "/api/v2/users/me", "/api/v1/nothing", "/docs/../health2",
		"/docs/embed.go", "/schemas/Problem.json", "/openapi.yaml",
	} {
		w.send("GET", path, "").wantProblem(404, domain.CodeNotFound)
	}

	for path, c := range map[string]struct {
		method string
		allow  []string
	}{
		"/api/v1/users/me":       {"DELETE", []string{"GET", "HEAD", "PATCH"}},
		"/api/v1/auth/login":     {"GET", []string{"POST"}},
		"/api/v1/municipalities": {"PUT", []string{"GET", "HEAD", "POST"}},
		"/api/v1/consents/check": {"PUT", []string{"GET", "HEAD", "POST"}},
		"/health":                {"POST", []string{"GET", "HEAD"}},
		"/":                      {"POST", []string{"GET", "HEAD"}},
		"/api/v1/consents":       {"OPTIONS", []string{"GET", "HEAD", "POST"}},
	} {
		a := w.send(c.method, path, "").wantProblem(405, "method_not_allowed")
		if got := strings.Join(a.header.Values("Allow"), " "); got != strings.Join(c.allow, " ") {
			t.Errorf("%s %s: Allow %q, want %q", c.method, path, got, c.allow)
		}
	}

	if a := w.send("HEAD", "/health", ""); a.status != 200 {
		t.Errorf("HEAD /health: %d", a.status)
	}
}

// No route takes these bodies, whatever it does.
func TestBodiesOfTheWrongShape(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, l := range apphttp.Lines() {
		p := w.adminFor(l)
		path, body := w.sample(l)
		if body == "" {
			continue
		}

		t.Run(l.ID, func(t *testing.T) {
			send := func(body string, headers ...string) *answer {
				a := p.send(l.Method, path, body, headers...)
				a.t = t
				return a
			}
			for _, malformed := range []string{
				"{", `{"email":`, "nonsense", body + "x", body + body, `{"a":"` + "\xff\xfe" + `"}`,
				`{"purpose":"a\u0000b"}`, "\ufeff" + body, body + "\ufeff", body + "\x00", " ",
				strings.Repeat("[", 17) + strings.Repeat("]", 17), strings.Repeat(`{"a":`, 500_000/5),
			} {
				send(malformed).wantProblem(400, "malformed")
			}

			for _, other := range []string{"[]", `"text"`, "12", "true", "null", "[" + body + "]"} {
				send(other).wantProblem(422, domain.CodeInvalid)
			}

			unknown := strings.Replace(body, "{", `{"is_admin":true,`, 1)
			if a := send(unknown).wantProblem(422, domain.CodeInvalid); a.faults()["is_admin"] != "unknown_field" {
				t.Errorf("the unknown field is not named: %s", a.raw)
			}
			upper := strings.Replace(body, `{"`, `{"X`, 1)
			send(upper).wantProblem(422, domain.CodeInvalid)

			send(`{"x":"`+strings.Repeat("a", 1<<20)+`"}`).wantProblem(413, "too_large")
			streamed := httptest.NewRequestWithContext(t.Context(), l.Method, path,
				io.MultiReader(strings.NewReader(body), strings.NewReader(strings.Repeat(" ", 1<<20))))
			streamed.Header.Set("Authorization", "Bearer "+p.access)
			w.do(streamed).wantProblem(413, "too_large")

			for _, contentType := range []string{
				"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
				"application/cbor", "rubbish", "application/json; charset=utf-16",
			} {
				send(body, "Content-Type", contentType).wantProblem(415, "unsupported_media_type")
			}
			for _, contentType := range []string{
				"application/json; charset=UTF-8", "Application/JSON", "application/merge-patch+json",
			} {
				if a := send(body, "Content-Type", contentType); a.status == 415 {
					t.Errorf("%s was refused", contentType)
				}
			}
		})
	}
}

func TestLetterCaseOfFieldNamesMatters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"Email", "EMAIL", "eMail"} {
		body := strings.Replace(registration("a@example.org"), `"email"`, fmt.Sprintf("%q", name), 1)
		w.send("POST", "/api/v1/auth/register", body).wantProblem(422, domain.CodeInvalid)
	}

	w.send("POST", "/api/v1/auth/login", `{"email":"a@example.org","pa`+"\u017f\u017f"+`word":"x","password":"y"}`).
		wantProblem(422, domain.CodeInvalid)
}

// TestEveryFieldOfTheWrongType goes through the document: each field of each body is sent
// with every other type.
func TestEveryFieldOfTheWrongType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := openapi(t, w)
	tried := 0
	for _, l := range apphttp.Lines() {
		p := w.adminFor(l)
		path, body := w.sample(l)
		if body == "" {
			continue
		}

		for _, f := range doc.bodyFields(l) {
			for kind, value := range map[string]any{
				"string": "MARK", "integer": 7.5, "boolean": true, "object": map[string]any{"x": "y"},
				"array": []any{"z"},
			} {
				if f.kind == kind {
					continue
				}
				tree := map[string]any{}
				must(t, json.Unmarshal([]byte(body), &tree))
				setField(tree, f.path, value)
				changed, _ := json.Marshal(tree)

				a := p.send(l.Method, path, string(changed)).wantProblem(422, domain.CodeInvalid)
				if _, named := a.faults()[strings.Join(f.path, ".")]; !named {
					t.Errorf("%s: %v as %s: the field is not named: %s", l.ID, f.path, kind, a.raw)
				}
				tried++
			}
		}
	}

	if tried < 100 {
		t.Errorf("only %d fields were tried", tried)
	}
}

func setField(tree map[string]any, path []string, value any) {
	for _, name := range path[:len(path)-1] {
		inner, ok := tree[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			tree[name] = inner
		}
		tree = inner
	}
	tree[path[len(path)-1]] = value
}

func TestOptionalFieldsMayBeNull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nulls := strings.NewReplacer(`"082 123 4567"`, "null", `"preferred_language":"zu"`, `"preferred_language":null`)
	body := nulls.Replace(registration("a@example.org"))

	a := w.send("POST", "/api/v1/auth/register", body).want(201)
	if a.json["phone"] != nil || a.text("preferred_language") != "en" {
		t.Errorf("null was not taken as absent: %s", a.raw)
	}
}
