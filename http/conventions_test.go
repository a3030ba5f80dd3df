package http_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

func TestTheTenantHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")

	p.send("GET", "/api/v1/users/me", "", "X-Tenant-ID", p.tenant).want(200)
	p.send("GET", "/api/v1/users/me", "", "X-Tenant-ID", strings.ToUpper(p.tenant)).want(200)
	p.send("GET", "/api/v1/users/me", "", "X-Tenant-ID", w.tenants["CPT"].String()).wantProblem(403, "tenant_mismatch")
	p.send("GET", "/api/v1/users/me", "", "X-Tenant-ID", "KZN225").wantProblem(400, "malformed")
	w.send("GET", "/api/v1/users/me", "", "X-Tenant-ID", "KZN225").wantProblem(401, "not_signed_in")
	w.send("GET", "/api/v1/municipalities", "", "X-Tenant-ID", "whatever").want(200)
}

func TestMinEventPosition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.staff(domain.Admin, "SALGA")
	w.queries.reached = 1_000

	for _, l := range apphttp.Lines() {
		path, body := w.sample(l)
		if l.Waits == "" {
			a := p.send(l.Method, path, body, "Min-Event-Position", "rubbish")
			if a.faults()["Min-Event-Position"] != "" {
				t.Errorf("%s reads Min-Event-Position: %s", l.ID, a.raw)
			}
			continue
		}

		for _, malformed := range []string{"rubbish", "-1", "1.5", "9999999999999999999x", "0x10", "1 2"} {
			a := p.send(l.Method, path, body, "Min-Event-Position", malformed).wantProblem(422, domain.CodeInvalid)
			if a.faults()["Min-Event-Position"] != "invalid" {
				t.Errorf("%s: the header is not named: %s", l.ID, a.raw)
			}
		}
		if a := p.send(l.Method, path, body, "Min-Event-Position", "1"); a.status >= 500 {
			t.Errorf("%s: %s", l.ID, a.raw)
		}
		for _, beyond := range []string{"9223372036854775808", "99999999999999999999", "0009223372036854775808"} {
			p.send(l.Method, path, body, "Min-Event-Position", beyond).wantProblem(422, domain.CodeUnknownPosition)
		}

		ahead := p.send(l.Method, path, body, "Min-Event-Position", "1000000")
		if l.Waits == "log" {
			ahead.wantProblem(422, domain.CodeUnknownPosition)
		} else {
			ahead.wantProblem(503, domain.CodeReadModelBehind)
		}
	}

	for _, projection := range []string{"consents", "municipalities"} {
		if !slices.Contains(w.queries.waited, projection) {
			t.Errorf("no request waited for %s", projection)
		}
	}
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"": 0, "*": 0, `"1"`: 1, `"12"`: 12, `W/"3"`: 3, ` "4" `: 4,
		`"0"`: -1, `"-1"`: -1, `"01"`: -1, `"+1"`: -1, `"abc"`: -1, `""`: -1, `"99999999999999999999"`: -1,
	} {
		if got, err := apphttp.IfMatch(text); err != nil || got != want {
			t.Errorf("%q: %d %v, want %d", text, got, err, want)
		}
	}

	for _, text := range []string{"1", `"1`, `1"`, `"1", "2"`, `w/"1"`, `"a"b"`, "rubbish", `"a b"`, `**`} {
		if _, err := apphttp.IfMatch(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}

	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	first := p.send("GET", "/api/v1/users/me", "").want(200).header.Get("ETag")
	if first != `"1"` {
		t.Errorf("ETag %q", first)
	}

	changed := p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi One"}`, "If-Match", first).want(200)
	if changed.header.Get("ETag") != `"2"` {
		t.Errorf("ETag %q after a change", changed.header.Get("ETag"))
	}

	p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi Two"}`, "If-Match", first).
		wantProblem(412, domain.CodeStale)
	p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi Two"}`, "If-Match", `"0"`).
		wantProblem(412, domain.CodeStale)
	p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi Two"}`, "If-Match", "2").wantProblem(400, "malformed")
	p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi Two"}`, "If-Match", "*").want(200)
	p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi Three"}`, "If-Match", `W/"3"`).want(200)

	if a := p.send("GET", "/api/v1/users/me", "").want(200); a.text("full_name") != "Thandi Three" ||
		a.header.Get("ETag") != `"4"` {
		t.Errorf("%s %v", a.raw, a.header)
	}

	admin := w.staff(domain.Admin, "SALGA")
	path := "/api/v1/municipalities/" + w.tenants["CPT"].String()
	if a := w.send("GET", path, "").want(200); a.header.Get("ETag") != `"1"` {
		t.Errorf("ETag %q", a.header.Get("ETag"))
	}

	for _, change := range []struct{ method, path, body string }{
		{"PATCH", path, `{"population":5}`}, {"POST", path + "/deactivate", ""}, {"POST", path + "/reactivate", ""},
	} {
		admin.send(change.method, change.path, change.body, "If-Match", `"9"`).wantProblem(412, domain.CodeStale)
	}
	admin.send("PATCH", path, `{"population":5}`, "If-Match", `"1"`).want(200)
}

func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	consent := p.send("GET", "/api/v1/consents", "").want(200).items()[0]["id"].(string)

	first := w.send("POST", "/api/v1/auth/register", registration("b@example.org"), "Idempotency-Key", "k1").want(201)
	head := len(w.store.events())
	again := w.send("POST", "/api/v1/auth/register", registration("b@example.org"), "Idempotency-Key", "k1").want(201)
	if again.header.Get("Event-Position") != first.header.Get("Event-Position") || again.raw != first.raw ||
		len(w.store.events()) != head {
		t.Errorf("a repeat is not the first answer: %s %s", first.raw, again.raw)
	}

	other := strings.Replace(registration("b@example.org"), "Thandi", "Somebody", 1)
	w.send("POST", "/api/v1/auth/register", other, "Idempotency-Key", "k1").
		wantProblem(422, domain.CodeIdempotencyKeyReused)
	w.send("POST", "/api/v1/auth/register", registration("b@example.org"), "Idempotency-Key", "k2").
		wantProblem(409, domain.CodeEmailTaken)

	a := w.send("POST", "/api/v1/auth/register", registration("c@example.org"),
		"Idempotency-Key", strings.Repeat("é", 129)).wantProblem(422, domain.CodeInvalid)
	if a.faults()["Idempotency-Key"] != "too_long" {
		t.Errorf("the key is not named: %s", a.raw)
	}
	w.send("POST", "/api/v1/auth/register", registration("c@example.org"), "Idempotency-Key", strings.Repeat("é", 128)).
		want(201)

	name := p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi One"}`, "Idempotency-Key", "k1").want(200)
	p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi Two"}`).want(200)
	repeated := p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi One"}`, "Idempotency-Key", "k1").want(200)
	if repeated.raw != name.raw || repeated.header.Get("ETag") != name.header.Get("ETag") ||
		repeated.header.Get("Event-Position") != name.header.Get("Event-Position") {
		t.Errorf("a repeat is not the first answer: %s %s", name.raw, repeated.raw)
	}

	// Sign-in and a change of password ignore the key.
	body := `{"email":"thandi@example.org","password":"` + password + `"}`
	one := w.send("POST", "/api/v1/auth/login", body, "Idempotency-Key", "k").want(200)
	two := w.send("POST", "/api/v1/auth/login", body, "Idempotency-Key", "k").want(200)
	if one.text("access_token") == two.text("access_token") {
		t.Error("login remembers keys")
	}

	change := `{"current_password":"` + password + `","new_password":"` + password + `"}`
	set := p.send("PUT", "/api/v1/users/me/password", change, "Idempotency-Key", "k").want(204)
	reset := p.send("PUT", "/api/v1/users/me/password", change, "Idempotency-Key", "k").want(204)
	if set.header.Get("Event-Position") == reset.header.Get("Event-Position") {
		t.Error("password remembers keys")
	}

	gone := p.send("POST", "/api/v1/consents/"+consent+"/withdraw", "", "Idempotency-Key", "w").want(200)
	if gone.json["withdrawn"] != true || gone.text("withdrawn_at") == "" {
		t.Errorf("not withdrawn: %s", gone.raw)
	}
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "X-XSS-Protection": "0",
		"Referrer-Policy":    "strict-origin-when-cross-origin",
		"Permissions-Policy": "camera=(), microphone=(), geolocation=()",
	}

	w := newWorld(t)
	requests := []string{
		"/health", "/", "/docs", "/openapi.json", "/api/v1/users/me", "/nothing",
		"/api/v1/municipalities?limit=0", "/%00",
	}

	for _, path := range requests {
		a := w.send("GET", path, "")
		for name, value := range want {
			if a.header.Get(name) != value {
				t.Errorf("%s: %s %q", path, name, a.header.Get(name))
			}
		}
		if !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s: policy %q", path, a.header.Get("Content-Security-Policy"))
		}
		if a.header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: HSTS outside production", path)
		}
		if strings.HasPrefix(path, "/api/") && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be cached", path)
		}
	}

	w = newWorld(t, func(c *apphttp.Config) { c.Environment = "production" })
	a := w.send("GET", "/health", "")
	if got := a.header.Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains" {
		t.Errorf("HSTS %q", got)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	preflight := func(origin, method, headers string) *answer {
		return w.send("OPTIONS", "/api/v1/consents", "", "Origin", origin,
			"Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
	}

	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		a := preflight("http://localhost:3000", method,
			"authorization,content-type,x-tenant-id,idempotency-key,if-match,min-event-position,event-log")
		if a.status >= 300 || a.header.Get("Access-Control-Allow-Origin") != "http://localhost:3000" ||
			a.header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("%s: %d %v", method, a.status, a.header)
		}
	}

	for _, origin := range []string{
		"http://evil.example", "null", "http://localhost:3000.evil.example", "https://localhost:3000",
		"http://localhost:30000",
	} {
		for _, a := range []*answer{
			preflight(origin, "GET", ""), w.send("GET", "/api/v1/municipalities", "", "Origin", origin),
		} {
			if a.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s is allowed: %v", origin, a.header)
			}
		}
	}

	a := w.send("GET", "/api/v1/municipalities", "", "Origin", "http://localhost:3000")
	exposed := strings.ToLower(a.header.Get("Access-Control-Expose-Headers"))
	for _, name := range []string{"etag", "event-position", "event-log", "x-request-id", "retry-after"} {
		if !strings.Contains(exposed, name) {
			t.Errorf("%s is not exposed: %q", name, exposed)
		}
	}
	if !slices.Contains(a.header.Values("Vary"), "Origin") {
		t.Error("no Vary: Origin")
	}

	none := newWorld(t, func(c *apphttp.Config) { c.AllowedOrigins = nil })
	a = none.send("GET", "/api/v1/municipalities", "", "Origin", "http://localhost:3000")
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("no allowed origins are taken for all origins")
	}
}

func TestHalfSetConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	complete := func() apphttp.Config {
		return apphttp.Config{
			Commands: w.handler, Queries: w.queries, Reports: w.reports,
			Ready:  func(contextOf) apphttp.ReadyState { return apphttp.ReadyState{} },
			System: noSystem, Tree: fakeTree{}, Webhooks: &fakeDeliveries{}, Propagation: (&world{}).propagation,
			Logger: discard(), Metrics: prometheus.NewRegistry(), Version: "0.1.0", Tokens: tokens(),
		}
	}

	if _, err := apphttp.New(complete()); err != nil {
		t.Fatalf("a complete configuration is refused: %v", err)
	}

	for name, spoil := range map[string]func(*apphttp.Config){
		"no commands":    func(c *apphttp.Config) { c.Commands = nil },
		"no queries":     func(c *apphttp.Config) { c.Queries = nil },
		"no reports":     func(c *apphttp.Config) { c.Reports = nil },
		"no readiness":   func(c *apphttp.Config) { c.Ready = nil },
		"no system":      func(c *apphttp.Config) { c.System = nil },
		"no logger":      func(c *apphttp.Config) { c.Logger = nil },
		"no metrics":     func(c *apphttp.Config) { c.Metrics = nil },
		"no version":     func(c *apphttp.Config) { c.Version = "" },
		"no secret":      func(c *apphttp.Config) { c.Tokens.Secret = nil },
		"a short secret": func(c *apphttp.Config) { c.Tokens.Secret = []byte(strings.Repeat("x", 31)) },
		"no issuer":      func(c *apphttp.Config) { c.Tokens.Issuer = "" },
		"no audience":    func(c *apphttp.Config) { c.Tokens.Audience = "" },
		"no lifetime":    func(c *apphttp.Config) { c.Tokens.Access = 0 },
		"a limit forgotten": func(c *apphttp.Config) {
			c.RateLimit, c.Limits = true, apphttp.Limits{Account: apphttp.Limit{Count: 1, Per: 1}}
		},
		"all origins":           func(c *apphttp.Config) { c.AllowedOrigins = []string{"*"} },
		"a pattern":             func(c *apphttp.Config) { c.AllowedOrigins = []string{"https://*.example.org"} },
		"an origin and a path":  func(c *apphttp.Config) { c.AllowedOrigins = []string{"https://example.org/x"} },
		"not an origin":         func(c *apphttp.Config) { c.AllowedOrigins = []string{"example.org"} },
		"an empty origin":       func(c *apphttp.Config) { c.AllowedOrigins = []string{""} },
		"an origin and a slash": func(c *apphttp.Config) { c.AllowedOrigins = []string{"https://example.org/"} },
	} {
		c := complete()
		spoil(&c)
		if _, err := apphttp.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	mine := uuid.NewString()

	a := p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi One"}`, "X-Request-ID", mine).want(200)
	if a.header.Get("X-Request-ID") != mine {
		t.Errorf("not the client's: %q", a.header.Get("X-Request-ID"))
	}

	events := w.store.events()
	if got := events[len(events)-1].Metadata.Correlation.String(); got != mine {
		t.Errorf("the event's correlation is %s", got)
	}

	for _, text := range []string{
		"", "rubbish", uuid.Nil.String(), strings.ReplaceAll(mine, "-", ""), mine + "\r\nX: y",
	} {
		a := w.send("GET", "/health", "", "X-Request-ID", text)
		if _, err := uuid.Parse(a.header.Get("X-Request-ID")); err != nil || a.header.Get("X-Request-ID") == text {
			t.Errorf("%q became %q", text, a.header.Get("X-Request-ID"))
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	proxy := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, c := range map[string]struct {
		trusted               []netip.Prefix
		peer, forwarded, want string
	}{
		"no proxy is believed unless trusted": {nil, "10.0.0.1:5", "198.51.100.7", "10.0.0.1"},
		"a trusted proxy is believed":         {proxy, "10.0.0.1:5", "198.51.100.7", "198.51.100.7"},
		"the hops before the proxies are not": {proxy, "10.0.0.1:5", "1.2.3.4, 198.51.100.7, 10.0.0.2", "198.51.100.7"},
		"a stranger is not believed":          {proxy, "203.0.113.9:5", "198.51.100.7", "203.0.113.9"},
		"rubbish is nobody's address":         {proxy, "10.0.0.1:5", "rubbish", ""},
		"IPv4 in IPv6 is IPv4":                {nil, "[::ffff:198.51.100.7]:5", "", "198.51.100.7"},
		"IPv6":                                {nil, "[2001:db8::1]:5", "", "2001:db8::1"},
		"a peer without an address":           {nil, "pipe", "", ""},
	} {
		w := newWorld(t, func(config *apphttp.Config) { config.TrustedProxies = c.trusted })
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/auth/register",
			strings.NewReader(registration("a@example.org")))
		r.RemoteAddr = c.peer
		r.Header.Set("X-Forwarded-For", c.forwarded)
		r.Header.Set("User-Agent", "a\x01b\xffc"+strings.Repeat("ö", 300))
		w.do(r).want(201)

		events := w.store.events()
		got, _ := events[len(events)-1].Origin.Get()
		if got.IP != c.want {
			t.Errorf("%s: %q, want %q", name, got.IP, c.want)
		}
		if agent := []rune(got.UserAgent); len(agent) != 200 || !strings.HasPrefix(got.UserAgent, "abcö") {
			t.Errorf("user agent %q", got.UserAgent)
		}
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	take := apphttp.NewLimiter(3, time.Minute, func() time.Time { return now })

	for i := range 3 {
		if _, ok := take("a"); !ok {
			t.Fatalf("number %d is refused", i+1)
		}
		now = now.Add(10 * time.Second)
	}

	for range 5 {
		if wait, ok := take("a"); ok || wait != 30*time.Second {
			t.Fatalf("the fourth: %v %v, want a wait of 30 s", wait, ok)
		}
	}
	if _, ok := take("b"); !ok {
		t.Error("another is refused too")
	}

	now = now.Add(30 * time.Second)
	if _, ok := take("a"); !ok {
		t.Error("refused after the minute")
	}
	if wait, ok := take("a"); ok || wait != 10*time.Second {
		t.Errorf("more than 3 in a minute: %v %v", wait, ok)
	}

	// A flood of other keys fills the limiter, and is taken in.
	for i := range 250_000 {
		take(uuid.UUID{byte(i), byte(i >> 8), byte(i >> 16)}.String())
	}
}

func limited(c *apphttp.Config) { c.RateLimit = true }

func TestRateLimits(t *testing.T) {
	t.Parallel()
	login := func(email string) string { return `{"email":"` + email + `","password":"x"}` }

	t.Run("sign-in to an account", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, limited)
		for _, email := range []string{
			"a@example.org", "A@example.org", " a@example.org ", "a@Example.org", "a@example.org",
		} {
			w.send("POST", "/api/v1/auth/login", login(email)).want(401)
		}

		a := w.send("POST", "/api/v1/auth/login", login("a@example.org")).wantProblem(429, "rate_limited")
		if a.header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}

		w.send("POST", "/api/v1/auth/login", login("b@example.org")).want(401)
		w.later(time.Minute)
		w.send("POST", "/api/v1/auth/login", login("a@example.org")).want(401)
	})
	t.Run("sign-in to an account, however its address is spelled", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, limited)
		for _, email := range []string{
			"zoë@münchen.example", "zoe\u0308@münchen.example", "ZOË@MÜNCHEN.EXAMPLE", "zoë@xn--mnchen-3ya.example",
			"zoë@mu\u0308nchen.example",
		} {
			w.send("POST", "/api/v1/auth/login", login(email)).want(401)
		}

		w.send("POST", "/api/v1/auth/login", login("Zoë@XN--Mnchen-3ya.example")).wantProblem(429, "rate_limited")
	})
	t.Run("an address that is too long for any account", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, limited)
		for i := range 5 {
			long := strings.Repeat("a", 100_000+i) + "@" + strings.Repeat("ü", 100_000) + ".example"
			w.send("POST", "/api/v1/auth/login", login(long)).want(401)
		}
		w.send("POST", "/api/v1/auth/login", login(strings.Repeat("b", 200_000)+"@example.org")).
			wantProblem(429, "rate_limited")
	})
	t.Run("a proxy's hop that cannot be read", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, limited, func(c *apphttp.Config) {
			c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			c.Limits = apphttp.DefaultLimits()
			c.Limits.Address = apphttp.Limit{Count: 1, Per: time.Minute}
		})

		w.send("GET", "/api/v1/municipalities", "", "X-Forwarded-For", "unknown").want(200)
		w.send("GET", "/api/v1/municipalities", "", "X-Forwarded-For", "rubbish").wantProblem(429, "rate_limited")
		w.send("GET", "/api/v1/municipalities", "", "X-Forwarded-For", "[2001:db8::1]:443").want(200)
		w.send("GET", "/api/v1/municipalities", "").want(200)
		w.send("GET", "/metrics", "", "X-Forwarded-For", "unknown").wantProblem(403, domain.CodeForbidden)
	})
	t.Run("sign-in from an address", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, limited)
		for range 30 {
			w.send("POST", "/api/v1/auth/login", login(uuid.NewString()+"@example.org")).want(401)
		}
		w.send("POST", "/api/v1/auth/login", login("b@example.org")).wantProblem(429, "rate_limited")

		r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/auth/login",
			strings.NewReader(login("b@example.org")))
		r.RemoteAddr = "198.51.100.7:1"
		w.do(r).want(401)
	})
	t.Run("registration of an e-mail address", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, limited)
		w.send("POST", "/api/v1/auth/register", registration("a@example.org")).want(201)
		w.send("POST", "/api/v1/auth/register", registration("a@example.org")).want(409)
		w.send("POST", "/api/v1/auth/register", registration("A@example.org")).want(409)

		a := w.send("POST", "/api/v1/auth/register", registration("a@example.org")).wantProblem(429, "rate_limited")
		if a.header.Get("Retry-After") != "3600" {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}

		for range 26 {
			w.send("POST", "/api/v1/auth/register", registration(uuid.NewString()+"@example.org")).want(201)
		}

		w.send("POST", "/api/v1/auth/register", registration("z@example.org")).wantProblem(429, "rate_limited")
	})
	t.Run("all other requests of an account", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, limited)
		p, q := w.citizen("a@example.org"), w.citizen("b@example.org")

		for range 59 {
			p.send("GET", "/api/v1/users/me", "").want(200)
		}
		p.send("GET", "/api/v1/consents", "").want(200)

		p.send("GET", "/api/v1/users/me", "").wantProblem(429, "rate_limited")
		p.send("PATCH", "/api/v1/users/me", `{}`).wantProblem(429, "rate_limited")
		q.send("GET", "/api/v1/users/me", "").want(200)
		w.send("GET", "/health", "").want(200)
	})
	t.Run("requests that need no account", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, limited, func(c *apphttp.Config) {
			c.Limits = apphttp.DefaultLimits()
			c.Limits.Address = apphttp.Limit{Count: 2, Per: time.Minute}
		})
		w.send("GET", "/api/v1/municipalities", "").want(200)
		w.send("GET", "/api/v1/purposes", "").want(200)

		w.send("GET", "/api/v1/municipalities", "", "X-Forwarded-For", "1.2.3.4").wantProblem(429, "rate_limited")
		// These have a limit of their own, or none.
		for _, path := range []string{"/health", "/ready", "/metrics", "/", "/docs", "/openapi.json"} {
			w.send("GET", path, "").want(200)
		}
	})
	t.Run("IPv6 by its /64", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, limited, func(c *apphttp.Config) {
			c.Limits = apphttp.DefaultLimits()
			c.Limits.Address = apphttp.Limit{Count: 1, Per: time.Minute}
		})

		for i, peer := range []string{"[2001:db8::1]:1", "[2001:db8::ffff:2]:1", "[2001:db8:0:1::1]:1"} {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/municipalities", http.NoBody)
			r.RemoteAddr = peer
			w.do(r).want([]int{200, 429, 200}[i])
		}
	})
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		for range 100 {
			w.send("POST", "/api/v1/auth/login", login("a@example.org")).want(401)
		}
	})
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.fail(domain.Refuse(domain.CodeUnavailable, "away"))

	body := func(path string) string { return strings.TrimSpace(w.send("GET", path, "").want(200).raw) }
	if got := body("/health"); got != `{"status":"healthy","version":"0.1.0"}` {
		t.Errorf("health: %s", got)
	}
	if got := body("/ready"); got != `{"status":"ready"}` {
		t.Errorf("ready: %s", got)
	}

	w.ready = apphttp.ReadyState{Projectors: []apphttp.ProjectorState{
		{Name: "users", State: "halted"}, {Name: "consents", State: "behind"},
	}}
	degraded := `{"status":"degraded","projectors":[` +
		`{"name":"users","state":"halted"},{"name":"consents","state":"behind"}]}`
	if got := body("/ready"); got != degraded {
		t.Errorf("degraded: %s", got)
	}

	for _, part := range []string{"database", "migrations", "keys", "importing"} {
		w.ready.Failed = []string{part}
		a := w.send("GET", "/ready", "").wantProblem(503, domain.CodeUnavailable)
		if !strings.Contains(a.text("detail"), part) || a.faults()[part] != "not_ready" {
			t.Errorf("%s is not named: %s", part, a.raw)
		}
	}
}

func TestTheRootSaysWhereToLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := w.send("GET", "/", "", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8").want(200)
	if !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Errorf("a browser gets %s", page.header.Get("Content-Type"))
	}

	places := w.send("GET", "/", "", "Accept", "*/*").want(200)
	for _, path := range []string{"console", "docs", "openapi.json", "ready"} {
		if !strings.Contains(page.raw, `href="`+path+`"`) || !strings.Contains(places.raw, `"/`+path+`"`) {
			t.Errorf("%s is missing: %s %s", path, page.raw, places.raw)
		}
	}

	for name, path := range places.json {
		if text, ok := path.(string); ok && strings.HasPrefix(text, "/") && name != "api" {
			if name == "console" { // it leads on to where one signs in
				w.send("GET", text, "").want(303)
				continue
			}
			w.send("GET", text, "").want(200)
		}
	}
}

func TestAFirstImportIsNotReadyAndLogsNoWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ready.Failed = []string{"importing"}
	w.send("GET", "/ready", "").wantProblem(503, domain.CodeUnavailable)
	if log := w.log.String(); strings.Contains(log, `"level":"WARN"`) {
		t.Errorf("a first start warns: %s", log)
	}

	w.ready.Failed = []string{"database", "importing"}
	w.send("GET", "/ready", "").wantProblem(503, domain.CodeUnavailable)
	if log := w.log.String(); !strings.Contains(log, `"level":"WARN"`) {
		t.Errorf("a database that is away is not in the log: %s", log)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("GET", "/api/v1/municipalities/"+uuid.NewString(), "").want(404)
	w.send("GET", "/nothing/"+uuid.NewString(), "").want(404)
	w.send("BREW", "/api/v1/municipalities", "")

	a := w.send("GET", "/metrics", "").want(200)

	for _, line := range []string{
		`trust_http_requests_total{method="GET",route="/api/v1/municipalities/{id}",status="404"} 1`,
		`trust_http_requests_total{method="GET",route="unmatched",status="404"} 1`,
		`trust_http_requests_total{method="other",route="unmatched",status="405"} 1`,
		`trust_http_request_duration_seconds_count{method="GET",route="/api/v1/municipalities/{id}"} 1`,
	} {
		if !strings.Contains(a.raw, line) {
			t.Errorf("no %s in\n%s", line, a.raw)
		}
	}

	r := httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", http.NoBody)
	r.RemoteAddr = "198.51.100.7:1"
	w.do(r).wantProblem(403, domain.CodeForbidden)

	w = newWorld(t, func(c *apphttp.Config) { c.ScrapeFrom = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")} })
	w.do(r).want(200)
}

func TestTheAccessLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")

	a := p.send("GET", "/api/v1/consents?limit=7", "").want(200)
	line := lineWith(w.log.String(), a.header.Get("X-Request-ID"))
	for _, part := range []string{
		`"method":"GET"`, `"route":"/api/v1/consents"`, `"status":200`, `"took":`,
		`"user":"` + p.id[len(p.id)-8:] + `"`,
	} {
		if !strings.Contains(line, part) {
			t.Errorf("no %s in %s", part, line)
		}
	}

	for _, secret := range []string{"limit", p.id, "example.org", p.access, "Thandi"} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("%s in the log: %s", secret, lineWith(w.log.String(), secret))
		}
	}
}
