package http_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// consentFor records what a resident says on paper, with evidence.
func (p *person) consentFor(subject, purpose string, consented bool, more ...string) *answer {
	p.w.t.Helper()
	return p.send("POST", "/api/v1/consents", fmt.Sprintf(`{"subject_id":%q,"purpose":%q,"language":"zu","consented":%t,
		"channel":"paper","evidence":{"sha256":%q,"reference":"form 12"}%s}`, subject, purpose, consented,
		strings.Repeat("ab", 32), strings.Join(more, "")))
}

func (p *person) allowed(subject, purpose string, more ...string) bool {
	p.w.t.Helper()
	query := "?purpose=" + purpose + "&subject_id=" + subject + strings.Join(more, "")
	a := p.send("GET", "/api/v1/consents/check"+query, "").want(200)
	return a.json["allowed"] == true
}

// mergeWorld is a real world with a clerk, an officer, an admin and two purposes.
func mergeWorld(t *testing.T) (w *world, clerk, officer, admin *person) {
	t.Helper()
	w, _ = rightsWorld(t)
	return w, w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225"), w.staff(domain.Admin, "KZN225")
}

func TestTwoRecordsOfOnePersonAreMergedAndParted(t *testing.T) {
	t.Parallel()
	w, clerk, officer, _ := mergeWorld(t)
	from := clerk.walkIn("Thandi Dlamini", "0821234567", "7").want(201).text("id")
	into := clerk.walkIn("Thandi Zulu", "0831234567", "8").want(201).text("id")

	// In the one she agreed to both; in the other she refused one, later.
	granted := clerk.consentFor(from, "newsletter", true).want(201)
	clerk.consentFor(from, "library", true).want(201)
	clerk.consentFor(into, "newsletter", false).want(201)
	before := w.instant()

	merged := officer.send("POST", residentsPath+"/"+from+"/merge",
		fmt.Sprintf(`{"into":%q,"reason":"one meter, one card"}`, into)).want(200)
	if merged.text("id") != into || !strings.Contains(merged.raw, from) {
		t.Errorf("merged: %s", merged.raw)
	}

	// A "no" of either is not outvoted by an earlier "yes" of the other.
	if clerk.allowed(into, "newsletter") || !clerk.allowed(into, "library") || !clerk.allowed(from, "library") {
		t.Error("the decisions of both do not count as one history")
	}
	if !clerk.allowed(from, "newsletter", "&known_at="+before) || clerk.allowed(into, "library", "&known_at="+before) {
		t.Error("as known before, each did not stand alone")
	}

	// The record takes no more commands, and what finds it leads to the one that goes on.
	clerk.consentFor(from, "library", false).wantProblem(409, domain.CodeMerged)
	clerk.send("POST", requestsPath, fmt.Sprintf(`{"subject_id":%q,"kind":"access"}`, from)).
		wantProblem(409, domain.CodeMerged)
	refused := clerk.send("PATCH", residentsPath+"/"+from, `{"phone":"0840000000"}`).wantProblem(409, domain.CodeMerged)
	if refused.text("subject_id") != into {
		t.Errorf("which record goes on is not said: %s", refused.raw)
	}
	clerk.send("POST", "/api/v1/consents/"+granted.text("id")+"/withdraw", "").wantProblem(409, domain.CodeAnnulled)
	for _, query := range []string{"external_id=meter:7", "phone=0821234567"} {
		found := clerk.send("GET", "/api/v1/users?"+query, "", "Min-Event-Position", w.head()).want(200).items()
		if len(found) != 1 || found[0]["id"] != into {
			t.Errorf("%s finds %v", query, found)
		}
	}
	taken := clerk.walkIn("Thandi Dlamini", "0821234567", "7").wantProblem(409, domain.CodeExternalIDTaken)
	if taken.text("subject_id") != into {
		t.Errorf("who has the meter: %s", taken.raw)
	}
	taken = clerk.send("PATCH", residentsPath+"/"+into, `{"add_external_ids":[{"type":"meter","value":"7"}]}`).
		wantProblem(409, domain.CodeExternalIDTaken)
	if taken.text("subject_id") != from || strings.Contains(taken.raw, "nother person") {
		t.Errorf("who has her own meter: %s", taken.raw)
	}

	list := clerk.send("GET", "/api/v1/consents?subject_id="+from, "", "Min-Event-Position", w.head()).want(200).items()
	for _, c := range list {
		if c["annulled_at"] == nil || c["moved_to"] == nil {
			t.Errorf("what was decided in the merged record: %v", c)
		}
	}
	if n := len(clerk.send("GET", "/api/v1/consents?subject_id="+into, "").want(200).items()); n != 3 {
		t.Errorf("%d decisions in the record that goes on, want 3", n)
	}

	// She withdraws while they are one; then it turns out that they are two.
	library := clerk.consentIn(into, "library")
	clerk.send("POST", "/api/v1/consents/"+library+"/withdraw", "").want(200)
	officer.send("POST", residentsPath+"/"+from+"/unmerge", `{"reason":"mother and daughter"}`).want(200)
	if clerk.allowed(from, "library") || !clerk.allowed(from, "newsletter") || clerk.allowed(into, "newsletter") {
		t.Error("apart, they do not stand as they should")
	}
	clerk.send("PATCH", residentsPath+"/"+from, `{"phone":"0840000000"}`).want(200)
	officer.send("POST", residentsPath+"/"+from+"/unmerge", "").wantProblem(409, domain.CodeNotMerged)

	// And once more into one, which changes nothing about what either said.
	officer.send("POST", residentsPath+"/"+from+"/merge", fmt.Sprintf(`{"into":%q}`, into)).want(200)
	if clerk.allowed(into, "newsletter") || clerk.allowed(into, "library") {
		t.Error("merged again, a no is outvoted")
	}
	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

// consentIn returns the id of the person's decision about a purpose that counts.
func (p *person) consentIn(subject, purpose string) string {
	p.w.t.Helper()
	list := p.send("GET", "/api/v1/consents?subject_id="+subject, "", "Min-Event-Position", p.w.head()).want(200)
	for _, c := range list.items() {
		if c["purpose"] == purpose && c["annulled_at"] == nil {
			return c["id"].(string)
		}
	}
	p.w.t.Fatalf("no decision about %s: %s", purpose, list.raw)
	return ""
}

// instant returns when the newest event of the log was recorded.
func (w *world) instant() string {
	w.t.Helper()
	admin := w.another(domain.Admin, "KZN225")
	return admin.send("GET", "/api/v1/audit-logs?limit=1", "").want(200).items()[0]["timestamp"].(string)
}

func TestMergesThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	a := clerk.walkIn("Thandi Dlamini", "0821234567", "7").want(201).text("id")
	b := clerk.walkIn("Thandi Zulu", "0831234567", "8").want(201).text("id")
	elsewhere := w.staff(domain.FieldWorker, "CPT").walkIn("Piet Botha", "0831234567", "9").want(201).text("id")
	citizen := w.citizen("thandi@example.org")

	merge := func(from, into string) *answer {
		t.Helper()
		return officer.send("POST", residentsPath+"/"+from+"/merge", fmt.Sprintf(`{"into":%q}`, into))
	}

	clerk.send("POST", residentsPath+"/"+a+"/merge", fmt.Sprintf(`{"into":%q}`, b)).
		wantProblem(403, domain.CodeForbidden)
	merge(a, a).wantProblem(422, domain.CodeInvalid)
	absent := merge(a, uuid.NewString()).wantProblem(404, domain.CodeNotFound)
	other := merge(a, elsewhere).wantProblem(404, domain.CodeNotFound)
	if other.text("detail") != absent.text("detail") {
		t.Errorf("another municipality's person is not as absent: %s", other.raw)
	}
	merge(elsewhere, a).wantProblem(404, domain.CodeNotFound)
	merge(citizen.id, a).wantProblem(409, domain.CodeHasAccount)

	request := clerk.send("POST", requestsPath, fmt.Sprintf(`{"subject_id":%q,"kind":"access"}`, a)).want(201)
	merge(a, b).wantProblem(409, domain.CodeRequestsOpen)
	officer.send("POST", requestsPath+"/"+request.text("id")+"/fulfil", "").want(200)

	merge(a, citizen.id).want(200)
	merge(a, b).wantProblem(409, domain.CodeMerged)
	merge(b, a).wantProblem(409, domain.CodeMerged)
	merge(b, citizen.id).want(200)
}

func TestAnErasureTakesWhatWasMergedAlong(t *testing.T) {
	t.Parallel()
	w, clerk, officer, admin := mergeWorld(t)
	from := clerk.walkIn("Thandi Markedname", "0821239876", "7").want(201).text("id")
	into := clerk.walkIn("Thandi Zulu", "0831234567", "8").want(201).text("id")
	clerk.consentFor(from, "newsletter", true).want(201)
	officer.send("POST", residentsPath+"/"+from+"/merge", fmt.Sprintf(`{"into":%q}`, into)).want(200)

	access := clerk.send("POST", requestsPath, fmt.Sprintf(`{"subject_id":%q,"kind":"access"}`, into)).want(201)
	data := officer.send("GET", requestsPath+"/"+access.text("id")+"/data", "").want(200)
	if !strings.Contains(data.raw, "Markedname") {
		t.Error("what the merged record holds is not handed over")
	}

	erasure := officer.send("POST", requestsPath, fmt.Sprintf(`{"subject_id":%q,"kind":"erasure"}`, into)).want(201)
	admin.send("POST", requestsPath+"/"+erasure.text("id")+"/fulfil", "").want(200)
	for _, path := range []string{"users/" + from, "residents/" + from, "audit-logs?limit=100", "users?q=marked"} {
		left := officer.send("GET", "/api/v1/"+path, "", "Min-Event-Position", w.head()).want(200)
		if strings.Contains(left.raw, "arked") {
			t.Errorf("%s: %s", path, left.raw)
		}
	}
	if list := officer.send("GET", "/api/v1/data-rights/certificates", "").want(200); len(list.items()) != 1 {
		t.Errorf("certificates: %s", list.raw)
	}
	clerk.walkIn("Sipho Next", "0841234567", "7").want(201)
	officer.send("POST", residentsPath+"/"+from+"/unmerge", "").wantProblem(409, domain.CodeSubjectErased)
}

func TestAnAccountAddedLaterIsOfTheSamePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	clerk := w.staff(domain.FieldWorker, "KZN225")
	id := clerk.walkIn("Thandi Dlamini", "0821234567", "7").want(201).text("id")
	clerk.consentFor(id, "newsletter", true).want(201)

	signIn := residentsPath + "/" + id + "/sign-in"
	code := clerk.send("POST", signIn, `{"identity_document":"ID card"}`).want(201).text("code")
	clerk.send("POST", signIn, `{"identity_document":" "}`).wantProblem(422, domain.CodeInvalid)

	redeem := func(email, consent string) *answer {
		t.Helper()
		return w.send("POST", "/api/v1/auth/redeem", fmt.Sprintf(`{"code":%q,"password":%q,"email":%q%s}`,
			code, password, email, consent))
	}
	const consent = `,"consent":{"purpose":"platform_registration","language":"zu","consented":true}`
	w.citizen("taken@example.org")

	redeem("thandi@example.org", "").wantProblem(422, domain.CodeConsentRequired)
	redeem("nobody", consent).wantProblem(422, domain.CodeInvalid)
	redeem("TAKEN@example.org", consent).wantProblem(409, domain.CodeEmailTaken)
	redeem("Thandi@example.org", consent).want(204)
	redeem("thandi@example.org", consent).wantProblem(401, domain.CodeCodeInvalid)

	me := w.signIn("thandi@example.org", "KZN225", id, "").send("GET", "/api/v1/users/me", "").want(200)
	if me.text("id") != id || me.json["has_account"] != true || me.text("email") != "thandi@example.org" ||
		!strings.Contains(me.raw, `"value":"7"`) {
		t.Errorf("the account is not of the person who was recorded: %s", me.raw)
	}
	if n := len(clerk.send("GET", "/api/v1/consents?subject_id="+id, "").want(200).items()); n != 2 {
		t.Errorf("%d consents, want the one at the counter and the account's", n)
	}
	clerk.send("POST", signIn, `{"identity_document":"ID card"}`).wantProblem(409, domain.CodeHasAccount)
}

func TestAnEntryMadeInErrorIsAnnulled(t *testing.T) {
	t.Parallel()
	w, clerk, officer, _ := mergeWorld(t)
	id := clerk.walkIn("Thandi Dlamini", "0821234567", "7").want(201).text("id")
	granted := clerk.consentFor(id, "newsletter", true).want(201)
	one := "/api/v1/consents/" + granted.text("id")
	before := w.instant()

	clerk.send("POST", one+"/annul", `{"reason":"x"}`).wantProblem(403, domain.CodeForbidden)
	officer.send("POST", one+"/annul", `{"reason":" "}`).wantProblem(422, domain.CodeInvalid)
	w.staff(domain.Manager, "CPT").send("POST", one+"/annul", `{"reason":"x"}`).wantProblem(404, domain.CodeNotFound)

	first := officer.send("POST", one+"/annul", `{"reason":"recorded on the wrong person"}`).want(200)
	again := officer.send("POST", one+"/annul", `{"reason":"twice"}`).want(200)
	if first.json["annulled_at"] == nil || first.raw != again.raw ||
		first.header.Get("Event-Position") != again.header.Get("Event-Position") {
		t.Errorf("first %s, again %s", first.raw, again.raw)
	}

	if clerk.allowed(id, "newsletter") || !clerk.allowed(id, "newsletter", "&known_at="+before) {
		t.Error("it does not count as it should")
	}
	shown := officer.send("GET", one, "", "Min-Event-Position", w.head()).want(200)
	if shown.raw != first.raw {
		t.Errorf("shown %s, annulled %s", shown.raw, first.raw)
	}
	history := officer.send("GET", "/api/v1/compliance/subjects/"+id+"/history", "").want(200).items()
	if len(history) != 2 || history[0]["annulled_at"] == nil || history[1]["annuls"] != history[0]["event_id"] {
		t.Errorf("history: %v", history)
	}
	export := officer.send("GET", "/api/v1/compliance/consents?format=csv", "").want(200)
	if !strings.Contains(export.raw, "annulled_at") {
		t.Errorf("export: %s", export.raw)
	}

	// A withdrawal made in error is annulled with evidence, and the grant stands again.
	other := clerk.consentFor(id, "library", true).want(201).text("id")
	clerk.send("POST", "/api/v1/consents/"+other+"/withdraw", "").want(200)
	undo := `{"reason":"the neighbour's letter","entry":"withdrawal"%s}`
	officer.send("POST", "/api/v1/consents/"+other+"/annul", fmt.Sprintf(undo, "")).
		wantProblem(422, domain.CodeEvidenceRequired)
	stands := officer.send("POST", "/api/v1/consents/"+other+"/annul", fmt.Sprintf(undo,
		fmt.Sprintf(`,"evidence":{"sha256":%q,"reference":"note 3"}`, strings.Repeat("cd", 32)))).want(200)
	if stands.json["withdrawn"] != false || !clerk.allowed(id, "library") {
		t.Errorf("the grant does not stand again: %s", stands.raw)
	}
}

func TestTheConsentOfAnAccountIsWithdrawnNotAnnulled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen, officer := w.citizen("thandi@example.org"), w.staff(domain.Manager, "KZN225")
	consent := citizen.send("GET", "/api/v1/consents", "").want(200).items()[0]["id"].(string)
	officer.send("POST", "/api/v1/consents/"+consent+"/annul", `{"reason":"x"}`).
		wantProblem(409, domain.CodeAccountRestsOn)
}
