package reports

import (
	"context"

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
	return projections.List(events, err, page, func(e domain.Recorded) (uuid.UUID, string) {
		return e.AppendID, projections.PositionCursor(e.Position)
	})
}
