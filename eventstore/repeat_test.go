package eventstore_test

import (
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/eventstore"
)

func TestAnAppendThatIsSentAgainChangesNothingAndGetsTheStoredEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := registration(w.tenant, "one@example.org")
	session := newID()
	a.Side = append(a.Side, domain.StartSession{
		Session: session, User: a.Actor, Token: token("first"), ExpiresAt: time.Now().Add(time.Hour),
	})
	a.Writes = append(a.Writes, domain.Write{Stream: domain.SessionsOf(a.Actor), Events: []domain.Event{
		&domain.SessionStarted{SessionID: session},
	}})
	first := must(t)(w.store.Append(t.Context(), a))

	// Undo what the append did, so that doing it again would show.
	must(t)(w.store.Append(t.Context(), side(w.tenant,
		domain.EndSession{Session: session}, domain.DeleteCredential{User: a.Actor},
		domain.ReleaseClaim{Claim: emailClaim(w.tenant, "one@example.org"), Holder: a.Actor.UUID})))
	before := w.dump(t)

	again := must(t)(w.store.Append(t.Context(), a))
	if !again.Repeat || first.Repeat {
		t.Errorf("repeat: %t, then %t", first.Repeat, again.Repeat)
	}
	if again.Position() != first.Position() || len(again.Events) != 2 {
		t.Errorf("the repeat is at %d with %d events, want %d with 2",
			again.Position(), len(again.Events), first.Position())
	}

	got := again.Events[0]
	if got.EventID != first.Events[0].EventID {
		t.Error("the repeat does not return the stored events")
	}
	if state := got.Event.(*domain.UserRegistered).Person.State(); state != domain.Withheld {
		t.Errorf("the personal part of a repeat is %d, want withheld", state)
	}
	w.unchanged(t, before)
}

// The version that the append was decided on is long gone, and so is the claim it took:
// sent again, it is a repeat all the same.
func TestARepeatIsNeitherAConflictNorAClaimTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subject, holder := someone(), newID()
	a := grant(w.tenant, subject, 0)
	a.Side = []domain.SideWrite{domain.TakeClaim{Claim: emailClaim(w.tenant, "x"), Holder: holder}}
	a = domaintest.Beside(a)
	first := must(t)(w.store.Append(t.Context(), a))
	must(t)(w.store.Append(t.Context(), grant(w.tenant, subject, 1)))
	must(t)(w.store.Append(t.Context(), side(w.tenant,
		domain.ReleaseClaim{Claim: emailClaim(w.tenant, "x"), Holder: holder},
		domain.TakeClaim{Claim: emailClaim(w.tenant, "y"), Holder: newID()})))

	before := w.dump(t)
	if again := must(t)(w.store.Append(t.Context(), a)); !again.Repeat || again.Position() != first.Position() {
		t.Errorf("got %+v", again)
	}
	w.unchanged(t, before)
}

// A caller that registers a municipality and gets no answer sends it again, under another
// new id.
func TestARepeatInAnotherTenantGetsTheStoredEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	register := func() domain.Append {
		id := domain.TenantID{UUID: newID()}
		return domain.Append{
			ID: domain.MunicipalityOf(w.tenant).ID, Tenant: id,
			Writes: []domain.Write{{
				Stream: domain.MunicipalityOf(id), Events: []domain.Event{&domain.MunicipalityRegistered{Code: "JHB"}},
			}},
			Side: []domain.SideWrite{domain.CreateTenantKey{Tenant: id}},
		}
	}

	first := must(t)(w.store.Append(t.Context(), register()))
	before := w.dump(t)

	again := must(t)(w.store.Append(t.Context(), register()))
	if !again.Repeat || len(again.Events) != 1 || again.Events[0].Tenant != first.Events[0].Tenant {
		t.Errorf("got %+v, want the events of %s", again, first.Events[0].Tenant)
	}
	w.unchanged(t, before)
}

func TestOneAppendSentAtOnceByManyIsAddedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := open(t, w.db) // half of them from another process
	for range 20 {
		subject := w.register(t, w.tenant, newID().String()+"@example.org")
		a := grant(w.tenant, subject, 0)
		session := newID()
		a.Side = []domain.SideWrite{
			domain.StartSession{Session: session, User: subject, ExpiresAt: time.Now().Add(time.Hour)},
		}
		a = domaintest.Beside(a)
		head := w.head(t)

		answers := make([]answer, 8)
		var wg sync.WaitGroup
		for i := range answers {
			store := []*eventstore.Store{w.store, second}[i%2]
			wg.Go(func() { answers[i].done, answers[i].err = store.Append(t.Context(), a) })
		}
		wg.Wait()

		added := 0
		for _, got := range answers {
			if got.err != nil {
				t.Fatal(got.err)
			}
			if !got.done.Repeat {
				added++
			}
			recorded, want := got.done.Events[0].RecordedAt, answers[0].done.Events[0].RecordedAt
			if got.done.Position() != head+2 || !reflect.DeepEqual(recorded, want) {
				t.Errorf("got %+v, want position %d", got.done, head+2)
			}
		}
		if added != 1 || w.head(t) != head+2 {
			t.Errorf("added %d times, the log grew by %d", added, w.head(t)-head)
		}
	}
}
