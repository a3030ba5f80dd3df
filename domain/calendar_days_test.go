package domain_test

import (
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
)

func TestADayIsThatOfSouthAfrica(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]domain.Date{
		"2026-02-28T21:59:59Z": "2026-02-28", "2026-02-28T22:00:00Z": "2026-03-01",
	} {
		instant, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := domain.DateOf(instant); got != want {
			t.Errorf("%s is on %s, want %s", at, got, want)
		}
	}

	begins := domain.Date("2026-03-01").Begins()
	if want := time.Date(2026, 2, 28, 22, 0, 0, 0, time.UTC); !begins.Equal(want) {
		t.Errorf("the day begins at %s, want %s", begins, want)
	}
	if got := domain.Date("2026-03-01").AddDays(-365); got != "2025-03-01" {
		t.Errorf("365 days earlier: %s", got)
	}
	if d := domain.Date("soon"); d.AddDays(1) != "" || !d.Begins().IsZero() {
		t.Error("what is no date has days")
	}
}
