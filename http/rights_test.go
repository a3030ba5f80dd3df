package http_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// looksAt counts the looks at a person's requests and holds by one account.
func (w *world) looksAt(officer, person *person) int {
	w.t.Helper()
	found := officer.send("GET", "/api/v1/compliance/exposure?limit=100&subject_id="+person.id, "").want(200)
	n := 0
	for _, look := range found.items() {
		if look["actor"] == officer.id && look["fields"] == "requests" {
			n++
		}
	}
	return n
}

func TestAnOfficerReadsOneRequestAndTheLookIsRecorded(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	officer, citizen := w.staff(domain.Manager, "KZN225"), w.citizen("thandi@example.org")

	asked := citizen.send("POST", requestsPath, `{"kind":"correction","details":"my surname"}`).want(201)
	one := officer.send("GET", requestsPath+"/"+asked.text("id"), "").want(200)
	if one.raw != asked.raw {
		t.Errorf("the request: %s, as it was lodged: %s", one.raw, asked.raw)
	}
	if n := w.looksAt(officer, citizen); n != 1 {
		t.Errorf("%d looks, want 1", n)
	}

	closed := officer.send("POST", requestsPath+"/"+asked.text("id")+"/fulfil", `{"note":"done"}`).want(200)
	if one := officer.send("GET", requestsPath+"/"+asked.text("id"), "").want(200); one.raw != closed.raw {
		t.Errorf("once closed: %s, want %s", one.raw, closed.raw)
	}

	hold := officer.send("POST", holdsPath, fmt.Sprintf(`{"subject_id":%q,"reason":"case 114"}`, citizen.id)).want(201)
	stranger := w.staff(domain.Manager, "CPT")
	stranger.send("GET", requestsPath+"/"+asked.text("id"), "").wantProblem(404, domain.CodeNotFound)
	for _, id := range []string{uuid.NewString(), "nonsense", hold.text("id")} {
		officer.send("GET", requestsPath+"/"+id, "").wantProblem(404, domain.CodeNotFound)
	}
}

func TestOfficersListTheHoldsOfTheirMunicipality(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	officer, stranger := w.staff(domain.Manager, "KZN225"), w.staff(domain.Manager, "CPT")
	citizen := w.citizen("thandi@example.org")

	if items := officer.send("GET", holdsPath, "").want(200).items(); len(items) != 0 {
		t.Errorf("before any was placed: %v", items)
	}

	var ids []string
	for i := range 3 {
		body := fmt.Sprintf(`{"subject_id":%q,"reason":"case %d"}`, citizen.id, i)
		ids = append(ids, officer.send("POST", holdsPath, body).want(201).text("id"))
	}
	officer.send("POST", holdsPath+"/"+ids[1]+"/lift", `{"reason":"settled"}`).want(200)

	first := officer.send("GET", holdsPath+"?limit=1", "").want(200)
	second := officer.send("GET", holdsPath+"?limit=1&after="+first.text("next"), "").want(200)
	lifted := officer.send("GET", holdsPath+"?status=lifted", "").want(200)
	for i, a := range []*answer{second, lifted, first} {
		items := a.items()
		if len(items) != 1 || items[0]["id"] != ids[i] || items[0]["reason"] != fmt.Sprintf("case %d", i) {
			t.Errorf("hold %d: %s", i, a.raw)
		}
	}
	if second.text("next") != "" {
		t.Errorf("after the last: %s", second.raw)
	}
	if n := w.looksAt(officer, citizen); n != 3 {
		t.Errorf("%d looks, want 3", n)
	}

	if items := stranger.send("GET", holdsPath, "").want(200).items(); len(items) != 0 {
		t.Errorf("another municipality's officer sees %v", items)
	}
	officer.send("GET", holdsPath+"?status=placed", "").wantProblem(422, domain.CodeInvalid)
	officer.send("GET", holdsPath+"?after=rubbish", "").wantProblem(422, domain.CodeInvalid)
}

func TestAPersonSeesWhoReadTheirDataAsInTheirDossier(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	officer, citizen := w.staff(domain.Manager, "KZN225"), w.citizen("thandi@example.org")
	other := w.citizen("sipho@example.org")
	program := w.program(w.staff(domain.Admin, "KZN225"), domain.ScopeEvents)

	officer.send("GET", "/api/v1/users/"+citizen.id, "", "Min-Event-Position", w.head()).want(200)
	officer.send("GET", "/api/v1/users/"+other.id, "", "Min-Event-Position", w.head()).want(200)
	middle := w.instant()
	program.send("GET", "/api/v1/compliance/subjects/"+citizen.id+"/history", "").want(200)
	officer.send("GET", "/api/v1/data-rights/subject?subject_id="+citizen.id, "").want(200)

	const path = "/api/v1/data-rights/reads"
	all := citizen.send("GET", path, "").want(200).json["items"].([]any)
	dossier := citizen.send("GET", "/api/v1/data-rights/my-data", "").want(200).json["reads"].([]any)
	slices.Reverse(dossier)
	if len(all) != 3 || !reflect.DeepEqual(all, dossier) {
		t.Errorf("listed: %v\nin the dossier: %v", all, dossier)
	}
	if by := all[1].(map[string]any); by["actor_kind"] != "program" || by["actor_name"] == nil {
		t.Errorf("a look by a program: %v", by)
	}

	first := citizen.send("GET", path+"?limit=2", "").want(200)
	rest := citizen.send("GET", path+"?limit=2&after="+first.text("next"), "").want(200)
	if len(first.items()) != 2 || len(rest.items()) != 1 || rest.text("next") != "" {
		t.Errorf("in pages: %s %s", first.raw, rest.raw)
	}
	if items := citizen.send("GET", path+"?to="+middle, "").want(200).items(); len(items) != 1 {
		t.Errorf("before an instant: %v", items)
	}
	citizen.send("GET", path+"?after=rubbish", "").wantProblem(422, domain.CodeInvalid)
}
