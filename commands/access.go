package commands

import (
	"context"

	"github.com/salga-trust/engine/domain"
)

// RecordRead appends that the caller is about to be shown other people's personal data: call it after reading and before the
// answer leaves (POPIA s19, s22, s23(1)(b)). More than domain.MaxReadSubjects subjects are left to the filter.
func (h *Handler) RecordRead(ctx context.Context, call Call, read domain.PersonalDataRead) error {
	var f domain.Faults
	facts, _ := read.Private.Get()
	f.Text("reason", facts.Reason, domain.MaxReason)
	if err := f.Err(); err != nil {
		return err
	}
	if len(read.Subjects) > domain.MaxReadSubjects {
		read.Subjects = nil
	}
	head, err := h.Store.Head(ctx)
	if err != nil {
		return err
	}
	read.Head = head
	return h.recordAccess(ctx, call, "personal_data.read", &read)
}

// RecordTenantMismatch appends that the caller named another tenant than their own.
func (h *Handler) RecordTenantMismatch(ctx context.Context, call Call, mismatch domain.TenantMismatch) error {
	return h.recordAccess(ctx, call, "access.tenant_mismatch", &mismatch)
}

// recordAccess appends an event about one request, in a stream of its own.
func (h *Handler) recordAccess(ctx context.Context, call Call, name string, event domain.Event) error {
	call.Key = "" // every request counts
	_, err := h.execute(ctx, call, request{name: name, tenant: call.Tenant}, func(context.Context, Call) (domain.Append, error) {
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{
				Stream: domain.Stream{Type: domain.AccessStream, ID: h.newID()}, Events: []domain.Event{event},
			}},
		}, nil
	})
	return err
}
