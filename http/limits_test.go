package http_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/internal/pgtest"
)

// behindProxy makes X-Forwarded-For the address of a request.
func behindProxy(c *apphttp.Config) {
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// limits turns the limits on, and changes some of them.
func limits(set func(*apphttp.Limits)) func(*apphttp.Config) {
	return func(c *apphttp.Config) {
		c.RateLimit, c.Limits = true, apphttp.DefaultLimits()
		set(&c.Limits)
	}
}

func signInWith(email, password string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q,"municipality_code":"KZN225"}`, email, password)
}

// signInFrom signs in from an address.
func (w *world) signInFrom(address, email, password string) *answer {
	w.t.Helper()
	return w.send("POST", "/api/v1/auth/login", signInWith(email, password), "X-Forwarded-For", address)
}

// guessing returns the ways to have one's own password checked, by their cause in the
// log.
func guessing() map[string]func(p *person, password string) *answer {
	return map[string]func(p *person, password string) *answer{
		"user.change_password": func(p *person, password string) *answer {
			return p.send("PUT", "/api/v1/users/me/password",
				fmt.Sprintf(`{"current_password":%q,"new_password":"another password"}`, password))
		},
		"user.change_profile": func(p *person, password string) *answer {
			return p.send("PATCH", "/api/v1/users/me",
				fmt.Sprintf(`{"email":"moved@example.org","current_password":%q}`, password))
		},
		"user.erase": func(p *person, password string) *answer {
			return p.send("DELETE", erasurePath,
				fmt.Sprintf(`{"confirmation":"DELETE MY ACCOUNT","password":%q}`, password))
		},
	}
}

func TestPasswordsGuessedThroughASessionAreLimitedAndRecorded(t *testing.T) {
	t.Parallel()
	for cause, guess := range guessing() {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, limited)
			p := w.citizen("thandi@example.org")
			w.later(time.Minute)

			statuses := map[int]int{}
			for i := range 60 {
				a := guess(p, fmt.Sprintf("guess number %d", i))
				if statuses[a.status]++; a.status == 429 && a.header.Get("Retry-After") != "60" {
					t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
				}
			}
			if statuses[401] != 5 || statuses[429] != 55 {
				t.Errorf("statuses of 60 guesses: %v, want 5 refused and 55 limited", statuses)
			}
			pgtest.Eventually(t, "a failure is recorded", func() bool {
				return slices.ContainsFunc(w.store.events(), func(e domain.Recorded) bool {
					f, is := e.Event.(*domain.SignInFailed)
					return is && f.Cause == cause && e.Actor.String() == p.id && e.Stream.ID.String() == p.id
				})
			})

			w.later(time.Minute)
			if a := guess(p, password); a.status >= 300 {
				t.Errorf("the right password a minute later: %d %s", a.status, a.raw)
			}
		})
	}
}

func TestEveryCheckOfAPasswordCountsAgainstOneLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limited, behindProxy)
	w.send("POST", "/api/v1/auth/register", registration("thandi@example.org"), "Idempotency-Key", "k").want(201)
	signedIn := w.signInFrom("192.0.2.1", "thandi@example.org", password).want(200)
	p := &person{w: w, access: signedIn.text("access_token")}
	again := strings.Replace(registration("thandi@example.org"), password, "another password", 1)

	// From here on, all requests but one come from the address that send uses.
	w.send("POST", "/api/v1/auth/login", signInWith("thandi@example.org", "x")).want(401)
	w.send("POST", "/api/v1/auth/login", `{"email":" THANDI@Example.org","password":"x"}`).want(401)
	guessing()["user.change_password"](p, "x").wantProblem(401, domain.CodePasswordWrong)
	guessing()["user.change_profile"](p, "x").wantProblem(401, domain.CodePasswordWrong)
	w.send("POST", "/api/v1/auth/register", again, "Idempotency-Key", "k").
		wantProblem(422, domain.CodeIdempotencyKeyReused)

	for name, guess := range guessing() {
		if a := guess(p, "x"); a.status != 429 {
			t.Errorf("%s: %d, want 429", name, a.status)
		}
	}
	w.send("POST", "/api/v1/auth/login", signInWith("thandi@example.org", password)).wantProblem(429, "rate_limited")
	w.send("POST", "/api/v1/auth/register", registration("thandi@example.org"), "Idempotency-Key", "k").
		wantProblem(429, "rate_limited")
	w.signInFrom("192.0.2.2", "thandi@example.org", password).want(200)
	p.send("PATCH", "/api/v1/users/me", `{"full_name":"Another Name"}`).want(200)
}

func TestChecksOfPasswordsFromAnAddressHaveALimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits(func(l *apphttp.Limits) { l.LoginAddress.Count = 8 }), behindProxy)
	p, q := w.citizen("a@example.org"), w.citizen("b@example.org")
	w.later(time.Minute)

	for i := range 4 {
		guessing()["user.change_password"](p, fmt.Sprint("guess ", i)).want(401)
		guessing()["user.erase"](q, fmt.Sprint("guess ", i)).want(401)
	}
	guessing()["user.change_password"](p, password).wantProblem(429, "rate_limited")
	w.send("POST", "/api/v1/auth/login", signInWith("c@example.org", "x")).wantProblem(429, "rate_limited")
	w.signInFrom("192.0.2.2", "a@example.org", password).want(200)
}

func TestAWrongPasswordDoesNotUseUpTheErasureOfADay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limited)
	p := w.citizen("thandi@example.org")
	w.later(time.Minute)

	for i := range 8 {
		guessing()["user.erase"](p, fmt.Sprint("guess ", i))
	}
	w.later(time.Minute)
	guessing()["user.erase"](p, password).want(200)
}

func TestStrangersFailuresNeverLockTheOwnerOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits(func(l *apphttp.Limits) { l.LoginSlow.Count = 10 }), behindProxy)
	w.send("POST", "/api/v1/auth/register", registration("thandi@example.org")).want(201)

	for range 5 {
		w.signInFrom("192.0.2.1", "thandi@example.org", "x").want(401)
	}
	w.signInFrom("192.0.2.1", "thandi@example.org", "x").wantProblem(429, "rate_limited")
	w.signInFrom("192.0.2.1", "thandi@example.org", password).wantProblem(429, "rate_limited")
	w.signInFrom("203.0.113.5", "thandi@example.org", password).want(200)

	// Together they fail more often than the limit of the account allows.
	for _, stranger := range []string{"192.0.2.2", "192.0.2.3", "2001:db8::1"} {
		for range 4 {
			w.signInFrom(stranger, "thandi@example.org", "x").want(401)
		}
	}
	w.signInFrom("203.0.113.6", "thandi@example.org", password).want(200)
	w.signInFrom("203.0.113.5", "thandi@example.org", password).want(200)
	for range 3 {
		w.signInFrom("203.0.113.7", "another@example.org", "x").want(401)
	}
}

func TestAnAddressWithoutAnAccountHasTheLimitsOfOneWithAnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limited, behindProxy)
	w.send("POST", "/api/v1/auth/register", registration("known@example.org")).want(201)

	answers := func(name string) (all []string) {
		for i, login := range []string{
			`{"email":"%s@example.org","password":"x"}`, `{"email":" %s@EXAMPLE.org","password":"x"}`,
			`{"email":"%s@example.org","password":"x","municipality_code":"KZN225"}`,
			`{"email":"%s@example.org","password":"x","municipality_code":"CPT"}`,
			`{"email":"%s@example.org","password":"x","municipality_code":"NOPE"}`,
			`{"email":"%s@example.org","password":"x","municipality_code":"KZN225"}`,
			`{"email":"%s@example.org","password":"x"}`,
		} {
			a := w.send("POST", "/api/v1/auth/login", fmt.Sprintf(login, name), "X-Forwarded-For", "192.0.2.1")
			all = append(all, fmt.Sprint(i, " ", a.status, " ", a.text("detail")))
		}
		return all
	}

	if known, unknown := answers("known"), answers("unknown"); !slices.Equal(known, unknown) {
		t.Errorf("with an account %v, without %v", known, unknown)
	}
}

func TestNothingIsLimitedWhereLimitsAreOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	for i := range 40 {
		w.send("POST", "/api/v1/auth/login", signInWith("thandi@example.org", "x")).want(401)
		for name, guess := range guessing() {
			guess(p, fmt.Sprint(name, i)).want(401)
		}
		w.send("GET", "/docs", "").want(200)
	}
}

func TestACheckThatIsSlowedEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	for over, want := range map[int]time.Duration{
		-1: 0, 0: 0, 1: 100 * time.Millisecond, 10: time.Second, 30: 3 * time.Second, 31: 3 * time.Second,
		1 << 40: 3 * time.Second,
	} {
		if got := apphttp.Delay(over); over >= 0 && got != want {
			t.Errorf("%d over the limit: %s, want %s", over, got, want)
		}
	}

	w := newWorld(t, limits(func(l *apphttp.Limits) { l.LoginSlow.Count = 1 }), behindProxy)
	for i := range 4 {
		w.signInFrom(fmt.Sprint("192.0.2.", i), "a@example.org", "x").want(401)
	}

	ctx, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(ctx, "POST", "/api/v1/auth/login",
		strings.NewReader(signInWith("a@example.org", "x")))
	r.Header.Set("Content-Type", "application/json")
	r.RemoteAddr = "192.0.2.200:1"
	w.do(r).want(503)
}

func TestAFailedSignInWaitsForNoAppend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("POST", "/api/v1/auth/register", registration("known@example.org")).want(201)

	w.store.failAppends(domain.Refuse(domain.CodeUnavailable, "away"))
	w.send("POST", "/api/v1/auth/login", signInWith("known@example.org", "x")).want(401)
	w.send("POST", "/api/v1/auth/login", signInWith("unknown@example.org", "x")).want(401)

	w.store.failAppends(nil)
	pgtest.Eventually(t, "the failure is recorded once the log takes it", func() bool {
		return slices.ContainsFunc(w.store.events(), func(e domain.Recorded) bool {
			_, is := e.Event.(*domain.SignInFailed)
			return is
		})
	})
}

func TestSignedInCallsHaveALimitByAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits(func(l *apphttp.Limits) { l.SignedInAddress.Count = 10 }), behindProxy)
	p, q := w.citizen("a@example.org"), w.citizen("b@example.org")

	for range 5 {
		p.send("GET", "/api/v1/users/me", "").want(200)
		q.send("GET", "/api/v1/users/me", "", "X-Tenant-ID", uuid.NewString()).wantProblem(403, "tenant_mismatch")
	}

	p.send("GET", "/api/v1/users/me", "").wantProblem(429, "rate_limited")
	w.send("GET", "/api/v1/users/me", "", "Authorization", "Bearer rubbish").wantProblem(429, "rate_limited")
	q.send("GET", "/api/v1/data-rights/my-data", "").wantProblem(429, "rate_limited")
	p.send("GET", "/api/v1/users/me", "", "X-Forwarded-For", "192.0.2.1").want(200)
	w.send("GET", "/api/v1/municipalities", "").want(200)
}

func TestAssetsAreLimitedAndMonitoringIsNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits(func(l *apphttp.Limits) { l.Assets.Count = 6 }), behindProxy)
	// Comparing answers would fetch the document, which counts against the limit.
	w.injecting = true
	assets := []string{"/", "/docs", "/docs/swagger-ui.css", "/docs/start.js", "/docs/none", "/openapi.json"}

	for _, path := range assets {
		if a := w.send("GET", path, ""); a.status == 429 {
			t.Errorf("%s: %d", path, a.status)
		}
	}

	for _, path := range assets {
		w.send("GET", path, "").wantProblem(429, "rate_limited")
		if a := w.send("GET", path, "", "X-Forwarded-For", "192.0.2.1"); a.status == 429 {
			t.Errorf("%s from another address: %d", path, a.status)
		}
	}

	w.send("GET", "/api/v1/municipalities", "").want(200)
	for range 500 {
		for _, path := range []string{"/health", "/ready", "/metrics"} {
			w.send("GET", path, "").want(200)
		}
	}
}

func TestATextOfAMiBIsRefusedLikeASlightlyLongOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("e\u0301 ", 250_000)
	change := func(old, field string) string {
		return strings.Replace(registration("thandi@example.org"), old, fmt.Sprintf(`%q:%q`, field, long), 1)
	}

	for field, body := range map[string]string{
		"e-mail":   change(`"email":"thandi@example.org"`, "email"),
		"password": change(fmt.Sprintf(`"password":%q`, password), "password"),
		"name":     change(`"full_name":"Thandi Ṱhaba"`, "full_name"),
		"phone":    change(`"phone":"082 123 4567"`, "phone"),
		"language": change(`"preferred_language":"zu"`, "preferred_language"),
		"purpose":  change(`"purpose":"platform_registration"`, "purpose"),
		"wording": strings.Replace(registration("thandi@example.org"), `"consented"`,
			fmt.Sprintf(`"purpose_description":%q,"consented"`, long), 1),
	} {
		if a := w.send("POST", "/api/v1/auth/register", body); a.status != 422 {
			t.Errorf("registration with a long %s: %d %.200s", field, a.status, a.raw)
		}
	}
	w.send("POST", "/api/v1/auth/register", change(`"municipality_code":"kzn225"`, "municipality_code")).
		wantProblem(404, domain.CodeUnknownMunicipality)

	w.citizen("thandi@example.org")
	for _, login := range []string{
		signInWith(long, password), signInWith("thandi@example.org", long),
		fmt.Sprintf(`{"email":"thandi@example.org","password":%q,"municipality_code":%q}`, password, long),
	} {
		w.send("POST", "/api/v1/auth/login", login).wantProblem(401, domain.CodeInvalidCredentials)
	}
	for _, path := range []string{"/api/v1/auth/refresh", "/api/v1/auth/logout"} {
		w.send("POST", path, fmt.Sprintf(`{"refresh_token":%q}`, long)).wantProblem(401, domain.CodeInvalidToken)
	}
}

func TestOnlySomeOfManyFaultsAreListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	var body strings.Builder
	body.WriteString(`{"email":"a@example.org"`)
	for i := range 26 * 26 * 26 {
		fmt.Fprintf(&body, `,"made_up_%c%c%c":1`, 'a'+i/676, 'a'+i/26%26, 'a'+i%26)
	}
	body.WriteString("}")

	a := w.send("POST", "/api/v1/auth/login", body.String()).wantProblem(422, domain.CodeInvalid)
	if len(a.raw) > 20_000 {
		t.Errorf("an answer of %d KiB", len(a.raw)>>10)
	}
}

// heap returns the memory in use after garbage collection.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

const mib = 1 << 20

//nolint:paralleltest // it measures the memory of the whole process
func TestNothingThatStrangersSendIsKept(t *testing.T) {
	w := newWorld(t, limited, behindProxy)
	// Other tests compare these answers with the document, which takes time.
	w.injecting = true

	w.send("POST", "/api/v1/auth/register", registration("known@example.org")).want(201)
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255) }
	rest := heap()

	long := strings.Repeat("x", mib-2000)
	// Each request carries another MiB.
	for i := range 8 {
		login := func(email, password string) string {
			return `{"email":"` + email + `","password":"` + password + `"}`
		}

		unique := uuid.NewString() + long
		for path, body := range map[string]string{
			"login":    login(unique+"@example.org", "x"),
			"refresh":  `{"refresh_token":"` + unique + `"}`,
			"register": strings.Replace(registration("new@example.org"), "new", unique, 1),
		} {
			w.send("POST", "/api/v1/auth/"+path, body, "X-Forwarded-For", address(i))
		}

		w.send("POST", "/api/v1/auth/login", login("known@example.org", unique), "X-Forwarded-For", address(i))
		w.send("GET", "/api/v1/data-rights/certificates/"+unique[:20_000], "", "X-Forwarded-For", address(i))
		w.send("GET", "/health", "", "X-Forwarded-For", strings.Repeat("1.2.3.4, ", 2000)+address(i),
			"X-Request-ID", unique[:20_000], "User-Agent", unique[:20_000], "Idempotency-Key", unique[:20_000])
	}
	if grown := heap() - rest; grown > 4*mib {
		t.Errorf("%d KiB are kept of the huge requests of 8 addresses", grown>>10)
	}

	// Each comes from another address, with another e-mail address of the greatest
	// length.
	for i := range 2000 {
		email := strings.Repeat("e", 60) + uuid.NewString() + "@" + strings.Repeat("long.", 30) + "example.org"
		w.signInFrom(address(i), email, "x")
	}
	if grown := heap() - rest; grown > 4*mib {
		t.Errorf("%d KiB are kept of 2000 e-mail addresses", grown>>10)
	}

	// All limits but that of registrations start anew within a minute.
	for range 3 {
		w.later(2 * time.Minute)
		w.signInFrom(address(0), "a@example.org", "x")
		w.send("GET", "/api/v1/municipalities", "")
	}
	if grown := heap() - rest; grown > 3*mib {
		t.Errorf("%d KiB are kept after the minutes", grown>>10)
	}
}

//nolint:paralleltest // it measures the memory of the whole process
func TestALimiterStaysWithinItsBoundAndForgetsWhatIsOver(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rest := heap()
	take := apphttp.NewLimiter(600, time.Minute, func() time.Time { return now })

	for i := range 200_000 {
		take(fmt.Sprint("one of many ", i))
	}

	for i := range 600_000 {
		take(fmt.Sprint("one of some ", i%3000))
		if i%50_000 == 0 {
			now = now.Add(7 * time.Second)
		}
	}

	if grown := heap() - rest; grown > 10*mib {
		t.Errorf("it takes %d KiB", grown>>10)
	}

	now = now.Add(2 * time.Minute)
	take("anybody")
	if grown := heap() - rest; grown > mib/4 {
		t.Errorf("it takes %d KiB after all minutes", grown>>10)
	}
}

func TestAFloodOfKeysForgetsItsOwn(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	take := apphttp.NewLimiter(5, time.Minute, func() time.Time { return now })

	for range 5 {
		take("the one that guesses")
	}

	for i := range 150_000 {
		take(fmt.Sprint("one of many ", i))
	}

	if _, ok := take("the one that guesses"); ok {
		t.Error("a flood of other keys made it forget")
	}
}
