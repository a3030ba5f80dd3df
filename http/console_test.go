package http_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

func TestSomebodySignsInOnThePageAndOutAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.staff(domain.Manager, "KZN225")

	b := w.browser()
	b.get("/console").want(200)
	if b.path != "/console/sign-in" {
		t.Errorf("a stranger is sent to %s", b.path)
	}
	b.send("/console/sign-in", "email", p.email, "password", "a wrong guess").want(401)
	b.says("There is a problem")
	b.hides("a wrong guess")

	b.send("/console/sign-in", "email", p.email, "password", password)
	if b.path != "/console/overview" {
		t.Errorf("a manager is sent to %s", b.path)
	}
	held := b.cookies["__Host-trust"]
	if held == "" {
		t.Fatal("there is no session")
	}

	b.get("/console/sign-in")
	b.post("/console/sign-out", url.Values{}).want(200)
	if len(b.cookies) != 0 || b.path != "/console/sign-in?lang=en" {
		t.Errorf("after signing out: %v at %s", b.cookies, b.path)
	}
	b.cookies["__Host-trust"] = held // as another tab, or a thief, may still hold it
	b.get("/console/account")
	if !strings.HasPrefix(b.path, "/console/sign-in?") {
		t.Errorf("the ended session opens %s", b.path)
	}
}

func TestTheCookieOfASessionIsBoundToThisSiteAndHiddenFromScripts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.staff(domain.Manager, "KZN225")
	a := w.browser().once("POST", "/console/sign-in", url.Values{"email": {p.email}, "password": {password}}).want(303)
	cookie := a.header.Get("Set-Cookie")
	for _, part := range []string{"__Host-trust=", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Strict"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("the cookie lacks %q", part)
		}
	}
	for _, part := range []string{"Domain", "Max-Age", "Expires"} {
		if strings.Contains(cookie, part) {
			t.Errorf("the cookie outlives the browser, or is for other hosts: %s", part)
		}
	}
}

func TestAFormFromAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.staff(domain.Manager, "KZN225")
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
	} {
		form := url.Values{"email": {p.email}, "password": {password}}
		b := w.browser()
		b.follow("POST", "/console/sign-in", form, headers...).want(403)
		b.says("This is not for you")
		if len(b.cookies) != 0 {
			t.Errorf("%v signed somebody in", headers)
		}
	}
}

func TestEveryPageHasTheSamePolicyAndIsKeptByNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/console/sign-in", "/console/nothing-here", "/console/sign-in?nonsense=1"} {
		a := w.browser().once("GET", path, nil)
		policy := a.header.Get("Content-Security-Policy")
		if a.header.Get("Content-Type") != "text/html; charset=utf-8" ||
			!strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") ||
			a.header.Get("Referrer-Policy") != "no-referrer" ||
			a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
		for _, inline := range []string{" style=", "<script>", " onclick"} {
			if strings.Contains(a.raw, inline) {
				t.Errorf("%s needs an exception of the policy for %s", path, inline)
			}
		}
	}
}

func TestAPageIsInTheLanguageThatWasAskedForThenTheAccountsThenTheBrowsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.citizen("thandi@example.org") // prefers isiZulu

	b := w.browser()
	b.follow("GET", "/console/sign-in", nil, "Accept-Language", "af-ZA, en;q=0.5")
	b.says("Teken in")
	b.follow("GET", "/console/sign-in", nil, "Accept-Language", "xh, fr;q=0.5")
	b.says("Sign in")

	b.send("/console/sign-in", "email", "thandi@example.org", "password", password)
	b.says("Phuma")
	b.get("/console/account?lang=af")
	b.says("Teken uit")
	b.get("/console/account") // stays
	b.says("Teken uit")
	b.get("/console/account?lang=xx").want(200)

	b = w.browser()
	b.get("/console/sign-in?lang=af")
	b.send("/console/sign-in", "email", "thandi@example.org", "password", password)
	b.says("Teken uit")
}

func TestAQuestionThatAPageDoesNotKnowIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	b.get("/console/account?nxt=1").want(422)
	b.says("This question was not understood", "Sign out")
	w.browser().get("/console/sign-in?nxt=/me").want(422)
}

func TestASessionGoesOnWhenItsAccessTokenHasExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	before := b.cookies["__Host-trust"]
	w.later(31 * time.Minute)

	b.get("/console/account").want(200)
	if b.path != "/console/account" || b.cookies["__Host-trust"] == before {
		t.Errorf("the session was not renewed, at %s", b.path)
	}
	w.later(8 * 24 * time.Hour)
	b.get("/console/account")
	if !strings.HasPrefix(b.path, "/console/sign-in?") {
		t.Errorf("a session of eight days opens %s", b.path)
	}
	b.says("Your session has ended")
}

// somethingTyped is what a visitor wrote when their session had ended.
const somethingTyped = "Thandi Ṱhavhani of !Kheis"

func TestAFormThatArrivesAfterItsSessionHasEndedIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.staff(domain.Manager, "KZN225")
	other := w.another(domain.Manager, "KZN225")
	form := url.Values{"full_name": {somethingTyped}, "current_password": {"a secret word"}, "form_key": {"k"}}

	late := func() *browser {
		b := p.browserOf("KZN225")
		b.get("/console/account").want(200)
		p.send("POST", "/api/v1/auth/logout", "") // of no use without the refresh token
		w.later(8 * 24 * time.Hour)
		b.post("/console/account", form).want(401)
		b.says("what you filled in is kept")
		b.hides("a secret word")
		return b
	}

	b := late()
	b.send("/console/sign-in", "email", p.email, "password", "a wrong guess").want(401)
	b.send("/console/sign-in", "email", p.email, "password", password).want(200)
	b.says("You are signed in again", somethingTyped)
	if kept := b.form("/console/account"); kept.Get("full_name") != somethingTyped || kept.Get("form_key") != "k" {
		t.Errorf("the form was kept as %v", kept)
	}

	b = late()
	b.send("/console/sign-in", "email", other.email, "password", password).want(200)
	b.hides(somethingTyped)
	b.says("It has been discarded")
}

func TestNobodyIsSentToAnotherSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.staff(domain.Manager, "KZN225")
	for _, next := range []string{
		"https://evil.example/", "//evil.example/", "/\\evil.example", "/console/../../evil", "javascript:alert(1)",
		"/", "/api/v1/users", "/console/\r\nX: y", "\\evil.example", "http:/console/people",
	} {
		form := url.Values{"email": {p.email}, "password": {password}, "next": {next}}
		a := w.browser().once("POST", "/console/sign-in", form).want(303)
		if to := a.header.Get("Location"); to != "/console/overview" {
			t.Errorf("%q leads to %q", next, to)
		}
	}
}

func TestTooManyRequestsAreAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) {
		c.RateLimit, c.Limits = true, apphttp.DefaultLimits()
		c.Limits.Account.Count = 5
	})
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	pages := 0
	for b.get("/console/account").status == 200 {
		pages++
	}
	b.page.want(429)
	b.says("Too many requests", "Wait a little")
	if b.page.header.Get("Retry-After") == "" || pages < 3 || pages > 5 {
		t.Errorf("after %d pages, Retry-After %q", pages, b.page.header.Get("Retry-After"))
	}
}
