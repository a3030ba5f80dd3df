package main

import (
	"context"
	"fmt"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/eventstore"
)

// clockWarnings returns the warnings of GET /ready about the clocks. Neither keeps the
// system from answering.
func clockWarnings(c eventstore.Clocks) []string {
	var warnings []string
	if c.Future > 0 {
		warnings = append(warnings, "recorded_in_future")
	}
	if c.Differ() {
		warnings = append(warnings, "clock_differs")
	}
	return warnings
}

// clocksInWords returns the same warnings as sentences for an operator.
func clocksInWords(c eventstore.Clocks) []string {
	var wrong []string
	if c.Future > 0 {
		wrong = append(wrong, fmt.Sprintf("recorded in the future: the newest event by %s, until %s; it passes by "+
			"itself, see docs/operator.md, the clock was ahead",
			c.Future.Round(time.Second), c.Newest.Format(time.RFC3339)))
	}

	if c.Differ() {
		beside := "ahead of"
		if c.Difference < 0 {
			beside = "behind"
		}
		wrong = append(wrong,
			fmt.Sprintf("the clocks differ: the database's is %s %s this machine's, and nothing is recorded "+
				"while they are more than %s apart; set them right",
				c.Difference.Abs().Round(time.Second), beside, eventstore.MaxClockDifference))
	}
	return wrong
}

// notInFuture refuses a log that holds events recorded in the future.
func notInFuture(ctx context.Context, db eventstore.Querier) error {
	first, err := eventstore.FirstInFuture(ctx, db)
	if err != nil {
		return exit.Explain(err)
	}
	if first == 0 {
		return nil
	}

	return exit.NotSo("recorded in the future: from position %d on, because the database's clock was ahead; "+
		"everything else is whole, so restore nothing: see docs/operator.md, the clock was ahead", first)
}
