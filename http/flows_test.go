package http_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

func TestRegister(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	a := w.send("POST", "/api/v1/auth/register", registration("Thandi@Example.org")).want(201)
	for name, want := range map[string]any{
		"email": "thandi@example.org", "full_name": "Thandi Ṱhaba", "phone": "+27821234567",
		"preferred_language": "zu", "role": "citizen", "is_active": true,
		"municipality_code": "KZN225", "tenant_id": w.tenants["KZN225"].String(),
		"created_at": "2026-03-01T12:00:00.000000Z",
	} {
		if a.json[name] != want {
			t.Errorf("%s is %v, want %v", name, a.json[name], want)
		}
	}

	if id, err := uuid.Parse(a.text("id")); err != nil || id.Version() != 7 {
		t.Errorf("id %q", a.text("id"))
	}
	if a.header.Get("ETag") != `"1"` || a.header.Get("Event-Position") != "4" {
		t.Errorf("headers %v", a.header)
	}
	if strings.Contains(a.raw, "password") || strings.Contains(a.raw, "argon2") {
		t.Errorf("the answer holds a password: %s", a.raw)
	}

	const platform, zulu = "platform_registration", `"language":"zu","consented"`
	const words = `"purpose_description":"Whatever",`
	without, _, _ := strings.Cut(registration("b@example.org"), `,"consent"`)
	change := func(from, to string) string { return strings.Replace(registration("b@example.org"), from, to, 1) }
	for name, c := range map[string]struct {
		body   string
		status int
		code   domain.Code
	}{
		"the same address in other letters": {registration("tHANDI@eXAMPLE.ORG"), 409, domain.CodeEmailTaken},
		"no such municipality":              {change("kzn225", "NONE"), 404, domain.CodeUnknownMunicipality},
		"no municipality":                   {change("kzn225", ""), 404, domain.CodeUnknownMunicipality},
		"SALGA itself":                      {change("kzn225", "salga"), 404, domain.CodeUnknownMunicipality},
		"no consent":                        {without + "}", 422, domain.CodeConsentRequired},
		"consent null":                      {without + `,"consent":null}`, 422, domain.CodeConsentRequired},
		"consent not given":                 {change("true", "false"), 422, domain.CodeConsentRequired},
		"consent to another purpose":        {change(platform, "newsletter"), 422, domain.CodeConsentRequired},
		"other words":                       {change(zulu, words+zulu), 422, domain.CodeWordingMismatch},
		"an unknown language of consent":    {change(zulu, `"language":"xh","consented"`), 422, domain.CodeInvalid},
		"a role of one's choice":            {change("{", `{"role":"admin",`), 422, domain.CodeInvalid},
		"a short password":                  {change(password, "1234567"), 422, domain.CodeInvalid},
	} {
		a := w.send("POST", "/api/v1/auth/register", c.body)
		if a.status != c.status || a.text("code") != string(c.code) {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}

	admin := w.staff(domain.Admin, "SALGA")
	admin.send("POST", "/api/v1/municipalities/"+w.tenants["KZN225"].String()+"/deactivate", "").want(200)
	w.send("POST", "/api/v1/auth/register", registration("c@example.org")).
		wantProblem(400, domain.CodeMunicipalityInactive)
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.citizen("thandi@example.org")
	login := func(email, pass, code string) *answer {
		return w.send("POST", "/api/v1/auth/login",
			fmt.Sprintf(`{"email":%q,"password":%q,"municipality_code":%q}`, email, pass, code))
	}

	a := login("THANDI@example.org", password, "").want(200)
	if a.text("token_type") != "bearer" || a.json["expires_in"] != float64(1800) || len(a.json) != 4 {
		t.Errorf("answer %s", a.raw)
	}
	login("thandi@example.org", password, "Kzn225").want(200)

	failures := map[string]*answer{
		"wrong password":          login("thandi@example.org", password+"x", ""),
		"unknown address":         login("nobody@example.org", password, ""),
		"another municipality":    login("thandi@example.org", password, "CPT"),
		"an unknown municipality": login("thandi@example.org", password, "NONE"),
		"nothing":                 login("", "", ""),
		"no e-mail address":       login("a b@@", password, ""),
	}

	other := strings.Replace(registration("thandi@example.org"), "kzn225", "CPT", 1)
	w.send("POST", "/api/v1/auth/register", other).want(201)
	failures["an address with two accounts"] = login("thandi@example.org", password, "")
	login("thandi@example.org", password, "CPT").want(200)

	for name, a := range failures {
		a.wantProblem(401, domain.CodeInvalidCredentials)
		if a.raw != failures["nothing"].raw || !strings.Contains(a.text("detail"), "municipality_code") {
			t.Errorf("%s: another answer: %s", name, a.raw)
		}
	}

	for _, body := range []string{
		`{}`, `{"email":"a@example.org"}`, `{"password":"x"}`, `{"email":null,"password":"x"}`,
	} {
		w.send("POST", "/api/v1/auth/login", body).wantProblem(422, domain.CodeInvalid)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	refresh := func(token string) *answer {
		return w.send("POST", "/api/v1/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, token))
	}

	refresh(p.access).wantProblem(401, domain.CodeInvalidToken)
	refresh("").wantProblem(401, domain.CodeInvalidToken)

	// A client whose answer was lost asks again with the same token.
	second := refresh(p.rotating).want(200)
	lost := refresh(p.rotating).want(200)
	if lost.text("refresh_token") != second.text("refresh_token") {
		t.Error("the token just replaced returns another successor")
	}

	third := refresh(second.text("refresh_token")).want(200)
	me := func(token string) *answer {
		return w.send("GET", "/api/v1/users/me", "", "Authorization", "bearer "+token)
	}
	me(third.text("access_token")).want(200)

	// A token used again ends the whole session.
	refresh(p.rotating).wantProblem(401, domain.CodeSessionEnded)
	refresh(third.text("refresh_token")).wantProblem(401, domain.CodeSessionEnded)
	me(third.text("access_token")).wantProblem(401, domain.CodeSessionEnded)

	q := w.signIn("thandi@example.org", "KZN225", p.id, p.tenant)
	logout := fmt.Sprintf(`{"refresh_token":%q}`, q.rotating)
	if a := w.send("POST", "/api/v1/auth/logout", logout).want(204); a.raw != "" {
		t.Errorf("an unexpected body: %q", a.raw)
	}
	w.send("POST", "/api/v1/auth/logout", logout).want(204)
	q.send("GET", "/api/v1/users/me", "").wantProblem(401, domain.CodeSessionEnded)

	r := w.signIn("thandi@example.org", "KZN225", p.id, p.tenant)
	w.later(30 * time.Minute)
	r.send("GET", "/api/v1/users/me", "").wantProblem(401, domain.CodeInvalidToken)
	again := refresh(r.rotating).want(200)
	w.later(7*24*time.Hour + time.Second)
	refresh(again.text("refresh_token")).wantProblem(401, domain.CodeInvalidToken)
}

func TestOwnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	w.citizen("taken@example.org")
	patch := func(body string) *answer { return p.send("PATCH", "/api/v1/users/me", body) }

	before := patch(`{}`).want(200)
	if before.header.Get("Event-Position") == "" || before.header.Get("ETag") != `"1"` {
		t.Errorf("an answer to no change: %v", before.header)
	}

	a := patch(`{"phone":null,"preferred_language":"af","full_name":"Thandi  Nkosi"}`).want(200)
	if a.json["phone"] != nil || a.text("preferred_language") != "af" || a.text("full_name") != "Thandi Nkosi" {
		t.Errorf("changed: %s", a.raw)
	}

	patch(`{"phone":"0821234567"}`).want(200)
	if a := patch(`{"phone":""}`).want(200); a.json["phone"] != nil {
		t.Errorf("an empty phone did not remove it: %s", a.raw)
	}

	patch(`{"phone":5}`).wantProblem(422, domain.CodeInvalid)
	for _, body := range []string{`{"role":"admin"}`, `{"is_active":false}`, `{"id":"x"}`, `{"tenant_id":"x"}`} {
		patch(body).wantProblem(422, domain.CodeInvalid)
	}

	patch(`{"email":"new@example.org"}`).wantProblem(401, domain.CodePasswordWrong)
	patch(`{"email":"new@example.org","current_password":"wrong"}`).wantProblem(401, domain.CodePasswordWrong)
	patch(fmt.Sprintf(`{"email":"TAKEN@example.org","current_password":%q}`, password)).
		wantProblem(409, domain.CodeEmailTaken)
	patch(fmt.Sprintf(`{"email":"new@example.org","current_password":%q}`, password)).want(200)
	w.signIn("new@example.org", "KZN225", p.id, p.tenant)

	other := w.signIn("new@example.org", "KZN225", p.id, p.tenant)
	put := func(body string) *answer { return p.send("PUT", "/api/v1/users/me/password", body) }

	put(`{"current_password":"wrong","new_password":"another password"}`).wantProblem(401, domain.CodePasswordWrong)
	put(fmt.Sprintf(`{"current_password":%q,"new_password":"short"}`, password)).wantProblem(422, domain.CodeInvalid)
	put(`{}`).wantProblem(422, domain.CodeInvalid)
	set := put(fmt.Sprintf(`{"current_password":%q,"new_password":"another password"}`, password)).want(204)
	if set.header.Get("Event-Position") == "" {
		t.Error("no Event-Position")
	}

	p.send("GET", "/api/v1/users/me", "").want(200)
	other.send("GET", "/api/v1/users/me", "").wantProblem(401, domain.CodeSessionEnded)
}

func TestMunicipalities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "SALGA")
	p := w.citizen("thandi@example.org")
	post := func(body string) *answer { return admin.send("POST", "/api/v1/municipalities", body) }

	a := post(`{"name":"!Kheis","code":"nc084","province":"Northern Cape","category":"B","district_code":"DC8",
		"population":16637,"contact_email":"info@kheis.example"}`).want(201)
	for name, want := range map[string]any{
		"name": "!Kheis", "code": "NC084", "province": "Northern Cape", "category": "B", "district_code": "DC8",
		"population": float64(16637), "contact_email": "info@kheis.example", "is_active": true,
	} {
		if a.json[name] != want {
			t.Errorf("%s is %v, want %v", name, a.json[name], want)
		}
	}

	post(`{"name":"Another","code":"NC084","province":"Northern Cape"}`).wantProblem(409, domain.CodeCodeTaken)
	post(`{"name":"!KHEIS","code":"XX1","province":"Northern Cape"}`).wantProblem(409, domain.CodeNameTaken)
	post(`{"name":"Salga","code":"salga","province":"Gauteng"}`).wantProblem(409, domain.CodeCodeTaken)
	faults := post(`{"name":"x","code":"!","province":"Atlantis","category":"Z","population":-1,"contact_email":"no"}`).
		wantProblem(422, domain.CodeInvalid).faults()
	if len(faults) != 6 {
		t.Errorf("faults %v", faults)
	}

	path := "/api/v1/municipalities/" + a.text("id")
	for _, same := range []string{path, "/api/v1/municipalities/NC084", "/api/v1/municipalities/nc084"} {
		if one := w.send("GET", same, "").want(200); one.text("id") != a.text("id") || one.header.Get("ETag") != `"1"` {
			t.Errorf("%s: %s", same, one.raw)
		}
	}
	for _, absent := range []string{
		uuid.NewString(), "NONE", "SALGA", uuid.Nil.String(), domain.PlatformTenant().String(),
	} {
		w.send("GET", "/api/v1/municipalities/"+absent, "").wantProblem(404, domain.CodeNotFound)
	}

	if n := len(w.send("GET", "/api/v1/municipalities", "").want(200).items()); n != 3 {
		t.Errorf("%d municipalities", n)
	}
	for query, want := range map[string]int{
		"?province=Northern+Cape": 1, "?province=Gauteng": 0, "?category=B": 1, "?category=A": 0, "?q=kheis": 1,
		"?q=%21Kheis": 1, "?q=nothing": 0, "?is_active=true": 3, "?is_active=false": 0, "?after=": 3, "?limit=100": 3,
	} {
		if n := len(w.send("GET", "/api/v1/municipalities"+query, "").want(200).items()); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
	for _, query := range []string{
		"?limit=0", "?limit=101", "?limit=-1", "?limit=abc", "?limit=1.5", "?is_active=maybe", "?is_active=1",
		"?province=Atlantis", "?category=Z", "?is_active=", "?limit=", "?province=", "?category=", "?q=",
	} {
		w.send("GET", "/api/v1/municipalities"+query, "").wantProblem(422, domain.CodeInvalid)
	}

	seen, after := map[string]bool{}, ""
	for range 3 {
		page := w.send("GET", "/api/v1/municipalities?limit=1&after="+after, "").want(200)
		seen[page.items()[0]["id"].(string)] = true
		after = page.text("next")
	}
	if len(seen) != 3 || after != "" {
		t.Errorf("pages: %v, after %q", seen, after)
	}

	b := admin.send("PATCH", path, `{"contact_email":null,"population":1,"name":"!Kheis Local"}`).want(200)
	if b.json["contact_email"] != nil || b.json["population"] != float64(1) || b.header.Get("Event-Position") == "" {
		t.Errorf("changed: %s", b.raw)
	}

	for _, body := range []string{`{"code":"X"}`, `{"province":"Gauteng"}`, `{"is_active":false}`} {
		admin.send("PATCH", path, body).wantProblem(422, domain.CodeInvalid)
	}
	for _, absent := range []string{uuid.NewString(), "NC084", "rubbish"} {
		admin.send("PATCH", "/api/v1/municipalities/"+absent, `{"population":1}`).wantProblem(404, domain.CodeNotFound)
		admin.send("POST", "/api/v1/municipalities/"+absent+"/deactivate", "").wantProblem(404, domain.CodeNotFound)
	}

	own := "/api/v1/municipalities/" + p.tenant
	first := admin.send("POST", own+"/deactivate", "").want(200)
	if again := admin.send("POST", own+"/deactivate", "{}").want(200); again.raw != first.raw ||
		again.header.Get("Event-Position") != first.header.Get("Event-Position") {
		t.Errorf("the second deactivation: %s", again.raw)
	}

	p.send("GET", "/api/v1/users/me", "").wantProblem(403, domain.CodeMunicipalityInactive)
	w.send("POST", "/api/v1/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, p.rotating)).
		wantProblem(403, domain.CodeMunicipalityInactive)
	w.send("POST", "/api/v1/auth/login", fmt.Sprintf(`{"email":"thandi@example.org","password":%q}`, password)).
		wantProblem(401, domain.CodeInvalidCredentials)

	admin.send("POST", own+"/reactivate", "").want(200)
	// A session that has ended does not come back.
	p.send("GET", "/api/v1/users/me", "").wantProblem(401, domain.CodeSessionEnded)
	w.send("POST", "/api/v1/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, p.rotating)).
		wantProblem(401, domain.CodeSessionEnded)
	w.signIn("thandi@example.org", "KZN225", p.id, p.tenant).send("GET", "/api/v1/users/me", "").want(200)
}

// define defines a purpose of a tenant.
func (w *world) define(tenant domain.TenantID, code string, change ...func(*domain.DefinePurpose)) {
	w.t.Helper()
	wish := domain.DefinePurpose{
		Code: code, Basis: domain.ConsentBasis, Retention: "until withdrawn",
		Texts: map[domain.Language]string{
			domain.English: "To send you the newsletter.", domain.Zulu: "Iphephandaba.",
			domain.Afrikaans: "Die nuusbrief.",
		},
	}

	for _, c := range change {
		c(&wish)
	}

	if _, err := w.handler.DefinePurpose(w.t.Context(), commands.System(tenant), wish); err != nil {
		w.t.Fatal(err)
	}
}

// Somebody who decided on version 1 of a wording can read version 1 for ever, whatever
// became of the purpose.
func TestEveryVersionOfAWordingCanBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	w.define(domain.PlatformTenant(), "newsletter")
	w.define(w.tenants["KZN225"], "newsletter")
	publish := `{"texts":{"en":"To tell you more.","zu":"Ukukutshela okuningi.","af":"Om u meer te vertel."}}`
	admin.send("POST", "/api/v1/purposes/newsletter/notices", publish).want(201)
	admin.send("POST", "/api/v1/purposes/newsletter/retire", "").want(200)
	get := func(path string) *answer { return w.send("GET", "/api/v1/purposes/"+path, "") }

	own := get("Newsletter?municipality_code=kzn225").want(200)
	if own.json["retired"] != true || own.json["notice"].(map[string]any)["version"] != 2.0 {
		t.Errorf("retired: %s", own.raw)
	}
	if own.json["own"] != true || own.json["retired_at"] == nil {
		t.Errorf("whose it is, and since when it is retired: %s", own.raw)
	}
	retired := w.send("GET", "/api/v1/purposes?retired=true&municipality_code=KZN225", "").want(200).items()
	if len(retired) != 1 || retired[0]["code"] != "newsletter" {
		t.Errorf("the retired purposes: %v", retired)
	}
	inForce := w.send("GET", "/api/v1/purposes?retired=false&municipality_code=KZN225", "").want(200).items()
	if len(inForce) != 1 || inForce[0]["own"] != false || inForce[0]["retired_at"] != nil {
		t.Errorf("the purposes in force: %v", inForce)
	}
	if other := get("newsletter?municipality_code=CPT").want(200); other.json["retired"] != false {
		t.Errorf("the default: %s", other.raw)
	}

	notices := get("newsletter/notices?municipality_code=KZN225").want(200).items()
	if len(notices) != 2 || notices[0]["version"] != 1.0 || notices[1]["version"] != 2.0 ||
		notices[0]["published_at"] == nil {
		t.Errorf("notices: %v", notices)
	}
	page := get("newsletter/notices?municipality_code=KZN225&limit=1").want(200)
	rest := get("newsletter/notices?municipality_code=KZN225&after=" + page.text("next")).want(200).items()
	if len(rest) != 1 || rest[0]["version"] != 2.0 {
		t.Errorf("the second page: %v", rest)
	}

	first := get("newsletter/notices/1?municipality_code=KZN225").want(200)
	if first.json["texts"].(map[string]any)["zu"] != "Iphephandaba." {
		t.Errorf("version 1: %s", first.raw)
	}
	if built := get("platform_registration/notices/1").want(200); built.json["published_at"] != nil {
		t.Errorf("the built-in one: %s", built.raw)
	}

	for _, version := range []string{"0", "3", "01", "-1", "x"} {
		get("newsletter/notices/"+version+"?municipality_code=KZN225").wantProblem(404, domain.CodeNotFound)
	}
	for _, path := range []string{"nothing", "nothing/notices", "nothing/notices/1"} {
		get(path).wantProblem(404, domain.CodeUnknownPurpose)
		get(path+"?municipality_code=NONE").wantProblem(404, domain.CodeUnknownMunicipality)
		get(path+"?code=x").wantProblem(422, "unknown_parameter")
	}
}

func TestPurposes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	w.define(w.tenants["KZN225"], "library")
	w.define(w.tenants["KZN225"], "newsletter", func(d *domain.DefinePurpose) { d.Retention = "one year" })

	names := func(query string) string {
		var all []string
		a := w.send("GET", "/api/v1/purposes"+query, "").want(200)
		for _, item := range a.items() {
			all = append(all, item["code"].(string)+":"+item["retention"].(string)[:3])
		}
		if _, ok := a.json["next"]; !ok || a.json["next"] != nil {
			t.Errorf("next: %s", a.raw)
		}
		return strings.Join(all, " ")
	}

	for query, want := range map[string]string{
		"":                          "newsletter:unt platform_registration:unt",
		"?municipality_code=CPT":    "newsletter:unt platform_registration:unt",
		"?municipality_code=kzn225": "library:unt newsletter:one platform_registration:unt",
	} {
		if got := names(query); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}

	var paged []string
	for after, more := "", true; more; {
		page := w.send("GET", "/api/v1/purposes?municipality_code=kzn225&limit=1&after="+after, "").want(200)
		paged = append(paged, page.items()[0]["code"].(string))
		after, more = page.json["next"].(string)
	}
	if got := strings.Join(paged, " "); got != "library newsletter platform_registration" {
		t.Errorf("page by page: %s", got)
	}

	for _, query := range []string{"limit=0", "limit=101", "after=rubbish", "after=!"} {
		w.send("GET", "/api/v1/purposes?"+query, "").wantProblem(422, domain.CodeInvalid)
	}
	w.send("GET", "/api/v1/purposes?municipality_code=NONE", "").wantProblem(404, domain.CodeUnknownMunicipality)

	item := w.send("GET", "/api/v1/purposes", "").items()[0]
	notice := item["notice"].(map[string]any)
	if item["basis"] != "consent" || item["special_personal_information"] != false || notice["version"] != float64(1) ||
		notice["texts"].(map[string]any)["zu"] != "Iphephandaba." ||
		notice["sha256"].(map[string]any)["zu"] != domain.WordingHash("Iphephandaba.") {
		t.Errorf("%v", item)
	}
}

func TestConsents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	w.define(domain.PlatformTenant(), "meter_readings", func(d *domain.DefinePurpose) {
		d.Basis = domain.PublicLawDuty
	})
	w.define(domain.PlatformTenant(), "child_programme", func(d *domain.DefinePurpose) { d.CompetentPerson = true })
	p := w.citizen("thandi@example.org")
	post := func(body string) *answer { return p.send("POST", "/api/v1/consents", body) }

	a := post(`{"purpose":"newsletter","language":"af","consented":true}`).want(201)
	for name, want := range map[string]any{
		"subject_id": p.id, "purpose": "newsletter", "purpose_description": "Die nuusbrief.", "language": "af",
		"consented": true, "consented_at": "2026-03-01T12:00:00.000000Z", "channel": "web",
		"withdrawn": false, "withdrawn_at": nil,
		"given_at": "2026-03-01T12:00:00.000000Z", "recorded_at": "2026-03-01T12:00:00.000000Z",
		"notice_version": float64(1),
	} {
		if a.json[name] != want {
			t.Errorf("%s is %v, want %v", name, a.json[name], want)
		}
	}

	if fmt.Sprint(a.json["position"]) != a.header.Get("Event-Position") {
		t.Errorf("position %v, header %q", a.json["position"], a.header.Get("Event-Position"))
	}

	for consented, code := range map[bool]domain.Code{true: domain.CodeAlreadyGranted, false: domain.CodeInForce} {
		again := post(fmt.Sprintf(`{"purpose":"newsletter","language":"af","consented":%t}`, consented)).
			wantProblem(409, code)
		if again.text("consent_id") != a.text("id") {
			t.Errorf("no consent_id: %s", again.raw)
		}
	}

	granting := func(more string) string {
		return `{"purpose":"newsletter","language":"en","consented":true,` + more + `}`
	}
	for body, code := range map[string]domain.Code{
		`{"purpose":"nothing","language":"en","consented":true}`:         domain.CodeUnknownPurpose,
		`{"purpose":"meter_readings","language":"en","consented":true}`:  domain.CodePurposeNotConsent,
		`{"purpose":"child_programme","language":"en","consented":true}`: domain.CodeCompetentPerson,
		`{"purpose":"newsletter","language":"xx","consented":true}`:      domain.CodeInvalid,
		`{"purpose":"newsletter","language":"en"}`:                       domain.CodeInvalid,
		`{"purpose":"newsletter","language":"en","consented":null}`:      domain.CodeInvalid,
		`{"language":"en","consented":true}`:                             domain.CodeInvalid,

		granting(`"purpose_description":"else"`):                        domain.CodeWordingMismatch,
		granting(`"given_at":"2026-03-01T12:00:01Z"`):                   domain.CodeGivenInFuture,
		granting(`"given_at":"2026-03-01T11:00:00Z"`):                   domain.CodeEvidenceRequired,
		granting(`"given_at":"yesterday"`):                              domain.CodeInvalid,
		granting(`"subject_id":"rubbish"`):                              domain.CodeInvalid,
		granting(`"subject_id":"00000000-0000-0000-0000-000000000000"`): domain.CodeInvalid,
		granting(`"notice_version":0`):                                  domain.CodeInvalid,
		granting(`"notice_version":1e30`):                               domain.CodeInvalid,
		granting(`"channel":"smoke"`):                                   domain.CodeInvalid,
		granting(`"evidence":{}`):                                       domain.CodeInvalid,
		granting(`"evidence":{"sha256":"x","reference":"y","extra":1}`): domain.CodeInvalid,
	} {
		post(body).wantProblem(422, code)
	}

	post(granting(`"notice_version":2`)).wantProblem(409, domain.CodeNoticeChanged)
	other := w.citizen("sipho@example.org")
	post(granting(`"subject_id":"`+other.id+`"`)).wantProblem(403, domain.CodeForbidden)

	post(`{"purpose":"child_programme","language":"en","consented":true,
		"given_by":{"name":"Gogo Nkosi","relation":"guardian","authority":"order 12/2025"}}`).want(201)

	refusal := other.send("POST", "/api/v1/consents",
		`{"purpose":"newsletter","language":"en","consented":false,"subject_id":"`+other.id+`"}`).want(201)
	if refusal.json["consented"] != false || refusal.json["consented_at"] != nil || refusal.text("given_at") == "" {
		t.Errorf("refusal: %s", refusal.raw)
	}
	other.send("POST", "/api/v1/consents/"+refusal.text("id")+"/withdraw", "").wantProblem(409, domain.CodeNotGranted)

	check := func(query string) *answer { return p.send("GET", "/api/v1/consents/check"+query, "") }
	yes := check("?purpose=newsletter").want(200)
	decided := yes.json["decided_by"].(map[string]any)
	if yes.json["allowed"] != true || decided["event_type"] != "consent.granted.v1" ||
		decided["position"] != a.json["position"] || decided["at"] != "2026-03-01T12:00:00.000000Z" ||
		decided["event_id"] == "" {
		t.Errorf("check: %s", yes.raw)
	}

	check("?purpose=nothing").wantProblem(404, domain.CodeUnknownPurpose)
	if before := check("?purpose=newsletter&at=2026-03-01T11:59:59Z").want(200); before.json["allowed"] != false {
		t.Errorf("check before: %s", before.raw)
	}
	known := check("?purpose=newsletter&known_at=2026-03-01T13:59:59%2B02:00").want(200)
	if known.json["allowed"] != false {
		t.Errorf("check as known before: %s", known.raw)
	}

	for _, query := range []string{
		"", "?purpose=", "?purpose=newsletter&at=yesterday",
		"?purpose=newsletter&known_at=2026-13-01T00:00:00Z", "?purpose=newsletter&subject_id=rubbish",
	} {
		check(query).wantProblem(422, domain.CodeInvalid)
	}
	check("?purpose=newsletter&subject_id="+other.id).wantProblem(403, domain.CodeForbidden)

	w.later(10 * time.Minute)
	path := "/api/v1/consents/" + a.text("id")
	other.send("POST", path+"/withdraw", "").wantProblem(404, domain.CodeNotFound)
	p.send("POST", path+"/withdraw", `{"given_at":"2026-03-01T15:00:00Z"}`).wantProblem(422, domain.CodeGivenInFuture)
	gone := p.send("POST", path+"/withdraw", `{"reason":"no longer"}`).want(200)
	if gone.json["withdrawn"] != true || gone.text("withdrawn_at") != "2026-03-01T12:10:00.000000Z" {
		t.Errorf("withdrawn: %s", gone.raw)
	}

	w.later(10 * time.Minute)
	if again := p.send("POST", path+"/withdraw", "").want(200); again.raw != gone.raw ||
		again.header.Get("Event-Position") != gone.header.Get("Event-Position") {
		t.Errorf("the second withdrawal: %s", again.raw)
	}

	for _, absent := range []string{uuid.NewString(), "rubbish", uuid.Nil.String()} {
		p.send("POST", "/api/v1/consents/"+absent+"/withdraw", "").wantProblem(404, domain.CodeNotFound)
		p.send("GET", "/api/v1/consents/"+absent, "").wantProblem(404, domain.CodeNotFound)
	}
}

// Consents given through the account end with it. Those that a clerk recorded stay in
// force; the answer lists them, and staff can withdraw them.
func TestClosingAnAccountListsTheConsentsThatStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	w.define(domain.PlatformTenant(), "sms_alert")
	p, clerk := w.citizen("thandi@example.org"), w.staff(domain.FieldWorker, "KZN225")
	registration := p.send("GET", "/api/v1/consents", "").want(200).items()[0]["id"].(string)
	own := p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"en","consented":true}`).want(201)
	paper := clerk.send("POST", "/api/v1/consents",
		`{"subject_id":"`+p.id+`","purpose":"sms_alert","language":"en","consented":true,"channel":"counter"}`).
		want(201)

	if a := p.send("POST", "/api/v1/consents/"+own.text("id")+"/withdraw", "").want(200); a.json["staying"] != nil {
		t.Errorf("the account is open: %s", a.raw)
	}

	left := p.send("POST", "/api/v1/consents/"+registration+"/withdraw", "").want(200)
	staying, ok := left.json["staying"].([]any)
	if !ok || len(staying) != 1 || staying[0].(map[string]any)["id"] != paper.text("id") {
		t.Errorf("staying: %s", left.raw)
	}
	clerk.send("POST", "/api/v1/consents/"+paper.text("id")+"/withdraw", "").want(200)
}

func TestTheNoticeSaysSinceWhenItIsInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	texts := `"texts":{"en":"One.","zu":"Okunye.","af":"Een."}`
	define := func(code, since string) *answer {
		return admin.send("POST", "/api/v1/purposes",
			fmt.Sprintf(`{"code":%q,"basis":"consent","special_personal_information":false,"retention":"1 year",
				"notice":{%s%s}}`, code, texts, since))
	}
	since := func(a *answer) any { return a.want(201).json["notice"].(map[string]any)["in_use_since"] }

	for code, c := range map[string]struct{ stated, want string }{
		"new_words":   {"", "2026-03-01T12:00:00.000000Z"},
		"old_words":   {`,"in_use_since":"2024-01-01T00:00:00Z"`, "2024-01-01T00:00:00.000000Z"},
		"first_words": {`,"in_use_since":"0001-01-01T00:00:00Z"`, "0001-01-01T00:00:00.000000Z"},
	} {
		if got := since(define(code, c.stated)); got != c.want {
			t.Errorf("%s: %v, want %s", code, got, c.want)
		}
	}
	define("library", `,"in_use_since":"2026-03-01T12:00:01Z"`).wantProblem(422, domain.CodeInvalid)
}

func TestWhoSeesWhoseConsents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	p, q := w.citizen("thandi@example.org"), w.citizen("sipho@example.org")
	clerk, liaison := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.SAPSLiaison, "KZN225")
	stranger := w.staff(domain.Admin, "CPT")

	mine := p.send("GET", "/api/v1/consents", "").want(200).items()
	if len(mine) != 1 || mine[0]["purpose"] != "platform_registration" || mine[0]["language"] != "zu" {
		t.Fatalf("own consents: %v", mine)
	}
	one := "/api/v1/consents/" + mine[0]["id"].(string)
	list := "/api/v1/consents?subject_id=" + p.id
	check := "/api/v1/consents/check?purpose=platform_registration&subject_id=" + p.id

	reads := func() int {
		n := 0
		for _, e := range w.store.events() {
			if _, ok := e.Event.(*domain.PersonalDataRead); ok {
				n++
			}
		}
		return n
	}

	for _, path := range []string{one, list, check} {
		p.send("GET", path, "").want(200)
	}
	if reads() != 0 {
		t.Error("a look at one's own data was recorded as a read")
	}

	for _, other := range []*person{q, liaison} {
		other.send("GET", one, "").wantProblem(404, domain.CodeNotFound)
		other.send("GET", list, "").wantProblem(403, domain.CodeForbidden)
		other.send("GET", check, "").wantProblem(403, domain.CodeForbidden)
	}

	stranger.send("GET", one, "").wantProblem(404, domain.CodeNotFound)
	stranger.send("GET", check, "").wantCheck(false, domain.ReasonUnknownSubject)
	absent := stranger.send("GET", "/api/v1/consents?subject_id="+uuid.NewString(), "").want(200)
	if got := stranger.send("GET", list, "").want(200); got.raw != absent.raw || len(got.items()) != 0 {
		t.Errorf("another tenant's subject is not like an absent one: %s", got.raw)
	}

	stranger.send("POST", "/api/v1/consents",
		`{"purpose":"newsletter","language":"en","consented":true,"subject_id":"`+p.id+`"}`).
		wantProblem(404, domain.CodeNotFound)
	stranger.send("POST", one+"/withdraw", "").wantProblem(404, domain.CodeNotFound)
	if reads() != 0 {
		t.Error("a refusal was recorded as a read")
	}

	clerk.send("GET", check, "").want(200)
	clerk.send("GET", one, "").want(200)
	clerk.send("GET", list, "").want(200)
	if reads() != 3 {
		t.Errorf("%d reads recorded, want 3", reads())
	}

	events := w.store.events()
	last := events[len(events)-1]
	read := last.Event.(*domain.PersonalDataRead)
	if read.Route != "GET /api/v1/consents" || read.Fields != "consents" || read.Subjects[0].String() != p.id ||
		last.Actor.String() != clerk.id {
		t.Errorf("recorded %+v", read)
	}

	clerk.send("POST", "/api/v1/consents",
		`{"purpose":"newsletter","language":"en","consented":true,"channel":"counter","subject_id":"`+p.id+`"}`).
		want(201)
	if len(clerk.send("GET", "/api/v1/consents", "").want(200).items()) != 0 {
		t.Error("staff see others' consents as their own")
	}

	// A read that cannot be recorded is refused.
	w.store.failAppends(domain.Refuse(domain.CodeOverloaded, "full"))
	for _, path := range []string{one, list} {
		a := clerk.send("GET", path, "").wantProblem(503, domain.CodeOverloaded)
		if strings.Contains(a.raw, "platform_registration") {
			t.Errorf("shown without a record: %s", a.raw)
		}
	}
}
