package reports

import (
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Something is kept only for the tenants that asked last.
func TestWhatIsKeptIsBounded(t *testing.T) {
	t.Parallel()
	var s keeper[keptCounts]
	first := domain.TenantID{UUID: uuid.New()}
	kept := s.kept(first)
	for range 3 * keptTenants {
		s.kept(domain.TenantID{UUID: uuid.New()})
		if s.kept(first) != kept {
			t.Fatal("what is kept for a tenant that asks all the time was dropped")
		}
	}
	if len(s.of) != keptTenants {
		t.Errorf("something is kept for %d tenants, want %d", len(s.of), keptTenants)
	}
}
