package reports

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// People returns accounts of a tenant as they are now, with everything that identifies
// them; an erased account says so. Accounts of other tenants are left out. The caller
// must record that they were read. Error: unavailable.
func (r *Reports) People(
	ctx context.Context, tenant domain.TenantID, ids []domain.UserID,
) (map[domain.UserID]domain.User, error) {
	people := make(map[domain.UserID]domain.User, len(ids))
	err := r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		events, err := r.reader.Streams(ctx, tx, domain.UserStream, ids, math.MaxInt64)
		for _, e := range events {
			id := domain.UserID{UUID: e.Stream.ID}
			people[id] = people[id].Evolve(e)
		}
		return err
	})
	return people, err
}
