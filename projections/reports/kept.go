package reports

import (
	"context"
	"math"
	"sync"

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
