package http_test

import (
	"testing"

	"github.com/salga-trust/engine/domain"
)

func TestTheGuardAndTheQueryReadTheSameFilter(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	worker, manager := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")

	for _, email := range []string{"a@example.org", "b@example.org", "c@example.org"} {
		w.citizen(email)
	}
	last := w.citizen("thandi@example.org")
	at := last.send("PATCH", "/api/v1/users/me", `{"phone":"082 123 4568"}`).want(200).header.Get("Event-Position")

	for _, p := range []*person{worker, manager} {
		for _, nothing := range []string{
			"phone=%20", "phone=", "phone=%E3%85%A4", "email=", "email=%20%09", "email=%E2%80%8B",
			"phone=%20&email=%20", "phone=abc", "phone=-", "phone=%2B",
		} {
			p.send("GET", "/api/v1/users?"+nothing, "", "Min-Event-Position", at).wantProblem(422, domain.CodeInvalid)
		}
		for _, one := range []string{
			"phone=0821234568", "phone=%20082%20123%204568%20", "phone=%2B27821234568",
			"email=%20THANDI@example.org%20", "email=thandi@EXAMPLE.org",
		} {
			found := p.send("GET", "/api/v1/users?"+one, "", "Min-Event-Position", at).want(200).items()
			if len(found) != 1 || found[0]["id"] != last.id {
				t.Errorf("%s: %v", one, found)
			}
		}
	}
	for _, broad := range []string{"", "?q=example", "?role=citizen", "?is_active=true", "?limit=1", "?after="} {
		worker.send("GET", "/api/v1/users"+broad, "").wantProblem(403, domain.CodeForbidden)
	}

	all := manager.send("GET", "/api/v1/users?q=%20EXAMPLE%20", "", "Min-Event-Position", at).want(200).items()
	if len(all) < 4 {
		t.Errorf("a search does not trim its text: %v", all)
	}

	for _, blank := range []string{"q=%20", "q=%E1%85%9F", "role=", "is_active=", "q="} {
		manager.send("GET", "/api/v1/users?"+blank, "").wantProblem(422, domain.CodeInvalid)
	}
}
