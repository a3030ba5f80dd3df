package eventstore_test

import (
	"errors"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
)

// The rule exists twice: in domain.InOffice, which keeps acts and demands apart in a
// batch, and in the database, which decides. Both must judge every event alike, whoever
// it is about; in a stream that is not a person's it is about nobody.
func TestADemandForNoActsJudgesEveryEventAsTheDomainDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	counted := map[bool]int{}
	for _, eventType := range domain.EventTypes() {
		for _, about := range []string{"themselves", "another"} {
			event, err := domain.Decode(eventType, []byte("{}"), nil)
			if err != nil {
				t.Fatal(err)
			}
			actor := someone()
			stream := domain.Stream{Type: domain.StreamTypeOf(eventType), ID: actor.UUID}
			if about == "another" {
				stream.ID = newID()
			}

			done := must(t)(w.store.Append(t.Context(), domain.Append{
				ID: newID(), Tenant: w.tenant, Actor: actor,
				Writes: []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: []domain.Event{event}}},
			}))

			_, err = w.store.Append(t.Context(), demand(w.tenant, actor))
			_, refused := errors.AsType[*domain.StaffRecordError](err)
			if err != nil && !refused {
				t.Fatal(err)
			}
			if acted := domain.InOffice(done.Events[0]); acted != refused {
				t.Errorf("%s about %s: an act in office %t, refused %t", eventType, about, acted, refused)
			}
			counted[refused]++
		}
	}
	if counted[true] == 0 || counted[false] == 0 {
		t.Errorf("refused or not: %v", counted)
	}
}

// An act in one tenant counts for a demand in another that waits for the same turn: the
// actor who closes a municipality belongs to SALGA.
func TestAnActInAnotherTenantIsSeenByADemandThatComesRightAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")
	act := domain.Append{ID: newID(), Tenant: other, Actor: someone(), Writes: []domain.Write{{
		Stream: domain.MunicipalityOf(other), Expected: domain.AnyVersion,
		Events: []domain.Event{&domain.MunicipalityDeactivated{}},
	}}}
	ahead := grant(w.tenant, someone(), 0)

	release := w.lock(t)
	first, answers := w.gather(t, ahead, act, demand(w.tenant, act.Actor))
	release()

	if got := pgtest.Receive(t, first); got.err != nil {
		t.Fatal(got.err)
	}
	w.added(t, ahead, answers[0])
	w.added(t, act, answers[1])
	failed[*domain.StaffRecordError](t, pgtest.Receive(t, answers[2]).err)
}

// However much an account did for itself, none of it is read to find out that it did
// nothing else.
func TestADemandForNoActsCostsTheSameHoweverLongTheAccountsOwnHistoryIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &plans{}
	w.store = p.open(t, w.db)
	w.beforeCodes(t)
	citizen := someone()

	for range 8 { // from the sixth call on Postgres may keep a plan
		must(t)(w.store.Append(t.Context(), demand(w.tenant, citizen)))
	}
	w.exec(t, `insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id, append_id,
			ordinal, event_type, subject_id, record_id, actor_id, payload, metadata, effective_at, recorded_at)
		select h.position + g, $1, 'session', $2, g, i.id, i.id, 1, 'session.started.v1', $2, $2, $2, '{}', '{}',
			clock_timestamp(), clock_timestamp()
		from trust.head() h, generate_series(1, 100000) g, lateral (select gen_random_uuid() id where g > 0) i`,
		w.tenant.UUID, citizen.UUID)

	for _, when := range []string{"before the table was analysed", "afterwards"} {
		p.Forget()
		must(t)(w.store.Append(t.Context(), demand(w.tenant, citizen)))
		p.check(t, when, []wanted{{"acts of an account", "e.actor_id = w.id", "events_acts_idx"}})
		w.exec(t, "analyze trust.events")
	}
}

func demand(tenant domain.TenantID, user domain.UserID) domain.Append {
	return domain.Append{ID: newID(), Tenant: tenant, Side: []domain.SideWrite{domain.DemandNoActs{User: user}}}
}
