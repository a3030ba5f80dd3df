package http_test

import (
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
)

func TestALetterIsDueFromTheDayOnWhichItArrived(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, citizen := w.staff(domain.FieldWorker, "KZN225"), w.citizen("thandi@example.org")
	body := func(arrived time.Time) string {
		return `{"subject_id":"` + citizen.id + `","kind":"access","received_at":"` +
			arrived.Format(time.RFC3339) + `"}`
	}

	arrived := w.clock().AddDate(0, 0, -40).UTC().Truncate(time.Second)
	letter := clerk.send("POST", requestsPath, body(arrived)).want(201)
	if at, err := time.Parse(time.RFC3339, letter.text("lodged_at")); err != nil || !at.Equal(arrived) {
		t.Errorf("lodged at %s, not %s: %v", letter.text("lodged_at"), arrived, err)
	}
	if due := domain.Date(letter.text("due_on")); due != domain.DueDate(arrived) {
		t.Errorf("due on %s", due)
	}

	for _, arrived := range []time.Time{w.clock().AddDate(0, 0, 1), w.clock().AddDate(-2, 0, 0), {}} {
		refused := clerk.send("POST", requestsPath, body(arrived)).want(422)
		if refused.faults()["received_at"] != "invalid" {
			t.Errorf("arrived at %s: %s", arrived, refused.raw)
		}
	}
	if own := citizen.send("POST", requestsPath, body(arrived)).want(422); own.faults()["received_at"] != "invalid" {
		t.Errorf("her own: %s", own.raw)
	}
}
