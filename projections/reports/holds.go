package reports

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// Holds lists a tenant's holds that are in force, or those that were lifted, the newest
// first. They are folded from the streams of rights, see keptRights; only those of the
// page are opened. Errors: validation_failed, unavailable.
func (r *Reports) Holds(
	ctx context.Context, tenant domain.TenantID, lifted bool, page projections.Page,
) (projections.Listing[domain.Hold], error) {
	var after domain.HoldID
	if page.After != "" {
		id, err := page.AfterID()
		if err != nil {
			return projections.Listing[domain.Hold]{}, err
		}
		after.UUID = id
	}

	var holds []domain.Hold
	err := r.withRights(ctx, tenant, func(tx pgx.Tx, all domain.Rights) error {
		holds = placedBefore(all, lifted, after)
		holds = holds[:min(len(holds), page.Fetch())]
		return r.openHolds(ctx, tx, holds)
	})
	return projections.List(holds, err, page, func(h domain.Hold) (domain.Hold, string) {
		return h, projections.IDCursor(h.ID.UUID)
	})
}

// placedBefore returns the holds that are in force, or those that were lifted, which were
// placed before another one, the newest first. If that one does not exist, it returns all
// of them.
func placedBefore(all domain.Rights, lifted bool, before domain.HoldID) (holds []domain.Hold) {
	order := func(a, b domain.Hold) int {
		return cmp.Or(b.PlacedAt.Compare(a.PlacedAt), bytes.Compare(b.ID.UUID[:], a.ID.UUID[:]))
	}
	last, more := all.Hold(before) // whether or not it is lifted by now

	for _, h := range all.Holds {
		if h.Lifted() == lifted && (!more || order(h, last) > 0) {
			holds = append(holds, h)
		}
	}
	slices.SortFunc(holds, order)
	return holds
}

// openHolds replaces sealed holds by the same ones with their reasons opened.
func (r *Reports) openHolds(ctx context.Context, tx pgx.Tx, holds []domain.Hold) error {
	opened, err := rightsOf(ctx, r, tx, holds, func(h domain.Hold) domain.UserID { return h.Subject })
	if err != nil {
		return err
	}

	for i, h := range holds {
		if open, found := opened.Hold(h.ID); found {
			holds[i] = open
		}
	}
	return nil
}
