package commands

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

func TestFailuresAreRecordedThoughTheClockWentBack(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFailures(func() time.Time { return now })
	user := domain.UserID{UUID: uuid.New()}
	if n := f.note(user); n != 1 {
		t.Errorf("the first records %d", n)
	}
	if n := f.note(user); n != 0 {
		t.Errorf("the second records %d", n)
	}

	now = now.Add(-24 * time.Hour)
	if n := f.note(user); n != 2 {
		t.Errorf("a day earlier it records %d, with the one that waited 2", n)
	}
	if n := f.note(user); n != 0 {
		t.Errorf("within the minute it records %d", n)
	}
}
