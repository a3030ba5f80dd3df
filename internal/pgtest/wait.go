package pgtest

import (
	"testing"
	"time"
)

// Patience bounds every wait of a test, and every single step of this package. A loaded
// two-core machine takes seconds where an idle one takes milliseconds; what needs longer
// than this hangs.
const Patience = 90 * time.Second

// Eventually returns once a condition holds, and fails the test when that takes longer
// than Patience. It is for what only asking can tell, such as the state of another
// process. The condition must be one that stays: a moment may pass between two looks.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(Patience)
	for pause := time.Millisecond; !holds(); pause = min(2*pause, 20*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-deadline:
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// Receive takes a value that must come, and fails the test when it does not within
// Patience. A channel that is closed yields the zero value.
func Receive[T any](t testing.TB, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(Patience):
		t.Fatalf("nothing came within %s", Patience)
	}
	return value
}
