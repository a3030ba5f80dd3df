package eventstore

import (
	"context"
	"time"

	"github.com/salga-trust/engine/domain"
)

// The unexported values that tests need.
const (
	MaxWaiting    = maxWaiting
	KeyMemory     = keyMemory
	CallAppend    = callAppend
	CallAppendOne = callAppendOne
)

// Waiting returns how many appends wait for a batch, not counting those of the batch that
// is being written.
func (s *Store) Waiting() int {
	s.appender.mu.Lock()
	defer s.appender.mu.Unlock()
	return len(s.appender.waiting)
}

// Leading tells whether somebody is writing a batch.
func (s *Store) Leading() bool {
	s.appender.mu.Lock()
	defer s.appender.mu.Unlock()
	return s.appender.leading
}

// SetClock gives the store another clock of this process.
func (s *Store) SetClock(now func() time.Time) { s.now, s.appender.now = now, now }

// SetPatience is Patience for a store that is open; no append may be in progress.
func (s *Store) SetPatience(d time.Duration) { s.appender.patience = d }

// Arguments returns the arguments of trust.append for one append.
func (s *Store) Arguments(ctx context.Context, a domain.Append) ([]any, error) {
	e, err := s.prepare(ctx, a)
	if err != nil {
		return nil, err
	}
	args, err := arguments([]*entry{e})
	return append(args, s.appender.now()), err
}

// TakeTurns takes every turn to load a long history.
func (s *Store) TakeTurns(ctx context.Context) (release func(), err error) {
	return func() { s.long.Release(longAtOnce) }, s.long.Acquire(ctx, longAtOnce)
}

// LongHistory is the number of events from which a history waits for its turn.
const LongHistory = longHistory
