package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// EraseMe asks to erase the caller's account and everything that identifies them.
type EraseMe struct {
	Confirmation string `json:"-"`
	Password     string `json:"-"`
}

// EraseConfirmation is the text that confirms the wish to be erased.
const EraseConfirmation = "DELETE MY ACCOUNT"

// Certificate proves an erasure. It identifies nobody.
type Certificate struct {
	ID        uuid.UUID // of the append
	Tenant    domain.TenantID
	Subject   domain.UserID
	ErasedAt  time.Time // when it took effect; after a restore that is before it was recorded
	Destroyed []domain.Remnant
	Kept      []domain.Remnant
	Keys      []uuid.UUID
	Cause     string
	Request   domain.RequestID // zero: the person did it themselves

	// NoSecondPerson is true if one account lodged the request and carried it out,
	// because there was no other officer.
	NoSecondPerson bool
}

// EraseMe erases the caller. One append destroys their key, and with it everything that
// identifies them in the log, deletes their credentials, claims and sessions, and
// withdraws all their consents. Errors: validation_failed, password_wrong,
// retention_hold, staff_record_kept, last_admin.
func (h *Handler) EraseMe(ctx context.Context, call Call, c EraseMe) (Answer[Certificate], error) {
	if c.Confirmation != EraseConfirmation {
		var f domain.Faults
		f.Add("confirmation", "invalid", "To confirm, write "+EraseConfirmation+".")
		return Answer[Certificate]{}, f.Err()
	}

	call.Key = "" // there is nobody left who could repeat the request
	r := request{name: "user.erase", tenant: call.Tenant}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		a, refusal := h.erasure(ctx, call, call.User, domain.BySelf, domain.RequestID{})
		// Only after the account was loaded: the password is then proven on that version
		// or a newer one, and the append expects that version.
		if err := h.checkPassword(ctx, call, c.Password); err != nil {
			return domain.Append{}, err
		}
		return a, refusal
	})
	return certificateOf(done.Events, staffRecord(err))
}

// erasure decides whether a person may be erased, and returns the append that does it.
func (h *Handler) erasure(
	ctx context.Context, call Call, subject domain.UserID, cause string, request domain.RequestID,
) (domain.Append, error) {
	person, consents, rights := domain.UserOf(subject), domain.ConsentsOf(subject), domain.RightsOf(subject)
	admins := domain.AdminsOf(call.Tenant)

	events, err := h.Store.LoadPersonal(ctx, call.Tenant, person, consents, rights, admins)
	if err != nil {
		return domain.Append{}, err
	}

	resident, asked := domain.Fold[domain.Resident](of(events, person)), domain.Fold[domain.Rights](of(events, rights))
	user := resident.User
	if !user.Exists() {
		return domain.Append{}, domain.Refuse(domain.CodeNotFound, "There is no such user.")
	}

	erased, err := user.Erase(asked, cause, request)
	if err != nil {
		return domain.Append{}, err
	}

	administers := domain.Fold[domain.Admins](of(events, admins))
	removed, err := administers.Remove(subject)
	if err != nil {
		return domain.Append{}, err
	}

	a := domain.Append{
		Tenant:  call.Tenant,
		Writes:  []domain.Write{{Stream: person, Expected: user.Version, Events: erased}},
		Expects: []domain.Expectation{{Tenant: call.Tenant, Stream: rights, Version: asked.Version}},
		Side: []domain.SideWrite{
			domain.DemandNoActs{User: subject},
			domain.DestroySubjectKey{Subject: subject},
			domain.DeleteCredential{User: subject},
		},
	}
	a.Side = append(a.Side, releaseEmail(user)...)
	a.Side = append(a.Side, releaseExternalIDs(a.Tenant, subject.UUID, resident.ExternalIDs)...)

	history := of(events, consents)
	if withdrawn := domain.WithdrawAll(history, subject != call.User); len(withdrawn) > 0 {
		a.Writes = append(a.Writes, domain.Write{Stream: consents, Expected: len(history), Events: withdrawn})
	}
	if len(removed) > 0 {
		a.Writes = append(a.Writes, domain.Write{Stream: admins, Expected: administers.Version, Events: removed})
	}

	keepOfficers(&a, user, erased)
	endSessions(&a, subject)
	return a, nil
}

// staffRecord turns the store's StaffRecordError into the refusal that clients know.
func staffRecord(err error) error {
	if _, is := errors.AsType[*domain.StaffRecordError](err); is {
		return domain.Refuse(domain.CodeStaffRecordKept,
			"This account acted in office; what it did, and whose account it is, must stay on record "+
				"(POPIA s14(1)(a), s17).")
	}
	return err
}

func certificateOf(events []domain.Recorded, err error) (Answer[Certificate], error) {
	if err != nil {
		return Answer[Certificate]{}, err
	}

	r := erasureIn(events)
	e, is := r.Event.(*domain.UserErased)
	if !is {
		return Answer[Certificate]{}, domain.Refuse(domain.CodeNotFound, "There is no such certificate.")
	}

	c := Certificate{
		ID: r.AppendID, Tenant: r.Tenant, Subject: r.Subject, ErasedAt: r.EffectiveAt,
		Destroyed: e.Destroyed, Kept: e.Kept, Keys: e.Keys, Cause: e.Cause, Request: e.RequestID,
		NoSecondPerson: e.NoSecondPerson,
	}
	return Answer[Certificate]{Value: c, Position: events[len(events)-1].Position}, nil
}

// RestoredLog is a log that is being restored, as far as ReapplyErasure needs it. Package
// eventstore implements it.
type RestoredLog interface {
	// LoadLog returns all events of some streams of one tenant, in order of position,
	// personal parts withheld.
	LoadLog(ctx context.Context, tenant domain.TenantID, streams ...domain.Stream) ([]domain.Recorded, error)
	// AppendAsOf appends as of an instant in the past. Errors: as Store.Append.
	AppendAsOf(ctx context.Context, a domain.Append, at time.Time) error
}

// ReapplyErasure erases again a person who was erased after the backup that is being
// restored was made: same certificate, same cause, as of the same instant. It withdraws
// their consents and closes the request for the erasure if that is open. It checks no
// condition: neither a hold nor being the last admin brings back a person whose key is
// gone. A person whom the log does not have, or has as erased, stays as they are.
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
		Side: []domain.SideWrite{
			domain.DestroySubjectKey{Subject: past.Subject}, domain.DeleteCredential{User: past.Subject},
		},
	}

	history := of(events, consents)
	if withdrawn := domain.WithdrawAll(history, erased.Cause != domain.BySelf); len(withdrawn) > 0 {
		a.Writes = append(a.Writes, domain.Write{Stream: consents, Expected: len(history), Events: withdrawn})
	}
	if administers := domain.Fold[domain.Admins](of(events, admins)); slices.Contains(administers.Users, past.Subject) {
		removed := []domain.Event{&domain.AdminRemoved{User: past.Subject}}
		a.Writes = append(a.Writes, domain.Write{Stream: admins, Expected: administers.Version, Events: removed})
	}
	keepOfficers(&a, user, []domain.Event{erased})

	asked := domain.Fold[domain.Rights](of(events, rights))
	if q, lodged := asked.Request(erased.RequestID); lodged && q.Status == domain.RequestOpen {
		fulfilled := []domain.Event{&domain.RequestFulfilled{RequestID: q.ID, Kind: q.Kind}}
		a.Writes = append(a.Writes, domain.Write{Stream: rights, Expected: asked.Version, Events: fulfilled})
	}

	return log.AppendAsOf(ctx, a, past.RecordedAt)
}
