package http_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

const (
	tokenPath    = "/api/v1/auth/token"
	accountsPath = "/api/v1/service-accounts"
	formType     = "application/x-www-form-urlencoded"
)

// client is a program that was told its secret.
type client struct {
	w          *world
	id, secret string
	access     string
}

// program creates a service account and fetches its first token.
func (w *world) program(admin *person, scopes ...domain.Scope) *client {
	w.t.Helper()
	c := w.unsigned(admin, scopes...)
	c.access = c.fetch().want(200).text("access_token")
	return c
}

// unsigned creates a service account.
func (w *world) unsigned(admin *person, scopes ...domain.Scope) *client {
	w.t.Helper()
	quoted := make([]string, len(scopes))
	for i, s := range scopes {
		quoted[i] = fmt.Sprintf("%q", s)
	}

	a := admin.send("POST", accountsPath, fmt.Sprintf(`{"name":%q,"scopes":[%s]}`, "Program "+uuid.NewString(),
		strings.Join(quoted, ","))).want(201)
	return &client{w: w, id: a.text("client_id"), secret: a.text("client_secret")}
}

// grant is the form of a request for a token.
func (c *client) grant(more ...string) url.Values {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.id}, "client_secret": {c.secret},
	}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

func (c *client) fetch(more ...string) *answer {
	c.w.t.Helper()
	return c.w.ask(c.grant(more...).Encode())
}

// ask sends a form to the token endpoint.
func (w *world) ask(form string, headers ...string) *answer {
	w.t.Helper()
	return w.send("POST", tokenPath, form, append([]string{"Content-Type", formType}, headers...)...)
}

func (c *client) send(method, path, body string, headers ...string) *answer {
	c.w.t.Helper()
	return c.w.send(method, path, body, append([]string{"Authorization", "Bearer " + c.access}, headers...)...)
}

// wantRefusal checks a refusal in the form of RFC 6749 §5.2.
func (a *answer) wantRefusal(status int, name string) *answer {
	a.t.Helper()
	a.want(status)
	if a.text("error") != name || a.text("error_description") == "" || len(a.json) != 2 {
		a.t.Errorf("%s: want %s: %s", a.what, name, a.raw)
	}
	a.wantUncached()
	if (status == 401) != strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic realm=") {
		a.t.Errorf("%s: WWW-Authenticate %q", a.what, a.header.Get("WWW-Authenticate"))
	}
	return a
}

func (a *answer) wantUncached() {
	a.t.Helper()
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" ||
		a.header.Get("Content-Type") != "application/json" {
		a.t.Errorf("%s: %v", a.what, a.header)
	}
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

func TestAProgramGetsATokenByEitherWayOfProvingItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.unsigned(w.staff(domain.Admin, "KZN225"), domain.ScopeCheck, domain.ScopeRead)

	for how, a := range map[string]*answer{
		"in the body":   c.fetch(),
		"by HTTP Basic": w.ask("grant_type=client_credentials", "Authorization", basic(c.id, c.secret)),
		"with its id besides": w.ask("grant_type=client_credentials&client_id="+c.id,
			"Authorization", basic(c.id, c.secret)),
		"with a charset": w.send("POST", tokenPath, c.grant().Encode(),
			"Content-Type", formType+"; charset=UTF-8"),
		"with an unknown parameter":   c.fetch("audience", "trust"),
		"with an empty scope":         c.fetch("scope", ""),
		"with its scopes in disorder": c.fetch("scope", "consents:read  consents:check"),
	} {
		a.want(200).wantUncached()
		if a.text("token_type") != "Bearer" || a.json["expires_in"] != 900.0 || len(a.json) != 4 ||
			a.text("scope") != "consents:check consents:read" {
			t.Errorf("%s: %s", how, a.raw)
		}
		claims := claimsOf(t, a.text("access_token"))
		if claims["type"] != "program" || claims["sub"] != c.id || claims["role"] != nil {
			t.Errorf("%s: %v", how, claims)
		}
	}

	narrow := c.fetch("scope", "consents:check").want(200)
	if narrow.text("scope") != "consents:check" {
		t.Errorf("a narrower scope: %s", narrow.raw)
	}
	c.access = narrow.text("access_token")
	c.send("GET", "/api/v1/consents?subject_id="+uuid.NewString(), "").wantProblem(403, domain.CodeInsufficientScope)
}

func TestTokenRequestsAreRefusedInTheWordsOfOAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.unsigned(w.staff(domain.Admin, "KZN225"), domain.ScopeCheck)
	form := c.grant().Encode()

	without := func(name string) string {
		f := c.grant()
		f.Del(name)
		return f.Encode()
	}
	for what, refused := range map[string]struct {
		form, authorization string
		status              int
		name                string
	}{
		"no grant_type":       {without("grant_type"), "", 400, "invalid_request"},
		"an empty grant_type": {c.grant("grant_type", "").Encode(), "", 400, "invalid_request"},
		"a password":          {c.grant("grant_type", "password").Encode(), "", 400, "unsupported_grant_type"},
		"an empty body":       {" ", "", 400, "invalid_request"},
		"a repeated one":      {form + "&client_secret=" + c.secret, "", 400, "invalid_request"},
		"a repeated stranger": {form + "&x=1&x=2", "", 400, "invalid_request"},
		"half an escape":      {form + "&x=%f", "", 400, "invalid_request"},
		"no text":             {form + "&x=%ff", "", 400, "invalid_request"},
		"NUL":                 {form + "&x=%00", "", 400, "invalid_request"},
		"a semicolon":         {form + ";x=1", "", 400, "invalid_request"},
		"two ways at once":    {form, basic(c.id, c.secret), 400, "invalid_request"},
		"two clients": {
			"grant_type=client_credentials&client_id=x", basic(c.id, c.secret), 400, "invalid_request",
		},

		"no client":         {without("client_id"), "", 401, "invalid_client"},
		"no secret":         {without("client_secret"), "", 401, "invalid_client"},
		"a wrong secret":    {c.grant("client_secret", c.secret+"x").Encode(), "", 401, "invalid_client"},
		"an unknown client": {c.grant("client_id", uuid.NewString()).Encode(), "", 401, "invalid_client"},
		"no id":             {c.grant("client_id", "thandi@example.org").Encode(), "", 401, "invalid_client"},
		"an empty secret":   {c.grant("client_secret", "").Encode(), "", 401, "invalid_client"},
		"a bearer":          {"grant_type=client_credentials", "Bearer x", 401, "invalid_client"},
		"half of Basic":     {"grant_type=client_credentials", "Basic eA==", 401, "invalid_client"},
		"no base64":         {"grant_type=client_credentials", "Basic %%", 401, "invalid_client"},

		"a scope it has not": {c.grant("scope", "consents:check consents:record").Encode(), "", 400, "invalid_scope"},
		"an unknown scope":   {c.grant("scope", "everything").Encode(), "", 400, "invalid_scope"},
	} {
		headers := []string{}
		if refused.authorization != "" {
			headers = append(headers, "Authorization", refused.authorization)
		}
		a := w.ask(refused.form, headers...)
		if a.status != refused.status || a.text("error") != refused.name {
			t.Errorf("%s: %d %s", what, a.status, a.raw)
			continue
		}
		a.wantRefusal(refused.status, refused.name)
	}

	w.send("POST", tokenPath, `{"grant_type":"client_credentials"}`).wantRefusal(400, "invalid_request")
	w.send("POST", tokenPath+"?client_secret="+c.secret, "grant_type=client_credentials&client_id="+c.id,
		"Content-Type", formType).wantRefusal(400, "invalid_request")
	w.send("POST", tokenPath, strings.Repeat("x", 1<<20+1), "Content-Type", formType).wantProblem(413, "too_large")
	w.send("GET", tokenPath, "").wantProblem(405, "method_not_allowed")
}

func TestAWrongSecretAndAnUnknownClientAreAnsweredAlike(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	c, revoked := w.unsigned(admin, domain.ScopeCheck), w.unsigned(admin, domain.ScopeCheck)
	admin.send("POST", accountsPath+"/"+revoked.id+"/revoke", "").want(200)

	wrong := c.fetch("client_secret", "salga_secret_x").wantRefusal(401, "invalid_client")
	for what, a := range map[string]*answer{
		"an unknown client": c.fetch("client_id", uuid.NewString()),
		"a revoked one":     revoked.fetch(),
	} {
		if a.status != wrong.status || a.raw != wrong.raw {
			t.Errorf("%s: %d %s, but a wrong secret %d %s", what, a.status, a.raw, wrong.status, wrong.raw)
		}
	}
}

func TestAServiceAccountIsCreatedOnceAndItsSecretShownOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	create := func(body string, headers ...string) *answer {
		return admin.send("POST", accountsPath, body, headers...)
	}

	body := `{"name":" SMS  alerts ","scopes":["consents:read","consents:check","consents:read"]}`
	first := create(body, "Idempotency-Key", "k").want(201)
	if first.text("name") != "SMS alerts" || fmt.Sprint(first.json["scopes"]) != "[consents:check consents:read]" ||
		first.text("id") != first.text("client_id") ||
		!strings.HasPrefix(first.text("client_secret"), "salga_secret_") ||
		len(first.text("client_secret")) < 50 || first.text("created_by") != admin.id {
		t.Errorf("created: %s", first.raw)
	}

	again := create(body, "Idempotency-Key", "k").want(201)
	if _, shown := again.json["client_secret"]; shown || again.text("id") != first.text("id") ||
		again.header.Get("Event-Position") != first.header.Get("Event-Position") {
		t.Errorf("repeated: %s", again.raw)
	}
	create(`{"name":"Other","scopes":["consents:read"]}`, "Idempotency-Key", "k").
		wantProblem(422, domain.CodeIdempotencyKeyReused)

	for what, spoilt := range map[string]string{
		"no scopes":        `{"name":"Alerts","scopes":[]}`,
		"an unknown scope": `{"name":"Alerts","scopes":["consents:check","everything"]}`,
		"an empty scope":   `{"name":"Alerts","scopes":[""]}`,
		"no name":          `{"name":"","scopes":["consents:check"]}`,
		"a marked-up name": `{"name":"<b>","scopes":["consents:check"]}`,
	} {
		if a := create(spoilt); a.status != 422 {
			t.Errorf("%s: %d %s", what, a.status, a.raw)
		}
	}
	if a := create(`{"name":"","scopes":["x"]}`).wantProblem(422, domain.CodeInvalid); len(a.faults()) != 2 {
		t.Errorf("all faults at once: %s", a.raw)
	}

	create(`{"name":"sms alerts","scopes":["events:read"]}`).wantProblem(409, domain.CodeNameTaken)
	w.staff(domain.Admin, "CPT").send("POST", accountsPath, `{"name":"SMS alerts","scopes":["events:read"]}`).want(201)
	admin.send("POST", accountsPath+"/"+first.text("id")+"/revoke", "").want(200)
	create(`{"name":"SMS alerts","scopes":["events:read"]}`).want(201)
}

func TestARotatedSecretGoesOnForAsLongAsWasSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	c := w.program(admin, domain.ScopeCheck)
	rotate := func(body string, headers ...string) *answer {
		return admin.send("POST", accountsPath+"/"+c.id+"/rotate", body, headers...)
	}
	check := func(access string) *answer {
		return w.send("GET", "/api/v1/consents/check?purpose=platform_registration&subject_id="+admin.id, "",
			"Authorization", "Bearer "+access)
	}

	for _, spoilt := range []string{
		`{"overlap_seconds":-1}`, `{"overlap_seconds":604801}`, `{"overlap_seconds":9223372036854775807}`,
		`{"overlap_seconds":-9223372036854775808}`,
	} {
		rotate(spoilt).wantProblem(422, domain.CodeInvalid)
	}

	first := rotate("", "Idempotency-Key", "k").want(200)
	again := rotate("", "Idempotency-Key", "k").want(200)
	if first.text("client_secret") == "" || again.text("client_secret") != "" ||
		first.text("former_secret_until") != "2026-03-02T12:00:00.000000Z" {
		t.Errorf("%s\n%s", first.raw, again.raw)
	}

	former := c.fetch().want(200).text("access_token")
	w.later(24*time.Hour - time.Second)
	last := c.fetch().want(200).text("access_token")
	check(last).want(200)
	check(former).wantProblem(401, domain.CodeInvalidToken) // 15 minutes
	w.later(time.Second)
	c.fetch().wantRefusal(401, "invalid_client")
	check(last).wantProblem(401, domain.CodeInvalidToken)

	admin = w.signIn(admin.email, "KZN225", admin.id, admin.tenant)
	c.secret = first.text("client_secret")
	running := c.fetch().want(200).text("access_token")
	leaked := rotate(`{"overlap_seconds":0}`).want(200)
	check(running).wantProblem(401, domain.CodeInvalidToken)
	c.fetch().wantRefusal(401, "invalid_client")
	c.secret = leaked.text("client_secret")
	c.fetch().want(200)
	if n := len(w.store.secrets[domain.ServiceAccountID{UUID: uuid.MustParse(c.id)}]); n != 1 {
		t.Errorf("%d secrets are kept", n)
	}
}

func TestARevokedProgramStopsAtItsNextRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	c := w.program(admin, domain.ScopeCheck)
	path := accountsPath + "/" + c.id
	check := "/api/v1/consents/check?purpose=platform_registration&subject_id=" + admin.id

	c.send("GET", check, "").want(200)
	revoked := admin.send("POST", path+"/revoke", "").want(200)
	c.send("GET", check, "").wantProblem(401, domain.CodeInvalidToken)
	c.fetch().wantRefusal(401, "invalid_client")

	w.later(time.Hour)
	admin = w.signIn(admin.email, "KZN225", admin.id, admin.tenant)
	again := admin.send("POST", path+"/revoke", "").want(200)
	if again.raw != revoked.raw || again.header.Get("Event-Position") != revoked.header.Get("Event-Position") {
		t.Errorf("again: %s\nfirst: %s", again.raw, revoked.raw)
	}
	admin.send("POST", path+"/rotate", "").wantProblem(409, domain.CodeServiceAccountRevoked)
	if a := admin.send("GET", path, "").want(200); a.json["is_active"] != false || a.raw != revoked.raw {
		t.Errorf("shown: %s", a.raw)
	}
	if len(w.store.secrets[domain.ServiceAccountID{UUID: uuid.MustParse(c.id)}]) != 0 {
		t.Error("its secret is still kept")
	}
}

func TestAClosedMunicipalitysProgramsStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	c := w.program(admin, domain.ScopeCheck)
	salga := w.staff(domain.Admin, domain.PlatformCode)
	municipality := "/api/v1/municipalities/" + admin.tenant
	check := "/api/v1/consents/check?purpose=platform_registration&subject_id=" + admin.id

	salga.send("POST", municipality+"/deactivate", "").want(200)
	c.send("GET", check, "").wantProblem(403, domain.CodeMunicipalityInactive)
	c.fetch().wantRefusal(401, "invalid_client")
	salga.send("POST", municipality+"/reactivate", "").want(200)
	c.send("GET", check, "").want(200)
	c.fetch().want(200)
}

func TestNoTokenIsTakenForAnotherKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	c := w.program(admin, domain.Scopes()...)

	w.send("POST", "/api/v1/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, c.access)).
		wantProblem(401, domain.CodeInvalidToken)
	for kind, token := range map[string]string{"program": admin.access, "access": c.access, "refresh": c.access} {
		claims := claimsOf(t, token)
		claims["type"] = kind
		forged := forge(t, jwt.SigningMethodHS256, []byte(secret), claims)
		a := w.send("GET", "/api/v1/consents?subject_id="+admin.id, "", "Authorization", "Bearer "+forged)
		if a.status != 401 {
			t.Errorf("a token made a %s: %d %s", kind, a.status, a.raw)
		}
	}

	// A scope that the service account does not have is worth nothing, whoever signed it.
	c = w.program(admin, domain.ScopeCheck)
	claims := claimsOf(t, c.access)
	claims["scope"] = "consents:check consents:read"
	c.access = forge(t, jwt.SigningMethodHS256, []byte(secret), claims)
	c.send("GET", "/api/v1/consents?subject_id="+admin.id, "").wantProblem(403, domain.CodeInsufficientScope)
}

func TestWhatAProgramDoesNamesIt(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	admin, resident := w.staff(domain.Admin, "KZN225"), w.citizen("thandi@example.org")
	c := w.program(admin, domain.Scopes()...)
	of := "subject_id=" + resident.id

	c.send("GET", "/api/v1/consents", "").wantProblem(422, domain.CodeInvalid)
	c.send("GET", "/api/v1/consents/check?purpose=newsletter", "").wantProblem(422, domain.CodeInvalid)
	record := func(more string) *answer {
		return c.send("POST", "/api/v1/consents", fmt.Sprintf(
			`{"subject_id":%q,"purpose":"newsletter","language":"zu","consented":true%s}`, resident.id, more))
	}
	if a := record("").wantProblem(422, domain.CodeInvalid); a.faults()["channel"] != "required" {
		t.Errorf("without a channel: %s", a.raw)
	}
	record(`,"channel":"ussd","given_at":"2026-02-01T00:00:00Z"`).wantProblem(422, domain.CodeEvidenceRequired)
	recorded := record(`,"channel":"ussd"`).want(201)
	if recorded.text("recorded_by") != c.id {
		t.Errorf("recorded by: %s", recorded.raw)
	}

	c.send("GET", "/api/v1/consents?"+of, "", "Min-Event-Position", w.head()).want(200)
	c.send("GET", "/api/v1/consents/"+recorded.text("id"), "").want(200)
	c.send("GET", "/api/v1/consents/check?purpose=newsletter&"+of, "").want(200)
	c.send("GET", "/api/v1/consents/check?purpose=newsletter&"+of, "").want(200) // one look an hour
	c.send("GET", "/api/v1/compliance/subjects/"+resident.id+"/history", "").want(200)
	c.send("POST", "/api/v1/consents/"+recorded.text("id")+"/withdraw", "").want(200)

	for path, at := range map[string]string{
		"/api/v1/compliance/exposure?" + of:                       "actor",
		"/api/v1/compliance/exposure?actor_id=" + c.id:            "actor",
		"/api/v1/audit-logs?user_id=" + c.id:                      "user_id",
		"/api/v1/compliance/subjects/" + resident.id + "/history": "actor",
	} {
		var named int
		for _, item := range admin.send("GET", path, "").want(200).items() {
			if item[at] == c.id {
				named++
				if item["actor_kind"] != "program" || !strings.HasPrefix(fmt.Sprint(item["actor_name"]), "Program ") {
					t.Errorf("%s: %v", path, item)
				}
			} else if item["actor_kind"] == "program" {
				t.Errorf("%s: %v", path, item)
			}
		}
		if named < 2 {
			t.Errorf("%s names the program %d times", path, named)
		}
	}
	history := admin.send("GET", "/api/v1/compliance/subjects/"+resident.id+"/history", "").want(200).items()
	if last := history[len(history)-1]; last["recorded_by"] != "program" {
		t.Errorf("the withdrawal: %v", last)
	}

	data := resident.send("GET", "/api/v1/data-rights/my-data", "").want(200)
	for list, count := range map[string]int{"reads": 4, "recipients": 1, "programs": 1} {
		of, _ := data.json[list].([]any)
		if n := len(slices.DeleteFunc(slices.Clone(of), func(item any) bool {
			m := item.(map[string]any)
			return m["actor"] != c.id && m["id"] != c.id
		})); n != count {
			t.Errorf("%s name the program %d times, want %d: %v", list, n, count, of)
		}
	}
	page := resident.send("GET", "/api/v1/data-rights/my-data/page?lang=en", "").want(200)
	if !strings.Contains(page.raw, "Program ") {
		t.Error("the page does not name the program")
	}
}

func TestAResidentSeesWhichProgramsMayAskAboutThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, resident := w.staff(domain.Admin, "KZN225"), w.citizen("thandi@example.org")
	revoked, c := w.unsigned(admin, domain.ScopeRead), w.unsigned(admin, domain.ScopeCheck)
	w.unsigned(w.staff(domain.Admin, "CPT"), domain.ScopeCheck)
	admin.send("POST", accountsPath+"/"+revoked.id+"/revoke", "").want(200)

	items := resident.send("GET", "/api/v1/data-rights/programs", "").want(200).items()
	if len(items) != 1 || items[0]["id"] != c.id || fmt.Sprint(items[0]["scopes"]) != "[consents:check]" {
		t.Errorf("%v", items)
	}
}

func TestAThousandProgramsAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	var made []string
	for range 1000 {
		made = append(made, w.unsigned(admin, domain.ScopeCheck).id)
	}
	slices.Reverse(made)

	var listed []string
	for after := ""; ; {
		a := admin.send("GET", accountsPath+"?limit=100&after="+after, "").want(200)
		for _, item := range a.items() {
			listed = append(listed, item["id"].(string))
			if item["client_secret"] != nil {
				t.Fatal("a secret is listed")
			}
		}
		if after = a.text("next"); after == "" {
			break
		}
	}
	if !slices.Equal(listed, made) {
		t.Errorf("%d are listed, or not in order", len(listed))
	}
	admin.send("GET", accountsPath+"?after=%21", "").wantProblem(422, domain.CodeInvalid)
}

func TestAProgramHasALimitOfItsOwnWhateverItsAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits(func(l *apphttp.Limits) {
		l.Service = apphttp.Limit{Count: 5, Per: time.Minute}
		l.SignedInAddress = apphttp.Limit{Count: 8, Per: time.Minute}
		l.Address = apphttp.Limit{Count: 1000, Per: time.Minute}
	}), behindProxy)
	admin := w.staff(domain.Admin, "KZN225")
	one, other := w.program(admin, domain.ScopeCheck), w.program(admin, domain.ScopeCheck)
	path := "/api/v1/consents/check?purpose=platform_registration&subject_id=" + admin.id

	for i := range 5 {
		one.send("GET", path, "", "X-Forwarded-For", fmt.Sprintf("10.0.0.%d", i)).want(200)
		other.send("GET", path, "").want(200) // more than the address alone may
	}
	one.send("GET", path, "").wantProblem(429, "rate_limited")
	other.send("GET", path, "").wantProblem(429, "rate_limited")
	admin.send("GET", "/api/v1/users/me", "").want(200)
	w.later(time.Minute)
	one.send("GET", path, "").want(200)
}

func TestGuessesOfASecretAreLimitedAndRightOnesAreNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits(func(*apphttp.Limits) {}), behindProxy)
	admin := w.staff(domain.Admin, "KZN225")
	c := w.unsigned(admin, domain.ScopeCheck)
	from := func(address, id, secret string) *answer {
		return w.ask((&client{id: id, secret: secret}).grant().Encode(), "X-Forwarded-For", address)
	}

	for range 40 {
		from("10.0.0.1", c.id, c.secret).want(200)
	}
	for range 5 {
		from("10.0.0.1", c.id, "wrong").wantRefusal(401, "invalid_client")
	}
	for _, secret := range []string{"wrong", c.secret} {
		a := from("10.0.0.1", c.id, secret).wantProblem(429, "rate_limited")
		if a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	from("10.0.0.2", c.id, c.secret).want(200)

	// The two that were refused count too, by their address.
	for range 23 {
		from("10.0.0.1", uuid.NewString(), "wrong").wantRefusal(401, "invalid_client")
	}
	from("10.0.0.1", uuid.NewString(), "wrong").wantProblem(429, "rate_limited")
	// People at the same address still sign in.
	w.signInFrom("10.0.0.1", admin.email, password).want(200)
}

func TestNoLogLineAndNoEventHoldsASecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.Debug = true })
	admin := w.staff(domain.Admin, "KZN225")
	c := w.program(admin, domain.ScopeCheck)
	hidden := []string{c.secret, c.access}

	w.send("POST", tokenPath+"?client_secret="+c.secret, "", "Content-Type", formType).
		wantRefusal(400, "invalid_request")
	w.send("GET", "/api/v1/consents/check?client_secret="+c.secret, "").wantProblem(401, "not_signed_in")
	c.send("GET", "/api/v1/consents/check?purpose=newsletter&access_token="+c.access, "").
		wantProblem(422, "unknown_parameter")
	c.send("GET", "/api/v1/consents/check?client_secret="+c.secret, "").wantProblem(422, "unknown_parameter")
	w.ask("grant_type=client_credentials&client_id=" + c.secret + "&client_secret=" + c.secret).want(401)
	w.ask("grant_type=client_credentials", "Authorization", basic(c.secret, c.id)).want(401)
	w.ask("grant_type=" + c.secret).want(400)
	c.fetch("scope", c.secret).wantRefusal(400, "invalid_scope")
	rotated := admin.send("POST", accountsPath+"/"+c.id+"/rotate", "").want(200).text("client_secret")
	admin.send("POST", accountsPath, fmt.Sprintf(`{"name":"x","scopes":[%q]}`, rotated)).
		wantProblem(422, domain.CodeInvalid)
	hidden = append(hidden, rotated)

	logged := w.log.String()
	for _, e := range w.store.log {
		logged += string(e.payload) + fmt.Sprint(e.Metadata)
	}
	for _, secret := range hidden {
		if strings.Contains(logged, secret) || strings.Contains(logged, url.QueryEscape(secret)) {
			t.Errorf("%s… was written down", secret[:16])
		}
	}
}

func TestEachScopeOpensItsRoutesAndNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")

	for _, scope := range domain.Scopes() {
		c := w.program(admin, scope)
		opened := 0

		for _, l := range apphttp.Lines() {
			path, body := w.sample(l)
			a := c.send(l.Method, path, body)
			switch {
			case !l.Account:
				continue
			case l.Scope == "":
				a.wantProblem(403, domain.CodeForbidden)
			case l.Scope != scope:
				a.wantProblem(403, domain.CodeInsufficientScope)
				if !strings.Contains(a.text("detail"), string(l.Scope)) {
					t.Errorf("%s: %s", l.ID, a.raw)
				}
			default:
				if opened++; a.status == 401 || a.status == 403 {
					t.Errorf("%s with %s: %s", l.ID, scope, a.raw)
				}
			}
		}
		if opened == 0 {
			t.Errorf("%s opens nothing", scope)
		}
	}
}
