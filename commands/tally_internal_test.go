package commands

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// book is a log on which only appending works.
type book struct {
	Store

	mu     sync.Mutex
	counts []int
	err    error // what Append answers, if set
}

func (b *book) Append(_ context.Context, a domain.Append) (domain.Appended, error) {
	b.mu.Lock()
	defer b.mu.Unlock()

	if b.err == nil {
		b.counts = append(b.counts, a.Writes[0].Events[0].(*domain.SignInFailed).Count)
	}
	return domain.Appended{}, b.err
}

func (b *book) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *book) has(t *testing.T, want ...int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()

	if len(b.counts) != len(want) {
		t.Fatalf("recorded %v, want %v", b.counts, want)
	}

	for i, n := range want {
		if b.counts[i] != n {
			t.Fatalf("recorded %v, want %v", b.counts, want)
		}
	}
}

// counting returns a Handler whose clock the test moves, and a function that fails a
// check of a user's password.
func counting(t *testing.T) (b *book, h *Handler, now *time.Time, fail func(domain.UserID)) {
	t.Helper()
	at := time.Now()
	b = &book{}
	h = New(b, Config{Now: func() time.Time { return at }})
	h.tallies.waker = time.AfterFunc(time.Hour, func() {}) // the test calls visit itself
	h.tallies.visitAt = time.Now()
	return b, h, &at, func(user domain.UserID) { h.passwordFailed(Call{}, user, "session.start", "password") }
}

func TestFailuresAreRecordedThoughTheClockWentBack(t *testing.T) {
	t.Parallel()
	b, h, now, fail := counting(t)
	user := domain.UserID{UUID: uuid.New()}
	fail(user)
	fail(user)
	*now = now.Add(-24 * time.Hour)
	fail(user)
	fail(user)

	h.tallies.visit()
	b.has(t, 1, 2)
}

func TestACountIsRecordedThoughNothingMoreHappens(t *testing.T) {
	t.Parallel()
	b, h, now, fail := counting(t)
	user := domain.UserID{UUID: uuid.New()}
	for range 5 {
		fail(user)
	}
	*now = now.Add(tallyLength)
	h.tallies.visit()
	b.has(t, 1)

	*now = now.Add(tallyPatience)
	h.tallies.visit()
	b.has(t, 1, 4)
	*now = now.Add(tallyLength + tallyPatience)
	h.tallies.visit()
	if n := len(h.tallies.of); n > 0 {
		t.Errorf("%d tallies are left when their minutes are over", n)
	}
}

func TestALogThatTakesNothingLosesNoFailure(t *testing.T) {
	t.Parallel()
	b, h, _, fail := counting(t)
	first, second := domain.UserID{UUID: uuid.New()}, domain.UserID{UUID: uuid.New()}
	b.fail(domain.Refuse(domain.CodeUnavailable, "away"))
	fail(first)
	h.tallies.visit()
	fail(first)
	fail(second)
	if _, err := h.RecordTallies(t.Context(), Call{}, RecordTallies{}); err == nil {
		t.Error("a failure to record is not reported")
	}

	b.fail(nil)
	if _, err := h.RecordTallies(t.Context(), Call{}, RecordTallies{}); err != nil {
		t.Error(err)
	}
	b.has(t, 1, 1, 1)
}

func TestAFailureThatTheLogNeverTakesHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b, h, _, fail := counting(t)
	fail(domain.UserID{UUID: uuid.New()})
	for _, never := range []error{subjectErased(), errors.New("whatever it is")} {
		b.fail(never)
		h.tallies.visit()
	}

	b.fail(nil)
	fail(domain.UserID{UUID: uuid.New()})
	h.tallies.visit()
	b.has(t, 1)
}

func TestAFullQueueDropsIntoTheCountAndNothingGrowsBeyondItsBound(t *testing.T) {
	t.Parallel()
	b, h, _, fail := counting(t)
	users := make([]domain.UserID, maxTallies+1000)
	for i := range users {
		users[i].UUID = uuid.New()
		fail(users[i])
	}
	if n := len(h.tallies.queue); n != maxQueued {
		t.Errorf("%d events wait, want %d", n, maxQueued)
	}
	if n := len(h.tallies.of); n > maxTallies {
		t.Errorf("%d tallies, want %d at most", n, maxTallies)
	}

	last := users[maxQueued] // the first that the queue had no room for
	h.tallies.visit()
	fail(last)
	h.tallies.visit()
	if !slices.Contains(b.counts, 2) {
		t.Error("nothing is recorded of two, with the one that the queue had no room for")
	}
}
