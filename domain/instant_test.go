package domain_test

import (
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
)

func TestAGivenInstantIsNeverTheZeroTime(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z", "0001-01-01T02:00:00+02:00",
		"0001-01-01T00:00:00.000000000Z",
	} {
		got, err := domain.ParseInstant(text)
		if err != nil || got.IsZero() || !got.Truncate(time.Microsecond).IsZero() {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}

	if got, err := domain.ParseInstant("9999-12-31T23:59:59.999999Z"); err != nil || got.Year() != 9999 {
		t.Errorf("%v %v", got, err)
	}
}

func TestAnInstantThatCannotBeWrittenBackIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "now", "2026-03-01", "2026-03-01T12:00:00", "2026-03-01 12:00:00Z", "2026-03-01T12:00:00,5Z",
		"2026-03-01T1:00:00Z",
		"2026-02-30T12:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T12:00:00+25:00", "2026-03-01T12:00:00+24:00",
		"2026-03-01T12:00:00-23:60", "0000-12-31T23:59:59Z", "0001-01-01T00:00:00+00:01",
		"9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z", "+2026-03-01T12:00:00Z", "-0001-01-01T00:00:00Z",
		"1772366400",
	} {
		if got, err := domain.ParseInstant(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
