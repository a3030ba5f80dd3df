package http_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/hotp"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// begin starts to set up a second factor, and returns its secret.
func (p *person) begin() (secret string) {
	p.w.t.Helper()
	begun := p.send("POST", "/api/v1/users/me/totp", fmt.Sprintf(`{"current_password":%q}`, password)).want(201)
	return begun.text("secret")
}

// secure sets up a second factor with the present code, and returns its secret.
func (w *world) secure(p *person) (secret string) {
	w.t.Helper()
	secret = p.begin()
	p.send("POST", "/api/v1/users/me/totp/confirm", fmt.Sprintf(`{"totp":%q}`, w.codeOf(secret, 0))).want(204)
	return secret
}

// codeOf returns the code of the step this many steps from now.
func (w *world) codeOf(secret string, steps int) string {
	w.t.Helper()
	now := w.clock()
	if now.IsZero() {
		now = time.Now()
	}

	code, err := hotp.GenerateCode(secret, uint64(int(now.Unix()/30)+steps))
	must(w.t, err)
	return code
}

// signInAs signs in a person whose ids are unknown.
func (w *world) signInAs(email, code string) *person {
	w.t.Helper()
	return w.signIn(email, code, "", "")
}

func (w *world) login(email, code, totp string) *answer {
	w.t.Helper()
	body := fmt.Sprintf(`{"email":%q,"password":%q,"municipality_code":%q`, email, password, code)
	if totp != "" {
		body += fmt.Sprintf(`,"totp":%q`, totp)
	}
	return w.send("POST", "/api/v1/auth/login", body+"}")
}

func TestASecondFactorOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.staff(domain.Admin, "CPT")

	if me := p.send("GET", "/api/v1/users/me", "").want(200); me.json["second_factor"] != false {
		t.Errorf("me: %s", me.raw)
	}

	p.send("POST", "/api/v1/users/me/totp", `{"current_password":"wrong password"}`).
		wantProblem(401, domain.CodePasswordWrong)
	p.send("POST", "/api/v1/users/me/totp/confirm", `{"totp":"123456"}`).wantProblem(404, domain.CodeNotFound)
	p.send("DELETE", "/api/v1/users/me/totp", fmt.Sprintf(`{"current_password":%q,"totp":"1"}`, password)).
		wantProblem(404, domain.CodeNotFound)

	begun := p.send("POST", "/api/v1/users/me/totp", fmt.Sprintf(`{"current_password":%q}`, password),
		"Idempotency-Key", "k").want(201)
	secret := begun.text("secret")
	if len(secret) != 32 || !strings.Contains(begun.text("otpauth_uri"), "secret="+secret) {
		t.Errorf("begun: %s", begun.raw)
	}
	again := p.send("POST", "/api/v1/users/me/totp", fmt.Sprintf(`{"current_password":%q}`, password),
		"Idempotency-Key", "k").want(201)
	if again.json["secret"] != nil || again.json["otpauth_uri"] != nil ||
		again.header.Get("Event-Position") != begun.header.Get("Event-Position") {
		t.Errorf("a repeat shows the secret: %s", again.raw)
	}

	w.login(p.email, "CPT", "").want(200)

	p.send("POST", "/api/v1/users/me/totp/confirm", `{"totp":"12345"}`).wantProblem(401, domain.CodeTOTPRequired)
	p.send("POST", "/api/v1/users/me/totp/confirm", fmt.Sprintf(`{"totp":%q}`, w.codeOf(secret, 0))).want(204)
	p.send("POST", "/api/v1/users/me/totp", fmt.Sprintf(`{"current_password":%q}`, password)).
		wantProblem(409, domain.CodeTOTPAlreadySet)
	if me := p.send("GET", "/api/v1/users/me", "").want(200); me.json["second_factor"] != true {
		t.Errorf("me: %s", me.raw)
	}

	w.login(p.email, "CPT", "").wantProblem(401, domain.CodeTOTPRequired)
	// The code that confirmed the factor is used up.
	w.login(p.email, "CPT", w.codeOf(secret, 0)).wantProblem(401, domain.CodeTOTPRequired)
	w.login(p.email, "CPT", w.codeOf(secret, 1)).want(200)

	w.later(time.Hour)
	for range 5 {
		w.login(p.email, "CPT", "12345").wantProblem(401, domain.CodeTOTPRequired)
	}
	locked := w.login(p.email, "CPT", w.codeOf(secret, 0)).wantProblem(429, domain.CodeTOTPLocked)
	if locked.header.Get("Retry-After") != "60" {
		t.Errorf("Retry-After %q: %s", locked.header.Get("Retry-After"), locked.raw)
	}

	w.later(time.Minute)
	remove := fmt.Sprintf(`{"current_password":%q,"totp":%q}`, password, w.codeOf(secret, 0))
	fresh := w.login(p.email, "CPT", w.codeOf(secret, -1)).want(200)
	p.access = fresh.text("access_token")
	gone := p.send("DELETE", "/api/v1/users/me/totp", remove, "Idempotency-Key", "d").want(204)
	again = p.send("DELETE", "/api/v1/users/me/totp", remove, "Idempotency-Key", "d").want(204)
	if at := gone.header.Get("Event-Position"); at == "" || again.header.Get("Event-Position") != at {
		t.Errorf("a repeat is at %s, the first at %s", again.header.Get("Event-Position"), at)
	}

	other := strings.Replace(remove, password, "another password", 1)
	p.send("DELETE", "/api/v1/users/me/totp", other, "Idempotency-Key", "d").
		wantProblem(422, domain.CodeIdempotencyKeyReused)
	w.login(p.email, "CPT", "").want(200)
}

// A person who must have a second factor, and has none, is refused on every route of the
// table but those that set it up.
func TestWhoMustHaveASecondFactorMaySetItUpAndNothingElse(t *testing.T) {
	t.Parallel()
	required := []domain.Role{domain.Admin, domain.Manager}
	w := newWorld(t, func(c *apphttp.Config) { c.RequireTOTP, c.RateLimit = required, false })
	free := []string{"get_me", "set_up_totp", "confirm_totp"}
	for _, c := range []struct {
		role domain.Role
		code string
	}{
		{domain.Admin, domain.PlatformCode},
		{domain.Admin, "CPT"},
		{domain.Manager, "CPT"},
		{domain.FieldWorker, "CPT"},
	} {
		role, p := c.role, w.staff(c.role, c.code)
		must := slices.Contains(required, role)

		for _, l := range apphttp.Lines() {
			// Other routes ask for no account, or for a refresh token.
			if !l.Account {
				continue
			}

			path, body := w.sample(l)
			a := p.send(l.Method, path, body)
			refused := a.text("code") == string(domain.CodeTOTPSetupRequired)
			if refused != (must && !slices.Contains(free, l.ID)) {
				t.Errorf("%s as %s without a second factor: %d %s", l.ID, role, a.status, a.raw)
			}
		}
		if !must {
			continue
		}

		p = &person{w: w, email: p.email}
		renewed := w.login(p.email, c.code, "").want(200)
		p.access, p.rotating = renewed.text("access_token"), renewed.text("refresh_token")
		w.send("POST", "/api/v1/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, p.rotating)).want(200)
		p.send("GET", "/api/v1/users", "").wantProblem(403, domain.CodeTOTPSetupRequired)
		w.secure(p)
		p.send("GET", "/api/v1/users", "").want(200)
	}
}

// The role comes from the log, not from the token: somebody who becomes a manager must
// set a second factor up before the next request.
func TestAPromotionRequiresASecondFactorAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.RequireTOTP = []domain.Role{domain.Manager} })
	admin, p := w.staff(domain.Admin, "CPT"), w.staff(domain.FieldWorker, "CPT")

	p.send("GET", "/api/v1/users?email=nobody@example.org", "").want(200)
	admin.send("PUT", "/api/v1/users/"+p.id+"/role", `{"role":"manager"}`).want(200)
	p.send("GET", "/api/v1/users?email=nobody@example.org", "").wantProblem(403, domain.CodeTOTPSetupRequired)

	w.secure(p)
	p.send("GET", "/api/v1/users?email=nobody@example.org", "").want(200)

	admin.send("DELETE", "/api/v1/users/"+p.id+"/totp", `{"reason":"lost"}`).want(200)
	back := w.signIn(p.email, "CPT", p.id, p.tenant)
	back.send("GET", "/api/v1/users?email=nobody@example.org", "").wantProblem(403, domain.CodeTOTPSetupRequired)
}

func TestAnotherAdminRecoversASecondFactorAndItsOwnerIsTold(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	admin, p := w.staff(domain.Admin, "CPT"), w.staff(domain.Manager, "CPT")
	elsewhere := w.staff(domain.Admin, "KZN225")
	w.secure(p)

	path, why := "/api/v1/users/"+p.id+"/totp", `{"reason":"Phone stolen; came in person with her ID."}`

	elsewhere.send("DELETE", path, why).wantProblem(404, domain.CodeNotFound)
	p.send("DELETE", path, why).wantProblem(403, domain.CodeForbidden)
	admin.send("DELETE", path, `{"reason":" "}`).wantProblem(422, domain.CodeInvalid)

	first := admin.send("DELETE", path, why, "Idempotency-Key", "k").want(200)
	if again := admin.send("DELETE", path, why, "Idempotency-Key", "k").want(200); again.raw != first.raw {
		t.Errorf("a repeat: %s, first %s", again.raw, first.raw)
	}
	admin.send("DELETE", path, why).wantProblem(404, domain.CodeNotFound)
	p.send("GET", "/api/v1/users/me", "").wantProblem(401, domain.CodeSessionEnded)

	back := w.signIn(p.email, "CPT", p.id, p.tenant)
	told := back.send("GET", "/api/v1/data-rights/my-data", "").want(200).raw
	for _, part := range []string{
		"user.second_factor_removed.v1", "Phone stolen; came in person with her ID.", admin.id, `"recovery"`,
	} {
		if !strings.Contains(told, part) {
			t.Errorf("my data lacks %q: %s", part, told)
		}
	}

	page := back.send("GET", "/api/v1/data-rights/my-data/page?lang=en", "").want(200).raw
	if !strings.Contains(page, "Sign-in no longer asks for a code") {
		t.Error("the page does not tell of the recovery")
	}

	audit := admin.send("GET", "/api/v1/audit-logs?record_id="+p.id, "").want(200).raw
	if !strings.Contains(audit, "user.second_factor_removed.v1") || !strings.Contains(audit, "Phone stolen") {
		t.Errorf("the audit says %s", audit)
	}
}
