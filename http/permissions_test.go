package http_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

var update = flag.Bool("update", false,
	"write the files made from the program: docs/permissions.md, client/openapi.json")

const permissionsPage = "../docs/permissions.md"

// The page is the table written down a second time, so that a review of a change shows
// what it does to permissions.
func TestThePageOfPermissionsIsTheTable(t *testing.T) {
	t.Parallel()
	page := apphttp.PermissionsPage()
	if *update {
		must(t, os.WriteFile(permissionsPage, []byte(page), 0o600))
	}

	written, err := os.ReadFile(permissionsPage)
	must(t, err)
	if string(written) != page {
		t.Error("docs/permissions.md is not the table: " +
			"run go test ./http -run PageOfPermissions -update, and read what changed")
	}
}

// cell is one route called by one party about one target.
type cell struct {
	w *world
	apphttp.Line
	party  string
	target string
	caller *person
	about  thing
}

// thing is what a request may name: a person, and what belongs to them.
type thing struct {
	user, email, consent, tenant, code, purpose string
	request, hold, certificate, account         string
	webhook                                     string
	resident                                    string // without an account
}

// targets are the owners of the things that a party asks for.
func targets() []string { return []string{"own", "same tenant", "other tenant", "platform"} }

// absent returns a thing that does not exist.
func absent() thing {
	return thing{
		uuid.NewString(), "nobody@example.org", uuid.NewString(), uuid.NewString(), "NONE1", "no_such_purpose",
		uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(),
	}
}

// request returns the request of a route about a thing, and whether the route names
// things at all.
func (c cell) request(about thing) (path, body string, names bool) {
	path, body = c.w.sample(c.Line)
	switch c.ID {
	case "create_user":
		body = fmt.Sprintf(`{"email":%q,"password":%q,"full_name":"Sipho Zulu","role":"field_worker",
			"municipality_code":%q}`, fresh(), password, about.code)
		return path, body, true
	case "record_resident":
		body = fmt.Sprintf(`{"full_name":"Sipho Zulu","external_ids":[{"type":"meter","value":%q}]}`, uuid.NewString())
	case "change_resident":
		body = fmt.Sprintf(`{"add_external_ids":[{"type":"meter","value":%q}]}`, uuid.NewString())
	case "merge_residents":
		body = fmt.Sprintf(`{"into":%q}`, about.user)
	case "unmerge_residents":
		// An absent record, or one beyond their reach, is not merged into another.
		if c.about == about && c.Reaches[c.party] != "nothing" && c.sees() {
			c.w.merge(about)
		}
	case "record_consent", "check_consents":
		body = strings.Replace(body, "sms_alert", "newsletter", 1)
		if c.ID == "record_consent" && c.party == "program" {
			body = strings.Replace(body, "{", `{"channel":"counter",`, 1)
		}
	case "verify_email":
		body = "" // a code is sent
	case "get_municipality":
		return "/api/v1/municipalities/" + about.code, body, true
	case "recover_totp":
		switch {
		case c.about != about, c.Reaches[c.party] == "nothing":
			// An absent account, or one beyond their reach, gets no second factor.
		case about.user == c.caller.id:
			c.w.secure(c.caller)
		default:
			c.w.secure(c.w.signInAs(about.email, about.code))
		}
	}

	path, inPath := c.aboutInPath(path, about)
	path, inQuery := c.aboutInQuery(path, about)
	body, inBody := c.aboutInBody(body, about)
	if inPath || inQuery || inBody {
		return path, body, true
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
	case "redeem_code":
		owner := &person{id: about.user, tenant: about.tenant}
		body = fmt.Sprintf(`{"code":%q,"password":%q}`, c.w.codeFor(owner), password)
	case "set_up_totp":
		body = fmt.Sprintf(`{"current_password":%q}`, password)
	case "confirm_totp":
		if c.party == "program" {
			break
		}
		body = fmt.Sprintf(`{"totp":%q}`, c.w.codeOf(c.caller.begin(), 0))
	case "remove_totp":
		// An anonymous caller has no session in which to set up a second factor.
		if c.party == "anonymous" || c.party == "program" {
			break
		}
		body = fmt.Sprintf(`{"current_password":%q,"totp":%q}`, password, c.w.codeOf(c.w.secure(c.caller), 1))
	case "refresh", "logout":
		body = fmt.Sprintf(`{"refresh_token":%q}`, c.caller.rotating)
	case "register_municipality":
		code := strings.ToUpper("M" + uuid.NewString()[:8])
		body = fmt.Sprintf(`{"name":"Municipality %s","code":%q,"province":"Gauteng"}`, code, code)
	case "define_purpose":
		body = strings.Replace(body, "event_news", purposeCode(), 1)
	case "create_service_account":
		body = strings.Replace(body, "SMS alerts", "Program "+uuid.NewString(), 1)
	case "token":
		body = c.caller.form
	}
	return path, body, false
}

// aboutInPath puts the id of a thing into the path, by the segment before it, so that a
// new route of a known kind of thing needs no change here.
func (c cell) aboutInPath(path string, about thing) (string, bool) {
	things := map[string]string{
		"users": about.user, "subjects": about.user, "residents": about.resident,
		"municipalities": about.tenant, "consents": about.consent,
		"requests": about.request, "holds": about.hold, "certificates": about.certificate,
		"service-accounts": about.account, "webhooks": about.webhook,
	}

	before, after, named := strings.Cut(c.Path, "/{id}")
	if named {
		id, known := things[before[strings.LastIndex(before, "/")+1:]]
		if !known {
			c.w.t.Fatalf("%s: add the thing that the id in %s names", c.ID, c.Path)
		}
		return before + "/" + id + after, true
	}
	if strings.Contains(c.Path, "{code}") {
		return strings.NewReplacer("{code}", about.purpose, "{version}", "1").Replace(c.Path), true
	}
	return path, false
}

// aboutInQuery puts a thing into the query, if the document has a parameter for it.
func (c cell) aboutInQuery(path string, about thing) (string, bool) {
	parsed, err := url.Parse(path)
	must(c.w.t, err)

	parameters, _ := openapi(c.w.t, c.w).operation(c.Line)["parameters"].([]any)
	known := map[string]string{
		"subject_id": about.user, "email": about.email, "tenant_id": about.tenant, "municipality_code": about.code,
	}
	query, named := parsed.Query(), false
	for _, p := range parameters {
		parameter := p.(map[string]any)
		if value, is := known[parameter["name"].(string)]; is && parameter["in"] == "query" {
			query.Set(parameter["name"].(string), value)
			named = true
		}
	}

	parsed.RawQuery = query.Encode()
	return parsed.String(), named
}

// aboutInBody puts a person into the body, if the document has a field for it.
func (c cell) aboutInBody(body string, about thing) (string, bool) {
	doc := openapi(c.w.t, c.w)
	media := doc.bodyOf(c.Line)
	if media == nil {
		return body, false
	}

	properties, _ := doc.resolve(media["schema"].(map[string]any))["properties"].(map[string]any)
	if properties["subject_id"] == nil && properties["subject_ids"] == nil {
		return body, false
	}

	var fields map[string]any
	must(c.w.t, json.Unmarshal([]byte(body), &fields))
	if properties["subject_ids"] != nil {
		fields["subject_ids"] = []string{about.user}
	} else {
		fields["subject_id"] = about.user
	}
	changed, err := json.Marshal(fields)
	must(c.w.t, err)
	return string(changed), true
}

func fresh() string { return uuid.NewString() + "@example.org" }

func purposeCode() string {
	letters := func(r rune) rune { return 'a' + r%26 }
	return "p_" + strings.Map(letters, strings.ReplaceAll(uuid.NewString(), "-", ""))
}

// sees tells whether the thing is within the reach of the party.
func (c cell) sees() bool {
	reach := c.Reaches[c.party]
	switch {
	case strings.HasSuffix(c.ID, "_municipality") && c.about.tenant == domain.PlatformTenant().String():
		// SALGA is no municipality.
		return false
	case c.ID == "purpose_impact" && c.about.tenant == domain.PlatformTenant().String():
		// SALGA's purposes are the defaults of every municipality.
		return reach == "own tenant"
	case reach == "everything":
		return true
	case reach == "own tenant":
		return c.about.tenant == c.caller.tenant
	default:
		return reach == "own" && c.about.user == c.caller.id
	}
}

// Every cell of the table is called. Within its reach a party gets an answer; beyond it,
// the same answer as for a thing that does not exist.
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

	if want := len(apphttp.Lines()) * 8 * len(targets()); called != want {
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
		if c.Form { // its clients prove themselves in the body
			headers = []string{"Content-Type", formType}
		}
		return w.send(c.Method, path, body, append(headers, "Min-Event-Position", w.head())...)
	}

	if c.party == "program" && c.Reaches["anonymous"] != "nothing" && c.Reaches[c.party] == "nothing" {
		send(path, body).wantProblem(401, domain.CodeInvalidToken) // it has no refresh token
		return
	}
	if c.Reaches[c.party] == "nothing" {
		want, code := 403, domain.CodeForbidden
		if c.party == "anonymous" {
			want, code = 401, "not_signed_in"
		}
		// The guard comes before all other checks.
		send(path, "{", "If-Match", "rubbish").wantProblem(want, code)
		a := send(path, body).wantProblem(want, code)
		if want == 403 && !strings.HasPrefix(a.text("detail"), "This is for") {
			t.Errorf("%s: the guard let it through: %s", what, a.raw)
		}
		return
	}

	if !names && c.Account {
		a := send(path, body, "X-Tenant-ID", c.about.tenant)
		if c.about.tenant != c.caller.tenant {
			a.wantProblem(403, "tenant_mismatch")
			return
		}
		c.succeeds(t, doc, what, a)
		return
	}

	a := send(path, body)
	if slices.Contains([]string{"recover_totp", "issue_reset_code"}, c.ID) && c.about.user == c.caller.id {
		// Only somebody else may do this.
		a.wantProblem(403, domain.CodeForbidden)
		return
	}
	if !names || c.sees() {
		c.succeeds(t, doc, what, a)
		return
	}

	nobody := absent()
	path, body, _ = c.request(nobody)
	// A bulk check repeats the ids that it was asked about.
	unnamed := strings.ReplaceAll(a.raw, c.about.user, nobody.user)
	if none := send(path, body); a.status != none.status || unnamed != none.raw {
		t.Errorf("%s: %d %s, but an absent thing %d %s", what, a.status, a.raw, none.status, none.raw)
	}
	if a.status != 403 && a.status != 404 && !strings.Contains(a.raw, `{"items":[],`) &&
		!strings.Contains(a.raw, `"reason":"unknown_subject"`) {
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

// head returns the newest position of the log.
func (w *world) head() string {
	w.t.Helper()
	head, err := w.handler.Store.Head(w.t.Context())
	must(w.t, err)
	return fmt.Sprint(head)
}

// cast makes the callers and the things that they ask for. Queries share them; each
// command gets new ones.
type cast struct {
	w *world
	// callers are kept by party.
	callers map[string]*person
	// things are kept by the code of their tenant, or by the id of their owner.
	things map[string]thing
	// certificate is that of an erased person.
	certificate string
	// form is what a program proves itself by.
	form string
}

func newCast(w *world) *cast {
	k := &cast{w: w, callers: map[string]*person{}, things: map[string]thing{}}
	k.form = k.program("CPT").form
	gone := k.person("CPT", domain.Citizen)
	k.certificate = gone.erase().text("certificate_id")
	return k
}

// erase erases a person's own account.
func (p *person) erase() *answer {
	p.w.t.Helper()
	return p.sendErasure().want(200)
}

// play sets the caller of a cell, and the thing that it asks for.
func (k *cast) play(c *cell, anew bool) {
	home := "KZN225"
	if c.party == "platform admin" {
		home = domain.PlatformCode
	}

	code := map[string]string{
		"own": home, "same tenant": home, "other tenant": "CPT", "platform": domain.PlatformCode,
	}[c.target]
	if strings.HasSuffix(c.ID, "activate_municipality") && code == "CPT" {
		code = k.municipality()
	}

	// A thing that is kept may be asked for by any route.
	named := func(kind string) bool { return !anew || strings.Contains(c.Path, "/"+kind+"/{") }
	c.caller = once(k.callers, c.party, anew, func() *person {
		if c.party == "program" {
			return k.program(home)
		}
		return k.person(home, roleOf(c.party))
	})
	if c.target == "own" && c.party != "program" { // nothing is a program's own
		c.about = once(k.things, c.caller.id, anew, func() thing { return k.thing(home, c.caller, named) })
		return
	}
	c.about = once(k.things, code, anew, func() thing { return k.thing(code, k.person(code, domain.Citizen), named) })
}

// once makes a value, or returns the one of this name that it made before.
func once[T any](made map[string]T, name string, anew bool, create func() T) T {
	if known, is := made[name]; is && !anew {
		return known
	}

	value := create()
	if !anew {
		made[name] = value
	}
	return value
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
	p := k.w.signIn(email, code, id.String(), k.tenant(code).String())
	p.form = k.form
	return p
}

// program makes a service account with every scope. Its token is told as a person's is,
// so that it is tried wherever a person's would be; the e-mail address is somebody
// else's.
func (k *cast) program(code string) *person {
	k.w.t.Helper()
	a, err := k.w.handler.CreateServiceAccount(k.w.t.Context(), commands.System(k.tenant(code)),
		domain.CreateServiceAccount{Name: "Program " + uuid.NewString(), Scopes: domain.Scopes()})
	must(k.w.t, err)

	email := fresh()
	k.account(code, domain.Citizen, email)
	c := &client{w: k.w, id: a.Value.Account.ID.String(), secret: a.Value.Secret}
	token := c.fetch().want(200).text("access_token")
	return &person{
		w: k.w, id: c.id, email: email, tenant: k.tenant(code).String(), access: token, rotating: token,
		form: c.grant().Encode(),
	}
}

// account makes an account.
func (k *cast) account(code string, role domain.Role, email string) domain.UserID {
	k.w.t.Helper()

	if role == domain.Citizen && code != domain.PlatformCode {
		a, err := k.w.handler.Register(k.w.t.Context(), commands.Call{}, commands.Register{
			Email: email, Password: password, FullName: "Thandi Ṱhavhani", MunicipalityCode: code,
			Consent: &commands.RegisterConsent{
				Purpose: domain.PlatformRegistrationCode, Language: domain.English, Consented: true,
			},
		})
		must(k.w.t, err)
		return a.Value.ID
	}

	// SALGA has no citizens. This role reaches as far as one.
	if role == domain.Citizen {
		role = domain.SAPSLiaison
	}
	a, err := k.w.handler.CreateUser(k.w.t.Context(), commands.System(k.tenant(code)), commands.CreateUser{
		Email: email, Password: password, FullName: "Thandi Ṱhavhani", Role: role,
	})
	must(k.w.t, err)
	return a.Value.ID
}

// thing returns a person with what a route names: a consent, a request, and a purpose and
// a hold of their tenant.
func (k *cast) thing(code string, p *person, named func(kind string) bool) thing {
	k.w.t.Helper()
	tenant := k.tenant(code)
	about := thing{user: p.id, email: p.email, tenant: p.tenant, code: code, certificate: k.certificate}

	if named("purposes") {
		about.purpose = purposeCode()
		k.w.define(tenant, about.purpose)
	}
	if named("consents") {
		given := purposeCode()
		k.w.define(tenant, given)
		about.consent = p.send("POST", "/api/v1/consents",
			fmt.Sprintf(`{"purpose":%q,"language":"en","consented":true}`, given)).want(201).text("id")
	}
	if named("requests") {
		about.request = p.send("POST", "/api/v1/data-rights/requests", `{"kind":"access"}`).want(201).text("id")
	}
	if named("holds") {
		hold, err := k.w.handler.PlaceHold(k.w.t.Context(), commands.System(tenant), commands.PlaceHold{
			Subject: k.account(code, domain.Citizen, fresh()), Reason: "case 114",
		})
		must(k.w.t, err)
		about.hold = hold.Value.ID.String()
	}
	if named("service-accounts") {
		account, err := k.w.handler.CreateServiceAccount(k.w.t.Context(), commands.System(tenant),
			domain.CreateServiceAccount{Name: "Program " + uuid.NewString(), Scopes: domain.Scopes()})
		must(k.w.t, err)
		about.account = account.Value.Account.ID.String()
	}
	if named("webhooks") {
		webhook, err := k.w.handler.RegisterWebhook(k.w.t.Context(), commands.System(tenant),
			domain.RegisterWebhook{URL: webhookURL})
		must(k.w.t, err)
		about.webhook = webhook.Value.Webhook.ID.String()
	}
	if named("residents") {
		about.resident = k.resident(code)
	}
	return about
}

// resident records a person without an account. SALGA has none: there it is another
// user.
func (k *cast) resident(code string) string {
	k.w.t.Helper()
	if code == domain.PlatformCode {
		return k.account(code, domain.Citizen, fresh()).String()
	}
	a, err := k.w.handler.RecordResident(k.w.t.Context(), commands.System(k.tenant(code)), commands.RecordResident{
		FullName: "Sipho Zulu", Phone: "0821234567",
	})
	must(k.w.t, err)
	return a.Value.ID.String()
}

// merge merges a thing's resident into its user.
func (w *world) merge(about thing) {
	w.t.Helper()
	id := func(text string) domain.UserID { return domain.UserID{UUID: uuid.MustParse(text)} }
	tenant := domain.TenantID{UUID: uuid.MustParse(about.tenant)}
	_, err := w.handler.MergeResidents(w.t.Context(), commands.System(tenant),
		commands.MergeResidents{From: id(about.resident), Into: id(about.user)})
	must(w.t, err)
}

func (k *cast) municipality() string {
	k.w.t.Helper()
	code := strings.ToUpper("M" + uuid.NewString()[:8])
	a, err := k.w.handler.RegisterMunicipality(k.w.t.Context(), commands.System(domain.PlatformTenant()),
		domain.RegisterMunicipality{Code: code, Name: "Municipality " + code, Province: "Gauteng"})
	must(k.w.t, err)

	k.w.tenants[code] = a.Value.ID
	return code
}

func TestPartiesAreTheRolesAndNobodyIsForgotten(t *testing.T) {
	t.Parallel()
	for _, l := range apphttp.Lines() {
		for _, role := range domain.Roles() {
			if _, named := l.Reaches[string(role)]; !named {
				t.Errorf("%s has no reach for %s", l.ID, role)
			}
		}
		if !slices.Contains([]string{"nothing", "own", "own tenant", "everything"}, l.Reaches["anonymous"]) {
			t.Errorf("%s: anonymous reaches %q", l.ID, l.Reaches["anonymous"])
		}
	}
}
