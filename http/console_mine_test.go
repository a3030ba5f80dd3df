package http_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// count returns how many events of a type there are.
func (w *world) count(eventType string) (n int) {
	for _, e := range w.store.events() {
		if e.Event.EventType() == eventType {
			n++
		}
	}
	return n
}

// newestConsent returns the id of the newest decision of a person about a purpose.
func (p *person) newestConsent(purpose string) (id string) {
	p.w.t.Helper()
	for _, c := range p.send("GET", "/api/v1/consents?limit=100", "").want(200).items() {
		if c["purpose"] == purpose {
			id = c["id"].(string)
		}
	}
	return id
}

func TestAPersonAgreesOnTheirPageAndWithdrawsWithOneClick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["KZN225"], "newsletter")
	p := w.citizen("thandi@example.org")
	b := p.browserOf("KZN225")
	b.get("/me?lang=en").want(200)
	b.says("What you agreed to or refused", "An account on this platform", "Your account rests on this",
		"To send you the newsletter.", "Nobody has looked at your data", "No program may ask about you")

	agreeing := b.form("/me/consents")
	agreeing.Set("consented", "yes")
	for range 2 { // as a second click sends it
		b.post("/me/consents", agreeing).want(200)
	}
	if n := w.count("consent.granted.v1"); n != 2 { // the first is that of the registration
		t.Errorf("%d grants", n)
	}
	b.get("/me?done=agreed")
	b.says("You have agreed. You can withdraw it here at any time.", "You agreed on 1 March 2026")

	withdraw := "/me/consents/" + p.newestConsent("newsletter") + "/withdraw"
	withdrawing := b.form(withdraw)
	b.send(withdraw).want(200)
	if b.path != "/me?done=withdrawn" {
		t.Errorf("withdrawing leads to %s", b.path)
	}
	b.says("You have withdrawn it.", "Withdrawn on 1 March 2026")
	b.post(withdraw, withdrawing).want(200)
	b.post(withdraw, url.Values{}).want(200)
	if n := w.count("consent.withdrawn.v1"); n != 1 {
		t.Errorf("%d withdrawals", n)
	}
}

func TestAPersonSaysNoOnTheirPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["KZN225"], "newsletter")
	b := w.citizen("thandi@example.org").browserOf("KZN225")
	b.get("/me?lang=af")
	b.says("Die nuusbrief.")

	b.send("/me/consents").want(422) // neither yes nor no
	b.send("/me/consents", "consented", "yes", "notice_version", "two").want(422)
	b.send("/me/consents", "consented", "no").want(200)
	b.says("U antwoord, nee, is aangeteken.", "U het nee gesê op 1 Maart 2026")
	if w.count("consent.refused.v1") != 1 || w.count("consent.granted.v1") != 1 {
		t.Error("the answer was not recorded as it was given")
	}
}

func TestWhatIsAboutChildrenIsExplainedAndNotOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["KZN225"], "child_programme", func(c *domain.DefinePurpose) { c.CompetentPerson = true })
	b := w.citizen("thandi@example.org").browserOf("KZN225")
	b.get("/me?lang=en").want(200)
	b.says("Programmes for children : This is about a child. A parent or guardian decides")
	b.hides(`value="child_programme"`)
	b.post("/me/consents", url.Values{
		"purpose": {"child_programme"}, "language": {"en"}, "notice_version": {"1"}, "consented": {"yes"},
	}).want(422)
	b.says("a competent person must agree (POPIA s35)")
}

func TestNobodyWithdrawsAnothersConsentOnTheirOwnPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	consent := p.newestConsent("platform_registration")
	for _, role := range []domain.Role{domain.Admin, domain.Manager, domain.FieldWorker} {
		b := w.staff(role, "KZN225").browserOf("KZN225")
		for _, id := range []string{consent, uuid.NewString(), "nonsense"} {
			b.get("/me/consents/" + id + "/withdraw").want(404)
			b.post("/me/consents/"+id+"/withdraw", url.Values{"sure": {"yes"}}).want(404)
		}
	}
	if n := w.count("consent.withdrawn.v1") + w.count("personal_data.read.v1"); n != 0 {
		t.Errorf("a page about oneself led to %d events about another", n)
	}
}

func TestWithdrawingWhatTheAccountRestsOnIsAskedAboutFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["KZN225"], "newsletter")
	p := w.citizen("thandi@example.org")
	w.staff(domain.Manager, "KZN225").send("POST", "/api/v1/consents", fmt.Sprintf(
		`{"subject_id":%q,"purpose":"newsletter","language":"en","consented":true,"channel":"paper"}`, p.id)).want(201)
	withdraw := "/me/consents/" + p.newestConsent("platform_registration") + "/withdraw"

	b := p.browserOf("KZN225")
	b.get("/me?lang=en")
	b.post(withdraw, url.Values{}).want(200) // a click that nobody has confirmed
	if b.path != withdraw || w.count("consent.withdrawn.v1") != 0 {
		t.Fatalf("not asked first, but at %s", b.path)
	}
	b.says("Withdrawing it closes your account.", "You are signed out everywhere at once.")

	b.send(withdraw).want(200)
	b.says("Your account is closed", "Newsletter (You agreed on 1 March 2026, 14:00, on paper)")
	if len(b.cookies) != 0 {
		t.Error("the session of a closed account goes on")
	}
	if _, open := w.login("thandi@example.org", "KZN225", "").json["access_token"]; open {
		t.Error("the account is open")
	}
}

func TestAPersonErasesThemselvesOnTheirPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.citizen("thandi@example.org").browserOf("KZN225")
	b.get("/me/erase?lang=en").want(200)
	b.says("This cannot be undone", "Type exactly this: DELETE MY ACCOUNT", "What is destroyed", "What is kept")

	b.send("/me/erase", "confirmation", "delete it", "password", password).want(422)
	b.says("There is a problem", "Confirmation: This was not understood.")
	if got := b.form("/me/erase"); got.Get("confirmation") != "delete it" || got.Get("password") != "" {
		t.Errorf("the form comes back with %v", got)
	}
	b.send("/me/erase", "confirmation", "DELETE MY ACCOUNT", "password", "wrong password").want(401)
	b.says("The password is wrong.")
	b.hides("wrong password")

	b.send("/me/erase", "confirmation", "DELETE MY ACCOUNT", "password", password).want(200)
	b.says("Your data is erased", "Certificate of the erasure", "Erased on 1 March 2026")
	if !strings.Contains(b.page.raw, "data-print") || len(b.cookies) != 0 {
		t.Error("the certificate cannot be printed, or the session goes on")
	}
	number := regexp.MustCompile(`<span class="mono">([0-9a-f-]{36})</span>`).FindStringSubmatch(b.page.raw)
	w.send("GET", "/api/v1/data-rights/certificates/"+number[1], "").want(200)
}

func TestAPersonMakesARequestOnTheirPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.citizen("thandi@example.org").browserOf("KZN225")
	b.get("/me/requests?lang=en")
	b.says("You have made no request.")
	b.send("/me/requests", "details", "My surname is Ṋemavhola.").want(422)
	if b.form("/me/requests").Get("details") != "My surname is Ṋemavhola." {
		t.Error("what was written is lost")
	}

	lodging := b.form("/me/requests")
	lodging.Set("kind", "correction")
	for range 2 {
		b.post("/me/requests", lodging).want(200)
	}
	b.says("Your request was recorded.", "correction open", "An answer is due on 31 March 2026.", "Ṋemavhola")
	if n := w.count("rights.request_lodged.v1"); n != 1 {
		t.Errorf("%d requests", n)
	}
	b.get("/me")
	b.says("open: 1")
}

func TestAPersonTakesTheirDataAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	b := p.browserOf("KZN225")

	b.get("/me/data?lang=af").want(200)
	b.says("Alles wat oor u gehou word", "Thandi Ṱhaba", "thandi@example.org", "U het ingestem op 1 Maart 2026")
	paper := b.get("/me/data.html").want(200)
	b.says("U persoonlike data", "Thandi Ṱhaba")
	own := p.send("GET", "/api/v1/data-rights/my-data/page?lang=af", "").want(200)
	policy := own.header.Get("Content-Security-Policy")
	if paper.raw != own.raw || paper.header.Get("Content-Security-Policy") != policy ||
		paper.header.Get("Content-Disposition") != `attachment; filename="my-data.html"` {
		t.Errorf("the paper is not the API's: %v", paper.header)
	}

	file := b.get("/me/data.json").want(200)
	if file.header.Get("Content-Type") != "application/json" || !strings.Contains(file.raw, "thandi@example.org") ||
		file.header.Get("Content-Disposition") != `attachment; filename="my-data.json"` {
		t.Errorf("the file: %v", file.header)
	}
	if bytes := p.send("GET", "/api/v1/data-rights/my-data", "").want(200); file.raw != bytes.raw {
		t.Error("the file is not what the API answers, byte for byte")
	}
}

func TestTheOwnPagesAreForEveryRoleInEveryLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["KZN225"], "newsletter")
	everybody := map[string]*browser{"SALGA": w.staff(domain.Admin, domain.PlatformCode).browserOf(domain.PlatformCode)}
	for _, role := range domain.Roles() {
		everybody[string(role)] = w.staffOrCitizen(role, "KZN225").browserOf("KZN225")
	}

	for who, b := range everybody {
		for _, lang := range []string{"en", "zu", "af"} {
			for _, path := range []string{
				"/me", "/me/reads", "/me/data", "/me/requests", "/me/erase", "/console/account",
				"/console/account/password", "/console/account/second-factor", "/console/register", "/console/forgot",
				"/console/redeem",
			} {
				a := b.get(path + "?lang=" + lang)
				if a.status != 200 || !strings.Contains(a.raw, `<html lang="`+lang+`"`) ||
					strings.Count(a.raw, "<h1") != 1 {
					t.Errorf("%s as %s in %s: %d", path, who, lang, a.status)
				}
			}
		}
	}
}

func TestAPersonChangesTheirDetailsOnTheAccountPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	b := p.browserOf("KZN225")
	b.get("/console/account?lang=en")
	before := b.form("/console/account")
	b.send("/console/account", "full_name", "Thandi Zulu", "phone", "", "preferred_language", "af").want(200)
	b.says("U besonderhede is verander.")
	if got := b.form("/console/account"); got.Get("full_name") != "Thandi Zulu" || got.Get("phone") != "" {
		t.Errorf("the details are %v", got)
	}

	before.Set("full_name", "Somebody Else")
	before.Set("form_key", "another")
	b.post("/console/account?lang=en", before).want(412) // as a page from before the change sends it
	b.get("/console/account?lang=en")
	b.send("/console/account", "full_name", "T").want(422)
	b.says("Name: This is too short.")
	b.get("/console/account")
	b.send("/console/account", "email", "zulu@example.org", "current_password", "wrong password").want(401)
	b.says("The password is wrong.")
	b.hides("wrong password")
	b.send("/console/account", "email", "zulu@example.org", "current_password", password).want(200)
	b.says("Your details were changed.", "zulu@example.org", "Not yet confirmed")

	b.send("/console/account/verify-email").want(200)
	b.says("A code is on its way")
	b.post("/console/account/verify-email", url.Values{"code": {"0000-0000-0000-0000"}}).want(401)
	b.says("This code is wrong")
	b.hides("0000-0000")
	b.post("/console/account/verify-email", url.Values{"code": {codeIn(w.sent())}}).want(200)
	b.says("Your e-mail address is confirmed.", "Confirmed on 1 March 2026")
}

// codeIn returns the code in a letter.
func codeIn(l domain.Letter) string { return l.Code.String() }

func TestAPersonChangesTheirPasswordOnTheAccountPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.citizen("thandi@example.org").browserOf("KZN225")
	b.get("/console/account/password?lang=en")
	b.send("/console/account/password", "current_password", "wrong password", "new_password", anotherPassword).want(401)
	b.says("The password is wrong.")
	b.hides("wrong password", anotherPassword)
	b.send("/console/account/password", "current_password", password, "new_password", "short").want(422)
	b.says("New password: This is too short.")
	b.send("/console/account/password", "current_password", password, "new_password", anotherPassword).want(200)
	b.says("Your password was changed.")
	b.get("/me").want(200) // this session goes on
	w.login("thandi@example.org", "KZN225", "").want(401)
}

func TestAnAccountThatNeedsASecondFactorIsLedToItAndGoesOnFromThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.RequireTOTP = []domain.Role{domain.Manager} })
	p := w.staff(domain.Manager, "KZN225")
	b := p.browserOf("KZN225")
	if b.path != "/console/account/second-factor" {
		t.Fatalf("led to %s", b.path)
	}

	b.send("/console/account/second-factor", "current_password", "wrong password").want(401)
	b.hides("wrong password")
	b.send("/console/account/second-factor", "current_password", password).want(200)
	shown := regexp.MustCompile(`<strong class="mono">([A-Z2-7 ]+)</strong>`).FindStringSubmatch(b.page.raw)
	if shown == nil || !strings.Contains(b.page.raw, "otpauth://totp/") {
		t.Fatalf("no secret:\n%s", b.words())
	}
	secret := strings.ReplaceAll(shown[1], " ", "")

	b.send("/console/account/second-factor/confirm", "totp", "000000").want(401)
	b.says("The secret was shown once")
	b.hides(secret)
	b.send("/console/account/second-factor/confirm", "totp", w.codeOf(secret, 0)).want(200)
	b.says("Signing in now asks for a code, too.", "On: change or remove it")
	b.get("/me").want(200)

	b.get("/console/account/second-factor")
	b.send("/console/account/second-factor/remove", "current_password", password, "totp", "000000").want(401)
	b.says("Type the 6 digits")
	b.send("/console/account/second-factor/remove", "current_password", password, "totp", w.codeOf(secret, 1))
	if w.count("user.second_factor_removed.v1") != 1 {
		t.Error("the second factor is still there")
	}
}

func TestSomebodyOpensAnAccountOnThePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	b.get("/console/sign-in?lang=zu")
	b.get("/console/register?lang=zu")
	wording := domain.PlatformRegistration().Current().Texts[domain.Zulu]
	b.says(wording, "Msunduzi (KZN225)", "City of Cape Town (CPT)")

	filled := []string{
		"municipality_code", "CPT", "full_name", "Sipho Zulu", "email", "sipho@example.org", "phone", "082 123 4567",
		"password", password,
	}
	b.send("/console/register", filled...).want(422)
	b.says("I-akhawunti idinga imvume yokubhalisa.")
	b.hides(password)
	got := b.form("/console/register")
	if got.Get("full_name") != "Sipho Zulu" || got.Get("municipality_code") != "CPT" {
		t.Errorf("what was filled in is lost: %v", got)
	}

	b.send("/console/register", append(filled, "consented", "yes", "password", "short")...).want(422)
	b.send("/console/register", append(filled, "consented", "yes")...).want(200)
	b.says("I-akhawunti yakho ivuliwe. Ngena.")
	b.send("/console/sign-in", "email", "sipho@example.org", "password", password)
	if b.path != "/me" {
		t.Errorf("a new resident is at %s", b.path)
	}
	b.says(wording)
}

func TestAForgottenPasswordIsReplacedOnThePages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.citizen("thandi@example.org")
	b := w.browser()
	var said []string
	for _, email := range []string{"nobody@example.org", "thandi@example.org"} {
		b.get("/console/forgot?lang=en")
		b.send("/console/forgot", "email", email, "municipality_code", "KZN225").want(200)
		b.says("If this address has an account, a code is on its way to it.")
		said = append(said, b.words())
	}
	if said[0] != said[1] {
		t.Error("the page tells who has an account")
	}

	b.send("/console/redeem", "code", "0000-0000-0000-0000", "password", anotherPassword).want(401)
	b.says("This code is wrong")
	b.hides(anotherPassword, "0000-0000")
	b.send("/console/redeem", "code", codeIn(w.sent()), "password", anotherPassword).want(200)
	b.says("Your password is set. Sign in.")
	b.send("/console/sign-in", "email", "thandi@example.org", "password", anotherPassword).want(200)
	if b.path != "/me" {
		t.Errorf("led to %s", b.path)
	}
}

func TestSomebodyWhomStaffRecordedOpensTheirAccountWithACode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(domain.Manager, "KZN225")
	id := clerk.send("POST", "/api/v1/residents",
		`{"full_name":"Nomsa Zulu","phone":"0821234567"}`).want(201).text("id")
	made, err := w.handler.IssueSignInCode(t.Context(), commands.System(w.tenants["KZN225"]), commands.IssueSignInCode{
		User: domain.UserID{UUID: uuid.MustParse(id)}, IdentityDocument: "ID card",
	})
	must(t, err)

	b := w.browser()
	b.get("/console/redeem?lang=en")
	b.send("/console/redeem", "code", made.Value.Text.String(), "password", password,
		"email", "nomsa@example.org").want(422)
	b.says("An account needs consent to registration.")
	b.send("/console/redeem", "code", made.Value.Text.String(), "password", password, "consented", "yes").want(200)
	b.says("Your password is set. Sign in.")
	w.login("nomsa@example.org", "KZN225", "").want(200)
}

func TestAPersonSeesOnTheirPageWhoLookedAtTheirData(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	p := w.citizen("thandi@example.org")
	manager := w.staff(domain.Manager, "KZN225")
	manager.send("GET", "/api/v1/users/"+p.id, "", "Min-Event-Position", w.head()).want(200)

	b := p.browserOf("KZN225")
	b.get("/me?lang=en").want(200)
	b.says("manager", "Personal details", "Only you", "An account on this platform")
	b.hides("Nobody has looked", manager.email)
	b.get("/me/reads?lang=zu").want(200)
	b.says("umphathi", "Okwakho wedwa")
	b.get("/me/reads?after=nonsense").want(422)
	b.get("/me/data").want(200)

	b = manager.browserOf("KZN225")
	b.get("/me/erase?lang=en")
	b.send("/me/erase", "confirmation", "DELETE MY ACCOUNT", "password", password).want(409)
	b.says("your account must be kept. Nothing was erased.")
}
