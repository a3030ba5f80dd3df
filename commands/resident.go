package commands

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// RecordResident asks, as staff, to record a person who has no account.
type RecordResident struct {
	FullName          string              `json:"full_name"`
	Phone             string              `json:"phone,omitempty"`
	Email             string              `json:"email,omitempty"` // to write to; it claims nothing
	PreferredLanguage domain.Language     `json:"preferred_language,omitempty"`
	ExternalIDs       []domain.ExternalID `json:"external_ids,omitempty"`
}

// RecordResident records a person of the caller's tenant. It needs no consent: that a
// municipality knows whom it serves rests on its own ground (POPIA s11(1)(e)). Errors:
// validation_failed, forbidden, municipality_inactive, external_id_taken; for a repeat
// idempotency_key_reused, subject_erased.
func (h *Handler) RecordResident(
	ctx context.Context, call Call, c RecordResident,
) (Answer[domain.Resident], error) {
	if err := call.demandStaff(); err != nil {
		return Answer[domain.Resident]{}, err
	}
	if call.Tenant.IsPlatform() {
		return Answer[domain.Resident]{}, domain.Refuse(domain.CodeForbidden, "SALGA has no residents.")
	}
	code, err := h.CodeOf(ctx, call.Tenant)
	if err != nil {
		return Answer[domain.Resident]{}, err
	}

	id := domain.UserID{UUID: h.newID()}
	wish := domain.RecordResident{
		MunicipalityCode: code, FullName: c.FullName, Phone: c.Phone, Email: c.Email,
		PreferredLanguage: c.PreferredLanguage, ExternalIDs: c.ExternalIDs,
	}

	r := request{name: "resident.record", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		events, err := wish.Decide()
		if err != nil {
			return domain.Append{}, err
		}

		a := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: domain.UserOf(id), Events: events}},
			Side:   []domain.SideWrite{domain.CreateSubjectKey{Subject: id}},
		}
		return a, h.moveExternalIDs(ctx, &a, id, events)
	})
	return h.residentAnswer(ctx, call, id, done, err)
}

// ChangeResident asks, as staff, to correct what is recorded about a person.
type ChangeResident struct {
	User              domain.UserID       `json:"user_id"`
	FullName          *string             `json:"full_name,omitempty"`
	Phone             *string             `json:"phone,omitempty"`
	Email             *string             `json:"email,omitempty"`
	PreferredLanguage *domain.Language    `json:"preferred_language,omitempty"`
	Add               []domain.ExternalID `json:"add_external_ids,omitempty"`
	Remove            []domain.ExternalID `json:"remove_external_ids,omitempty"`
}

// ChangeResident corrects a person's details and external ids; of somebody with an
// account only the external ids. Errors: validation_failed, forbidden, not_found, stale,
// subject_erased, has_account, external_id_taken; for a repeat idempotency_key_reused.
func (h *Handler) ChangeResident(
	ctx context.Context, call Call, c ChangeResident,
) (Answer[domain.Resident], error) {
	if err := call.demandStaff(); err != nil {
		return Answer[domain.Resident]{}, err
	}
	wish := domain.ChangeResident{
		FullName: c.FullName, Phone: c.Phone, Email: c.Email, PreferredLanguage: c.PreferredLanguage,
		Add: c.Add, Remove: c.Remove,
	}

	r := request{name: "resident.change", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		resident, _, err := h.resident(ctx, call.Tenant, c.User)
		if err != nil {
			return domain.Append{}, err
		}
		if err := matching(call, resident.Version); err != nil {
			return domain.Append{}, err
		}

		events, err := wish.Decide(resident)
		if err != nil || len(events) == 0 {
			return domain.Append{}, err
		}

		a := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: domain.UserOf(c.User), Expected: resident.Version, Events: events}},
		}
		return a, h.moveExternalIDs(ctx, &a, c.User, events)
	})
	return h.residentAnswer(ctx, call, c.User, done, err)
}

// resident loads one person with everything that staff see.
func (h *Handler) resident(
	ctx context.Context, tenant domain.TenantID, id domain.UserID,
) (domain.Resident, []domain.Recorded, error) {
	events, err := h.Store.LoadPersonal(ctx, tenant, domain.UserOf(id))
	if err != nil {
		return domain.Resident{}, nil, err
	}

	resident := domain.Fold[domain.Resident](events)
	if !resident.Exists() {
		return domain.Resident{}, nil, domain.Refuse(domain.CodeNotFound, "There is no such person.")
	}
	return resident, events, nil
}

// residentAnswer returns the person as an append left them, which for a repeat may be
// long ago. Error: subject_erased, if they have been erased since.
func (h *Handler) residentAnswer(
	ctx context.Context, call Call, id domain.UserID, done domain.Appended, err error,
) (Answer[domain.Resident], error) {
	if err != nil {
		return Answer[domain.Resident]{}, err
	}
	if len(done.Events) == 0 {
		return h.Resident(ctx, call.Tenant, id)
	}

	// A repeat was recorded under another id.
	resident, events, err := h.resident(ctx, call.Tenant, domain.UserID{UUID: done.Events[0].Stream.ID})
	if err != nil {
		return Answer[domain.Resident]{}, err
	}
	if resident.Erased {
		return Answer[domain.Resident]{}, subjectErased()
	}
	then := domain.Fold[domain.Resident](until(events, done.Position()))
	return Answer[domain.Resident]{Value: then, Position: done.Position()}, nil
}

// moveExternalIDs adds to an append the claims that its events take and give up. An
// external id that another person has is refused with that person's id, so that the
// second of two clerks learns whom the first has recorded. Error: external_id_taken.
func (h *Handler) moveExternalIDs(
	ctx context.Context, a *domain.Append, id domain.UserID, events []domain.Event,
) error {
	for _, e := range events {
		var taken, released []domain.ExternalID
		switch e := e.(type) {
		case *domain.ResidentRecorded:
			person, _ := e.Person.Get()
			taken = person.ExternalIDs
		case *domain.ResidentDetailsChanged:
			person, _ := e.Person.Get()
			taken, released = person.AddedExternalIDs, person.RemovedExternalIDs
		}

		for _, x := range taken {
			claim := x.Claim(a.Tenant)
			holder, held, err := h.Store.Holder(ctx, claim)
			if err != nil {
				return err
			}
			if held && holder != id.UUID {
				return h.externalIDTaken(ctx, a.Tenant, id, domain.UserID{UUID: holder}, x.Type)
			}
			a.Side = append(a.Side, domain.TakeClaim{Claim: claim, Holder: id.UUID})
		}
		a.Side = append(a.Side, releaseExternalIDs(a.Tenant, id.UUID, released)...)
	}
	return nil
}

func releaseExternalIDs(tenant domain.TenantID, holder uuid.UUID, ids []domain.ExternalID) (side []domain.SideWrite) {
	for _, x := range ids {
		side = append(side, domain.ReleaseClaim{Claim: x.Claim(tenant), Holder: holder})
	}
	return side
}

// externalIDTaken is the refusal of an external id to a person, which names the person
// who has it. If their record was merged into another, it names that one; but not to that
// one itself, which is found by the external id already.
func (h *Handler) externalIDTaken(
	ctx context.Context, tenant domain.TenantID, id, holder domain.UserID, kind domain.ExternalIDType,
) error {
	history, err := h.Store.Load(ctx, tenant, domain.UserOf(holder))
	if err != nil {
		return err
	}

	sentence := "Another person of this municipality has %s; see subject_id."
	switch user := domain.Fold[domain.User](history); {
	case user.MergedInto == id:
		sentence = "A record that was merged into this one has %s, and leads here already; see subject_id."
	case user.IsMerged():
		holder = user.MergedInto
	}

	number := map[domain.ExternalIDType]string{
		domain.Meter: "this meter", domain.MunicipalAccount: "this municipal account",
	}[kind]
	if number == "" {
		number = "this number"
	}

	refusal := domain.Refuse(domain.CodeExternalIDTaken, sentence, number)
	refusal.SubjectID = holder
	return refusal
}

// isClaimTaken reports whether an append lost a race for a claim of a kind.
func isClaimTaken(err error, kind domain.ClaimKind) bool {
	taken, is := errors.AsType[*domain.ClaimTakenError](err)
	return is && taken.Kind == kind
}
