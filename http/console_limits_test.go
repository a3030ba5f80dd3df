package http_test

import (
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// A page asks the API many questions, and is still one request of its visitor.
func TestAPageCountsOnceHoweverMuchItAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.RateLimit, c.Limits = true, apphttp.DefaultLimits() })
	w.define(domain.PlatformTenant(), "newsletter")
	w.citizen("thandi@example.org")
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	for _, page := range []string{
		"/console/overview", "/me", "/console/consents?purpose=newsletter", "/console/purposes/newsletter",
		"/console/people?email=thandi@example.org", "/console/requests",
	} {
		w.later(2 * time.Minute)
		opened := 0
		for opened <= 100 && b.once("GET", page, nil).status == 200 {
			opened++
		}
		if most := apphttp.DefaultLimits().Account.Count; opened != most {
			t.Errorf("%s can be opened %d times a minute, not %d", page, opened, most)
		}
	}
}

// What has a limit of its own keeps it on a page.
func TestPagesKeepTheLimitsOfWhatTheyAsk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.RateLimit, c.Limits = true, apphttp.DefaultLimits() })
	b := w.citizen("thandi@example.org").browserOf("KZN225")
	for range 3 {
		b.get("/me/data.html").want(200)
	}
	for range 2 {
		b.get("/me/data.json").want(200)
	}
	a := b.get("/me/data.json").want(429)
	if a.header.Get("Content-Disposition") != "" || a.header.Get("Retry-After") == "" {
		t.Errorf("the refusal of a file has %v", a.header)
	}
	b.get("/me").want(200)
	b.get("/me/data").want(200)

	w.later(2 * time.Minute)
	stranger := w.browser()
	stranger.get("/console/sign-in").want(200)
	for range apphttp.DefaultLimits().LoginAccount.Count {
		stranger.send("/console/sign-in", "email", "thandi@example.org", "password", "wrong password").want(401)
	}
	stranger.send("/console/sign-in", "email", "thandi@example.org", "password", password).want(429)
}
