package http_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Two officers, or one in two tabs, open the form for the next wording. The second must
// not replace words that they have never seen.
func TestANewerWordingIsNotReplacedUnseen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["KZN225"], "ward_news")
	p := w.staff(domain.Admin, "KZN225")
	first, second := p.browserOf("KZN225"), p.browserOf("KZN225")
	const form, retire = "/console/purposes/ward_news/notices", "/console/purposes/ward_news/retire"
	first.get(form + "?lang=en").want(200)
	first.says("Publish", "Ward news")
	second.get(form + "?lang=en").want(200)
	second.get(retire).want(200)
	end := second.form(retire)
	second.get(form).want(200)
	first.send(form, "texts.en", "News of your ward").want(200)

	before := w.changes()
	second.send(form, "reconsent", "soon").want(422)
	second.send(form, "texts.en", "News of every ward", "reconsent", "").want(412)
	second.says("Somebody else changed this", "This becomes version 3", "Somebody changed this to: News of your ward",
		"News of every ward")
	second.post(retire, end).want(412)
	second.says("Somebody else changed this")
	if n := w.changes() - before; n != 0 {
		t.Errorf("words that were not seen were replaced: %d events", n)
	}

	second.get(form).want(200)
	second.send(form, "texts.en", "News of every ward").want(200)
	second.says("News of every ward")
}

func TestAPurposeHasAnETag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const one, wording = "/api/v1/purposes/ward_news", `{"texts":{"en":"News","zu":"Izindaba","af":"Nuus"}}`
	w.define(w.tenants["KZN225"], "ward_news")
	admin := w.staff(domain.Admin, "KZN225")
	read := func() string {
		return w.send("GET", one+"?municipality_code=KZN225", "").want(200).header.Get("ETag")
	}

	then := read()
	changed := admin.send("POST", one+"/notices", wording, "If-Match", then, "Idempotency-Key", "k").want(201)
	if now := read(); now == then || changed.header.Get("ETag") != now {
		t.Errorf("the ETags are %q, %q and %q", then, changed.header.Get("ETag"), now)
	}
	admin.send("POST", one+"/notices", wording, "If-Match", then, "Idempotency-Key", "k").want(201)
	admin.send("POST", one+"/notices", wording, "If-Match", then).wantProblem(412, domain.CodeStale)
	admin.send("POST", one+"/retire", "", "If-Match", then).wantProblem(412, domain.CodeStale)
	admin.send("POST", one+"/retire", "", "If-Match", read()).want(200)

	built := w.send("GET", "/api/v1/purposes/platform_registration", "").want(200)
	if got := built.header.Get("ETag"); got != `"0"` {
		t.Errorf("what is built in has the version %s", got)
	}
}

// A form that comes back for another reason is still about what its visitor saw.
func TestAFormThatComesBackIsAboutTheVersionThatWasSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	b := p.browserOf("KZN225")
	b.get("/console/account?lang=en").want(200)
	b.send("/console/account", "full_name", "T").want(422)
	p.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi Zulu"}`).want(200)

	b.send("/console/account", "full_name", "Thandi Ngcobo").want(412)
	b.says("Somebody changed this to: Thandi Zulu")
	if got := b.form("/console/account").Get("full_name"); got != "Thandi Ngcobo" {
		t.Errorf("what was filled in is lost: %q", got)
	}
	b.send("/console/account").want(200)
	b.says("Your details were changed.")
}

func TestAHoldCanBeReadByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer, citizen := w.staff(domain.Manager, "KZN225"), w.citizen("thandi@example.org")
	made := officer.send("POST", holdsPath, fmt.Sprintf(`{"subject_id":%q,"reason":"case 114"}`, citizen.id)).want(201)
	one := holdsPath + "/" + made.text("id")

	reads := w.count("personal_data.read.v1")
	if a := officer.send("GET", one, "").want(200); a.text("reason") != "case 114" || a.json["lifted_at"] != nil {
		t.Errorf("the hold is %s", a.raw)
	}
	if w.count("personal_data.read.v1") != reads+1 {
		t.Error("the look is not recorded")
	}
	officer.send("POST", one+"/lift", `{"reason":"settled"}`).want(200)
	if a := officer.send("GET", one, "").want(200); a.json["lifted_at"] == nil {
		t.Errorf("lifted, the hold is %s", a.raw)
	}
	officer.send("GET", holdsPath+"/"+uuid.NewString(), "").wantProblem(404, domain.CodeNotFound)
	officer.send("GET", holdsPath+"/"+citizen.lodge("access", ""), "").wantProblem(404, domain.CodeNotFound)
	w.staff(domain.Manager, "CPT").send("GET", one, "").wantProblem(404, domain.CodeNotFound)
}

// Whoever cannot be erased learns it before they type the words.
func TestAPersonUnderAHoldIsToldBeforeTheyTypeAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer, citizen := w.staff(domain.Manager, "KZN225"), w.citizen("thandi@example.org")
	hold := officer.send("POST", holdsPath, fmt.Sprintf(`{"subject_id":%q,"reason":"case 114"}`, citizen.id)).want(201)
	b := citizen.browserOf("KZN225")
	b.get("/me/erase?lang=en").want(200)
	b.says("it cannot be erased yet")
	b.hides("Type exactly this")

	officer.send("POST", holdsPath+"/"+hold.text("id")+"/lift", `{"reason":"settled"}`).want(200)
	b.get("/me/erase").want(200)
	b.says("Type exactly this")
	b.hides("it cannot be erased yet")
}
