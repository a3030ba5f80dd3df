package http_test

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	apphttp "github.com/salga-trust/engine/http"
)

const (
	erasurePath  = "/api/v1/data-rights/delete-account"
	requestsPath = "/api/v1/data-rights/requests"
	holdsPath    = "/api/v1/data-rights/holds"
)

// marks are the texts that identify the person of these tests. None may show anywhere
// after the erasure.
func marks() []string {
	return []string{
		"marked@example.org", "moved@example.org", "Markedname", "Renamed-Marked", "+27821239876",
		"marked reason", "marked box", "Marked Guardian", "marked-agent", "marked details", "marked note",
		"marked hold",
	}
}

// sendErasure asks for the erasure of one's own account, as it should be asked for.
func (p *person) sendErasure(headers ...string) *answer {
	p.w.t.Helper()
	return p.send("DELETE", erasurePath,
		fmt.Sprintf(`{"confirmation":"DELETE MY ACCOUNT","password":%q}`, password), headers...)
}

// rightsWorld is a real world with the two purposes that the person of these tests
// decides about.
func rightsWorld(t *testing.T) (*world, *pgxpool.Pool) {
	t.Helper()
	w, pool := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	w.define(domain.PlatformTenant(), "library")
	return w, pool
}

// markedPerson registers somebody in KZN225 and does everything that leaves their
// personal data in the log.
func (w *world) markedPerson(clerk, officer *person) *person {
	w.t.Helper()

	body := strings.NewReplacer("Thandi Ṱhaba", "Thandi Markedname", "082 123 4567", "082 123 9876").
		Replace(registration("marked@example.org"))

	a := w.send("POST", "/api/v1/auth/register", body, "User-Agent", "marked-agent/1").want(201)
	p := w.signIn("marked@example.org", "KZN225", a.text("id"), a.text("tenant_id"))

	agent := []string{"User-Agent", "marked-agent/1"}
	p.send("PATCH", "/api/v1/users/me",
		`{"email":"moved@example.org","full_name":"Thandi Renamed-Marked","current_password":"`+password+`"}`,
		agent...).want(200)

	given := time.Now().Add(-48 * time.Hour).UTC().Format(time.RFC3339)
	paper := clerk.send("POST", "/api/v1/consents",
		fmt.Sprintf(`{"subject_id":%q,"purpose":"newsletter","language":"zu","consented":true,
			"channel":"paper","given_at":%q,"evidence":{"sha256":%q,"reference":"marked box 7"},
			"given_by":{"name":"Marked Guardian","relation":"mother","authority":"birth certificate"}}`,
			p.id, given, strings.Repeat("ab", 32))).want(201)

	p.send("POST", "/api/v1/consents/"+paper.text("id")+"/withdraw", `{"reason":"marked reason"}`, agent...).want(200)
	p.send("POST", "/api/v1/consents", `{"purpose":"library","language":"zu","consented":true}`, agent...).want(201)

	request := p.send("POST", requestsPath, `{"kind":"correction","details":"marked details"}`, agent...).want(201)
	officer.send("POST", requestsPath+"/"+request.text("id")+"/fulfil", `{"note":"marked note"}`).want(200)

	hold := officer.send("POST", holdsPath, `{"subject_id":"`+p.id+`","reason":"marked hold"}`).want(201)
	p.sendErasure(agent...).wantProblem(409, domain.CodeRetentionHold)
	officer.send("POST", holdsPath+"/"+hold.text("id")+"/lift", `{"reason":"marked hold, settled"}`).want(200)

	return p
}

// answersAbout returns every answer that could show a person to officers or to SALGA.
func (w *world) answersAbout(p, officer, platform *person) map[string]string {
	w.t.Helper()
	answers := map[string]string{}

	for _, path := range []string{
		"users", "users?q=marked", "users?email=moved@example.org", "users?phone=" + url.QueryEscape("+27821239876"),
		"users/" + p.id, "consents?subject_id=" + p.id, "consents/check?purpose=library&subject_id=" + p.id,
		"compliance/subjects/" + p.id + "/history", "compliance/consents",
		"compliance/exposure?subject_id=" + p.id,
		"audit-logs?limit=100", "audit-logs?record_id=" + p.id, "audit-logs?user_id=" + p.id,
		"data-rights/subject?subject_id=" + p.id, "data-rights/requests?status=fulfilled",
		"data-rights/holds?status=lifted",
	} {
		answers[path] = officer.send("GET", "/api/v1/"+path, "", "Min-Event-Position", w.head()).want(200).raw
	}

	answers["the platform's audit"] = platform.
		send("GET", "/api/v1/audit-logs?limit=100&tenant_id="+p.tenant, "").want(200).raw

	return answers
}

func TestAnErasedPersonIsGoneAndTheirHistoryStays(t *testing.T) {
	t.Parallel()
	w, _ := rightsWorld(t)
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	platform := w.staff(domain.Admin, "SALGA")
	p := w.markedPerson(clerk, officer)

	before := w.answersAbout(p, officer, platform)
	all := strings.Join([]string{
		before["users/"+p.id], before["compliance/subjects/"+p.id+"/history"],
		before["audit-logs?limit=100"], before["data-rights/subject?subject_id="+p.id],
	}, "\n")
	// Each mark shows before the erasure, or the search after it would prove nothing.
	for _, mark := range marks() {
		if !strings.Contains(all, mark) {
			t.Errorf("%q shows nowhere before the erasure", mark)
		}
		if strings.Contains(before["the platform's audit"], mark) {
			t.Errorf("SALGA sees %q", mark)
		}
	}
	export := before["compliance/consents"]

	p.send("DELETE", erasurePath, "").wantProblem(422, domain.CodeInvalid)
	p.send("DELETE", erasurePath, `{"confirmation":"delete my account","password":"x"}`).
		wantProblem(422, domain.CodeInvalid)
	p.send("DELETE", erasurePath, `{"confirmation":"DELETE MY ACCOUNT","password":"x"}`).
		wantProblem(401, domain.CodePasswordWrong)

	gone := p.sendErasure("User-Agent", "marked-agent/1").want(200)
	for _, part := range []string{
		`"what":"profile"`, `"what":"credentials"`, `"what":"consents"`, "s11(2)(a)",
		`"read_tables":{"consents":"done","users":"done"}`,
	} {
		if !strings.Contains(gone.raw, part) {
			t.Errorf("the answer lacks %s: %s", part, gone.raw)
		}
	}

	for path, raw := range w.answersAbout(p, officer, platform) {
		for _, mark := range marks() {
			if strings.Contains(raw, mark) {
				t.Errorf("%q shows in %s: %s", mark, path, raw)
			}
		}
	}

	p.send("GET", "/api/v1/users/me", "").wantProblem(401, domain.CodeSessionEnded)
	p.sendErasure().wantProblem(401, domain.CodeSessionEnded)
	w.send("POST", "/api/v1/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, p.rotating)).
		wantProblem(401, domain.CodeSessionEnded)
	w.send("POST", "/api/v1/auth/login", fmt.Sprintf(`{"email":"moved@example.org","password":%q}`, password)).
		wantProblem(401, domain.CodeInvalidCredentials)

	// The registration, the form, its withdrawal, the library, and two withdrawals by the
	// erasure.
	history := officer.send("GET", "/api/v1/compliance/subjects/"+p.id+"/history", "").want(200).items()
	if len(history) != 6 || history[1]["personal"] != "erased" ||
		history[1]["purpose_description"] != "Iphephandaba." || history[1]["competent_person"] != nil {
		t.Errorf("history: %v", history)
	}

	check := officer.send("GET", "/api/v1/consents/check?purpose=library&subject_id="+p.id, "").want(200)
	if check.json["allowed"] != false {
		t.Errorf("still allowed: %s", check.raw)
	}

	deleted := officer.audit("record_id=" + p.id + "&operation=DELETE&table_name=users")
	if len(deleted) != 1 || deleted[0]["event_type"] != "user.erased.v1" || deleted[0]["ip_address"] != "erased" {
		t.Errorf("the audit of the erasure: %v", deleted)
	}
	made := officer.audit("record_id=" + p.id + "&operation=CREATE&table_name=users")
	if changed(made[0], "email") != [3]any{nil, "erased", "erased"} {
		t.Errorf("the audit of the registration: %v", made)
	}

	certificate := w.send("GET", "/api/v1/data-rights/certificates/"+gone.text("certificate_id"), "").want(200)
	if certificate.text("subject_id") != p.id || certificate.json["position"] != gone.json["position"] ||
		certificate.text("cause") != "self" {
		t.Errorf("certificate: %s", certificate.raw)
	}
	w.send("GET", "/api/v1/data-rights/certificates/"+p.id, "").wantProblem(404, domain.CodeNotFound)

	// The past is as it was: the export at an earlier position is the same, byte for
	// byte.
	at := export[strings.Index(export, ":")+1 : strings.Index(export, ",")]
	if again := officer.send("GET", "/api/v1/compliance/consents?position="+at, "").want(200).raw; again != export {
		t.Errorf("the export at %s was\n%s\nand is\n%s", at, export, again)
	}

	for path, body := range map[string]string{
		"consents":             `{"purpose":"library","language":"zu","consented":true,"subject_id":"` + p.id + `"}`,
		"data-rights/requests": `{"kind":"access","subject_id":"` + p.id + `"}`,
		"data-rights/holds":    `{"subject_id":"` + p.id + `","reason":"x"}`,
	} {
		officer.send("POST", "/api/v1/"+path, body).wantProblem(409, domain.CodeSubjectErased)
	}

	// The e-mail address is free again.
	again := w.send("POST", "/api/v1/auth/register", registration("moved@example.org")).want(201)
	if again.text("id") == p.id {
		t.Error("the new account is the erased one")
	}

	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

func TestAnInactiveAccountIsErasedOnRequest(t *testing.T) {
	t.Parallel()
	w, _ := rightsWorld(t)
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	admin := w.staff(domain.Admin, "KZN225")
	p := w.markedPerson(clerk, officer)

	admin.send("POST", "/api/v1/users/"+p.id+"/deactivate", "").want(200)

	asked := clerk.send("POST", requestsPath,
		fmt.Sprintf(`{"kind":"erasure","subject_id":%q,"details":"at the counter"}`, p.id)).want(201)
	if asked.text("lodged_by") != "staff" || asked.text("status") != "open" || asked.text("due_on") == "" {
		t.Errorf("lodged: %s", asked.raw)
	}

	open := officer.send("GET", requestsPath, "").want(200).items()
	if len(open) != 1 || open[0]["id"] != asked.text("id") {
		t.Errorf("open: %v", open)
	}

	one := requestsPath + "/" + asked.text("id")
	// A manager erases nobody.
	officer.send("POST", one+"/fulfil", "").wantProblem(403, domain.CodeForbidden)

	hold := officer.send("POST", holdsPath, `{"subject_id":"`+p.id+`","reason":"case 114"}`).want(201)
	admin.send("POST", one+"/fulfil", "").wantProblem(409, domain.CodeRetentionHold)
	officer.send("POST", holdsPath+"/"+hold.text("id")+"/lift", `{"reason":"settled"}`).want(200)

	done := admin.send("POST", one+"/fulfil", "", "Idempotency-Key", "k").want(200)
	again := admin.send("POST", one+"/fulfil", "", "Idempotency-Key", "k").want(200)
	if done.text("status") != "fulfilled" || again.raw != done.raw {
		t.Errorf("fulfilled: %s, repeated: %s", done.raw, again.raw)
	}
	// A second time changes nothing.
	admin.send("POST", one+"/fulfil", "").want(200)

	certificate := w.send("GET", "/api/v1/data-rights/certificates/"+done.text("certificate_id"), "").want(200)
	if certificate.text("request_id") != asked.text("id") || certificate.text("subject_id") != p.id ||
		certificate.text("cause") != "request" {
		t.Errorf("the certificate that the answer names: %s", certificate.raw)
	}

	fulfilled := officer.send("GET", requestsPath+"?status=fulfilled", "").want(200)
	ofThem := officer.send("GET", "/api/v1/data-rights/subject?subject_id="+p.id, "").want(200)
	for path, list := range map[string]any{
		"requests": fulfilled.json["items"], "subject": ofThem.json["requests"],
	} {
		for _, item := range list.([]any) {
			request := item.(map[string]any)
			carriedOut := request["id"] == asked.text("id")
			if carriedOut != (request["certificate_id"] == done.text("certificate_id")) {
				t.Errorf("%s: the certificate of %v", path, request)
			}
		}
	}

	listed := officer.send("GET", "/api/v1/data-rights/certificates", "").want(200).items()
	if len(listed) != 1 || fmt.Sprint(listed[0]) != fmt.Sprint(certificate.json) {
		t.Errorf("listed: %v, alone: %v", listed, certificate.json)
	}
	if asked.json["certificate_id"] != nil {
		t.Errorf("a request that was only lodged: %s", asked.raw)
	}

	admin.send("POST", one+"/refuse", `{"ground":"unfounded"}`).wantProblem(409, domain.CodeRequestClosed)

	for _, raw := range w.answersAbout(p, officer, w.staff(domain.Admin, "SALGA")) {
		for _, mark := range marks() {
			if strings.Contains(raw, mark) {
				t.Errorf("%q shows: %s", mark, raw)
			}
		}
	}
}

// After a restore, operators compare this list with the certificates issued before it.
func TestCertificatesAreListedAndPaged(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	officer, stranger := w.staff(domain.Manager, "KZN225"), w.staff(domain.Manager, "CPT")
	platform := w.staff(domain.Admin, "SALGA")

	var issued []string
	for i := range 3 {
		issued = append(issued, w.citizen(fmt.Sprintf("p%d@example.org", i)).erase().text("certificate_id"))
	}
	slices.Reverse(issued)

	listed := func(p *person, query string) (ids []string) {
		t.Helper()
		for after := ""; ; {
			page := p.send("GET", "/api/v1/data-rights/certificates?limit=2&after="+after+query, "").want(200)
			for _, item := range page.items() {
				ids = append(ids, item["certificate_id"].(string))
			}
			if after = page.text("next"); after == "" {
				return ids
			}
		}
	}

	for name, got := range map[string][]string{
		"a manager":            listed(officer, ""),
		"SALGA, of all":        listed(platform, ""),
		"SALGA, of one":        listed(platform, "&tenant_id="+officer.tenant),
		"a manager, by tenant": listed(officer, "&tenant_id="+officer.tenant),
	} {
		if !slices.Equal(got, issued) {
			t.Errorf("%s sees %v, want %v", name, got, issued)
		}
	}
	if got := append(listed(stranger, ""), listed(platform, "&tenant_id="+stranger.tenant)...); len(got) != 0 {
		t.Errorf("of another municipality: %v", got)
	}

	stranger.send("GET", "/api/v1/data-rights/certificates?tenant_id="+officer.tenant, "").
		wantProblem(403, domain.CodeForbidden)
	officer.send("GET", "/api/v1/data-rights/certificates?after=rubbish", "").wantProblem(422, domain.CodeInvalid)
}

func TestATrailIsNotErased(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	citizen, clerk := w.citizen("thandi@example.org"), w.staff(domain.FieldWorker, "KZN225")
	manager, admin := w.staff(domain.Manager, "KZN225"), w.staff(domain.Admin, "KZN225")

	clerk.send("POST", "/api/v1/consents",
		fmt.Sprintf(`{"subject_id":%q,"purpose":"newsletter","language":"zu","consented":true,"channel":"counter"}`,
			citizen.id)).want(201)
	manager.send("GET", "/api/v1/users?email=thandi@example.org", "", "Min-Event-Position", w.head()).want(200)

	for name, p := range map[string]*person{"a clerk who recorded": clerk, "a manager who looked": manager} {
		p.sendErasure().wantProblem(409, domain.CodeStaffRecordKept)
		asked := p.send("POST", requestsPath, `{"kind":"erasure"}`).want(201)
		a := admin.send("POST", requestsPath+"/"+asked.text("id")+"/fulfil", "")
		if a.status != 409 || a.text("code") != string(domain.CodeStaffRecordKept) {
			t.Errorf("%s: %s", name, a.raw)
		}
	}

	fresh := w.staff(domain.Admin, "CPT")
	fresh.sendErasure().wantProblem(409, domain.CodeLastAdmin)

	// The clerk has another account, as a citizen of CPT. That one goes, the clerk's
	// stays.
	there := strings.Replace(registration(clerk.email), `:"kzn225"`, `:"cpt"`, 1)
	w.send("POST", "/api/v1/auth/register", there).want(201)
	other := w.signIn(clerk.email, "CPT", "", "")
	other.sendErasure().want(200)
	clerk.send("GET", "/api/v1/users/me", "").want(200)
}

// Any act in office counts, in any tenant, even one that concerns nobody. Acts on one's
// own account do not.
func TestWhoActedInOfficeIsNotErased(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	// With these, no administrator below is the last.
	w.staff(domain.Admin, "KZN225")
	w.staff(domain.Admin, "SALGA")

	citizen := w.citizen("thandi@example.org")
	hold := w.staff(domain.Manager, "KZN225").
		send("POST", holdsPath, `{"subject_id":"`+citizen.id+`","reason":"case 1"}`).want(201)
	texts := `"texts":{"en":"We text you.","zu":"Sikuthumelela.","af":"Ons SMS u."}`
	purpose := func(code string) string {
		return `{"code":"` + code + `","basis":"consent","special_personal_information":false,"retention":"1 year",
			"notice":{` + texts + `}}`
	}
	account := `{"email":"new@example.org","password":"a good password","full_name":"Somebody New","role":"manager"}`

	for act, does := range map[string]struct {
		from         string
		role         domain.Role
		method, path string
		body         string
		status       int
	}{
		"defined a purpose":         {"KZN225", domain.Admin, "POST", "purposes", purpose("bus_times"), 201},
		"defined a default for all": {"SALGA", domain.Admin, "POST", "purposes", purpose("tariffs"), 201},
		"published words": {
			"SALGA", domain.Admin, "POST", "purposes/newsletter/notices", "{" + texts + "}", 201,
		},
		"read the audit":              {"KZN225", domain.Manager, "GET", "audit-logs", "", 200},
		"read the audit of everybody": {"SALGA", domain.Admin, "GET", "audit-logs", "", 200},
		"exported all consents":       {"KZN225", domain.Manager, "GET", "compliance/consents", "", 200},
		"made an account":             {"KZN225", domain.Admin, "POST", "users", account, 201},
		"closed a municipality": {
			"SALGA", domain.Admin, "POST", "municipalities/" + w.tenants["CPT"].String() + "/deactivate", "", 200,
		},
		"registered a municipality": {
			"SALGA", domain.Admin, "POST", "municipalities",
			`{"name":"Ugu","code":"DC21","province":"KwaZulu-Natal"}`, 201,
		},
		"read another's audit": {
			"SALGA", domain.Admin, "GET", "audit-logs?tenant_id=" + w.tenants["KZN225"].String(), "", 200,
		},
		"changed a role": {
			"KZN225", domain.Admin, "PUT", "users/" + citizen.id + "/role", `{"role":"field_worker"}`, 200,
		},
		"placed a hold": {
			"KZN225", domain.Manager, "POST", "data-rights/holds",
			`{"subject_id":"` + citizen.id + `","reason":"case 2"}`, 201,
		},
		"checked a consent": {
			"KZN225", domain.FieldWorker, "GET",
			"consents/check?purpose=newsletter&subject_id=" + citizen.id, "", 200,
		},
		"lifted another officer's hold": {
			"KZN225", domain.Manager, "POST", "data-rights/holds/" + hold.text("id") + "/lift",
			`{"reason":"settled"}`, 200,
		},
	} {
		officer := w.another(does.role, does.from)
		officer.send(does.method, "/api/v1/"+does.path, does.body).want(does.status)

		a := officer.sendErasure()
		if a.status != 409 || a.text("code") != string(domain.CodeStaffRecordKept) {
			t.Errorf("somebody who %s: %s", act, a.raw)
		}
	}

	idle := w.another(domain.Manager, "KZN225")
	idle.send("PATCH", "/api/v1/users/me", `{"full_name":"Another Name"}`).want(200)
	idle.send("GET", "/api/v1/consents/check?purpose=newsletter", "").want(200)
	idle.send("GET", "/api/v1/users/me", "", "X-Tenant-ID", w.tenants["CPT"].String()).
		wantProblem(403, "tenant_mismatch")
	idle.sendErasure().want(200)
}

func TestAnErasureIsTriedOnceADay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.RateLimit = true })
	p := w.staff(domain.Admin, "KZN225")

	p.send("DELETE", erasurePath, `{"confirmation":"no","password":"x"}`).wantProblem(422, domain.CodeInvalid)
	p.send("DELETE", erasurePath, `{"confirmation":"DELETE MY ACCOUNT","password":"x"}`).
		wantProblem(401, domain.CodePasswordWrong)
	p.sendErasure().wantProblem(409, domain.CodeLastAdmin)
	if a := p.sendErasure().wantProblem(429, "rate_limited"); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}

	w.later(25 * time.Hour)
	w.signIn(p.email, "KZN225", p.id, p.tenant).sendErasure().wantProblem(409, domain.CodeLastAdmin)

	c := w.citizen("thandi@example.org")
	for range 5 {
		c.send("GET", "/api/v1/data-rights/my-data", "").want(200)
	}
	c.send("GET", "/api/v1/data-rights/my-data", "").wantProblem(429, "rate_limited")
	c.send("GET", "/api/v1/data-rights/my-data/page", "").wantProblem(429, "rate_limited")
}

// The table of a halted projector holds the person until it goes on, and the answer says
// so.
func TestAnErasureSaysWhatIsPending(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")

	w.queries.reached = 1
	if gone := p.erase(); gone.json["read_tables"].(map[string]any)["users"] != "pending" {
		t.Errorf("erased: %s", gone.raw)
	}
}

// Whichever request wins, the end is the same: nothing identifies the person, and the log
// and the read tables agree.
func TestAnErasureAgainstEverythingElseAtOnce(t *testing.T) {
	t.Parallel()
	w, _ := rightsWorld(t)
	officer, platform := w.staff(domain.Manager, "KZN225"), w.staff(domain.Admin, "SALGA")
	grant := func(p *person, purpose string) *answer {
		return p.send("POST", "/api/v1/consents", `{"purpose":"`+purpose+`","language":"zu","consented":true}`)
	}

	for round := range 6 {
		email := fmt.Sprintf("marked%d@example.org", round)
		p := w.citizen(email)
		signIn := fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)
		grant(p, "library").want(201)

		against := []func() *answer{
			func() *answer { return grant(p, "newsletter") },
			func() *answer {
				return p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi Renamed-Marked","phone":"0821239876"}`)
			},
			func() *answer { return officer.send("GET", "/api/v1/users/"+p.id, "") },
			func() *answer { return officer.send("GET", "/api/v1/compliance/subjects/"+p.id+"/history", "") },
			func() *answer { return w.send("POST", "/api/v1/auth/login", signIn) },
			func() *answer {
				return w.send("POST", "/api/v1/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, p.rotating))
			},
			func() *answer {
				return p.send("POST", requestsPath, `{"kind":"objection","details":"marked details"}`)
			},
			func() *answer { return p.sendErasure() },
		}

		var all sync.WaitGroup
		erased := make([]int, 2)
		all.Go(func() { erased[0] = p.sendErasure().status })
		for i, send := range against {
			all.Go(func() {
				status := send().status
				if status >= 500 {
					t.Errorf("round %d, request %d against it: status %d", round, i, status)
				}
				if i == len(against)-1 {
					erased[1] = status
				}
			})
		}
		all.Wait()

		slices.Sort(erased)
		if erased[0] != 200 || (erased[1] != 401 && erased[1] != 409) {
			t.Errorf("round %d: two erasures at once: %v", round, erased)
		}

		for path, raw := range w.answersAbout(p, officer, platform) {
			for _, mark := range append(marks(), email) {
				if strings.Contains(raw, mark) {
					t.Errorf("round %d: %q shows in %s", round, mark, path)
				}
			}
		}

		p.send("GET", "/api/v1/users/me", "").wantProblem(401, domain.CodeSessionEnded)
		w.send("POST", "/api/v1/auth/login", signIn).wantProblem(401, domain.CodeInvalidCredentials)
		check := officer.send("GET", "/api/v1/consents/check?purpose=newsletter&subject_id="+p.id, "").want(200)
		if check.json["allowed"] != false {
			t.Errorf("round %d: still allowed: %s", round, check.raw)
		}
	}

	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

// My data holds everything that the log holds on a person, and nothing that identifies
// anybody else.
func TestMyDataIsEverythingAboutMe(t *testing.T) {
	t.Parallel()
	w, pool := rightsWorld(t)
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	p := w.markedPerson(clerk, officer)

	officer.send("GET", "/api/v1/users?email=moved@example.org", "",
		"Min-Event-Position", w.head(), "User-Agent", "officers-agent").want(200)
	officer.send("GET", "/api/v1/compliance/consents", "").want(200)
	neighbour := w.citizen("neighbour@example.org")

	mine := p.send("GET", "/api/v1/data-rights/my-data", "").want(200)
	for _, mark := range marks() {
		if !strings.Contains(mine.raw, mark) {
			t.Errorf("%q is missing", mark)
		}
	}

	var positions []int64
	for _, part := range []string{"activity", "reads"} {
		for _, e := range mine.json[part].([]any) {
			positions = append(positions, int64(e.(map[string]any)["position"].(float64)))
		}
	}

	for _, e := range tenantsLog(t, pool, p.tenant) {
		if slices.Contains(positions, e.Position) {
			continue
		}
		if e.Subject.String() == p.id || e.Actor.String() == p.id {
			t.Errorf("position %d, %s, is missing", e.Position, e.Event.EventType())
		}
		read, is := e.Event.(*domain.PersonalDataRead)
		if is && e.Tenant.String() == p.tenant && len(read.Subjects) == 0 {
			t.Errorf("the read at %d is missing, and may have covered the person", e.Position)
		}
	}

	others := []string{"officers-agent", "neighbour@example.org", neighbour.id, clerk.email, officer.email}
	for _, text := range others {
		if strings.Contains(mine.raw, text) {
			t.Errorf("%q of somebody else shows: %s", text, mine.raw)
		}
	}

	recipients := mine.json["recipients"].([]any)
	if len(recipients) != 1 {
		t.Fatalf("recipients: %v", recipients)
	}
	if only := recipients[0].(map[string]any); only["actor"] != officer.id || only["reads"] != 2.0 {
		t.Errorf("recipients: %v", recipients)
	}

	for language, title := range map[string]string{
		"en": "Your personal data", "zu": "Imininingwane yakho yomuntu siqu", "af": "U persoonlike data",
	} {
		page := p.send("GET", "/api/v1/data-rights/my-data/page?language="+language, "").want(200)
		for _, text := range []string{
			title, `lang="` + language + `"`, "Renamed-Marked", "Iphephandaba.", "marked reason", "marked details",
			"marked hold", "Marked Guardian", `name="viewport"`, "Africa/Johannesburg", "SAST", "Municipality KZN225",
		} {
			if !strings.Contains(page.raw, text) {
				t.Errorf("%s: %q is missing: %s", language, text, page.raw)
			}
		}

		_, body, _ := strings.Cut(page.raw, "</style>")
		for _, raw := range []string{
			"map[", "+0000", " UTC", "GET /", "sms_alert", "field_worker", "_at<", ".v1", "{", "citizen<", "<nil>",
		} {
			if strings.Contains(body, raw) {
				t.Errorf("%s: %q is for programs: %s", language, raw, body)
			}
		}

		if id := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-`).FindString(page.raw); id != "" {
			t.Errorf("%s: an id shows: %s", language, id)
		}
		if strings.Contains(page.raw, "ZgotmplZ") || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %s", language, page.header.Get("Content-Type"))
		}
	}

	script := w.citizen("script@example.org")
	granted := script.send("POST", "/api/v1/consents", `{"purpose":"library","language":"zu","consented":true}`).
		want(201)
	script.send("POST", "/api/v1/consents/"+granted.text("id")+"/withdraw",
		`{"reason":"<script>alert(1)</script>"}`).want(200)
	theirs := script.send("GET", "/api/v1/data-rights/my-data/page", "").want(200)
	if strings.Contains(theirs.raw, "<script") || !strings.Contains(theirs.raw, "&lt;script") {
		t.Errorf("a reason runs as a script: %s", theirs.raw)
	}

	asked := clerk.send("POST", requestsPath, fmt.Sprintf(`{"kind":"access","subject_id":%q}`, p.id)).want(201)
	given := officer.send("GET", requestsPath+"/"+asked.text("id")+"/data", "").want(200)
	reads := func() int { return len(officer.reads("subject_id=" + p.id + "&from=" + asked.text("lodged_at"))) }
	if !strings.Contains(given.raw, "Renamed-Marked") || reads() != 1 {
		t.Errorf("the data for somebody who cannot sign in: %s", given.raw)
	}
	officer.send("GET", requestsPath+"/"+uuid.NewString()+"/data", "").wantProblem(404, domain.CodeNotFound)

	page := officer.send("GET", requestsPath+"/"+asked.text("id")+"/data/page", "").want(200)
	if !strings.Contains(page.raw, "Renamed-Marked") || !strings.Contains(page.raw, `<html lang="zu">`) {
		t.Errorf("the page for somebody who cannot sign in, in their language: %s", page.raw)
	}

	if n := reads(); n != 2 {
		t.Errorf("%d reads are recorded, want 2: the page counts too", n)
	}
	policy := page.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "'sha256-") {
		t.Errorf("the policy is %q", policy)
	}
	officer.send("GET", requestsPath+"/"+uuid.NewString()+"/data/page", "").wantProblem(404, domain.CodeNotFound)

	p.erase()
	gone := officer.send("GET", requestsPath+"/"+asked.text("id")+"/data/page?lang=en", "").want(200)
	if strings.Contains(gone.raw, "Renamed-Marked") || !strings.Contains(gone.raw, "data was erased") {
		t.Errorf("the page of an erased person: %s", gone.raw)
	}

	if keep := os.Getenv("KEEP_PAGES"); keep != "" {
		must(t, os.WriteFile(keep+"/erased.html", []byte(gone.raw), 0o600))
		must(t, os.WriteFile(keep+"/zu.html", []byte(page.raw), 0o600))
	}
}

func TestARetiredPurposeStaysOnThePageInWords(t *testing.T) {
	t.Parallel()
	w, _ := rightsWorld(t)
	w.define(domain.PlatformTenant(), "old_survey")
	salga := w.staff(domain.Admin, domain.PlatformCode)
	p := w.citizen("surveyed@example.org")

	p.send("POST", "/api/v1/consents", `{"purpose":"old_survey","language":"zu","consented":true}`).want(201)
	salga.send("POST", "/api/v1/purposes/old_survey/retire", "").want(200)

	page := p.send("GET", "/api/v1/data-rights/my-data/page?lang=af", "").want(200)
	if strings.Contains(page.raw, "ld_survey") || strings.Contains(page.raw, "ld survey") {
		t.Errorf("the code of the purpose shows: %s", page.raw)
	}
	for _, text := range []string{"<h3>Die nuusbrief.</h3>", "<dt>Doel</dt><dd>Die nuusbrief.</dd>"} {
		if !strings.Contains(page.raw, text) {
			t.Errorf("%q is missing: %s", text, page.raw)
		}
	}
}

// tenantsLog reads every event of a tenant.
func tenantsLog(t *testing.T, pool *pgxpool.Pool, tenant string) (events []domain.Recorded) {
	t.Helper()
	reader, err := eventstore.NewReader(t.Context(), pool, []byte(masterKey))
	must(t, err)

	must(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "select set_config('trust.tenant', $1, true)", tenant); err != nil {
			return err
		}
		of := domain.TenantID{UUID: uuid.MustParse(tenant)}
		events, err = reader.Find(t.Context(), tx, eventstore.Query{Tenant: of})
		return err
	}))

	return events
}

// Otherwise they would stay in the officers' list, overdue, for ever.
func TestRequestsOfAnErasedPersonCanStillBeClosed(t *testing.T) {
	t.Parallel()
	w, _ := rightsWorld(t)
	officer := w.staff(domain.Manager, "KZN225")
	p := w.markedPerson(w.staff(domain.FieldWorker, "KZN225"), officer)

	asked := func(kind string) string {
		return p.send("POST", requestsPath, `{"kind":"`+kind+`","details":"marked wish"}`).want(201).text("id")
	}
	access, correction, erasure := asked("access"), asked("correction"), asked("erasure")
	gone := p.sendErasure().want(200)

	officer.send("POST", requestsPath+"/"+access+"/fulfil", `{"note":"by letter"}`).
		wantProblem(409, domain.CodeSubjectErased)
	officer.send("POST", requestsPath+"/"+correction+"/refuse", `{"ground":"unfounded","note":"by letter"}`).
		wantProblem(409, domain.CodeSubjectErased)

	closing := map[string]string{access: "/fulfil", correction: "/refuse", erasure: "/fulfil"}
	for id, how := range closing {
		body := map[string]string{"/fulfil": `{}`, "/refuse": `{"ground":"unfounded"}`}[how]
		closed := officer.send("POST", requestsPath+"/"+id+how, body).want(200)
		again := officer.send("POST", requestsPath+"/"+id+how, body).want(200)
		if closed.json["closed_at"] == nil || again.json["closed_at"] != closed.json["closed_at"] {
			t.Errorf("closed: %s, again: %s", closed.raw, again.raw)
		}

		named := closed.json["certificate_id"] == gone.json["certificate_id"]
		if named != (id == erasure) {
			t.Errorf("the certificate is %v: %s", gone.json["certificate_id"], closed.raw)
		}
	}

	if open := officer.send("GET", requestsPath, "").want(200).items(); len(open) != 0 {
		t.Errorf("still open: %v", open)
	}
}
