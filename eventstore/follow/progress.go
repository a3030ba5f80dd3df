package follow

import (
	"errors"
	"sync"
	"time"
)

// errStalled says that a leader's connection was alive but its work made no progress.
var errStalled = errors.New("no progress, and no error that says why")

// progress is what a leader is doing: looking for a range and applying it, or resting
// until there is one.
type progress struct {
	mu      sync.Mutex
	working time.Time // since when it has been at this step; zero: it rests
}

// works notes that the next step begins.
func (p *progress) works() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working = time.Now()
}

// rests notes that there is nothing to do.
func (p *progress) rests() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working = time.Time{}
}

// stalled tells whether the leader has been busy with one step for longer than any may
// take.
func (p *progress) stalled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.working.IsZero() && time.Since(p.working) > stalledAfter
}
