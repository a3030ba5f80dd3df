package http_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

const residentsPath = "/api/v1/residents"

// walkIn records somebody without an e-mail address.
func (p *person) walkIn(name, phone, meter string) *answer {
	p.w.t.Helper()
	return p.send("POST", residentsPath, fmt.Sprintf(`{"full_name":%q,"preferred_language":"zu","phone":%q,
		"external_ids":[{"type":"meter","value":%q}]}`, name, phone, meter))
}

// A clerk's day at the counter with somebody who has no e-mail address and never signs
// in: recorded, found, asked, withdrawn, shown what is held, and erased.
func TestADayAtTheCounter(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	admin := w.staff(domain.Admin, "KZN225")

	made := clerk.walkIn("Thandi Markedname", "082 123 9876", "04-marked 77").want(201)
	id := made.text("id")
	if made.json["email"] != nil || made.json["has_account"] != false || made.text("role") != "citizen" ||
		made.header.Get("ETag") != `"1"` {
		t.Errorf("recorded: %s", made.raw)
	}

	// Found by the meter however it is typed, and by phone.
	for _, query := range []string{
		"external_id=meter:04MARKED77", "external_id=meter:04%20Marked-77", "phone=0821239876",
	} {
		found := clerk.send("GET", "/api/v1/users?"+query, "", "Min-Event-Position", w.head()).want(200)
		if items := found.items(); len(items) != 1 || items[0]["id"] != id || items[0]["external_ids"] != nil {
			t.Errorf("%s: %s", query, found.raw)
		}
	}
	shown := clerk.send("GET", residentsPath+"/"+id, "").want(200)
	if shown.raw != made.raw {
		t.Errorf("shown %s, recorded %s", shown.raw, made.raw)
	}

	paper := fmt.Sprintf(`{"subject_id":%q,"purpose":"newsletter","language":"zu","consented":true,"channel":"paper",
		"evidence":{"sha256":%q,"reference":"marked form 12"}}`, id, strings.Repeat("ab", 32))
	granted := clerk.send("POST", "/api/v1/consents", paper).want(201)
	allowed := func(want bool) {
		t.Helper()
		check := clerk.send("GET", "/api/v1/consents/check?purpose=newsletter&subject_id="+id, "").want(200)
		if check.json["allowed"] != want {
			t.Errorf("allowed: %s", check.raw)
		}
	}
	allowed(true)
	clerk.send("POST", "/api/v1/consents/"+granted.text("id")+"/withdraw", `{"reason":"marked reason"}`).want(200)
	allowed(false)

	corrected := clerk.send("PATCH", residentsPath+"/"+id, `{"full_name":"Thandi Markedname-Zulu",
		"add_external_ids":[{"type":"municipal_account","value":"marked-114"}]}`, "If-Match", `"1"`).want(200)
	if ids, _ := corrected.json["external_ids"].([]any); len(ids) != 2 {
		t.Errorf("corrected: %s", corrected.raw)
	}

	access := clerk.send("POST", requestsPath, fmt.Sprintf(`{"subject_id":%q,"kind":"access"}`, id)).want(201)
	data := officer.send("GET", requestsPath+"/"+access.text("id")+"/data", "").want(200)
	page := officer.send("GET", requestsPath+"/"+access.text("id")+"/data/page", "").want(200)
	for _, mark := range []string{"Markedname-Zulu", "27821239876", "MARKED114"} {
		if !strings.Contains(data.raw, mark) || !strings.Contains(page.raw, mark) {
			t.Errorf("%q is not in what is handed over", mark)
		}
	}
	officer.send("POST", requestsPath+"/"+access.text("id")+"/fulfil", `{"note":"printed"}`).want(200)

	erasure := officer.send("POST", requestsPath, fmt.Sprintf(`{"subject_id":%q,"kind":"erasure"}`, id)).want(201)
	gone := admin.send("POST", requestsPath+"/"+erasure.text("id")+"/fulfil", "").want(200)
	if gone.text("certificate_id") == "" {
		t.Errorf("no certificate: %s", gone.raw)
	}

	for _, query := range []string{
		"external_id=meter:04MARKED77", "external_id=municipal_account:MARKED114", "phone=0821239876",
	} {
		found := clerk.send("GET", "/api/v1/users?"+query, "", "Min-Event-Position", w.head()).want(200)
		if n := len(found.items()); n != 0 {
			t.Errorf("%s still finds somebody", query)
		}
	}
	for _, path := range []string{
		"users/" + id, "users?q=marked", "residents/" + id, "audit-logs?limit=100", "consents?subject_id=" + id,
		"compliance/subjects/" + id + "/history", "data-rights/subject?subject_id=" + id,
	} {
		left := officer.send("GET", "/api/v1/"+path, "", "Min-Event-Position", w.head()).want(200)
		for _, mark := range []string{"arked", "821239876", "ARKED"} {
			if strings.Contains(left.raw, mark) {
				t.Errorf("%s still shows %q: %s", path, mark, left.raw)
			}
		}
	}

	clerk.send("PATCH", residentsPath+"/"+id, `{"phone":"0820000000"}`).wantProblem(409, domain.CodeSubjectErased)
	// Whoever has the meter next can be recorded.
	clerk.walkIn("Sipho Next", "083 111 1111", "04marked77").want(201)
}

// Two clerks record one walk-in at once: one succeeds, the others learn whom.
func TestTwoClerksRecordOneWalkIn(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	clerks := []*person{w.another(domain.FieldWorker, "KZN225"), w.another(domain.Manager, "KZN225")}

	for round := range 5 {
		meter := fmt.Sprintf("04-%d", round)
		answers := make([]*answer, len(clerks))
		var all sync.WaitGroup
		for i, c := range clerks {
			all.Go(func() { answers[i] = c.walkIn("Thandi Dlamini", "0821234567", meter) })
		}
		all.Wait()

		won, lost := answers[0], answers[1]
		if won.status != 201 {
			won, lost = lost, won
		}
		won.want(201)
		lost.wantProblem(409, domain.CodeExternalIDTaken)
		if lost.text("subject_id") != won.text("id") {
			t.Errorf("the other clerk learns %q, not %q", lost.text("subject_id"), won.text("id"))
		}
	}

	// Another municipality's meters are others.
	w.staff(domain.FieldWorker, "CPT").walkIn("Piet Botha", "0831234567", "04-1").want(201)
	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

func TestAResidentIsRecordedOnceUnderOneKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(domain.FieldWorker, "KZN225")
	body := `{"full_name":"Thandi Dlamini","external_ids":[{"type":"other","value":"grant 7"}]}`

	first := clerk.send("POST", residentsPath, body, "Idempotency-Key", "k").want(201)
	again := clerk.send("POST", residentsPath, body, "Idempotency-Key", "k").want(201)
	if first.raw != again.raw || first.header.Get("Event-Position") != again.header.Get("Event-Position") {
		t.Errorf("first %s, again %s", first.raw, again.raw)
	}
	clerk.send("POST", residentsPath, strings.Replace(body, "Thandi", "Sipho", 1), "Idempotency-Key", "k").
		wantProblem(422, domain.CodeIdempotencyKeyReused)
}

func TestAResidentThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(domain.FieldWorker, "KZN225")

	withID := func(value string) string {
		return `{"full_name":"Thandi","external_ids":[{"type":"meter","value":"` + value + `"}]}`
	}
	for body, want := range map[string]map[string]string{
		`{"full_name":"Thandi Dlamini"}`: {"external_ids": "required"},
		`{"full_name":"T","phone":"12","email":"no"}`: {
			"full_name": "too_short", "phone": "invalid", "email": "invalid",
		},
		`{"full_name":"Thandi Dlamini","phone":"0821234567","x":1}`: {"x": "unknown_field"},
		withID(" - "):                   {"external_ids[0].value": "required"},
		withID(`\u200b`):                {"external_ids[0].value": "invalid"},
		withID(strings.Repeat("7", 65)): {"external_ids[0].value": "too_long"},
		`{"full_name":"Thandi","external_ids":[` + strings.Repeat(`{"type":"meter","value":"7"},`, 20) +
			`{"type":"meter","value":"7"}]}`: {"external_ids": "too_many"},
	} {
		a := clerk.send("POST", residentsPath, body).wantProblem(422, domain.CodeInvalid)
		if diff := domaintest.Diff(want, a.faults()); diff != "" {
			t.Errorf("%.80s (-want +got):\n%s", body, diff)
		}
	}

	for _, asked := range []string{"meter", "meter:", "gas:7", ":7", "meter:%20-"} {
		clerk.send("GET", "/api/v1/users?external_id="+asked, "").wantProblem(422, domain.CodeInvalid)
	}
	clerk.send("GET", "/api/v1/users?has_account=false", "").wantProblem(403, domain.CodeForbidden)
	w.staff(domain.Manager, domain.PlatformCode).walkIn("Thandi Dlamini", "0821234567", "7").
		wantProblem(403, domain.CodeForbidden)
}

// A resident's address is one to write to. It keeps nobody from registering with it, and
// whoever does is another person until an officer says otherwise.
func TestAResidentsAddressClaimsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, admin := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Admin, "KZN225")

	made := clerk.send("POST", residentsPath, `{"full_name":"Thandi Dlamini","email":"Thandi@Example.org"}`).want(201)
	citizen := w.citizen("thandi@example.org")
	if citizen.id == made.text("id") {
		t.Error("a typed address made two people one")
	}
	if n := len(clerk.send("GET", "/api/v1/users?email=thandi@example.org", "").want(200).items()); n != 2 {
		t.Errorf("%d people have the address, want 2", n)
	}

	// There is no account to sign in to, to close, or to give another role.
	one := "/api/v1/users/" + made.text("id")
	admin.send("POST", one+"/deactivate", "").wantProblem(409, domain.CodeNoAccount)
	admin.send("PUT", one+"/role", `{"role":"manager"}`).wantProblem(409, domain.CodeNoAccount)
	if list := admin.send("GET", "/api/v1/users?has_account=false", "").want(200); len(list.items()) != 1 {
		t.Errorf("without an account: %s", list.raw)
	}
}

func TestStaffCorrectAResident(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(domain.FieldWorker, "KZN225")
	one := residentsPath + "/" + clerk.walkIn("Thandi Dlamini", "0821234567", "7").want(201).text("id")
	other := clerk.walkIn("Sipho Zulu", "0831234567", "8").want(201).text("id")

	clerk.send("PATCH", one, `{"full_name":"Thandi Zulu"}`, "If-Match", `"7"`).wantProblem(412, domain.CodeStale)
	same := clerk.send("PATCH", one, `{"full_name":"Thandi  Dlamini","add_external_ids":[{"type":"meter","value":" 7"}],
		"remove_external_ids":[{"type":"meter","value":"99"}]}`).want(200)
	if same.header.Get("ETag") != `"1"` {
		t.Errorf("nothing changed, and yet: %s", same.raw)
	}

	taken := clerk.send("PATCH", one, `{"add_external_ids":[{"type":"meter","value":"8"}]}`).
		wantProblem(409, domain.CodeExternalIDTaken)
	if taken.text("subject_id") != other {
		t.Errorf("who has it: %s", taken.raw)
	}
	clerk.send("PATCH", one, `{"phone":null,"remove_external_ids":[{"type":"meter","value":"7"}]}`).
		wantProblem(422, domain.CodeInvalid)

	moved := clerk.send("PATCH", one, `{"email":"t@example.org","phone":"","remove_external_ids":[
		{"type":"meter","value":"7"}]}`).want(200)
	if moved.text("email") != "t@example.org" || moved.json["phone"] != nil {
		t.Errorf("corrected: %s", moved.raw)
	}
	clerk.walkIn("Ayanda Next", "0841234567", "7").want(201)

	// Somebody with an account looks after their own details.
	citizen := w.citizen("nomsa@example.org")
	theirs := residentsPath + "/" + citizen.id
	clerk.send("PATCH", theirs, `{"full_name":"Nomsa Zulu"}`).wantProblem(409, domain.CodeHasAccount)
	clerk.send("PATCH", theirs, `{"add_external_ids":[{"type":"meter","value":"9"}]}`).want(200)
	if me := citizen.send("GET", "/api/v1/users/me", "").want(200); !strings.Contains(me.raw, `"value":"9"`) {
		t.Errorf("their own meter is not shown to them: %s", me.raw)
	}

	clerk.send("PATCH", residentsPath+"/"+uuid.NewString(), `{"phone":null}`).wantProblem(404, domain.CodeNotFound)
	w.staff(domain.FieldWorker, "CPT").send("PATCH", one, `{"phone":null}`).wantProblem(404, domain.CodeNotFound)
}
