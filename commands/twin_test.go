package commands_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// interposed lets something happen right after the first look for an idempotency key.
type interposed struct {
	commands.Store
	once  sync.Once
	event func()
}

func (s *interposed) FindAppend(ctx context.Context, tenant domain.TenantID, id uuid.UUID) ([]domain.Recorded, error) {
	found, err := s.Store.FindAppend(ctx, tenant, id)
	s.once.Do(s.event)
	return found, err
}

// A client sends a command twice at once under one key. The second looks for the key before the first is appended and loads after
// it: what it finds there is its own twin, which is the answer and not a reason to refuse.
func TestATwinThatWasFasterIsTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	call.Key = newKey()
	var first commands.Answer[domain.Consent]
	slow := commands.New(&interposed{Store: w.store, event: func() {
		var err error
		first, err = w.RecordConsent(t.Context(), call, smsAlert())
		ok(t, err)
	}}, commands.Config{})
	second, err := slow.RecordConsent(t.Context(), call, smsAlert())
	ok(t, err)
	if second != first {
		t.Errorf("second %+v, first %+v", second, first)
	}

	call.Key = newKey()
	slow = commands.New(&interposed{Store: w.store, event: func() {
		var err error
		first, err = w.WithdrawConsent(t.Context(), call, commands.WithdrawConsent{Consent: second.Value.ID})
		ok(t, err)
	}}, commands.Config{})
	again, err := slow.WithdrawConsent(t.Context(), call, commands.WithdrawConsent{Consent: second.Value.ID})
	ok(t, err)
	if again != first {
		t.Errorf("again %+v, first %+v", again, first)
	}
}
