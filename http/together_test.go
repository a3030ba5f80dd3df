package http_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// A program that still has the id of a merged record is told what the record that goes on
// says, also in a bulk check that names both, one of them twice; and it is that record
// whose data it read.
func TestAProgramAsksAboutRecordsThatWereMerged(t *testing.T) {
	t.Parallel()
	w, clerk, officer, admin := mergeWorld(t)
	from := clerk.walkIn("Thandi Dlamini", "0821234567", "7").want(201).text("id")
	into := clerk.walkIn("Thandi Zulu", "0831234567", "8").want(201).text("id")
	elsewhere := w.staff(domain.FieldWorker, "CPT").walkIn("Piet Botha", "0841234567", "9").want(201).text("id")
	clerk.consentFor(from, "newsletter", true).want(201)
	program, nobody := w.program(admin, domain.ScopeCheck), uuid.NewString()

	ask := func(more string) (reasons []string) {
		t.Helper()
		body := fmt.Sprintf(`{"purpose":"newsletter","subject_ids":[%q,%q,%q,%q,%q]%s}`,
			from, into, elsewhere, nobody, from, more)
		items := program.send("POST", "/api/v1/consents/check", body).want(200).items()
		for i, id := range []string{from, into, elsewhere, nobody, from} {
			if items[i]["subject_id"] != id {
				t.Errorf("answer %d is about %v, not %s", i, items[i]["subject_id"], id)
			}
			reasons = append(reasons, items[i]["reason"].(string))
		}
		return reasons
	}
	before := w.instant()
	apart := []string{"granted", "never_asked", "unknown_subject", "unknown_subject", "granted"}
	if got := ask(""); !slices.Equal(got, apart) {
		t.Errorf("before the merge: %q", got)
	}

	officer.send("POST", residentsPath+"/"+from+"/merge", fmt.Sprintf(`{"into":%q}`, into)).want(200)
	one := []string{"granted", "granted", "unknown_subject", "unknown_subject", "granted"}
	if got := ask(""); !slices.Equal(got, one) {
		t.Errorf("merged: %q", got)
	}
	if got := ask(fmt.Sprintf(`,"known_at":%q`, before)); !slices.Equal(got, apart) {
		t.Errorf("merged, as known before: %q", got)
	}
	single := program.send("GET", "/api/v1/consents/check?purpose=newsletter&subject_id="+from, "").want(200)
	single.wantCheck(true, domain.ReasonGranted)

	var named []string
	for _, look := range officer.reads("actor_id=" + program.id) {
		named = append(named, fmt.Sprint(look["subjects"]))
	}
	both := []string{from, into}
	slices.Sort(both)
	// The same read within an hour is one look, however it was asked for.
	if want := []string{"[" + into + "]", "[" + both[0] + " " + both[1] + "]"}; !slices.Equal(named, want) {
		t.Errorf("looks, newest first, name %q, want %q", named, want)
	}
	if n := len(officer.reads("subject_id=" + into)); n < 2 {
		t.Errorf("%d looks at the record that goes on", n)
	}

	access := clerk.send("POST", requestsPath, fmt.Sprintf(`{"subject_id":%q,"kind":"access"}`, into)).want(201)
	page := officer.send("GET", requestsPath+"/"+access.text("id")+"/data/page?lang=en", "").want(200)
	for _, text := range []string{
		"Program ", "Other records of you that were merged into this one", "Counts now", "Two records were merged",
	} {
		if !strings.Contains(page.raw, text) {
			t.Errorf("%q is not on the page", text)
		}
	}

	for _, path := range []string{
		residentsPath + "/" + from, "/api/v1/users/" + from, consentsReport, summaryReport + "?by=status",
		"/api/v1/compliance/purposes/newsletter/impact", "/api/v1/compliance/subjects/" + into + "/history",
	} {
		program.send("GET", path, "").want(403)
	}
	for _, path := range []string{
		residentsPath + "/" + from + "/unmerge", residentsPath + "/" + into + "/sign-in",
		"/api/v1/users/" + into + "/reset-code",
	} {
		program.send("POST", path, `{"identity_document":"ID card"}`).wantProblem(403, domain.CodeForbidden)
	}
	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

// An annulled entry stays visible under its own status wherever decisions are listed,
// searched, counted, exported and told, and never counts.
func TestAnAnnulledEntryIsToldEverywhereAndCountsNowhere(t *testing.T) {
	t.Parallel()
	w, clerk, officer, admin := mergeWorld(t)
	id := clerk.walkIn("Thandi Dlamini", "0821234567", "7").want(201).text("id")
	granted := clerk.consentFor(id, "newsletter", true, `,"valid_until":"2090-01-01T00:00:00Z"`).want(201)
	before := granted.header.Get("Event-Position")
	clerk.consentFor(id, "library", true).want(201)
	annulled := officer.send("POST", "/api/v1/consents/"+granted.text("id")+"/annul", `{"reason":"the neighbour"}`).
		want(200)
	if annulled.text("status") != "annulled" || annulled.json["in_force"] != false {
		t.Errorf("annulled: %s", annulled.raw)
	}

	list := clerk.send("GET", "/api/v1/consents?subject_id="+id, "", "Min-Event-Position", w.head()).want(200).items()
	found := officer.send("GET", consentsReport+"?status=annulled", "").want(200).items()
	for where, rows := range map[string][]map[string]any{"the list": list[1:], "a search": found} {
		if len(rows) != 1 || rows[0]["id"] != granted.text("id") || rows[0]["status"] != "annulled" ||
			rows[0]["in_force"] != false || rows[0]["annulled_at"] != annulled.json["annulled_at"] {
			t.Errorf("%s has %v", where, rows)
		}
	}
	then := officer.send("GET", consentsReport+"?status=annulled&position="+before, "").want(200)
	if len(then.items()) != 0 {
		t.Errorf("as known before: %s", then.raw)
	}
	for _, format := range []string{"json", "csv", "ndjson"} {
		export := officer.send("GET", consentsReport+"?purpose=newsletter&format="+format, "").want(200)
		if !strings.Contains(export.raw, annulled.text("annulled_at")) || !strings.Contains(export.raw, `"annulled"`) {
			t.Errorf("%s: %s", format, export.raw)
		}
	}

	for query, want := range map[string]string{
		"by=purpose": "[map[count:1 purpose:library] map[count:1 purpose:newsletter]]",
		"by=purpose,status": "[map[count:1 purpose:library status:granted] " +
			"map[count:1 purpose:newsletter status:annulled]]",
		"by=status&purpose=newsletter&position=" + before: "[map[count:1 status:granted]]",
		"by=channel&status=annulled":                      "[map[channel:paper count:1]]",
	} {
		query += "&channel=paper"
		if got := fmt.Sprint(officer.send("GET", summaryReport+"?"+query, "").want(200).items()); got != want {
			t.Errorf("%s counts %s, want %s", query, got, want)
		}
	}
	impact := officer.send("GET", "/api/v1/compliance/purposes/newsletter/impact", "",
		"Min-Event-Position", w.head()).want(200)
	if impact.json["count"] != 0.0 {
		t.Errorf("somebody would be asked again about what they never said: %s", impact.raw)
	}
	checked := clerk.checkAll("newsletter", "", id).want(200).items()
	if checked[0]["allowed"] != false || checked[0]["valid_until"] != nil {
		t.Errorf("checked: %v", checked)
	}

	history := officer.send("GET", "/api/v1/compliance/subjects/"+id+"/history", "").want(200).items()
	if last := history[len(history)-1]; history[0]["annulled_at"] != annulled.json["annulled_at"] ||
		history[0]["valid_until"] != "2090-01-01T00:00:00.000000Z" || last["event_type"] != "consent.annulled.v1" ||
		last["annuls"] != history[0]["event_id"] || last["reason"] != "the neighbour" {
		t.Errorf("history: %v", history)
	}

	signIn := residentsPath + "/" + id + "/sign-in"
	clerk.send("POST", signIn, `{"identity_document":"ID card"}`).want(201)
	c := w.program(admin, domain.ScopeCheck)
	admin.send("POST", accountsPath+"/"+c.id+"/rotate", "").want(200)
	admin.send("POST", accountsPath+"/"+c.id+"/revoke", "").want(200)
	told := admin.send("GET", "/api/v1/audit-logs?limit=100", "").want(200)
	for _, event := range []string{
		"resident.recorded.v1", "consent.annulled.v1", "user.sign_in_code_issued.v1", "service_account.created.v1",
		"service_account.secret_rotated.v1", "service_account.revoked.v1",
	} {
		if !strings.Contains(told.raw, event) {
			t.Errorf("the audit does not tell of %s", event)
		}
	}
	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}
