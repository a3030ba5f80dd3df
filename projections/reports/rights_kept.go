package reports

import (
	"context"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// keptRights are the requests and the holds of everybody in a tenant, sealed.
type keptRights struct {
	basis

	all domain.Rights
}

// mostKeptRights is how many requests and holds are kept for a tenant: 3 MB. If there are
// more, each question folds them anew.
const mostKeptRights = 10_000

// withRights reads under the row-level security of one tenant, with the requests and the
// holds of everybody in it, sealed, which read must not change. They are kept from one
// question to the next, and only newer events are folded into them.
func (r *Reports) withRights(
	ctx context.Context, tenant domain.TenantID, read func(pgx.Tx, domain.Rights) error,
) error {
	kept, unlock, err := r.rights.lock(ctx, tenant) // before the snapshot is taken
	if err != nil {
		return err
	}
	defer unlock()

	return r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		now, err := r.rightsNow(ctx, tx, tenant, *kept)
		if err != nil {
			return err
		}

		*kept = now
		if len(now.all.Requests)+len(now.all.Holds) > r.mostKept {
			*kept = keptRights{}
		}
		return read(tx, now.all)
	})
}

// rightsNow brings what is kept up to date. If it no longer holds, everything is folded
// anew, from streams of rights alone.
func (r *Reports) rightsNow(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, kept keptRights,
) (keptRights, error) {
	now, holds, err := r.basisNow(ctx, tx, tenant, kept.basis)
	if err != nil {
		return kept, err
	}
	if !holds {
		events, err := r.reader.InStreams(ctx, tx, tenant, domain.RightsStream, nil, eventstore.Place{},
			math.MaxInt64, math.MaxInt32)
		return keptRights{now, domain.Fold[domain.Rights](events)}, err
	}

	newer, err := r.reader.Find(ctx, tx, eventstore.Query{
		Tenant: tenant, Types: rightsTypes(), After: kept.newest, Sealed: true,
	})
	if len(newer) > 0 {
		kept.all = kept.all.EvolveAll(newer)
	}
	return keptRights{now, kept.all}, err
}

// rightsTypes lists the types of the events about requests and holds.
func rightsTypes() []string {
	return slices.DeleteFunc(domain.EventTypes(), func(name string) bool {
		return domain.StreamTypeOf(name) != domain.RightsStream
	})
}
