package domain_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// longHistory draws a history of one purpose: decided now or back-dated, by a right clock
// or one that jumps.
func longHistory(t *rapid.T) (history []domain.Recorded, purpose string) {
	all := anyHistory(t, rapid.Bool().Draw(t, "back-dated"))
	if rapid.Bool().Draw(t, "clock ahead") {
		all = aheadHistory(t)
	}

	purpose = rapid.SampledFrom(purposes()).Draw(t, "about")
	for _, e := range all {
		if about, _ := facts(e.Event); about == purpose {
			history = append(history, e)
		}
	}
	return history, purpose
}

// tails are a history's newest events: its last one, its last two and so on.
func tails(history []domain.Recorded) (tails [][]domain.Recorded) {
	for n := range history {
		tails = append(tails, history[len(history)-1-n:])
	}
	return tails
}

func TestATailThatIsEnoughSaysWhatTheWholeHistorySays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history, purpose := longHistory(t)
		at, knownAt := anyInstant(t, "at"), anyInstant(t, "known at")
		enough := domain.TailFor(domaintest.Thandi(), purpose, at, knownAt).Enough
		want := domain.ConsentsFor(purpose, history, at, knownAt)

		for _, newest := range tails(history) {
			if !enough(newest) {
				continue
			}
			got := domain.ConsentsFor(purpose, newest, at, knownAt)

			allowed, by, _ := want.Check(purpose)
			if a, b, _ := got.Check(purpose); a != allowed || b.Position != by.Position {
				t.Fatalf("%d of %d events say %t by %d, all say %t by %d",
					len(newest), len(history), a, b.Position, allowed, by.Position)
			}

			inForce, _ := want.InForce(purpose)
			if c, _ := got.InForce(purpose); !reflect.DeepEqual(c, inForce) {
				t.Fatalf("%d of %d events have %v in force, all have %v", len(newest), len(history), c, inForce)
			}
		}
	})
}

func TestATailThatIsEnoughForADecisionLeavesItAsTheWholeHistoryDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history, _ := longHistory(t)
		for _, e := range history {
			id := domain.ConsentID{UUID: domain.RecordOf(e.Event, e.Stream)}
			want, found := domain.ConsentIn(history, id)
			if !found {
				continue // a withdrawal of what was never granted
			}

			enough := domain.TailOf(domaintest.Thandi(), id).Enough
			for _, newest := range tails(history) {
				if !enough(newest) {
					continue
				}
				if got, _ := domain.ConsentIn(newest, id); !reflect.DeepEqual(got, want) {
					t.Fatalf("%d of %d events leave it as %v, all as %v", len(newest), len(history), got, want)
				}
			}
		}
	})
}

func TestTheLastDecisionOfManyIsEnough(t *testing.T) {
	t.Parallel()
	history := domaintest.History(consents(),
		domaintest.At("2026-03-01", granted(1)), domaintest.At("2026-03-02", granted(2)),
		domaintest.At("2026-03-03", granted(3)))

	last := history[len(history)-1:]
	now := domain.TailFor(domaintest.Thandi(), granted(1).Purpose, time.Time{}, time.Time{})
	if !now.Enough(last) || now.Enough(nil) {
		t.Error("what is in force needs the last grant, and no more")
	}

	before := domain.TailFor(domaintest.Thandi(), granted(1).Purpose, history[1].EffectiveAt, time.Time{})
	if before.Enough(last) || !before.Enough(history[1:]) {
		t.Error("what was in force at an instant needs the grant before it, and no more")
	}

	of := domain.TailOf(domaintest.Thandi(), domaintest.Consent(2))
	if of.Enough(last) || !of.Enough(history[1:]) {
		t.Error("a decision needs itself, what came after it, and no more")
	}
}
