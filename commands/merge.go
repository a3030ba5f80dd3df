package commands

import (
	"context"

	"github.com/salga-trust/engine/domain"
)

// MergeResidents asks to merge one record of a person into another, or to undo that.
type MergeResidents struct {
	From     domain.UserID    `json:"from"`
	Into     domain.UserID    `json:"into,omitzero"` // not needed to undo
	Reason   string           `json:"reason,omitempty"`
	Evidence *domain.Evidence `json:"evidence,omitempty"`
}

// MergeResidents merges the records and returns the one that goes on. Errors:
// validation_failed, forbidden, not_found, subject_erased, subject_merged, has_account,
// has_merged, requests_open, too_many_decisions; for a repeat idempotency_key_reused.
func (h *Handler) MergeResidents(
	ctx context.Context, call Call, c MergeResidents,
) (Answer[domain.Resident], error) {
	if c.From == c.Into {
		var f domain.Faults
		f.Add("into", "invalid", "A record cannot be merged into itself.")
		return Answer[domain.Resident]{}, f.Err()
	}
	if err := call.demandOverseer("merge records"); err != nil {
		return Answer[domain.Resident]{}, err
	}

	return h.changeBoth(ctx, call, "resident.merge", c, func(ctx context.Context) (domain.UserID, error) {
		return c.Into, nil
	}, domain.MergeResidents.Decide)
}

// UnmergeResidents takes a merge back, and returns the record that stands alone again.
// Errors: validation_failed, forbidden, not_found, subject_erased, not_merged,
// too_many_decisions; for a repeat idempotency_key_reused.
func (h *Handler) UnmergeResidents(
	ctx context.Context, call Call, c MergeResidents,
) (Answer[domain.Resident], error) {
	if err := call.demandOverseer("undo a merge"); err != nil {
		return Answer[domain.Resident]{}, err
	}

	return h.changeBoth(ctx, call, "resident.unmerge", c, func(ctx context.Context) (domain.UserID, error) {
		from, _, err := h.resident(ctx, call.Tenant, c.From)
		if err == nil && !from.IsMerged() {
			err = domain.Refuse(domain.CodeNotMerged, "This record is not merged into another.")
		}
		return from.MergedInto, err
	}, domain.MergeResidents.Undo)
}

// changeBoth carries out a command on two records in one append, which fails if either
// has moved.
func (h *Handler) changeBoth(
	ctx context.Context, call Call, name string, c MergeResidents,
	into func(context.Context) (domain.UserID, error),
	decide func(c domain.MergeResidents, from, into domain.File) (domain.Merge, error),
) (Answer[domain.Resident], error) {
	wish := domain.MergeResidents{
		Reason: c.Reason, Evidence: c.Evidence,
		NewID: func() domain.ConsentID { return domain.ConsentID{UUID: h.newID()} },
	}

	r := request{name: name, tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		other, err := into(ctx)
		if err != nil {
			return domain.Append{}, err
		}
		from, err := h.file(ctx, call.Tenant, c.From)
		if err != nil {
			return domain.Append{}, err
		}
		to, err := h.file(ctx, call.Tenant, other)
		if err != nil {
			return domain.Append{}, err
		}

		m, err := decide(wish, from, to)
		if err != nil {
			return domain.Append{}, err
		}

		a := domain.Append{Tenant: call.Tenant}
		// The stream that the answer shows comes first.
		first, second := to, from
		firstEvents, secondEvents := m.Into, m.From
		if name == "resident.unmerge" {
			first, second, firstEvents, secondEvents = from, to, m.From, m.Into
		}
		a.Writes = []domain.Write{userWrite(first, firstEvents), userWrite(second, secondEvents)}
		addConsents(&a, from, m.FromConsents)
		addConsents(&a, to, m.IntoConsents)
		for _, f := range []domain.File{from, to} {
			a.Expects = append(a.Expects, domain.Expectation{
				Tenant: call.Tenant, Stream: domain.RightsOf(f.Resident.ID), Version: f.Rights.Version,
			})
		}
		return a, nil
	})

	shown := c.Into
	if name == "resident.unmerge" {
		shown = c.From
	}
	return h.residentAnswer(ctx, call, shown, done, err)
}

// file loads one record with everything that a merge rests on, opened: what is copied is
// sealed again under another key.
func (h *Handler) file(ctx context.Context, tenant domain.TenantID, id domain.UserID) (domain.File, error) {
	person, consents, rights := domain.UserOf(id), domain.ConsentsOf(id), domain.RightsOf(id)
	events, err := h.Store.LoadPersonal(ctx, tenant, person, consents, rights)
	if err != nil {
		return domain.File{}, err
	}

	f := domain.File{
		Resident: domain.Fold[domain.Resident](of(events, person)), History: of(events, person),
		Consents: of(events, consents), Rights: domain.Fold[domain.Rights](of(events, rights)),
	}
	if !f.Resident.Exists() {
		return domain.File{}, domain.Refuse(domain.CodeNotFound, "There is no such person.")
	}
	return f, nil
}

func userWrite(f domain.File, events []domain.Event) domain.Write {
	return domain.Write{Stream: domain.UserOf(f.Resident.ID), Expected: f.Resident.Version, Events: events}
}

// addConsents adds events to a record's consents, or expects that these have not moved.
func addConsents(a *domain.Append, f domain.File, events []domain.Event) {
	stream := domain.ConsentsOf(f.Resident.ID)
	version := 0
	if n := len(f.Consents); n > 0 {
		version = f.Consents[n-1].Version
	}

	if len(events) > 0 {
		a.Writes = append(a.Writes, domain.Write{Stream: stream, Expected: version, Events: events})
		return
	}
	a.Expects = append(a.Expects, domain.Expectation{Tenant: a.Tenant, Stream: stream, Version: version})
}
