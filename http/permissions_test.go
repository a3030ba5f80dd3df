package http_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

var update = flag.Bool("update", false, "write what is made of the program: docs/permissions.md, client/openapi.json")

const permissionsPage = "../docs/permissions.md"

// The page is the table written down a second time, where a change of it shows to whoever reads the change.
func TestThePageOfPermissionsIsTheTable(t *testing.T) {
	t.Parallel()
	page := apphttp.PermissionsPage()
	if *update {
		must(t, os.WriteFile(permissionsPage, []byte(page), 0o600))
	}
	written, err := os.ReadFile(permissionsPage)
	must(t, err)
	if string(written) != page {
		t.Errorf("docs/permissions.md is not the table: go test ./http -run PageOfPermissions -update, and read what changed")
	}
}

// cell is one route called by one party about one target.
type cell struct {
	w *world
	apphttp.Line
	party  string
	target string
	caller *person // nil: anonymous
	about  thing
}

// thing is what a request may name: a person, and what is theirs.
type thing struct {
	user, email, consent, tenant, code, purpose string
	request, hold, certificate                  string
}

// targets are whose things a party asks for.
func targets() []string { return []string{"own", "same tenant", "other tenant", "platform"} }

// absent is a thing that there is nowhere.
func absent() thing {
	return thing{
		uuid.NewString(), "nobody@example.org", uuid.NewString(), uuid.NewString(), "NONE1", "no_such_purpose",
		uuid.NewString(), uuid.NewString(), uuid.NewString(),
	}
}

// request gives the request of a route about a thing, and whether the route names things at all.
func (c cell) request(about thing) (path, body string, names bool) {
	path, body = c.w.sample(c.Line)
	named := map[string]func(){
		"list_users": func() { path = c.Path + "?email=" + about.email },
		"create_user": func() {
			body = fmt.Sprintf(`{"email":%q,"password":%q,"full_name":"Sipho Zulu","role":"citizen","municipality_code":%q}`, fresh(), password, about.code)
		},
		"get_municipality":        func() { path = "/api/v1/municipalities/" + about.code },
		"change_municipality":     func() { path = "/api/v1/municipalities/" + about.tenant },
		"deactivate_municipality": func() { path = "/api/v1/municipalities/" + about.tenant + "/deactivate" },
		"reactivate_municipality": func() { path = "/api/v1/municipalities/" + about.tenant + "/reactivate" },
		"list_purposes":           func() { path = c.Path + "?municipality_code=" + about.code },
		"publish_notice":          func() { path = strings.Replace(c.Path, "{code}", about.purpose, 1) },
		"retire_purpose":          func() { path = strings.Replace(c.Path, "{code}", about.purpose, 1) },
		"record_consent": func() {
			body = fmt.Sprintf(`{"purpose":"newsletter","language":"en","consented":true,"subject_id":%q}`, about.user)
		},
		"list_consents":    func() { path = c.Path + "?subject_id=" + about.user },
		"check_consent":    func() { path = c.Path + "?purpose=newsletter&subject_id=" + about.user },
		"get_consent":      func() { path = "/api/v1/consents/" + about.consent },
		"withdraw_consent": func() { path = "/api/v1/consents/" + about.consent + "/withdraw" },
		"exposure":         func() { path = c.Path + "?subject_id=" + about.user },
		"get_certificate":  func() { path = strings.Replace(c.Path, "{id}", about.certificate, 1) },
		"lodge_request":    func() { body = fmt.Sprintf(`{"kind":"objection","subject_id":%q}`, about.user) },
		"get_rights":       func() { path = c.Path + "?subject_id=" + about.user },
		"request_data":     func() { path = strings.Replace(c.Path, "{id}", about.request, 1) },
		"fulfil_request":   func() { path = strings.Replace(c.Path, "{id}", about.request, 1) },
		"refuse_request":   func() { path = strings.Replace(c.Path, "{id}", about.request, 1) },
		"place_hold":       func() { body = fmt.Sprintf(`{"subject_id":%q,"reason":"case 114"}`, about.user) },
		"lift_hold":        func() { path = strings.Replace(c.Path, "{id}", about.hold, 1) },
		"audit_log":        func() { path = c.Path + "?tenant_id=" + about.tenant },
	}
	if name := named[c.ID]; name != nil {
		name()
		return path, body, true
	}
	if strings.Contains(c.Path, "{id}") {
		return strings.Replace(c.Path, "{id}", about.user, 1), body, true
	}
	switch c.ID {
	case "register":
		body = registration(fresh())
	case "delete_account":
		body = fmt.Sprintf(`{"confirmation":"DELETE MY ACCOUNT","password":%q}`, password)
	case "change_password":
		body = fmt.Sprintf(`{"current_password":%q,"new_password":"a new password"}`, password)
	case "login":
		body = fmt.Sprintf(`{"email":%q,"password":%q}`, c.caller.email, password)
	case "refresh", "logout":
		body = fmt.Sprintf(`{"refresh_token":%q}`, c.caller.rotating)
	case "register_municipality":
		code := strings.ToUpper("M" + uuid.NewString()[:8])
		body = fmt.Sprintf(`{"name":"Municipality %s","code":%q,"province":"Gauteng"}`, code, code)
	case "define_purpose":
		body = strings.Replace(body, "event_news", purposeCode(), 1)
	}
	return path, body, false
}

func fresh() string { return uuid.NewString() + "@example.org" }

func purposeCode() string {
	letters := func(r rune) rune { return 'a' + r%26 }
	return "p_" + strings.Map(letters, strings.ReplaceAll(uuid.NewString(), "-", ""))
}

// sees tells whether a thing is within a reach.
func (c cell) sees() bool {
	switch reach := c.Reaches[c.party]; {
	case strings.HasSuffix(c.ID, "_municipality") && c.about.tenant == domain.PlatformTenant().String():
		return false // SALGA is no municipality
	case reach == "everything":
		return true
	case reach == "own tenant":
		return c.about.tenant == c.caller.tenant
	default:
		return reach == "own" && c.about.user == c.caller.id
	}
}

// Every cell of the table is called: within its reach a party gets an answer, beyond it the answer that what is not there has.
func TestEveryCellOfThePermissionsIsTrue(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	cast, doc := newCast(w), openapi(t, w)
	called := 0
	for _, l := range apphttp.Lines() {
		for party, reach := range l.Reaches {
			for _, target := range targets() {
				c := cell{w: w, Line: l, party: party, target: target}
				cast.play(&c, l.Command && reach != "nothing")
				c.call(t, w, doc)
				called++
			}
		}
	}
	if want := len(apphttp.Lines()) * 7 * len(targets()); called != want {
		t.Errorf("%d cells were called, want %d", called, want)
	}
	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

func (c cell) call(t *testing.T, w *world, doc spec) {
	t.Helper()
	path, body, names := c.request(c.about)
	what := fmt.Sprintf("%s as %s about %s", c.ID, c.party, c.target)
	send := func(path, body string, headers ...string) *answer {
		t.Helper()
		if c.party != "anonymous" {
			headers = append(headers, "Authorization", "Bearer "+c.caller.access)
		}
		return w.send(c.Method, path, body, append(headers, "Min-Event-Position", w.head())...)
	}
	if c.Reaches[c.party] == "nothing" {
		want, code := 403, domain.CodeForbidden
		if c.party == "anonymous" {
			want, code = 401, domain.CodeNotSignedIn
		}
		send(path, "{", "If-Match", "rubbish").wantProblem(want, code) // before all else
		if a := send(path, body).wantProblem(want, code); want == 403 && !strings.HasPrefix(a.text("detail"), "This is for") {
			t.Errorf("%s: the guard let it through: %s", what, a.raw)
		}
		return
	}
	if !names && c.Account {
		a := send(path, body, "X-Tenant-ID", c.about.tenant)
		if c.about.tenant != c.caller.tenant {
			a.wantProblem(403, domain.CodeTenantMismatch)
			return
		}
		c.succeeds(t, doc, what, a)
		return
	}
	a := send(path, body)
	if !names || c.sees() {
		c.succeeds(t, doc, what, a)
		return
	}
	path, body, _ = c.request(absent())
	if none := send(path, body); a.status != none.status || a.raw != none.raw {
		t.Errorf("%s: %d %s, and what is not there %d %s", what, a.status, a.raw, none.status, none.raw)
	}
	if a.status != 403 && a.status != 404 && !strings.Contains(a.raw, `{"items":[],`) {
		t.Errorf("%s: %d %s", what, a.status, a.raw)
	}
}

func (c cell) succeeds(t *testing.T, doc spec, what string, a *answer) {
	t.Helper()
	if a.status > 299 || (c.ID == "list_users" && len(a.items()) != 1) {
		t.Errorf("%s: %d %s", what, a.status, a.raw)
		return
	}
	if !c.Raw && !c.Hidden {
		doc.answered(t, c.ID, a)
	}
}

// head is the newest position there is.
func (w *world) head() string {
	w.t.Helper()
	head, err := w.handler.Store.Head(w.t.Context())
	must(w.t, err)
	return fmt.Sprint(head)
}

// cast gives callers and what they ask for: the same for questions, others each time for what changes something.
type cast struct {
	w           *world
	callers     map[string]*person // by party
	things      map[string]thing   // by code of the tenant, or id of their owner
	certificate string             // of somebody who is gone
}

func newCast(w *world) *cast {
	k := &cast{w: w, callers: map[string]*person{}, things: map[string]thing{}}
	gone := k.person("CPT", domain.Citizen)
	k.certificate = gone.erase().text("certificate_id")
	return k
}

// erase has a person erase themselves.
func (p *person) erase() *answer {
	p.w.t.Helper()
	return p.send("DELETE", "/api/v1/data-rights/delete-account", fmt.Sprintf(`{"confirmation":"DELETE MY ACCOUNT","password":%q}`, password)).want(200)
}

// play gives a cell its caller and its target.
func (k *cast) play(c *cell, anew bool) {
	home := "KZN225"
	if c.party == "platform admin" {
		home = domain.PlatformCode
	}
	code := map[string]string{"own": home, "same tenant": home, "other tenant": "CPT", "platform": domain.PlatformCode}[c.target]
	if strings.HasSuffix(c.ID, "activate_municipality") && code == "CPT" {
		code = k.municipality()
	}
	c.caller = once(k.callers, c.party, anew, func() *person { return k.person(home, roleOf(c.party)) })
	if c.target == "own" {
		c.about = once(k.things, c.caller.id, anew, func() thing { return k.thing(home, c.caller) })
		return
	}
	c.about = once(k.things, code, anew, func() thing { return k.thing(code, k.person(code, domain.Citizen)) })
}

// once makes a thing, or gives the one that was made before.
func once[T any](made map[string]T, name string, anew bool, create func() T) T {
	if known, is := made[name]; is && !anew {
		return known
	}
	thing := create()
	if !anew {
		made[name] = thing
	}
	return thing
}

func roleOf(party string) domain.Role {
	switch party {
	case "anonymous":
		return domain.Citizen
	case "platform admin":
		return domain.Admin
	default:
		return domain.Role(party)
	}
}

func (k *cast) tenant(code string) domain.TenantID {
	if code == domain.PlatformCode {
		return domain.PlatformTenant()
	}
	return k.w.tenants[code]
}

// person makes an account and signs it in.
func (k *cast) person(code string, role domain.Role) *person {
	k.w.t.Helper()
	email := fresh()
	id := k.account(code, role, email)
	return k.w.signIn(email, code, id.String(), k.tenant(code).String())
}

// account makes an account.
func (k *cast) account(code string, role domain.Role, email string) domain.UserID {
	k.w.t.Helper()
	a, err := k.w.handler.CreateUser(k.w.t.Context(), commands.System(k.tenant(code)), commands.CreateUser{
		Email: email, Password: password, FullName: "Thandi Ṱhavhani", Role: role,
	})
	must(k.w.t, err)
	return a.Value.ID
}

// thing is a person and what is theirs: a consent, and a purpose of their tenant.
func (k *cast) thing(code string, p *person) thing {
	k.w.t.Helper()
	tenant := k.tenant(code)
	purposes := []string{purposeCode(), purposeCode()}
	for _, purpose := range purposes {
		k.w.define(tenant, purpose)
	}
	consent := p.send("POST", "/api/v1/consents", fmt.Sprintf(`{"purpose":%q,"language":"en","consented":true}`, purposes[0])).want(201)
	request := p.send("POST", "/api/v1/data-rights/requests", `{"kind":"access"}`).want(201)
	hold, err := k.w.handler.PlaceHold(k.w.t.Context(), commands.System(tenant), commands.PlaceHold{
		Subject: k.account(code, domain.Citizen, fresh()), Reason: "case 114",
	})
	must(k.w.t, err)
	return thing{
		user: p.id, email: p.email, consent: consent.text("id"), tenant: p.tenant, code: code, purpose: purposes[1],
		request: request.text("id"), hold: hold.Value.ID.String(), certificate: k.certificate,
	}
}

func (k *cast) municipality() string {
	k.w.t.Helper()
	code := strings.ToUpper("M" + uuid.NewString()[:8])
	a, err := k.w.handler.RegisterMunicipality(k.w.t.Context(), commands.System(domain.PlatformTenant()), domain.RegisterMunicipality{
		Code: code, Name: "Municipality " + code, Province: "Gauteng",
	})
	must(k.w.t, err)
	k.w.tenants[code] = a.Value.ID
	return code
}

func TestPartiesAreTheRolesAndNobodyIsForgotten(t *testing.T) {
	t.Parallel()
	for _, l := range apphttp.Lines() {
		for _, role := range domain.Roles() {
			if _, named := l.Reaches[string(role)]; !named {
				t.Errorf("%s says nothing of %s", l.ID, role)
			}
		}
		if !slices.Contains([]string{"nothing", "own", "own tenant", "everything"}, l.Reaches["anonymous"]) {
			t.Errorf("%s: anonymous reaches %q", l.ID, l.Reaches["anonymous"])
		}
	}
}
