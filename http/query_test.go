package http_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// queryParameters returns the documented query parameters of a route.
func (s spec) queryParameters(l apphttp.Line) (names []string) {
	list, _ := s.operation(l)["parameters"].([]any)
	for _, p := range list {
		if m := s.resolve(p.(map[string]any)); m["in"] == "query" {
			names = append(names, m["name"].(string))
		}
	}
	return names
}

// with returns a path with one more parameter in its query.
func with(path, name, value string) string {
	joint := "?"
	if strings.Contains(path, "?") {
		joint = "&"
	}
	return path + joint + name + "=" + value
}

func TestUnknownQueryParametersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := openapi(t, w)

	everywhere := map[string]bool{}
	for _, l := range apphttp.Lines() {
		for _, name := range doc.queryParameters(l) {
			everywhere[name] = true
		}
	}

	sent := 0
	for _, l := range apphttp.Lines() {
		if !strings.HasPrefix(l.Path, "/api/v1/") || l.Form { // a form's refusals are RFC 6749's
			continue
		}
		p := w.callerOf(l)
		path, body := w.sample(l)
		known := doc.queryParameters(l)

		strange := []string{"asof", "isactive", "emial", "x", "", "filter[role]", "%C3%A9", "limit%20", "%20limit"}
		for name := range everywhere {
			strange = append(strange, strings.ToUpper(name), strings.ToUpper(name[:1])+name[1:],
				strings.ReplaceAll(name, "_", "")+"s", name+"[]")
			if !slices.Contains(known, name) {
				strange = append(strange, name)
			}
		}
		for _, name := range strange {
			a := p.send(l.Method, with(path, name, "1"), body).wantProblem(422, "unknown_parameter")
			if len(a.faults()) != 1 {
				t.Errorf("%s: %q: %s", l.ID, name, a.raw)
			}
			sent++
		}
	}
	if sent < 1000 {
		t.Errorf("only %d requests were sent", sent)
	}
}

// callerOf returns a person who may use a route: nobody in particular if it needs no
// account, otherwise an administrator.
func (w *world) callerOf(l apphttp.Line) *person {
	if l.Account {
		return w.adminFor(l)
	}
	return &person{w: w}
}

// adminFor returns an administrator who may use a route: SALGA's or, if it is for
// municipalities alone, one of theirs.
func (w *world) adminFor(l apphttp.Line) *person {
	code := domain.PlatformCode
	if l.Reaches["platform admin"] == "nothing" {
		code = "KZN225"
	}
	if w.admins == nil {
		w.admins = map[string]*person{}
	}
	if w.admins[code] == nil {
		w.admins[code] = w.staff(domain.Admin, code)
	}
	return w.admins[code]
}

func TestARepeatedOrEmptyParameterIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := openapi(t, w)

	sent := 0
	for _, l := range apphttp.Lines() {
		p := w.callerOf(l)
		path, body := w.sample(l)
		path, _, _ = strings.Cut(path, "?")
		for _, name := range doc.queryParameters(l) {
			twice := p.send(l.Method, path+"?"+name+"=1&"+name+"=1", body).wantProblem(422, domain.CodeInvalid)
			if twice.faults()[name] != "repeated" {
				t.Errorf("%s: %s twice: %s", l.ID, name, twice.raw)
			}
			// An empty cursor means the start.
			if name == "after" {
				continue
			}

			for _, blank := range []string{
				"", "%20", "%09%0a", "%C2%A0", "%E3%85%A4", "%E2%80%8B%E2%80%8D", "%F3%A0%80%A0", "%E2%A0%80",
				"%C2%AD", "+",
			} {
				a := p.send(l.Method, path+"?"+name+"="+blank, body).wantProblem(422, domain.CodeInvalid)
				if a.faults()[name] != "empty" {
					t.Errorf("%s: %s=%s: %s", l.ID, name, blank, a.raw)
				}
				sent++
			}
			bare := p.send(l.Method, path+"?"+name, body).wantProblem(422, domain.CodeInvalid)
			if bare.faults()[name] != "empty" {
				t.Errorf("%s: %s: %s", l.ID, name, bare.raw)
			}
		}
	}
	if sent < 200 {
		t.Errorf("only %d requests were sent", sent)
	}
}

func TestPermissionIsCheckedBeforeTheQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	w.send("GET", "/api/v1/users?emial=x", "").wantProblem(401, "not_signed_in")
	p.send("GET", "/api/v1/users?emial=x", "").wantProblem(403, domain.CodeForbidden)

	// Probes may append anything.
	w.send("GET", "/health?x=1&x=2", "").want(200)
}

func TestTheNameOfAnUnknownParameterIsNotEchoedIfItMayBeASecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.send("GET", "/api/v1/municipalities?"+url.QueryEscape("Sesame 1!")+"=1", "").
		wantProblem(422, "unknown_parameter")
	if strings.Contains(a.raw, "Sesame") || a.faults()["query"] != "unknown_parameter" {
		t.Errorf("echoed: %s", a.raw)
	}
}
