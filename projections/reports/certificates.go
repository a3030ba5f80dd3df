package reports

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// Certificates lists the ids of the certificates of erasures, newest first. Errors:
// validation_failed, unavailable.
func (r *Reports) Certificates(
	ctx context.Context, scope AuditScope, page projections.Page,
) (projections.Listing[uuid.UUID], error) {
	events, err := r.newest(ctx, scope, eventstore.Query{Types: []string{(*domain.UserErased)(nil).EventType()}}, page)
	list, err := projections.List(events, err, page, func(e domain.Recorded) (uuid.UUID, string) {
		return e.AppendID, projections.PositionCursor(e.Position)
	})
	// One certificate may be of several records of one person.
	list.Items = slices.Compact(list.Items)
	return list, err
}
