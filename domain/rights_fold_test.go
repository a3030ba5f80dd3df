package domain_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// longRights is a stream of n requests, each of them closed, and as many holds.
func longRights(n int) []domain.Recorded {
	events := make([]domain.Event, 0, 4*n)
	for range n {
		request, hold := domain.RequestID{UUID: uuid.New()}, domain.HoldID{UUID: uuid.New()}
		events = append(events,
			&domain.RequestLodged{
				RequestID: request, Kind: domain.AccessRequest, LodgedBy: domain.BySelf,
				DueOn: "2026-04-07",
			},
			&domain.HoldPlaced{HoldID: hold}, &domain.RequestFulfilled{RequestID: request, Kind: domain.AccessRequest},
			&domain.HoldLifted{HoldID: hold})
	}
	return domaintest.History(rightsStream(), domaintest.At("2026-03-06", events...))
}

func TestRightsFoldedAtOnceAreThoseFoldedOneByOne(t *testing.T) {
	t.Parallel()
	history := longRights(20)

	var state domain.Rights
	states := []domain.Rights{state}
	for _, e := range history {
		state = state.Evolve(e)
		states = append(states, state)
	}

	// Nor may a later event change an earlier state.
	for i, one := range states {
		if diff := domaintest.Diff(domain.Fold[domain.Rights](history[:i]), one); diff != "" {
			t.Fatalf("after %d events (-at once +one by one):\n%s", i, diff)
		}
	}
}

// A copy of everything for each event would take minutes here; all events at once take
// milliseconds.
func TestFoldingRightsGrowsWithTheEventsAndNotWithTheirSquare(t *testing.T) {
	t.Parallel()
	history := longRights(20_000)
	began := time.Now()
	rights := domain.Fold[domain.Rights](history)
	if took := time.Since(began); took > 10*time.Second || len(rights.Requests) != 20_000 || rights.Held() {
		t.Errorf("%d requests took %s", len(rights.Requests), took)
	}
}
