package commands

import (
	"sync"
	"time"

	"github.com/salga-trust/engine/domain"
)

// failures counts failed sign-ins, so that the log gets at most one event a minute and account:
// strangers must not be able to fill it. Failures within the minute are counted into the next event;
// those that no later event follows are forgotten with the process.
type failures struct {
	now func() time.Time

	mu      sync.Mutex
	pending map[domain.UserID]failing
}

type failing struct {
	since time.Time // when the last event was recorded
	count int       // failures since then
}

const (
	failurePause = time.Minute
	// maxFailing bounds the memory that strangers can take: when reached, accounts whose minute is over
	// are dropped.
	maxFailing = 10_000
)

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, pending: map[domain.UserID]failing{}}
}

// note counts a failure and returns the number to record, 0 when this one is to be kept for later.
func (f *failures) note(user domain.UserID) int {
	f.mu.Lock()
	defer f.mu.Unlock()

	now := f.now()
	p, known := f.pending[user]
	if known && !p.over(now) {
		p.count++
		f.pending[user] = p
		return 0
	}

	if len(f.pending) >= maxFailing {
		for u, p := range f.pending {
			if p.over(now) {
				delete(f.pending, u)
			}
		}
	}

	f.pending[user] = failing{since: now}
	return p.count + 1
}

// over tells whether the minute is over, also when the clock went back.
func (p failing) over(now time.Time) bool { return now.Sub(p.since).Abs() >= failurePause }
