package http_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

func TestARepeatedNameInABodyIsRefusedAtAnyDepth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, l := range apphttp.Lines() {
		w.adminFor(l)
	}
	before := len(w.store.events())

	tried := 0
	for _, l := range apphttp.Lines() {
		p := w.adminFor(l)
		path, body := w.sample(l)
		// Before each name goes the same name once more.
		for at, letter := range body {
			if letter != '"' || (body[at-1] != '{' && body[at-1] != ',') {
				continue
			}
			name, _, isName := strings.Cut(body[at+1:], `":`)
			if !isName || strings.Contains(name, `"`) {
				continue
			}

			for _, value := range []string{"null", `""`, "true", "{}", "[1]"} {
				twice := fmt.Sprintf(`%s"%s":%s,%s`, body[:at], name, value, body[at:])
				p.send(l.Method, path, twice).wantProblem(400, "malformed")
				escaped := fmt.Sprintf(`%s"\u%04x%s":%s,%s`, body[:at], name[0], name[1:], value, body[at:])
				p.send(l.Method, path, escaped).wantProblem(400, "malformed")
				tried++
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d names were tried", tried)
	}
	if now := len(w.store.events()); now != before {
		t.Errorf("%d events were recorded", now-before)
	}
}

func TestABodyHasOnlyOneReading(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")

	body := func(consent string) string {
		complete := registration("b@example.org")
		return complete[:strings.Index(complete, `"consent"`)] + consent + "}"
	}

	for _, consent := range []string{
		`"consent":{"purpose":"platform_registration","language":"zu","consented":true,"x":1},"consent":{}`,
		`"consent":{"purpose":"platform_registration","language":"zu","consented":false,"consented":true}`,
		`"x":[{"a":1,"a":2}],"consent":{"purpose":"platform_registration","language":"zu","consented":true}`,
	} {
		w.send("POST", "/api/v1/auth/register", body(consent)).wantProblem(400, "malformed")
	}

	folded := `"consent":{"purpose":"platform_registration","language":"zu","consented":false,"Consented":true}`
	a := w.send("POST", "/api/v1/auth/register", body(folded)).wantProblem(422, domain.CodeInvalid)
	if len(a.faults()) != 1 {
		t.Errorf("a name in another letter case was merged: %s", a.raw)
	}

	p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":false,"consented":true}`).
		wantProblem(400, "malformed")
}

func TestHalfACharacterIsRefusedInEveryText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	tried := 0
	for _, l := range apphttp.Lines() {
		p := w.adminFor(l)
		path, body := w.sample(l)
		for _, half := range []string{
			`\ud800`, `\udc00`, `\udc00\ud800`, `\ud83d\u0041`, `\uD800x`, `\u0000`, "\xed\xa0\x80", "\xc0\x80",
			"\xff",
		} {
			for i := range strings.Count(body, `":"`) {
				parts := strings.SplitAfterN(body, `":"`, i+2)
				spoilt := strings.Join(parts[:i+1], "") + half + parts[i+1]
				p.send(l.Method, path, spoilt).wantProblem(400, "malformed")
				tried++
			}

			if body != "" {
				p.send(l.Method, path, `{"`+half+`":1,`+body[1:]).wantProblem(400, "malformed")
			}
		}
	}
	if tried < 200 {
		t.Errorf("only %d texts were tried", tried)
	}

	smile := `{"full_name":"Thandi \ud83d\ude00"}`
	a := w.citizen("thandi@example.org").send("PATCH", "/api/v1/users/me", smile).want(200)
	if a.text("full_name") != "Thandi 😀" {
		t.Errorf("a complete character was changed: %s", a.raw)
	}
}

func TestARouteWithoutABodyRefusesOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	tried := 0
	for _, l := range apphttp.Lines() {
		p := w.adminFor(l)
		path, body := w.sample(l)
		if !l.Command || body != "" {
			continue
		}
		for _, nothing := range []string{"", "{}", " { }\n"} {
			if a := p.send(l.Method, path, nothing); a.status == 422 || a.status == 400 {
				t.Errorf("%s with %q: %s", l.ID, nothing, a.raw)
			}
		}

		a := p.send(l.Method, path, `{"at":"2030-01-01T00:00:00Z"}`).wantProblem(422, domain.CodeInvalid)
		if a.faults()["body"] != "unknown_field" {
			t.Errorf("%s: %s", l.ID, a.raw)
		}

		for _, other := range []string{"[]", "null", `"x"`, "1"} {
			p.send(l.Method, path, other).wantProblem(422, domain.CodeInvalid)
		}
		p.send(l.Method, path, `{"a":1,"a":1}`).wantProblem(400, "malformed")
		p.send(l.Method, path, `x`).wantProblem(400, "malformed")
		tried++
	}
	if tried < 5 {
		t.Errorf("only %d routes take no body", tried)
	}
}
