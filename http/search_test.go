package http_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

const (
	consentsReport = "/api/v1/compliance/consents"
	summaryReport  = consentsReport + "/summary"
	asOfList       = consentsReport + "/list"
)

// An officer asks who agreed to what, in which words, how and when, and how many they
// are; both as of an instant and as known at a position.
func TestAnOfficerSearchesConsentsAndCountsThem(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	thandi, sipho, anna := w.citizen("t@example.org"), w.citizen("s@example.org"), w.citizen("a@example.org")

	agrees := thandi.send("POST", "/api/v1/consents",
		`{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	refuses := sipho.send("POST", "/api/v1/consents",
		`{"purpose":"newsletter","language":"en","consented":false}`).want(201)
	given := time.Now().Add(-72 * time.Hour).UTC().Truncate(time.Microsecond)
	onPaper := clerk.send("POST", "/api/v1/consents",
		fmt.Sprintf(`{"subject_id":%q,"purpose":"newsletter","language":"af","consented":true,"channel":"paper",
			"given_at":%q,"evidence":{"sha256":%q,"reference":"box 4"}}`,
			anna.id, given.Format(time.RFC3339Nano), strings.Repeat("ab", 32))).want(201)
	before := onPaper.header.Get("Event-Position")
	anna.send("POST", "/api/v1/consents/"+onPaper.text("id")+"/withdraw", `{}`).want(200)

	found := func(query string) (ids []string) {
		t.Helper()
		for _, item := range officer.send("GET", consentsReport+"?purpose=newsletter&"+query, "").want(200).items() {
			ids = append(ids, item["id"].(string))
			if want := item["status"] == "granted"; item["in_force"] != want {
				t.Errorf("%s: in_force is %v: %v", query, item["in_force"], item)
			}
		}
		return ids
	}
	a, r, p := agrees.text("id"), refuses.text("id"), onPaper.text("id")
	stamp := func(at time.Time) string { return url.QueryEscape(at.Format(time.RFC3339Nano)) }
	for query, want := range map[string][]string{
		"status=granted": {a}, "status=refused": {r}, "status=withdrawn": {p},
		"status=granted&position=" + before: {a, p}, "status=withdrawn&position=" + before: nil,
		"status=granted&as_of=" + stamp(given.Add(time.Hour)): {p},
		"language=zu": {a}, "language=en&status=refused": {r}, "language=en&status=granted": nil,
		"channel=paper": {p}, "channel=web": {a, r}, "channel=ussd": nil,
		"notice_version=1": {a, r, p}, "notice_version=2": nil, "notice_version=2147483648": nil,
		"given_to=" + stamp(given.Add(time.Hour)): {p}, "given_from=" + stamp(given.Add(time.Hour)): {a, r},
		"given_from=" + stamp(given) + "&given_to=" + stamp(given.Add(time.Microsecond)): {p},
		"given_from=" + stamp(given) + "&given_to=" + stamp(given):                       nil,
		"subject_id=" + sipho.id: {r}, "subject_id=" + sipho.id + "&status=granted": nil,
	} {
		got := found(query)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s finds %q, want %q", query, got, want)
		}
	}

	counted := func(query string) *answer { return officer.send("GET", summaryReport+"?"+query, "").want(200) }
	now := counted("purpose=newsletter&by=status,language")
	if got, want := fmt.Sprint(now.items()), "[map[count:1 language:zu status:granted] "+
		"map[count:1 language:en status:refused] map[count:1 language:af status:withdrawn]]"; got != want {
		t.Errorf("by status and language: %s", got)
	}
	then := counted("purpose=newsletter&by=status&position=" + before)
	if got := fmt.Sprint(then.items()); got != "[map[count:2 status:granted] map[count:1 status:refused]]" ||
		then.json["count"] != 3.0 || then.header.Get("Event-Position") != before {
		t.Errorf("as known before the withdrawal: %s", then.raw)
	}

	at := now.header.Get("Event-Position")
	w.citizen("later@example.org").send("POST", "/api/v1/consents",
		`{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	if again := counted("purpose=newsletter&by=status,language&position=" + at); again.raw != now.raw {
		t.Errorf("the same position returns\n%s\nand not\n%s", again.raw, now.raw)
	}
	if later := counted("by=purpose,channel,notice_version"); later.json["count"] != float64(len(
		officer.send("GET", consentsReport, "").want(200).items())) {
		t.Errorf("everything: %s", later.raw)
	}

	stranger := w.staff(domain.Manager, "CPT")
	if n := len(stranger.send("GET", summaryReport+"?by=purpose", "").want(200).items()); n != 0 {
		t.Errorf("another municipality counts %d", n)
	}
	of := consentsReport + "?subject_id="
	there := stranger.send("GET", of+thandi.id, "").wantProblem(404, domain.CodeNotFound)
	absent := stranger.send("GET", of+uuid.NewString(), "").wantProblem(404, domain.CodeNotFound)
	if there.raw != absent.raw {
		t.Errorf("%s differs from %s", there.raw, absent.raw)
	}
}

// The state of everybody's consents comes in pages, which together are the export of the
// same question however much is recorded between them. Who is on a page was looked at.
func TestPagesOfTheStateOfConsentsAreTheExport(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	officer := w.staff(domain.Manager, "KZN225")
	people := []*person{w.citizen("t@example.org"), w.citizen("s@example.org"), w.citizen("a@example.org")}
	for i, language := range []string{"zu", "en", "zu"} {
		people[i].send("POST", "/api/v1/consents",
			fmt.Sprintf(`{"purpose":"newsletter","language":%q,"consented":true}`, language)).want(201)
	}

	const question = "purpose=newsletter&language=zu&status=granted"
	export := officer.send("GET", consentsReport+"?"+question, "").want(200)
	first := officer.send("GET", asOfList+"?limit=1&"+question, "").want(200)
	if first.json["position"] != export.json["position"] || first.json["as_of"] != export.json["as_of"] ||
		first.header.Get("Event-Position") != fmt.Sprint(export.json["position"]) {
		t.Errorf("the first page is about another moment: %s", first.raw)
	}

	for _, p := range people {
		if last := export.items()[1]; last["subject_id"] == p.id {
			p.send("POST", "/api/v1/consents/"+last["id"].(string)+"/withdraw", `{}`).want(200)
		}
	}
	w.citizen("later@example.org").send("POST", "/api/v1/consents",
		`{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	next := first.text("next")
	second := officer.send("GET", asOfList+"?limit=1&"+question+"&after="+next, "").want(200)
	if got := slices.Concat(first.items(), second.items()); fmt.Sprint(got) != fmt.Sprint(export.items()) ||
		second.json["next"] != nil || second.json["as_of"] != first.json["as_of"] ||
		second.json["position"] != first.json["position"] {
		t.Errorf("the pages are\n%s\n%s\nand the export\n%s", first.raw, second.raw, export.raw)
	}

	looks := officer.reads("actor_id=" + officer.id)
	for i, page := range []*answer{second, first} { // newest first
		want := "[" + page.items()[0]["subject_id"].(string) + "]"
		if fmt.Sprint(looks[i]["subjects"]) != want || looks[i]["fields"] != "consents" {
			t.Errorf("look %d is %v, want one at %s", i, looks[i], want)
		}
	}

	for query, field := range map[string]string{
		"purpose=newsletter&after=" + next:                          "after",
		question + "&subject_id=" + people[0].id + "&after=" + next: "after",
		question + "&after=AAAA":                                    "after",
		question + "&position=1&after=" + next:                      "position",
		question + "&as_of=2026-01-01T00:00:00Z&after=" + next:      "as_of",
		question + "&known_at=2026-01-01T00:00:00Z&after=" + next:   "known_at",
	} {
		faults := officer.send("GET", asOfList+"?"+query, "").wantProblem(422, domain.CodeInvalid).faults()
		if len(faults) != 1 || faults[field] != "invalid" {
			t.Errorf("%s: %v, want %s", query, faults, field)
		}
	}
	w.staff(domain.Manager, "CPT").send("GET", asOfList+"?"+question+"&after="+next, "").
		wantProblem(422, domain.CodeInvalid)
	officer.send("GET", asOfList+"?purpose=no_such_thing", "").wantProblem(422, domain.CodeUnknownPurpose)
	officer.send("GET", asOfList+"?subject_id="+uuid.NewString(), "").wantProblem(404, domain.CodeNotFound)
}

// What the record of a read says was asked for is what was asked for: an export of one
// person names them.
func TestAnExportOfOnePersonIsALookAtThemAlone(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	officer, thandi, sipho := w.staff(domain.Manager, "KZN225"), w.citizen("t@example.org"), w.citizen("s@example.org")

	officer.send("GET", consentsReport+"?subject_id="+thandi.id+"&status=granted", "").want(200)
	officer.send("GET", consentsReport+"?subject_id="+officer.id, "").want(200)
	officer.send("GET", summaryReport+"?by=status", "").want(200)

	looks := officer.reads("actor_id=" + officer.id)
	if len(looks) != 1 || fmt.Sprint(looks[0]["subjects"]) != "["+thandi.id+"]" ||
		looks[0]["filter"].(map[string]any)["status"] != "granted" {
		t.Errorf("looks: %v", looks)
	}
	if n := len(officer.reads("subject_id=" + sipho.id)); n != 0 {
		t.Errorf("%d looks at somebody who was not asked about", n)
	}
}

func TestASearchThatIsNotUnderstoodIsRefusedWithAllItsFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer := w.staff(domain.Manager, "KZN225")
	const backwards = "given_from=2026-03-02T00:00:00Z&given_to=2026-03-01T00:00:00Z"

	for query, want := range map[string][]string{
		"status=valid&channel=fax&language=xh&notice_version=0&given_from=monday&given_to=1&as_of=x&position=0": {
			"as_of", "channel", "given_from", "given_to", "language", "notice_version", "position", "status",
		},
		"notice_version=1.5": {"notice_version"},
		"notice_version=-1":  {"notice_version"},
		"status=GRANTED":     {"status"},
		backwards:            {"given_to"},
		backwards + "&position=1&known_at=2026-01-01T00:00:00Z": {"given_to", "position"},
	} {
		for _, path := range []string{consentsReport + "?", summaryReport + "?by=purpose&", asOfList + "?"} {
			got := officer.send("GET", path+query, "").wantProblem(422, domain.CodeInvalid).faults()
			if fields := slices.Sorted(maps.Keys(got)); !slices.Equal(fields, want) {
				t.Errorf("%s%s: %v, want %q", path, query, got, want)
			}
		}
	}

	for query, code := range map[string]string{
		"": "required", "?by=colour": "invalid", "?by=purpose,purpose": "invalid", "?by=purpose,": "invalid",
		"?by=,": "invalid", "?by=purpose,%20status": "invalid", "?by=Purpose": "invalid", "?by=subject_id": "invalid",
	} {
		a := officer.send("GET", summaryReport+query, "").wantProblem(422, domain.CodeInvalid)
		if got := a.faults(); len(got) != 1 || got["by"] != code {
			t.Errorf("%s: %v, want %s", query, got, code)
		}
	}
	officer.send("GET", summaryReport+"?by=status&purpose=no_such_thing", "").
		wantProblem(422, domain.CodeUnknownPurpose)
	officer.send("GET", consentsReport+"?subject_id=no-id", "").wantProblem(422, domain.CodeInvalid)
}

// Rows say who made them and who changed them last; those of erased people since when
// they are erased.
func TestUsersAndConsentsSayWhoMadeAndWhoChangedThem(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	admin, clerk := w.staff(domain.Admin, "KZN225"), w.staff(domain.FieldWorker, "KZN225")
	thandi := w.citizen("t@example.org")

	user := func(id string) *answer {
		t.Helper()
		return admin.send("GET", "/api/v1/users/"+id, "", "Min-Event-Position", w.head()).want(200)
	}
	made := func(what string, a *answer, want map[string]any) {
		t.Helper()
		for field, value := range want {
			if a.json[field] != value {
				t.Errorf("%s: %s is %v, want %v", what, field, a.json[field], value)
			}
		}
	}

	made("registered by herself", user(thandi.id), map[string]any{
		"created_by": thandi.id, "updated_by": thandi.id, "is_deleted": false, "deleted_at": nil,
	})
	made("made by an operator", user(clerk.id), map[string]any{"created_by": nil, "updated_by": nil})
	admin.send("PUT", "/api/v1/users/"+clerk.id+"/role", `{"role":"manager"}`).want(200)
	made("changed by an admin", user(clerk.id), map[string]any{"created_by": nil, "updated_by": admin.id})

	recorded := clerk.send("POST", "/api/v1/consents",
		fmt.Sprintf(`{"subject_id":%q,"purpose":"newsletter","language":"zu","consented":true,"channel":"counter"}`,
			thandi.id)).want(201)
	consent := func() *answer {
		t.Helper()
		return thandi.send("GET", "/api/v1/consents/"+recorded.text("id"), "", "Min-Event-Position", w.head()).want(200)
	}
	made("recorded by a clerk", consent(), map[string]any{
		"created_by": clerk.id, "updated_by": clerk.id, "updated_at": recorded.text("recorded_at"),
	})
	thandi.send("POST", "/api/v1/consents/"+recorded.text("id")+"/withdraw", `{}`).want(200)
	made("withdrawn by herself", consent(), map[string]any{"created_by": clerk.id, "updated_by": thandi.id})
	if at := consent(); at.text("updated_at") <= at.text("recorded_at") {
		t.Errorf("withdrawn: updated at %s, recorded at %s", at.text("updated_at"), at.text("recorded_at"))
	}

	thandi.erase()
	gone := user(thandi.id)
	made("erased", gone, map[string]any{
		"is_deleted": true, "deleted_at": gone.text("updated_at"), "updated_by": thandi.id,
	})
	listed := false
	for _, item := range admin.send("GET", "/api/v1/users?is_active=false", "").want(200).items() {
		listed = listed || item["id"] == thandi.id && item["is_deleted"] == true && item["full_name"] == ""
	}
	if !listed {
		t.Error("an erased person is not listed as erased")
	}
}
