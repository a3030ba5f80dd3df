package http_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

const anotherPassword = "staple of another battery"

// sent issues and sends what was asked for, and returns the newest letter.
func (w *world) sent() domain.Letter {
	w.t.Helper()
	_, err := w.handler.SendResetCodes(w.t.Context(), commands.Call{}, commands.SendResetCodes{})
	must(w.t, err)

	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.letters) == 0 {
		w.t.Fatal("no letter was sent")
	}
	return w.letters[len(w.letters)-1]
}

func (w *world) redeem(code, password string, headers ...string) *answer {
	w.t.Helper()
	return w.send("POST", "/api/v1/auth/redeem", fmt.Sprintf(`{"code":%q,"password":%q}`, code, password), headers...)
}

// codeFor returns a code for a new password from the operator.
func (w *world) codeFor(p *person) string {
	w.t.Helper()
	id, err := uuid.Parse(p.id)
	must(w.t, err)
	tenant, err := uuid.Parse(p.tenant)
	must(w.t, err)

	made, err := w.handler.IssueResetCode(w.t.Context(), commands.System(domain.TenantID{UUID: tenant}),
		commands.IssueResetCode{User: domain.UserID{UUID: id}, IdentityDocument: "ID card"})
	must(w.t, err)
	return made.Value.Text.String()
}

func resetOf(email, code string) string {
	return fmt.Sprintf(`{"email":%q,"municipality_code":%q}`, email, code)
}

func TestAForgottenPasswordIsReplacedByACodeFromAClerk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, thandi := w.staff(domain.FieldWorker, "KZN225"), w.citizen("thandi@example.org")
	path := "/api/v1/users/" + thandi.id + "/reset-code"

	unnamed := clerk.send("POST", path, `{"identity_document":" "}`).wantProblem(422, domain.CodeInvalid)
	if unnamed.faults()["identity_document"] == "" {
		t.Errorf("the field is not named: %s", unnamed.raw)
	}
	made := clerk.send("POST", path, `{"identity_document":"ID card, 083"}`, "Idempotency-Key", "k").want(201)
	code := made.text("code")
	if len(code) != 19 || made.text("expires_at") != "2026-03-01T12:15:00.000000Z" ||
		made.header.Get("Event-Position") == "" {
		t.Errorf("answered %s", made.raw)
	}
	again := clerk.send("POST", path, `{"identity_document":"ID card, 083"}`, "Idempotency-Key", "k").want(201)
	if again.json["code"] != nil || again.header.Get("Event-Position") != made.header.Get("Event-Position") {
		t.Errorf("a repeat shows the code: %s", again.raw)
	}

	// Every fault at once, and none of them is a try.
	faults := w.redeem("", "short").wantProblem(422, domain.CodeInvalid).faults()
	if faults["code"] == "" || faults["password"] == "" {
		t.Errorf("faults %v", faults)
	}
	w.redeem("0000-0000-0000-0000", anotherPassword).wantProblem(401, domain.CodeCodeInvalid)
	w.redeem(strings.ToLower(code), anotherPassword).want(204)
	w.redeem(code, anotherPassword).wantProblem(401, domain.CodeCodeInvalid)

	thandi.send("GET", "/api/v1/users/me", "").wantProblem(401, domain.CodeSessionEnded)
	w.login("thandi@example.org", "KZN225", "").wantProblem(401, domain.CodeInvalidCredentials)
	w.send("POST", "/api/v1/auth/login", fmt.Sprintf(`{"email":"thandi@example.org","password":%q}`, anotherPassword)).
		want(200)

	if log := w.log.String(); strings.Contains(log, code) || strings.Contains(log, strings.ReplaceAll(code, "-", "")) {
		t.Errorf("the log holds the code: %s", log)
	}
}

func TestNobodyIsHandedACodeByThemselvesOrFromBelow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, manager := w.staff(domain.FieldWorker, "CPT"), w.staff(domain.Manager, "CPT")
	admin, elsewhere := w.staff(domain.Admin, "CPT"), w.staff(domain.Admin, "KZN225")
	seen := `{"identity_document":"ID card"}`

	manager.send("POST", "/api/v1/users/"+admin.id+"/reset-code", seen).wantProblem(403, domain.CodeForbidden)
	clerk.send("POST", "/api/v1/users/"+manager.id+"/reset-code", seen).wantProblem(403, domain.CodeForbidden)
	admin.send("POST", "/api/v1/users/"+admin.id+"/reset-code", seen).wantProblem(403, domain.CodeForbidden)
	absent := elsewhere.send("POST", "/api/v1/users/"+clerk.id+"/reset-code", seen).
		wantProblem(404, domain.CodeNotFound)
	nobody := elsewhere.send("POST", "/api/v1/users/01890a5d-ac96-774b-bcce-b302099a8057/reset-code", seen).
		wantProblem(404, domain.CodeNotFound)
	if absent.text("detail") != nobody.text("detail") {
		t.Errorf("%s\n%s", absent.raw, nobody.raw)
	}

	admin.send("POST", "/api/v1/users/"+clerk.id+"/deactivate", "").want(200)
	admin.send("POST", "/api/v1/users/"+clerk.id+"/reset-code", seen).wantProblem(409, domain.CodeAccountInactive)
	admin.send("POST", "/api/v1/users/"+manager.id+"/reset-code", seen).want(201)
}

func TestAForgottenPasswordIsReplacedByALetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.citizen("thandi@example.org")

	known := w.send("POST", "/api/v1/auth/password-reset", resetOf("Thandi@example.org", "kzn225")).want(202)
	unknown := w.send("POST", "/api/v1/auth/password-reset", resetOf("nobody@example.org", "NOPE")).want(202)
	if known.raw != unknown.raw || len(known.header) != len(unknown.header) {
		t.Errorf("known: %q %v, unknown: %q %v", known.raw, known.header, unknown.raw, unknown.header)
	}
	letter := w.sent()
	if letter.To != "thandi@example.org" || letter.Municipality != "Msunduzi" {
		t.Errorf("sent %+v", letter)
	}
	w.redeem(string(letter.Code), anotherPassword).want(204)

	bad := w.send("POST", "/api/v1/auth/password-reset", resetOf("nobody", " ")).wantProblem(422, domain.CodeInvalid)
	faults := bad.faults()
	if faults["email"] == "" || faults["municipality_code"] == "" {
		t.Errorf("faults %v", faults)
	}
}

func TestAnAddressIsVerifiedOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	const path = "/api/v1/users/me/email/verify"

	if a := p.send("GET", "/api/v1/users/me", "").want(200); a.json["email_verified_at"] != nil {
		t.Errorf("me: %s", a.raw)
	}
	for _, body := range []string{"", "{}"} {
		if a := p.send("POST", path, body).want(200); a.json["email_verified_at"] != nil {
			t.Errorf("%q: %s", body, a.raw)
		}
	}
	letter := w.sent()
	p.send("POST", path, `{"code":""}`).wantProblem(401, domain.CodeCodeInvalid)
	p.send("POST", path, `{"code":"0000-0000-0000-0000"}`).wantProblem(401, domain.CodeCodeInvalid)

	done := p.send("POST", path, fmt.Sprintf(`{"code":%q}`, letter.Code.String())).want(200)
	if done.text("email_verified_at") != "2026-03-01T12:00:00.000000Z" {
		t.Errorf("verified: %s", done.raw)
	}
	moved := p.send("PATCH", "/api/v1/users/me",
		fmt.Sprintf(`{"email":"new@example.org","current_password":%q}`, password)).want(200)
	if moved.json["email_verified_at"] != nil {
		t.Errorf("a new address: %s", moved.raw)
	}
}

func TestLettersAndTriesAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.RateLimit = true })
	p := w.citizen("thandi@example.org")

	// An address has one limit, in whatever municipality and for whatever kind of letter.
	w.send("POST", "/api/v1/auth/password-reset", resetOf("thandi@example.org", "KZN225")).want(202)
	w.send("POST", "/api/v1/auth/password-reset", resetOf(" THANDI@example.org", "CPT")).want(202)
	p.send("POST", "/api/v1/users/me/email/verify", "").want(200)
	w.send("POST", "/api/v1/auth/password-reset", resetOf("thandi@example.org", "KZN225")).
		wantProblem(429, "rate_limited")
	p.send("POST", "/api/v1/users/me/email/verify", "").wantProblem(429, "rate_limited")
	w.send("POST", "/api/v1/auth/password-reset", resetOf("nobody@example.org", "KZN225")).want(202)
	for range 26 {
		w.send("POST", "/api/v1/auth/password-reset", `{}`).want(422)
	}
	w.send("POST", "/api/v1/auth/password-reset", resetOf("another@example.org", "KZN225")).
		wantProblem(429, "rate_limited")

	for range 30 {
		w.redeem("0000-0000-0000-0000", anotherPassword).want(401)
	}
	w.redeem("0000-0000-0000-0000", anotherPassword).wantProblem(429, "rate_limited")
	p.send("POST", "/api/v1/users/me/email/verify", `{"code":"0"}`).wantProblem(429, "rate_limited")
}

// A request makes no visit to the database, whatever the address has there.
func TestEveryRequestForANewPasswordMakesTheSameVisitsToTheDatabase(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = tracer{} })
	trips := func(body string) []string {
		v := &visits{}
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), visitsKey{}, v), "POST",
			"/api/v1/auth/password-reset", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w.do(r).want(202)
		return v.trips
	}
	w.citizen("known@example.org")
	inactive, erased := w.citizen("inactive@example.org"), w.citizen("erased@example.org")
	consents := inactive.send("GET", "/api/v1/consents", "", "Min-Event-Position", w.head()).want(200).items()
	inactive.send("POST", "/api/v1/consents/"+consents[0]["id"].(string)+"/withdraw", "").want(200)
	guessing()["user.erase"](erased, password).want(200)

	want := trips(resetOf("never@example.org", "KZN225"))
	for name, body := range map[string]string{
		"an account":              resetOf("known@example.org", "KZN225"),
		"the same again":          resetOf("known@example.org", "KZN225"),
		"an account elsewhere":    resetOf("known@example.org", "CPT"),
		"no municipality":         resetOf("known@example.org", "NOPE"),
		"an inactive account":     resetOf("inactive@example.org", "KZN225"),
		"an erased account":       resetOf("erased@example.org", "KZN225"),
		"several spellings":       resetOf("known@münchen.example", "KZN225"),
		"SALGA itself":            resetOf("known@example.org", domain.PlatformCode),
		"a code that is too long": resetOf("known@example.org", strings.Repeat("K", 10_000)),
	} {
		if got := trips(body); !slices.Equal(got, want) {
			t.Errorf("%s: %d visits, want %d:\n%s", name, len(got), len(want), strings.Join(got, "\n"))
		}
	}

	w.sent()
	w.mu.Lock()
	defer w.mu.Unlock()
	if letters := len(w.letters); letters != 2 {
		t.Errorf("%d letters, want 2", letters)
	}
}

func TestACodeIsToldInTheAuditAndToItsOwner(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	manager, thandi := w.staff(domain.Manager, "KZN225"), w.citizen("thandi@example.org")
	made := manager.send("POST", "/api/v1/users/"+thandi.id+"/reset-code",
		`{"identity_document":"passport, A0831"}`).want(201)
	w.redeem(made.text("code"), password).want(204)
	thandi = w.signIn("thandi@example.org", "KZN225", thandi.id, thandi.tenant)
	thandi.send("POST", "/api/v1/users/me/email/verify", "").want(200)
	thandi.send("POST", "/api/v1/users/me/email/verify", fmt.Sprintf(`{"code":%q}`, w.sent().Code)).want(200)

	audit := manager.send("GET", "/api/v1/audit-logs?record_id="+thandi.id, "").want(200).raw
	mine := thandi.send("GET", "/api/v1/data-rights/my-data", "").want(200).raw
	page := thandi.send("GET", "/api/v1/data-rights/my-data/page?lang=en", "").want(200).raw
	for what, want := range map[string][]string{
		audit: {"user.reset_code_issued.v1", "passport, A0831", manager.id, `"reset"`, "user.email_verified.v1"},
		mine:  {"user.reset_code_issued.v1", "passport, A0831", manager.id, `"reset"`, `"email_verified_at":"2`},
		page: {
			"A code for a new password was made", "passport, A0831", "With a one-time code", "E-mail address confirmed",
		},
	} {
		for _, part := range want {
			if !strings.Contains(what, part) {
				t.Errorf("lacks %q: %s", part, what)
			}
		}
		if strings.Contains(what, made.text("code")) {
			t.Error("it holds the code")
		}
	}

	list := manager.send("GET", "/api/v1/users/"+thandi.id, "", "Min-Event-Position", w.head()).want(200)
	if list.text("email_verified_at") == "" {
		t.Errorf("the read table lacks it: %s", list.raw)
	}
}
