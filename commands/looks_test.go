package commands_test

import (
	"sync"
	"testing"
	"time"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

func TestTheSameLookWithinAnHourIsOneEventFromHoweverManyProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	other, _ := handler(t, w.db, w.clock)
	look := commands.RecordRead{
		Route: "GET /a", Fields: "check", Subjects: []domain.UserID{citizen.User},
		Filter: map[string]string{"purpose": "sms_alert"}, Hourly: true,
	}

	before := w.head(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			h := []*commands.Handler{w.Handler, other}[i%2]
			a, err := h.RecordRead(t.Context(), clerk, look)
			if err != nil || a.Position != before+1 {
				t.Errorf("look at position %d, %v", a.Position, err)
			}
		})
	}
	wg.Wait()

	if head := w.head(t); head != before+1 {
		t.Errorf("%d events", head-before)
	}

	w.clock.advance(time.Hour)
	_, err := w.RecordRead(t.Context(), clerk, look)
	ok(t, err)
	look.Filter = map[string]string{"purpose": "newsletter"}
	_, err = w.RecordRead(t.Context(), clerk, look)
	ok(t, err)
	if head := w.head(t); head != before+3 {
		t.Errorf("%d events, want one more for the next hour, and one for another purpose", head-before)
	}
}

func TestOpenRequestsAndHoldsOfOnePersonAreBoundedAndTheSameOneIsNotLodgedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")
	manager := w.staff(t, domain.Manager, "manager@example.co.za")
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	lodge := func(by commands.Call, kind domain.RequestKind, details string) (commands.Answer[domain.Request], error) {
		return w.LodgeRequest(t.Context(), by,
			commands.LodgeRequest{Subject: citizen.User, Kind: kind, Details: details})
	}

	first, err := lodge(citizen, domain.CorrectionRequest, "a")
	ok(t, err)
	w.unchanged(t, func() {
		again, err := lodge(citizen, domain.CorrectionRequest, " a ")
		ok(t, err)
		if again.Value.ID != first.Value.ID || again.Position != first.Position || !again.Stood {
			t.Errorf("first %+v, again %+v", first, again)
		}
	})

	for _, details := range []string{"b", "c", "d", "e"} {
		_, err = lodge(citizen, domain.CorrectionRequest, details)
		ok(t, err)
	}
	w.unchanged(t, func() {
		_, err = lodge(citizen, domain.CorrectionRequest, "f")
		refused(t, err, domain.CodeTooManyOpen)
	})

	// Requests by staff do not count against the person, nor one kind against another;
	// the same words from another account are another request.
	byStaff, err := lodge(clerk, domain.CorrectionRequest, "a")
	ok(t, err)
	byAnother, err := lodge(manager, domain.CorrectionRequest, "a")
	ok(t, err)
	if byStaff.Value.ID == first.Value.ID || byStaff.Value.ID == byAnother.Value.ID {
		t.Error("another account's request is the answer")
	}

	_, err = lodge(citizen, domain.ErasureRequest, "")
	ok(t, err)
	_, err = w.RefuseRequest(t.Context(), manager,
		commands.RefuseRequest{Request: first.Value.ID, Ground: domain.GroundUnfounded})
	ok(t, err)
	fresh, err := lodge(citizen, domain.CorrectionRequest, "a") // the first is closed, so it may be lodged again
	ok(t, err)
	if fresh.Value.ID == first.Value.ID {
		t.Error("a closed request is the answer")
	}

	hold := func(reason string) (commands.Answer[domain.Hold], error) {
		return w.PlaceHold(t.Context(), manager, commands.PlaceHold{Subject: citizen.User, Reason: reason})
	}

	held, err := hold("case 0")
	ok(t, err)
	for i := 1; i < domain.MaxOpenHolds; i++ {
		_, err = hold("case " + string(rune('a'+i)))
		ok(t, err)
	}

	w.unchanged(t, func() {
		again, err := hold("case 0")
		ok(t, err)
		if again.Value.ID != held.Value.ID {
			t.Errorf("first %+v, again %+v", held, again)
		}
		_, err = hold("one more")
		refused(t, err, domain.CodeTooManyOpen)
	})
}
