package reports

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// Requests lists a tenant's requests of one status, those that are due first. There are few: they are folded from the log.
// Errors: validation_failed, unavailable.
func (r *Reports) Requests(ctx context.Context, tenant domain.TenantID, status domain.RequestStatus, page projections.Page) (projections.Listing[domain.Request], error) {
	var after domain.RequestID
	if page.After != "" {
		id, err := page.AfterID()
		if err != nil {
			return projections.Listing[domain.Request]{}, err
		}
		after.UUID = id
	}

	var events []domain.Recorded
	err := r.asTenant(ctx, tenant, func(tx pgx.Tx) (err error) {
		events, err = r.reader.Find(ctx, tx, eventstore.Query{Tenant: tenant, Types: []string{
			(*domain.RequestLodged)(nil).EventType(), (*domain.RequestFulfilled)(nil).EventType(), (*domain.RequestRefused)(nil).EventType(),
		}})
		return err
	})
	if err != nil {
		return projections.Listing[domain.Request]{}, err
	}

	var all domain.Rights
	for _, e := range events {
		all = all.Evolve(e)
	}

	behind := func(a, b domain.Request) int {
		return cmp.Or(cmp.Compare(a.DueOn, b.DueOn), cmp.Compare(a.ID.String(), b.ID.String()))
	}
	last, more := all.Request(after) // whatever its status is by now
	due := slices.DeleteFunc(all.Requests, func(q domain.Request) bool { return q.Status != status || (more && behind(q, last) <= 0) })
	slices.SortFunc(due, behind)
	return projections.List(due[:min(len(due), page.Fetch())], nil, page, func(q domain.Request) (domain.Request, string) { return q, projections.IDCursor(q.ID.UUID) })
}
