package pgtest

import (
	"testing"
	"time"
)

// Patience bounds every wait of a test, and every step of this package. A loaded two-core
// machine takes seconds where an idle one takes milliseconds; anything that needs longer
// than this hangs.
const Patience = 90 * time.Second

// Eventually returns once a condition holds, and fails the test if that takes longer than
// Patience. It is for what can only be polled, such as the state of another process. Once
// it holds, the condition must go on holding: a moment may pass between two looks.
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

// Receive returns a value that must come, and fails the test if it does not within
// Patience. From a closed channel it returns the zero value.
func Receive[T any](t testing.TB, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(Patience):
		t.Fatalf("nothing received within %s", Patience)
	}
	return value
}
