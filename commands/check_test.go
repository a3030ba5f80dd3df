package commands_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// counting is a store that counts how often it is asked.
type counting struct {
	commands.Store
	asked int
}

func (s *counting) Head(ctx context.Context) (int64, error) {
	s.asked++
	return s.Store.Head(ctx)
}

func (s *counting) Load(
	ctx context.Context, tenant domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	s.asked++
	return s.Store.Load(ctx, tenant, streams...)
}

func (s *counting) LoadPeople(
	ctx context.Context, tenant domain.TenantID, people []domain.UserID, purpose string, upTo int64,
	enough func([]domain.Recorded) bool,
) (map[domain.UserID]domain.PersonDecisions, error) {
	s.asked++
	return s.Store.LoadPeople(ctx, tenant, people, purpose, upTo, enough)
}

// A bulk check says of each person what a check of that person says, however often they
// decided, and asks the store as often for many people as for one.
func TestABulkCheckSaysWhatEachCheckSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")

	var people []domain.UserID
	for i, decisions := range []int{0, 1, 2, 20} {
		p := w.citizen(t, "CPT", fmt.Sprintf("p%d@example.co.za", i))
		people = append(people, p.User)
		for n := range decisions {
			granted, err := w.RecordConsent(t.Context(), p, smsAlert())
			ok(t, err)
			if n < decisions-1 || i%2 == 0 {
				_, err = w.WithdrawConsent(t.Context(), p, commands.WithdrawConsent{Consent: granted.Value.ID})
				ok(t, err)
			}
		}
	}
	people = append(people, domain.UserID{UUID: uuid.New()}, people[1])

	for _, at := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)} {
		store := &counting{Store: w.store}
		h := commands.New(store, commands.Config{})
		bulk, err := h.CheckConsents(t.Context(), clerk, commands.CheckConsents{
			Subjects: people, Purpose: "SMS_alert", At: at,
		})
		ok(t, err)
		if store.asked > 4 {
			t.Errorf("the store was asked %d times about %d people", store.asked, len(people))
		}

		for i, id := range people {
			one, err := w.CheckConsent(t.Context(), clerk, commands.CheckConsent{
				Subject: id, Purpose: "sms_alert", At: at,
			})
			ok(t, err)
			if bulk.Checks[i] != one.Check {
				t.Errorf("person %d at %s: in bulk %+v, alone %+v", i, at, bulk.Checks[i], one.Check)
			}
			if slices.Contains(bulk.Known, id) != one.Known {
				t.Errorf("person %d is known: alone %t", i, one.Known)
			}
		}
	}

	many := make([]domain.UserID, commands.MaxChecked+1)
	_, err := w.CheckConsents(t.Context(), clerk, commands.CheckConsents{Subjects: many, Purpose: "sms_alert"})
	refused(t, err, domain.CodeInvalid)
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	_, err = w.CheckConsents(t.Context(), citizen, commands.CheckConsents{Subjects: people, Purpose: "sms_alert"})
	refused(t, err, domain.CodeForbidden)
}

// The question is answered from one position: whoever decides while it is answered
// changes nothing.
func TestABulkCheckIsOfOneMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")
	citizen := w.citizen(t, "CPT", "one@example.co.za")

	store := &meanwhile{Store: w.store, event: func() {
		_, err := w.RecordConsent(t.Context(), citizen, smsAlert())
		ok(t, err)
	}}
	bulk, err := commands.New(store, commands.Config{}).CheckConsents(t.Context(), clerk, commands.CheckConsents{
		Subjects: []domain.UserID{citizen.User}, Purpose: "sms_alert",
	})
	ok(t, err)
	if bulk.Checks[0].Reason != domain.ReasonNeverAsked || bulk.Position >= w.head(t) {
		t.Errorf("at %d of %d: %+v", bulk.Position, w.head(t), bulk.Checks[0])
	}
}

// meanwhile is a store on which something happens just after its head was read.
type meanwhile struct {
	commands.Store
	event func()
}

func (s *meanwhile) Head(ctx context.Context) (int64, error) {
	head, err := s.Store.Head(ctx)
	s.event()
	return head, err
}
