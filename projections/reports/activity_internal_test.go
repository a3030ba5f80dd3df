package reports

import (
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Only the counts of the tenants that asked last are kept.
func TestKeptCountsAreBounded(t *testing.T) {
	t.Parallel()
	s := activities{of: map[domain.TenantID]*keptCounts{}}
	first := domain.TenantID{UUID: uuid.New()}
	kept := s.kept(first)
	for range 3 * keptTenants {
		s.kept(domain.TenantID{UUID: uuid.New()})
		if s.kept(first) != kept {
			t.Fatal("the counts of a tenant that asks all the time were dropped")
		}
	}
	if len(s.of) != keptTenants {
		t.Errorf("%d tenants' counts are kept, want %d", len(s.of), keptTenants)
	}
}
