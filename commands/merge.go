package commands

import (
	"context"
	"slices"

	"github.com/salga-trust/engine/domain"
)

// MergeResidents asks to merge one record of a person into another.
type MergeResidents struct {
	From     domain.UserID    `json:"from"`
	Into     domain.UserID    `json:"into"`
	Reason   string           `json:"reason,omitempty"`
	Evidence *domain.Evidence `json:"evidence,omitempty"`
}

// MergeResidents merges the records and returns the one that goes on. Errors:
// validation_failed, forbidden, not_found, subject_erased, subject_merged, has_account,
// has_merged, requests_open, too_many_decisions, account_rests_on_consent; for a repeat
// idempotency_key_reused.
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

	wish := h.merging(c.Reason, c.Evidence)
	r := request{name: "resident.merge", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		from, into, err := h.files(ctx, call.Tenant, c.From, c.Into)
		if err != nil {
			return domain.Append{}, err
		}
		m, err := wish.Decide(from, into)
		return mergeAppend(call.Tenant, from, into, m), err
	})
	return h.residentAnswer(ctx, call, c.Into, done, err)
}

// UnmergeResidents asks to undo a merge.
type UnmergeResidents struct {
	From     domain.UserID    `json:"from"` // the record that was merged away
	Reason   string           `json:"reason,omitempty"`
	Evidence *domain.Evidence `json:"evidence,omitempty"`
}

// UnmergeResidents takes a merge back, and returns the record that stands alone again.
// Errors: validation_failed, forbidden, not_found, subject_erased, not_merged,
// too_many_decisions; for a repeat idempotency_key_reused.
func (h *Handler) UnmergeResidents(
	ctx context.Context, call Call, c UnmergeResidents,
) (Answer[domain.Resident], error) {
	if err := call.demandOverseer("undo a merge"); err != nil {
		return Answer[domain.Resident]{}, err
	}

	wish := h.merging(c.Reason, c.Evidence)
	r := request{name: "resident.unmerge", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		record, _, err := h.resident(ctx, call.Tenant, c.From)
		if err != nil {
			return domain.Append{}, err
		}
		if !record.IsMerged() {
			return domain.Append{}, domain.Refuse(domain.CodeNotMerged, "This record is not merged into another.")
		}

		from, into, err := h.files(ctx, call.Tenant, c.From, record.MergedInto)
		if err != nil {
			return domain.Append{}, err
		}
		m, err := wish.Undo(from, into)
		a := mergeAppend(call.Tenant, from, into, m)
		slices.Reverse(a.Writes[:2]) // the answer shows the record whose stream is first
		return a, err
	})
	return h.residentAnswer(ctx, call, c.From, done, err)
}

func (h *Handler) merging(reason string, evidence *domain.Evidence) domain.MergeResidents {
	return domain.MergeResidents{
		Reason: reason, Evidence: evidence,
		NewID: func() domain.ConsentID { return domain.ConsentID{UUID: h.newID()} },
	}
}

// mergeAppend returns the append that changes two records together, and fails if either
// has moved.
func mergeAppend(tenant domain.TenantID, from, into domain.File, m domain.Merge) domain.Append {
	a := domain.Append{Tenant: tenant, Writes: []domain.Write{userWrite(into, m.Into), userWrite(from, m.From)}}
	addConsents(&a, from, m.FromConsents)
	addConsents(&a, into, m.IntoConsents)

	for _, f := range []domain.File{from, into} {
		a.Expects = append(a.Expects, domain.Expectation{
			Tenant: tenant, Stream: domain.RightsOf(f.Resident.ID), Version: f.Rights.Version,
		})
	}
	return a
}

func (h *Handler) files(
	ctx context.Context, tenant domain.TenantID, fromID, intoID domain.UserID,
) (from, into domain.File, err error) {
	if from, err = h.file(ctx, tenant, fromID); err != nil {
		return from, into, err
	}
	into, err = h.file(ctx, tenant, intoID)
	return from, into, err
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
