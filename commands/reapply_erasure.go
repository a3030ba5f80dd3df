package commands

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/salga-trust/engine/domain"
)

// RestoredLog is what a re-applied erasure needs of a log that is being restored. Package eventstore implements it.
type RestoredLog interface {
	// LoadLog gives all events of some streams of one tenant, in order of position, personal parts withheld.
	LoadLog(ctx context.Context, tenant domain.TenantID, streams ...domain.Stream) ([]domain.Recorded, error)
	// AppendAsOf adds to the log what holds from an instant in the past. Errors: as Store.Append.
	AppendAsOf(ctx context.Context, a domain.Append, at time.Time) error
}

// ReapplyErasure erases a person again who was erased after the backup that is being restored: same certificate, same cause, as
// of the same instant. What they had consented to is withdrawn, an open request for it closed. It asks nothing: neither a hold nor
// being the last admin brings back a person whose key is gone. One who is not in the log, or erased in it, stays as they are.
func ReapplyErasure(ctx context.Context, log RestoredLog, past domain.Recorded) error {
	erased, is := past.Event.(*domain.UserErased)
	if !is {
		return fmt.Errorf("%s is no erasure", past.Event.EventType())
	}
	person, consents := domain.UserOf(past.Subject), domain.ConsentsOf(past.Subject)
	rights, admins := domain.RightsOf(past.Subject), domain.AdminsOf(past.Tenant)
	events, err := log.LoadLog(ctx, past.Tenant, person, consents, rights, admins)
	if err != nil {
		return err
	}
	user := domain.Fold[domain.User](of(events, person))
	if !user.Exists() || user.Erased {
		return nil
	}
	a := domain.Append{
		ID: past.AppendID, Tenant: past.Tenant,
		Metadata: domain.Metadata{ActorRole: domain.RoleSystem, Command: "restore"},
		Writes:   []domain.Write{{Stream: person, Expected: user.Version, Events: []domain.Event{erased}}},
		Side:     []domain.SideWrite{domain.DestroySubjectKey{Subject: past.Subject}, domain.DeleteCredential{User: past.Subject}},
	}
	history := of(events, consents)
	if withdrawn := domain.WithdrawAll(history, erased.Cause != domain.BySelf); len(withdrawn) > 0 {
		a.Writes = append(a.Writes, domain.Write{Stream: consents, Expected: len(history), Events: withdrawn})
	}
	if administers := domain.Fold[domain.Admins](of(events, admins)); slices.Contains(administers.Users, past.Subject) {
		removed := []domain.Event{&domain.AdminRemoved{User: past.Subject}}
		a.Writes = append(a.Writes, domain.Write{Stream: admins, Expected: administers.Version, Events: removed})
	}
	asked := domain.Fold[domain.Rights](of(events, rights))
	if q, lodged := asked.Request(erased.RequestID); lodged && q.Status == domain.RequestOpen {
		fulfilled := []domain.Event{&domain.RequestFulfilled{RequestID: q.ID, Kind: q.Kind}}
		a.Writes = append(a.Writes, domain.Write{Stream: rights, Expected: asked.Version, Events: fulfilled})
	}
	return log.AppendAsOf(ctx, a, past.RecordedAt)
}
