package http_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
)

func TestAnOfficerSeesWhatHappenedOfLate(t *testing.T) {
	t.Parallel()
	w, _ := rightsWorld(t)
	officer, other := w.staff(domain.Manager, "KZN225"), w.staff(domain.Manager, "CPT")
	program := w.program(w.staff(domain.Admin, "KZN225"), domain.ScopeEvents)
	citizen := w.citizen("thandi@example.org")

	for _, purpose := range []string{"newsletter", "library"} {
		body := fmt.Sprintf(`{"purpose":%q,"language":"zu","consented":%t}`, purpose, purpose == "newsletter")
		citizen.send("POST", "/api/v1/consents", body).want(201)
	}
	citizen.send("POST", requestsPath, `{"kind":"access"}`).want(201)
	for range 2 {
		program.send("GET", "/api/v1/compliance/subjects/"+citizen.id+"/history", "").want(200)
	}
	officer.send("GET", "/api/v1/data-rights/subject?subject_id="+citizen.id, "").want(200)

	const path = "/api/v1/compliance/activity"
	a := officer.send("GET", path+"?days=7", "").want(200)
	if a.header.Get("Event-Position") != w.head() || fmt.Sprint(int(a.json["position"].(float64))) != w.head() {
		t.Errorf("position: %v %s", a.header, a.raw)
	}
	from, err := time.Parse(time.DateOnly, a.text("from"))
	must(t, err)
	if to := from.AddDate(0, 0, 6).Format(time.DateOnly); a.text("to") != to {
		t.Errorf("7 days are from %s to %s", a.text("from"), a.text("to"))
	}

	counted := map[string]float64{}
	for _, item := range a.json["days"].([]any) {
		day := item.(map[string]any)
		for _, field := range []string{"granted", "refused", "withdrawn"} {
			counted[fmt.Sprint(day["purpose"], " ", field)] += day[field].(float64)
		}
	}
	if counted["newsletter granted"] != 1 || counted["library refused"] != 1 || counted["library granted"] != 0 {
		t.Errorf("counted: %v", counted)
	}

	readers := a.json["readers"].([]any)
	if len(readers) != 2 {
		t.Fatalf("readers: %v", readers)
	}
	first, second := readers[0].(map[string]any), readers[1].(map[string]any)
	if first["actor"] != program.id || first["actor_kind"] != "program" || first["actor_name"] == nil ||
		first["looks"] != 2.0 || first["people"] != 2.0 ||
		second["actor"] != officer.id || second["actor_role"] != "manager" || second["looks"] != 1.0 {
		t.Errorf("readers: %v", readers)
	}
	if got := fmt.Sprint(a.json["requests"]); got != "map[due_in_7_days:0 open:1 overdue:0]" {
		t.Errorf("requests: %s", got)
	}

	before := w.head()
	elsewhere := other.send("GET", path, "").want(200)
	if fmt.Sprint(elsewhere.json["days"], elsewhere.json["readers"]) != "[] []" {
		t.Errorf("in another municipality: %s", elsewhere.raw)
	}
	if w.head() != before {
		t.Error("counts are about no person, and yet a look was recorded")
	}
	for _, days := range []string{"6", "367", "many"} {
		officer.send("GET", path+"?days="+days, "").wantProblem(422, domain.CodeInvalid)
	}
}
