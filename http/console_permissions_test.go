package http_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// address returns an address of a page about things that do not exist.
func address(l apphttp.Line) string {
	nothing := strings.NewReplacer("{id}", uuid.NewString(), "{code}", "no_such_purpose", "{asset}", "style.css")
	return nothing.Replace(l.Path)
}

// Every page and every form is asked for by every party, about a thing that does not
// exist: whoever may not open it is told so before anything else, and nobody else is.
func TestEveryPageIsForWhomTheTableSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	browsers := map[string]*browser{"anonymous": w.browser()}
	for _, role := range domain.Roles() {
		browsers[string(role)] = w.staffOrCitizen(role, "KZN225").browserOf("KZN225")
	}
	browsers["platform admin"] = w.staff(domain.Admin, domain.PlatformCode).browserOf(domain.PlatformCode)

	for _, l := range apphttp.PageLines() {
		for party, b := range browsers {
			if l.ID == "sign_out" || (l.ID == "sign_in" && party != "anonymous") {
				continue // it would end what the others need
			}
			held := b.cookies["__Host-trust"]
			a := b.once(l.Method, address(l), url.Values{})
			if held != "" {
				b.cookies["__Host-trust"] = held
			}

			allowed := l.Reaches[party] != "nothing"
			toSignIn := strings.HasPrefix(a.header.Get("Location"), "/console/sign-in?next=") ||
				(a.status == 401 && strings.Contains(a.raw, `action="/console/sign-in"`))
			switch {
			case a.status >= 500:
				t.Errorf("%s %s as %s: %d %s", l.Method, l.Path, party, a.status, a.raw)
			case party == "anonymous" && !allowed && !toSignIn:
				t.Errorf("%s %s: a stranger is not asked to sign in: %d", l.Method, l.Path, a.status)
			case party != "anonymous" && !allowed && a.status != 403:
				t.Errorf("%s %s as %s: %d, want 403", l.Method, l.Path, party, a.status)
			case party != "anonymous" && allowed && (a.status == 403 || toSignIn):
				t.Errorf("%s %s as %s: %d %s", l.Method, l.Path, party, a.status, a.header.Get("Location"))
			}
		}
	}
	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

// staffOrCitizen makes an account of any role.
func (w *world) staffOrCitizen(role domain.Role, code string) *person {
	w.t.Helper()
	if role == domain.Citizen {
		return w.citizen(uuid.NewString() + "@example.org")
	}
	return w.another(role, code)
}

// Each section of the menu leads its visitor to a page, not to a refusal.
func TestTheMenuLeadsOnlyWhereItsVisitorMayGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, p := range []struct {
		who  *person
		code string
	}{
		{w.citizen("thandi@example.org"), "KZN225"},
		{w.another(domain.FieldWorker, "KZN225"), "KZN225"},
		{w.another(domain.Manager, "KZN225"), "KZN225"},
		{w.another(domain.Admin, "KZN225"), "KZN225"},
		{w.staff(domain.Admin, domain.PlatformCode), domain.PlatformCode},
	} {
		b := p.who.browserOf(p.code)
		b.get("/console/account").want(200)

		menu := b.page.raw[strings.Index(b.page.raw, "<nav class=\"govuk-service-navigation\""):]
		links := strings.Split(menu[:strings.Index(menu, "</nav>")], `href="`)[1:]
		if len(links) == 0 {
			t.Errorf("%s has no menu", p.who.email)
		}
		for _, link := range links {
			b.get(link[:strings.Index(link, `"`)]).want(200)
		}
	}
}
