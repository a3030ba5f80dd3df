package reports

import (
	"context"
	"math"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// keeper keeps what was made of the events of the tenants that asked last, so that the
// next question reads only newer events. What is kept is never more than the log says.
type keeper[T any] struct {
	mu   sync.Mutex
	of   map[domain.TenantID]*kept[T]
	uses uint64
}

// kept is what was made of the events of one tenant.
type kept[T any] struct {
	value T
	turn  chan struct{} // holds one token while somebody uses it
	used  uint64        // the number of the newest use
}

// keptTenants is how many tenants something is kept for.
const keptTenants = 64

// lock returns what is kept for a tenant, at first the zero value, for one user at a
// time. They lock before they take a snapshot, so that no snapshot is older than what is
// kept. Error: unavailable.
func (s *keeper[T]) lock(ctx context.Context, tenant domain.TenantID) (*T, func(), error) {
	k := s.kept(tenant)
	select {
	case k.turn <- struct{}{}:
		return &k.value, func() { <-k.turn }, nil
	case <-ctx.Done():
		return nil, nil, eventstore.Unavailable(ctx.Err())
	}
}

func (s *keeper[T]) kept(tenant domain.TenantID) *kept[T] {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.of == nil {
		s.of = map[domain.TenantID]*kept[T]{}
	}
	k, known := s.of[tenant]
	if !known {
		k = &kept[T]{turn: make(chan struct{}, 1)}
		s.of[tenant] = k
	}
	s.uses++
	k.used = s.uses

	if len(s.of) > keptTenants {
		oldest, least := tenant, uint64(math.MaxUint64)
		for id, other := range s.of {
			if other.used < least {
				oldest, least = id, other.used
			}
		}
		delete(s.of, oldest)
	}
	return k
}

// basis is what something kept of a tenant's events rests on.
type basis struct {
	log      uuid.UUID
	newest   int64 // position of the tenant's newest event; 0: it has none
	newestID uuid.UUID
	disowned int
}

// basisNow returns what an answer of this snapshot rests on, and whether something that
// rests on an earlier basis holds, but for the events since: it does not if it is of
// another log, or of one that went backwards, or if an event was disowned since.
func (r *Reports) basisNow(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, before basis,
) (now basis, holds bool, err error) {
	if now.log, err = eventstore.LogID(ctx, tx); err != nil {
		return now, false, err
	}
	disownings, err := r.reader.InStreams(ctx, tx, tenant, domain.LogStream, nil, eventstore.Place{},
		math.MaxInt64, math.MaxInt32)
	if err != nil {
		return now, false, err
	}
	now.disowned = len(disownings)
	same, err := r.stillHas(ctx, tx, tenant, before.newest, before.newestID)
	if err != nil {
		return now, false, err
	}

	newest, err := r.reader.Find(ctx, tx, eventstore.Query{Tenant: tenant, Newest: true, Limit: 1, Sealed: true})
	for _, e := range newest {
		now.newest, now.newestID = e.Position, e.EventID
	}
	return now, same && now.log == before.log && now.disowned == before.disowned, err
}

// stillHas reports whether a tenant still has an event at a position. A log that went
// backwards and forwards again has another.
func (r *Reports) stillHas(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, position int64, id uuid.UUID,
) (bool, error) {
	if id == uuid.Nil {
		return true, nil
	}
	found, err := r.reader.Find(ctx, tx, eventstore.Query{
		Tenant: tenant, After: position - 1, UpTo: position, Sealed: true,
	})
	return len(found) == 1 && found[0].EventID == id, err
}
