package follow_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
)

// outside writes positions down outside of the database.
type outside struct {
	mu    sync.Mutex
	lines []int64
	away  bool
}

func (*outside) Name() string { return "diary" }

func (*outside) Kinds() []domain.StreamType { return nil }

func (*outside) Unread() {}

func (o *outside) Apply(ctx context.Context, tx follow.Tx, _ []domain.Recorded, upTo int64) error {
	if err := o.Check(ctx, tx); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for next := int64(len(o.lines)) + 1; next <= upTo; next++ {
		o.lines = append(o.lines, next)
	}
	return nil
}

func (o *outside) Check(ctx context.Context, tx follow.Tx) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away {
		return &follow.AwayError{Text: "the diary is locked away"}
	}

	position, err := follow.Position(ctx, tx, o.Name())
	if last := int64(len(o.lines)); err == nil && last < position {
		return &follow.BehindError{Position: last}
	}
	return err
}

func (o *outside) change(do func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	do()
}

// watch runs a follower that is checked often.
func (w *world) watch(t *testing.T, o *outside) {
	t.Helper()
	config := w.config(t)
	config.PollEvery = 5 * time.Millisecond
	config.Failed = func(string) { w.failures.Add(1) }
	runConfig(t, config, o)
}

// has waits until everything up to the log's head is written down once.
func (o *outside) has(t *testing.T, w *world) {
	t.Helper()
	head, err := w.store.Head(t.Context())
	must(t, err)
	pgtest.Eventually(t, "everything is written down", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return int64(len(o.lines)) == head && o.lines[head-1] == head
	})
}

func TestWorkThatIsLostOutsideOfTheDatabaseIsDoneAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, 8)
	o := &outside{}
	w.watch(t, o)
	o.has(t, w)

	// While the log is quiet, and then with the next event.
	o.change(func() { o.lines = o.lines[:2] })
	o.has(t, w)
	o.change(func() { o.lines = nil })
	w.grant(t, 1)
	o.has(t, w)
	if s := w.becomes(t, "diary", follow.Running); s.Error != "" {
		t.Errorf("status %+v", s)
	}
}

func TestAFollowerWhoseOutsideIsAwaySaysSoAndGoesOnByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, 2)
	o := &outside{}
	w.watch(t, o)
	o.has(t, w)

	// Nothing has to be appended for it to be seen, and to be seen to be over.
	failures := w.failures.Load()
	o.change(func() { o.away = true })
	if s := w.becomes(t, "diary", follow.Halted); s.Error != "the diary is locked away" || s.Lag != 0 {
		t.Errorf("status %+v", s)
	}
	o.change(func() { o.away = false })
	w.becomes(t, "diary", follow.Running)

	o.change(func() { o.away = true })
	w.grant(t, 3)
	pgtest.Eventually(t, "it lags", func() bool { return w.status(t, "diary").Lag == 3 })
	if s := w.becomes(t, "diary", follow.Halted); strings.Contains(s.Error, "event") {
		t.Errorf("it blames an event: %+v", s)
	}
	events, age, err := follow.Lag(t.Context(), w.db.Conn(t, pgtest.Projector), "diary")
	must(t, err)
	if events != 3 || age <= 0 || age > time.Hour || w.failures.Load() < failures+2 {
		t.Errorf("it lags by %d events, for %s, after %d failures", events, age, w.failures.Load()-failures)
	}
	o.change(func() { o.away = false })
	o.has(t, w)
	if s := w.becomes(t, "diary", follow.Running); s.Error != "" || s.ErrorSince != nil {
		t.Errorf("status %+v", s)
	}
}
