package http_test

import (
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

func TestAnAdministratorDefinesRewordsAndEndsAPurpose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	b := w.staff(domain.Admin, "KZN225").browserOf("KZN225")
	b.get("/console/purposes").want(200)
	b.says("Newsletter", "To send you the newsletter.", "a default of SALGA's for all", "consent", "until withdrawn")
	b.get("/console/purposes/newsletter").want(200)
	b.hides("/console/purposes/newsletter/retire") // it is SALGA's

	const form = "/console/purposes/new-purpose"
	b.get(form).want(200)
	b.send(form, "code", "library", "basis", "consent", "retention", "2 years", "notice.texts.en", "We lend you books",
		"notice.texts.zu", "Sikuboleka izincwadi").want(422)
	b.says("There is a problem", "Wording in Afrikaans: Fill this in.", "Sikuboleka izincwadi")
	b.send(form, "validity_days", "two", "notice.texts.af", "Ons leen u boeke").want(422)
	b.says("Days that a consent holds: This was not understood.")
	sent := b.form(form)
	sent.Set("validity_days", "")
	b.post(form, sent).want(200)
	b.says("Purpose Library", "We lend you books", "Ons leen u boeke", "the municipality's own")
	before := w.head()
	b.post(form, sent).want(200)
	if w.head() != before {
		t.Error("the form counted twice")
	}

	const next = "/console/purposes/library/notices"
	b.get(next).want(200)
	b.says("This becomes version 2")
	b.send(next, "texts.en", "").want(422)
	b.says("Wording in English: Fill this in.")
	b.send(next, "texts.en", "We lend you books and films", "reconsent", "soon").want(422)
	b.says("Older consents lapse on: This was not understood.", "We lend you books and films")
	b.send(next, "reconsent", "2099-01-01T08:00").want(200)
	b.says("Version 1", "Version 2", "1 January 2099, 08:00", "SHA-256")
	if !strings.Contains(b.page.raw, "We lend you books <ins>and films</ins>") {
		t.Errorf("the page does not show what changed:\n%s", b.page.raw)
	}

	const retire = "/console/purposes/library/retire"
	b.get(retire).want(200)
	b.says("This cannot be undone")
	b.send(retire).want(200)
	b.says("This purpose has ended")
	b.hides(retire, next)
}

func TestPurposesAreInEveryLanguageAndOfOneMunicipality(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["CPT"], "harbour")
	w.define(w.tenants["KZN225"], "library")
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	b.get("/console/purposes").want(200)
	b.says("Library")
	b.hides("Harbour")
	b.get("/console/purposes/harbour").want(404)
	b.get("/console/purposes/library/retire").want(403)
	b.get("/console/purposes/library").want(200)
	b.hides("/console/purposes/library/notices")

	for path, words := range map[string][2]string{
		"/console/purposes":                {"Amazwi", "Bewoording"},
		"/console/purposes/library":        {"Inhloso Library", "Doeleinde Library"},
		"/console/purposes/library/impact": {"Ukubheka kwakho kubhaliwe", "Dat u gekyk het"},
		"/console/consents":                {"Akukho muntu obalwayo ohlwini", "Niemand word gelys voordat u"},
		"/console/reads":                   {"kuyabhalwa (POPIA s19)", "word aangeteken (POPIA s19)"},
		"/console/audit":                   {"Okwenzekile", "die nuutste eerste"},
	} {
		for i, lang := range []string{"zu", "af"} {
			b.get(path + "?lang=" + lang).want(200)
			b.says(words[i])
		}
	}
	b = w.staff(domain.Admin, "KZN225").browserOf("KZN225")
	for _, path := range []string{"/new-purpose", "/library/notices", "/library/retire"} {
		for _, lang := range []string{"zu", "af"} {
			b.get("/console/purposes" + path + "?lang=" + lang).want(200)
		}
	}
}

// The officer's questions on the real log: how did everybody's consents stand, who must
// be asked again, who has looked, and what happened?
func TestAnOfficerReadsTheRecordsOnPages(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	thandi := w.citizen("thandi@example.org")
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	given := time.Now().Add(-72 * time.Hour)
	paper := clerk.send("POST", "/api/v1/consents", fmt.Sprintf(
		`{"subject_id":%q,"purpose":"newsletter","language":"zu","consented":true,"channel":"paper","given_at":%q,
		"evidence":{"sha256":%q,"reference":"box 4, form 17"}}`,
		thandi.id, given.UTC().Format(time.RFC3339), strings.Repeat("ab", 32))).want(201)
	officer.send("GET", "/api/v1/users/"+thandi.id, "", "Min-Event-Position", w.head()).want(200)

	b := officer.browserOf("KZN225")
	b.theirConsents(thandi, paper.text("id"), given)
	b.theirReads(thandi, clerk, officer)
	b.theirHistory(thandi)
}

// The people behind the counts come in pages, which keep filters and moment whatever is
// recorded meanwhile. Each line leads to its person as they stood then.
func TestThePeopleBehindTheCountsComeInPages(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	thandi := w.citizen("thandi@example.org")
	refuses := func() {
		thandi.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":false}`).want(201)
	}
	for range 51 {
		refuses()
	}

	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	lines := func() int { return strings.Count(b.page.raw, `<a class="govuk-link mono" href="/console/people/`) }
	next := regexp.MustCompile(`href="(/console/consents\?[^"]*after=[^"]*)" rel="next"`)
	b.get("/console/consents?purpose=newsletter&language=zu&known_at=2099-01-01T00:00").want(200)
	found := next.FindStringSubmatch(b.page.raw)
	if lines() != 50 || found == nil || strings.Contains(found[1], "known_at") {
		t.Fatalf("the first page has %d lines, and then %q", lines(), found)
	}
	refuses()
	second := html.UnescapeString(found[1])
	b.get(second).want(200)
	b.says("Newsletter 0 51 0 0 0 0 51") // and not 52
	if lines() != 1 || next.MatchString(b.page.raw) || !strings.Contains(b.page.raw, `value="zu" selected`) {
		t.Errorf("the second page has %d lines:\n%s", lines(), b.page.raw)
	}

	for _, other := range []string{
		strings.Replace(second, "language=zu", "language=en", 1), strings.Replace(second, "position=", "position=1", 1),
		second + "&as_of=2026-01-01T00:00", second + "&known_at=2026-01-01T00:00", second + "A",
	} {
		b.get(other).want(422)
		b.says("There is a problem")
		if lines() > 0 {
			t.Errorf("%s lists somebody", other)
		}
	}

	b.get(second).want(200)
	person := regexp.MustCompile(`href="(/console/people/[^"]*)"`).FindStringSubmatch(b.page.raw)
	at := regexp.MustCompile(`position=(\d+)`).FindStringSubmatch(second)
	b.get(html.UnescapeString(person[1])).want(200)
	b.says("as known at position "+at[1]+" of the log", "The answer rests on position "+at[1])
	b.get("/console/people/" + thandi.id + "?position=many").want(422)
	b.get("/console/people/" + thandi.id + "?position=1&known_at=2026-01-01T00:00").want(422)
	clerk := w.staff(domain.FieldWorker, "KZN225").browserOf("KZN225")
	clerk.get("/console/people/" + thandi.id + "?position=1").want(403)
	clerk.get("/console/consents?purpose=newsletter").want(403)
}

func (b *browser) theirConsents(thandi *person, consent string, given time.Time) {
	b.w.t.Helper()
	before := b.w.head()
	b.get("/console/consents").want(200)
	b.says("Newsletter 1 0 0 0 0 0 1", "Nobody is listed until you press")
	b.hides(thandi.id)
	if b.w.head() != before {
		b.w.t.Error("counts were recorded as a look")
	}
	b.get("/console/consents?purpose=newsletter&channel=paper&given_from=&given_to=2099-01-01T00:00").want(200)
	b.says("Newsletter 1 0 0 0 0 0 1", "as known at position", "CSV, for a spreadsheet", "That you looked is recorded",
		thandi.id[28:]+" Newsletter agreed Yes")
	if b.w.head() == before {
		b.w.t.Error("a list was not recorded as a look")
	}
	early := url.QueryEscape(given.Add(-time.Hour).UTC().Format(time.RFC3339))
	b.get("/console/consents?purpose=newsletter&as_of=" + early).want(200)
	b.says("Nobody's answer matches")
	b.get("/console/consents?as_of=yesterday&position=many").want(422)
	b.says("As it was on: This was not understood.", "Position of the log: This was not understood.")
	b.get("/console/consents?position=1&known_at=2026-01-01T00:00").want(422)
	b.get("/console/consents?status=lost").want(422)

	b.get("/console/consents?purpose=newsletter").want(200)
	for _, link := range strings.Split(b.page.raw, `<a class="govuk-link" href="/console/consents/download?`)[1:] {
		query := strings.ReplaceAll(link[:strings.Index(link, `"`)], "&amp;", "&")
		file := b.once("GET", "/console/consents/download?"+query, nil).want(200)
		if !strings.HasPrefix(file.header.Get("Content-Disposition"), `attachment; filename="consents-`) ||
			!strings.Contains(file.raw, consent) || file.header.Get("Cache-Control") != "no-store" {
			b.w.t.Errorf("the file %s: %v\n%s", query, file.header, file.raw)
		}
	}
	refused := b.once("GET", "/console/consents/download?format=csv&purpose=no_such", nil)
	if refused.status < 400 || !strings.HasPrefix(refused.header.Get("Content-Type"), "text/html") ||
		refused.header.Get("Content-Disposition") != "" {
		b.w.t.Errorf("a refused download: %d %v", refused.status, refused.header)
	}

	b.get("/console/purposes/newsletter").want(200)
	b.says("this look is recorded", "1 1 0 0 0 0 0 1")
	b.get("/console/purposes/newsletter/impact").want(200)
	b.says("That you looked is recorded", "asked again: 1.", "isiZulu", "on paper", thandi.id[28:])
}

func (b *browser) theirReads(thandi, clerk, officer *person) {
	b.w.t.Helper()
	b.get("/console/reads").want(200)
	b.says("Name a person, to see who looked")
	b.get("/console/reads?subject_id=" + thandi.id).want(200)
	b.says("manager "+officer.id[28:], "GET /api/v1/compliance/purposes/{code}/impact", "only this person", "consents",
		"everybody whom the search found")
	b.get("/console/reads?actor_id=" + officer.id + "&from=2020-01-01T00:00").want(200)
	b.says(thandi.id[28:], "details")
	b.get("/console/reads?actor_id=" + clerk.id + "&from=2099-01-01").want(200)
	b.says("Nobody has looked in this time")
	b.get("/console/reads?subject_id=thandi").want(422)
	b.says("Whose data (reference): This was not understood.")
	b.get("/console/reads?subject_id=" + uuid.NewString()).want(404)
}

func (b *browser) theirHistory(thandi *person) {
	b.w.t.Helper()
	thandi.send("PATCH", "/api/v1/users/me", `{"phone":"0837654321"}`).want(200)
	b.get("/console/audit?user_id=" + thandi.id + "&operation=UPDATE").want(200)
	b.says("Details changed", "Phone: ", "→ +27837654321", "resident "+thandi.id[28:], "Changed, Accounts")
	b.get("/console/audit?record_id=nothing").want(422)
	b.get("/console/audit?table_name=nothing").want(422)
	b.get("/console/audit?to=2020-01-01T00:00").want(200)
	b.says("Nothing that matches has happened")
	b.get("/console/audit?tenant_id=" + b.w.tenants["CPT"].String()).want(403)

	salga := b.w.staff(domain.Admin, domain.PlatformCode).browserOf(domain.PlatformCode)
	salga.get("/console/audit?user_id=" + thandi.id + "&tenant_id=" + b.w.tenants["KZN225"].String()).want(200)
	salga.says("sealed: it cannot be shown to you", "municipality")
	salga.hides("+27837654321")
}
