package http_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// A form that one person opened is not sent as the wish of another, who has signed in at
// the same browser in another tab.
func TestAFormIsOnlySentByWhoOpenedIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	w.citizen("thandi@example.org")
	sipho := w.citizen("sipho@example.org")

	b := w.browser()
	b.get("/console/sign-in")
	b.send("/console/sign-in", "email", "thandi@example.org", "password", password)
	b.get("/me?lang=en").want(200)
	hers := b.form("/me/consents")
	hers.Set("consented", "yes")
	b.cookies = sipho.browserOf("KZN225").cookies

	before := w.changes()
	b.post("/me/consents", hers).want(409)
	b.says("Othile ungene kulesi siphequluli") // in isiZulu, which he prefers
	if n := w.changes() - before; n != 0 {
		t.Errorf("his browser sent her form: %d events", n)
	}
	b.get("/me").want(200)
	b.send("/me/consents", "consented", "yes").want(200)
	if n := w.changes() - before; n != 1 {
		t.Errorf("his own form made %d events", n)
	}
}

// One tab finds that the session has ended, which takes the cookie away; the other still
// has a form open.
func TestAFormIsKeptThoughAnotherTabLostTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, other := w.staff(domain.Admin, "KZN225"), w.another(domain.Admin, "KZN225")
	const form = "/console/purposes/new-purpose"
	late := func() *browser {
		b := p.browserOf("KZN225")
		b.get(form).want(200)
		filled := b.form(form)
		filled.Set("code", "library_card")
		filled.Set("notice.texts.en", somethingTyped)

		w.later(8 * 24 * time.Hour)
		b.get("/console/overview")
		if len(b.cookies) != 0 {
			t.Fatalf("the ended session is still kept: %v", b.cookies)
		}
		b.post(form, filled).want(401)
		return b
	}

	b := late()
	b.send("/console/sign-in", "email", p.email, "password", password).want(200)
	b.says("You are signed in again", somethingTyped, "library_card")
	b.hides("form_by:")
	b.send(form).want(422) // its other fields are empty, and it comes back filled in
	if again := b.form(form); again.Get("code") != "library_card" || again.Get("notice.texts.en") != somethingTyped {
		t.Errorf("the form lost what was filled in: %v", again)
	}

	b = late()
	b.send("/console/sign-in", "email", other.email, "password", password).want(200)
	b.hides(somethingTyped)
	b.says("It has been discarded")
}

// A form that came in the midst of too many requests can be sent again as it was, without
// its secrets.
func TestAFormThatCameAtABadTimeCanBeSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) {
		c.RateLimit, c.Limits = true, apphttp.DefaultLimits()
		c.Limits.Account.Count = 8
	})
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	const form = "/console/people/new"
	b.get(form).want(200)
	fields := b.form(form)
	fields.Set("full_name", somethingTyped)
	fields.Set("password", "a secret word")
	for b.get("/console/account").status == 200 {
		continue
	}

	b.post(form, fields).want(429)
	b.says("Too many requests")
	b.hides("a secret word")
	kept := b.form(form)
	if kept.Get("full_name") != somethingTyped || kept.Get("form_key") != fields.Get("form_key") {
		t.Errorf("the form was kept as %v", kept)
	}
	b.speak("zu").want(429)
	b.says("Izicelo ziningi kakhulu")
	again := b.form(form)
	if again.Get("full_name") != somethingTyped || again.Get("form_key") != fields.Get("form_key") {
		t.Errorf("in another language, the form was kept as %v", again)
	}
	b.get("/console/account").want(429)
	if strings.Contains(b.page.raw, `action="/console/account"`) {
		t.Error("a page that nobody sent can be sent again")
	}
	w.later(time.Hour)
	b.w.citizen("thandi@example.org")
	b.post(form, kept)
	if b.page.status == 429 {
		t.Error("the form was refused for ever")
	}
}

func TestAnAddressThatIsNoTextIsAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	for _, path := range []string{
		"/console/people?q=%zz", "/console/people?q=%ff", "/me?done=a;b", "/console/%00", "/me/%ff",
	} {
		a := b.once("GET", path, nil).want(400)
		if a.header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(a.raw, "Sign out") {
			t.Errorf("%s: %v", path, a.header)
		}
	}
	w.send("GET", "/api/v1/users?q=%zz", "").wantProblem(400, domain.Code("malformed"))
}

// A form's address may have no page of its own, but its answer leads to other languages.
func TestARefusedFormLeadsToOtherLanguages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	b := w.citizen("thandi@example.org").browserOf("KZN225")
	for action, at := range map[string]string{
		"/me/consents": "/me", "/me/requests": "/me/requests", "/console/account/verify-email": "/console/account",
		"/console/account/second-factor/remove": "/console/account/second-factor",
	} {
		a := b.post(action, url.Values{"code": {"1"}, "kind": {"none"}})
		if a.status < 400 {
			t.Errorf("%s: %d", action, a.status)
		}
		if b.speak("zu"); !strings.Contains(b.page.raw, `<html lang="zu"`) {
			t.Errorf("%s cannot be read in isiZulu", action)
		}
		b.get(at + "?lang=af").want(200)
	}
}

// A page asks many queries. If each waited for a table that stands still, it would come
// too late to say so.
func TestAPageWaitsOnceForATableThatStandsStill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	b := w.citizen("thandi@example.org").browserOf("KZN225")
	b.get("/me?lang=en").want(200)
	b.send("/me/consents", "consented", "yes").want(200)
	b.says("newsletter")

	w.queries.reached, w.queries.waited = 1, nil
	b.get("/me").want(200)
	b.says("This page may not show your newest change yet")
	if len(w.queries.waited) != 1 {
		t.Errorf("the page waited for %v", w.queries.waited)
	}
}

func TestAFaultOfOursIsAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.Queries = nilQueries{c.Queries} })
	a := w.browser().once("GET", "/console/register?lang=af", nil).want(500)
	if !strings.Contains(a.raw, "Iets het aan ons kant verkeerd gegaan") ||
		a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a fault is told by %v\n%s", a.header, a.raw)
	}
}

// Whoever has decided thousands of times still gets a page that an old phone can show.
func TestOnlyTheNewestOfManyDecisionsAreOnTheOwnPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	p := w.citizen("thandi@example.org")
	for range 30 {
		p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":false}`).want(201)
	}

	b := p.browserOf("KZN225")
	b.get("/me?lang=en").want(200)
	b.says("Earlier decisions (29)", "And 19 more, in everything held about you")
	if n := strings.Count(b.page.raw, "pill--refused"); n != 11 {
		t.Errorf("%d decisions are shown", n)
	}

	b.get("/me/data").want(200)
	b.says("Your details", "thandi@example.org")
	if n := strings.Count(b.page.raw, `class="pill`); n != 20 {
		t.Errorf("%d decisions are on the first page of one's data", n)
	}
	next := regexp.MustCompile(`href="(/me/data[?]after=[^"]+)" rel="next"`).FindStringSubmatch(b.page.raw)
	b.get(html.UnescapeString(next[1])).want(200)
	b.says("Back to the newest decisions", "An account on this platform")
	b.hides("Your details")
	if n := strings.Count(b.page.raw, `class="pill`); n != 11 {
		t.Errorf("%d decisions are on the last page", n)
	}

	for range 75 {
		p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":false}`).want(201)
	}
	b.get("/me").want(200)
	b.says("An account on this platform", "Earlier decisions", "All of them, in everything held about you")
	b.hides("And 95 more")
	const all = "/api/v1/consents?limit=100"
	next100 := url.QueryEscape(p.send("GET", all, "").want(200).text("next"))
	rest := p.send("GET", all+"&after="+next100, "").want(200).items()
	b.get("/me/consents/" + rest[len(rest)-2]["id"].(string) + "/withdraw").want(200)
	b.says("This is not in force")
}
