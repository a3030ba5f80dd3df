package commands_test

import (
	"context"
	"sync"
	"testing"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// interposed is a store on which something happens just before or just after the streams
// that a command is decided on are first loaded.
type interposed struct {
	commands.Store
	after bool
	once  sync.Once
	event func()
}

func (s *interposed) LoadTail(
	ctx context.Context, tenant domain.TenantID, tail domain.Tail, beside ...domain.Stream,
) ([]domain.Recorded, int, error) {
	if !s.after {
		s.once.Do(s.event)
	}

	found, version, err := s.Store.LoadTail(ctx, tenant, tail, beside...)
	s.once.Do(s.event)
	return found, version, err
}

// A client sends a command twice at once under one key. Whether the second loads its
// streams before the first is appended or after, it meets its own twin: that is its
// answer, not a reason to refuse or to append again.
func TestATwinThatWasFasterIsTheAnswer(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"the second loads afterwards": false, "the second loads first": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			call := w.citizen(t, "CPT", "one@example.co.za")
			call.Key = newKey()

			var first commands.Answer[domain.Decided]
			slow := commands.New(&interposed{Store: w.store, after: after, event: func() {
				var err error
				first, err = w.RecordConsent(t.Context(), call, smsAlert())
				ok(t, err)
			}}, commands.Config{})
			second, err := slow.RecordConsent(t.Context(), call, smsAlert())
			ok(t, err)
			if second != first || first.Position == 0 {
				t.Errorf("second %+v, first %+v", second, first)
			}

			call.Key = newKey()
			slow = commands.New(&interposed{Store: w.store, after: after, event: func() {
				var err error
				first, err = w.WithdrawConsent(t.Context(), call, commands.WithdrawConsent{Consent: second.Value.ID})
				ok(t, err)
			}}, commands.Config{})
			again, err := slow.WithdrawConsent(t.Context(), call, commands.WithdrawConsent{Consent: second.Value.ID})
			ok(t, err)
			if again != first || first.Position <= second.Position {
				t.Errorf("again %+v, first %+v", again, first)
			}
		})
	}
}
