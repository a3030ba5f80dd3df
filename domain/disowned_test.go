package domain_test

import (
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

func TestADisowningNeedsAReasonOfReasonableLength(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"", "  ", strings.Repeat("x", 501)} {
		if _, err := (domain.EventDisowned{Position: 1, Reason: reason}).Decide(); err == nil {
			t.Errorf("a reason of %d bytes is taken", len(reason))
		}
	}
	if _, err := (domain.EventDisowned{Position: 1, Reason: "found by trust verify"}).Decide(); err != nil {
		t.Error(err)
	}
}

func TestADisownedEventCountsAsAVersionAndChangesNothing(t *testing.T) {
	t.Parallel()
	story := []domain.Recorded{
		{
			Version: 1, Stream: domain.UserOf(domaintest.Thandi()), RecordedAt: domaintest.Clock("2026-03-01"),
			Event: &domain.UserRegistered{Role: domain.Citizen},
		},
		{
			Version: 2, Stream: domain.UserOf(domaintest.Thandi()), RecordedAt: domaintest.Clock("2026-03-02"),
			Event: &domain.Void{},
		},
	}

	before, after := domain.Fold[domain.User](story[:1]), domain.Fold[domain.User](story)
	if after.Version != 2 {
		t.Errorf("version %d after it, want 2", after.Version)
	}
	if after.Version = 1; after != before {
		t.Errorf("%+v, was %+v", after, before)
	}

	if domain.Fold[domain.User](story[1:]).Exists() {
		t.Error("a person of whom only a forged event is known exists")
	}
}
