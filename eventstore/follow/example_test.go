package follow_test

import (
	"context"
	"fmt"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
)

// CONTRIBUTING.md shows the example between the two lines; a test compares them.

// ----

// tally counts how often each purpose was agreed to.
type tally struct{}

func (tally) Name() string { return "tally" }

func (tally) Kinds() []domain.StreamType { return []domain.StreamType{domain.ConsentStream} }

func (tally) Apply(ctx context.Context, tx follow.Tx, events []domain.Recorded, _ int64) error {
	grants := map[string]int{}
	for _, e := range events {
		if granted, ok := e.Event.(*domain.ConsentGranted); ok {
			grants[granted.Purpose]++
		}
	}

	const add = `insert into public.tally as t (purpose, grants) values ($1, $2)
		on conflict (purpose) do update set grants = t.grants + excluded.grants`
	for purpose, n := range grants {
		if _, err := tx.Exec(ctx, add, purpose, n); err != nil {
			return fmt.Errorf("count grants: %w", err)
		}
	}
	return nil
}

// ----
