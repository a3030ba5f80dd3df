package commands_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// restored stands in for a log that is being restored.
type restored struct{ *eventstore.Store }

func (r restored) LoadLog(
	ctx context.Context, tenant domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	return r.Load(ctx, tenant, streams...)
}

func (r restored) AppendAsOf(ctx context.Context, a domain.Append, _ time.Time) error {
	_, err := r.Append(ctx, a)
	return err
}

// The backup may say things that would forbid the erasure now (the last admin, a hold, a
// request still open), but it was allowed then, and the key is gone.
func TestAnErasureThatTheBackupDoesNotKnowIsAppliedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	_, err := w.PlaceHold(t.Context(), commands.System(w.cpt),
		commands.PlaceHold{Subject: admin.User, Reason: "an inquiry"})
	ok(t, err)
	request, err := w.LodgeRequest(t.Context(), admin, commands.LodgeRequest{Kind: domain.ErasureRequest})
	ok(t, err)
	consent, err := w.RecordConsent(t.Context(), admin, smsAlert())
	ok(t, err)

	past := domain.Recorded{
		Tenant: w.cpt, Subject: admin.User, AppendID: uuid.New(), RecordedAt: time.Now(),
		Event: &domain.UserErased{
			Cause: domain.CauseRequest, RequestID: request.Value.ID, Keys: []uuid.UUID{admin.User.UUID},
		},
	}
	ok(t, commands.ReapplyErasure(t.Context(), restored{w.store}, past))

	person, consents := domain.UserOf(admin.User), domain.ConsentsOf(admin.User)
	rights, admins := domain.RightsOf(admin.User), domain.AdminsOf(w.cpt)
	events, err := w.store.Load(t.Context(), w.cpt, person, consents, rights, admins)
	ok(t, err)
	head, err := w.store.Head(t.Context())
	ok(t, err)

	pick := func(s domain.Stream) (picked []domain.Recorded) {
		for _, e := range events {
			if e.Stream == s {
				picked = append(picked, e)
			}
		}
		return picked
	}

	if !domain.Fold[domain.User](pick(person)).Erased {
		t.Error("the person is not erased")
	}
	for _, c := range domain.ConsentsAt(pick(consents), time.Time{}, time.Time{}).Records() {
		if c.ID == consent.Value.ID && !c.Withdrawn() {
			t.Error("the consent is still in force")
		}
	}
	if q, _ := domain.Fold[domain.Rights](pick(rights)).Request(request.Value.ID); q.Status != domain.RequestDone {
		t.Errorf("the request is %s", q.Status)
	}
	if left := domain.Fold[domain.Admins](pick(admins)).Users; len(left) != 0 {
		t.Errorf("%v are still admins", left)
	}

	certificate, err := w.Certificate(t.Context(), past.AppendID)
	ok(t, err)
	if certificate.Value.Subject != admin.User || certificate.Value.Cause != domain.CauseRequest {
		t.Errorf("the certificate: %+v", certificate)
	}

	past.AppendID = uuid.New()
	ok(t, commands.ReapplyErasure(t.Context(), restored{w.store}, past))
	past.Subject = domain.UserID{UUID: uuid.New()}
	ok(t, commands.ReapplyErasure(t.Context(), restored{w.store}, past))
	if now, err := w.store.Head(t.Context()); err != nil || now != head {
		t.Errorf("somebody erased or unknown made events: %d after %d, %v", now, head, err)
	}
}
