package http_test

import (
	"fmt"
	"html"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// TestThePageOfAPersonAnswersWhatStoodWhen walks through the page of one person on the
// real log: two clocks, corrections and erasure.
func TestThePageOfAPersonAnswersWhatStoodWhen(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	p := w.citizen("thandi@example.org")
	page := "/console/people/" + p.id

	b := officer.browserOf("KZN225")
	b.get(page).want(200)
	b.says("Thandi Ṱhaba", "Newsletter", "Was never asked.", "The answer rests on position", "Who looked",
		"Sealed checkpoint of")

	given := time.Now().Add(-48 * time.Hour)
	clerk.send("POST", "/api/v1/consents", fmt.Sprintf(`{"subject_id":%q,"purpose":"newsletter","language":"zu",
		"consented":true,"channel":"paper","given_at":%q,"evidence":{"sha256":%q,"reference":"box 7"},
		"given_by":{"name":"Nomsa Guardian","relation":"mother","authority":"birth certificate"}}`,
		p.id, given.UTC().Format(time.RFC3339), strings.Repeat("ab", 32))).want(201)
	b.get(page).want(200)
	b.says("Agreed on", "on paper", "Iphephandaba.", "Consent given", "Nomsa Guardian", "box 7",
		"Withdraw this consent")

	before := given.Add(-time.Hour).UTC().Format(time.RFC3339)
	b.get(page + "?as_of=" + url.QueryEscape(before)).want(200)
	b.says("As it was on", "Was never asked.")
	b.get(page + "?as_of=" + url.QueryEscape(time.Now().UTC().Format(time.RFC3339)) +
		"&known_at=" + url.QueryEscape(before)).want(200)
	b.says("as we knew on", "Show how it is now")
	b.hides("Agreed on")
	b.get(page + "?as_of=yesterday").want(422)
	b.says("There is a problem", "As it was on: This was not understood.")

	for _, lang := range []string{"zu", "af", "en"} {
		b.get(page + "?lang=" + lang).want(200)
		b.get(page + "/reads?lang=" + lang).want(200)
		b.get("/console/people?email=thandi@example.org&lang=" + lang).want(200)
	}
	b.get(page + "/reads?from=2020-01-01T00:00").want(200)
	b.says("Who looked", "manager", "only this person")
	b.get(page + "/reads?from=never").want(422)

	b = clerk.browserOf("KZN225")
	b.get(page).want(200)
	b.says("Thandi Ṱhaba", "Iphephandaba.", "Withdraw this consent")
	b.hides("As we knew on", "Who looked")
	b.get(page + "?as_of=2026-01-01T00:00").want(403)
	b.get(page + "/reads").want(403)

	stranger := w.staff(domain.Manager, "CPT").browserOf("CPT")
	for _, path := range []string{page, page + "/reads", "/console/people/" + uuid.NewString()} {
		stranger.get(path).want(404)
	}

	w.erase(p)
	b = officer.browserOf("KZN225")
	b.get(page).want(200)
	b.says("Erased person", "Nothing identifies them any more", "Consent given",
		"What identified the person was erased.")
	b.hides("Thandi", "Nomsa", "box 7", "Withdraw this consent", "Record a decision")
	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

// erase has somebody erase their own account.
func (w *world) erase(p *person) {
	w.t.Helper()
	p.sendErasure().want(200)
}

func TestSomebodyIsFoundByWhatIsKnownOfThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	clerk := w.staff(domain.FieldWorker, "KZN225")

	b := clerk.browserOf("KZN225")
	b.get("/console/people").want(200)
	b.says("Each search is recorded", "The whole address")
	b.hides(p.id, `name="q"`)
	for _, query := range []string{
		"email=Thandi@example.org", "phone=082+123+4567", "email=thandi@example.org&q=&role=",
	} {
		b.get("/console/people?" + query).want(200)
		b.says("Thandi Ṱhaba", "thandi@example.org")
		if !strings.Contains(b.page.raw, `href="/console/people/`+p.id+`"`) {
			t.Errorf("%s does not lead to the person", query)
		}
	}
	b.get("/console/people?email=nobody@example.org").want(200)
	b.says("Nobody was found.")
	b.get("/console/people?q=Thandi").want(403)
	b.get("/console/people?phone=letters").want(422)
	b.says("There is a problem", "Phone: This was not understood.")
	b.get("/console/people?external_id=1&external_type=meter").want(200)
	b.get("/console/people?external_id=1").want(422)
	b.get("/console/people?id=rubbish").want(422)
	b.get("/console/people?name=Thandi").want(422)

	b.get("/console/people?id=" + strings.ToUpper(p.id)).want(200)
	if b.path != "/console/people/"+p.id {
		t.Errorf("an id leads to %s", b.path)
	}
	b.get("/console/people?id=" + uuid.NewString()).want(404)

	b = w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	b.get("/console/people?role=citizen").want(200)
	b.says("Thandi Ṱhaba")
	title := b.page.raw[strings.Index(b.page.raw, "<title>"):strings.Index(b.page.raw, "</title>")]
	if strings.Contains(title, "Thandi") {
		t.Errorf("a name is in %s", title)
	}
}

// decisions returns how many events the consents of a person have.
func (w *world) decisions(p *person) (n int) {
	w.t.Helper()
	for _, e := range w.store.events() {
		if e.Stream == domain.ConsentsOf(domain.UserID{UUID: uuid.MustParse(p.id)}) {
			n++
		}
	}
	return n
}

func TestADecisionIsRecordedWithdrawnAndAnnulledOnPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	p := w.citizen("thandi@example.org")
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	before := w.decisions(p)

	page := "/console/people/" + p.id + "/consents"
	b.get(page + "?purpose=newsletter").want(200)
	b.says("Iphephandaba.", "Die nuusbrief.", "version 1 of the wording", "Does the person agree?")
	b.send(page, "reference", "x").want(422)
	b.says("Does the person agree?: Fill this in.")
	b.send(page, "consented", "yes", "given_at", "soon", "given_by.name", "Nomsa").want(422)
	b.says("When they decided: This was not understood.")
	if !strings.Contains(b.page.raw, `value="Nomsa"`) || !strings.Contains(b.page.raw, `value="soon"`) {
		t.Error("the form lost what was written in it")
	}

	sent := b.form(page)
	sent.Set("given_at", "")
	sent.Set("given_by.name", "")
	for range 2 { // a second click
		b.post(page, sent).want(200)
	}
	if b.path != "/console/people/"+p.id || w.decisions(p) != before+1 {
		t.Fatalf("at %s after %d decisions", b.path, w.decisions(p)-before)
	}

	b.get(page + "?purpose=newsletter")
	b.send(page, "consented", "yes").want(409)
	b.says("already agreed")

	id := w.store.events()[len(w.store.events())-1].EventID.String()
	for _, c := range p.send("GET", "/api/v1/consents", "").want(200).items() {
		if c["purpose"] == "newsletter" {
			id = c["id"].(string)
		}
	}
	withdraw, annul := "/console/consents/"+id+"/withdraw", "/console/consents/"+id+"/annul"
	b.get(withdraw).want(200)
	b.says("Withdraw this consent", "Iphephandaba.", "Newsletter")
	b.send(withdraw, "given_at", "later").want(422)
	sent = b.form(withdraw)
	sent.Set("given_at", "")
	sent.Set("reason", "too many messages")
	for range 2 {
		b.post(withdraw, sent).want(200)
	}
	if b.path != "/console/people/"+p.id || w.decisions(p) != before+2 {
		t.Errorf("at %s after %d decisions", b.path, w.decisions(p)-before)
	}

	b.get(annul + "?entry=withdrawal").want(200)
	b.says("It stays visible.")
	b.send(annul, "reason", "").want(422)
	b.send(annul, "reason", "the wrong person", "evidence.sha256", "short").want(422)
	b.says("Fingerprint of the evidence (SHA-256)")
	b.send(annul, "evidence.sha256", strings.Repeat("ab", 32), "evidence.reference", "box 7").want(200)
	if b.path != "/console/people/"+p.id || w.decisions(p) != before+3 {
		t.Errorf("at %s after %d decisions", b.path, w.decisions(p)-before)
	}

	for _, form := range []string{page, withdraw, annul} {
		for _, lang := range []string{"zu", "af"} {
			b.get(form + "?lang=" + lang).want(200)
		}
	}
	stranger := w.staff(domain.Manager, "CPT").browserOf("CPT")
	for _, form := range []string{page, withdraw, annul} {
		stranger.get(form).want(404)
		stranger.post(form, url.Values{"reason": {"x"}}).want(404)
	}
	clerk := w.staff(domain.FieldWorker, "KZN225").browserOf("KZN225")
	clerk.get(withdraw).want(200)
	clerk.get(annul).want(403)
}

// A page of a person with very many decisions shows the newest, leads to the others, and
// still says how each purpose stands. What it looks at is recorded, and who looked
// before is listed.
func TestThePageOfAPersonWithManyDecisionsShowsTheNewest(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	officer := w.staff(domain.Manager, "KZN225")
	p := w.citizen("thandi@example.org")
	for range 70 {
		p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":false}`).want(201)
	}

	b, page := officer.browserOf("KZN225"), "/console/people/"+p.id
	shown := func() int { return strings.Count(b.page.raw, `<div class="moj-timeline__item `) }
	b.get(page).want(200)
	b.says("The newest first.", "Refused on", "An account on this platform", "Nobody looked in this time.")
	if shown() != 50 {
		t.Errorf("%d events on the first page", shown())
	}

	next := regexp.MustCompile(`href="(/console/people/[^"]*after=[^"]*)"`).FindStringSubmatch(b.page.raw)
	if next == nil {
		t.Fatal("no way to the other decisions")
	}
	b.get(html.UnescapeString(next[1])).want(200)
	if shown() != 21 {
		t.Errorf("%d events on the last page", shown())
	}

	b.get(page).want(200)
	b.says("Who looked", "manager", "only this person")
	fields := map[string]int{}
	for _, item := range officer.send("GET", "/api/v1/compliance/exposure?subject_id="+p.id, "").want(200).items() {
		fields[item["fields"].(string)]++
	}
	want := map[string]int{"profile": 3, "history": 3, "consents": 2, "requests": 2}
	if !maps.Equal(fields, want) {
		t.Errorf("looks at %v, want %v", fields, want)
	}

	counting := officer.send("GET", "/api/v1/compliance/consents?counting=true&subject_id="+p.id, "").want(200).items()
	if len(counting) != 2 || counting[1]["status"] != "refused" {
		t.Errorf("%d decisions count: %v", len(counting), counting)
	}
	officer.send("GET", "/api/v1/compliance/consents?counting=true", "").wantProblem(422, domain.CodeInvalid)
	for _, own := range []*answer{
		p.send("GET", "/api/v1/consents?counting=true", ""),
		officer.send("GET", "/api/v1/consents?counting=true&subject_id="+p.id, ""),
	} {
		if got := own.want(200).items(); !reflect.DeepEqual(got, counting) || own.json["next"] != nil {
			t.Errorf("asked for alone, other decisions count: %v", got)
		}
	}
}

// What a page asks rests on one reading of the visitor's rights, and a form that is sent
// on another.
func TestTheRightsOfAVisitorAreReadOnceForAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	p := w.citizen("thandi@example.org")

	for _, path := range []string{"/console/people/" + p.id, "/console/purposes", "/me"} {
		before := w.store.authentications()
		b.get(path).want(200)
		if n := w.store.authentications() - before; n != 1 {
			t.Errorf("%s: %d readings", path, n)
		}
	}

	w.store.endSessions()
	if answer := b.once("GET", "/console/purposes", nil); answer.status == 200 {
		t.Error("a page is shown in a session that has ended")
	}
}
