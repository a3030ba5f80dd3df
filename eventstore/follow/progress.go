package follow

import (
	"errors"
	"sync"
	"time"
)

// errStalled says that a leader's connection lived and its work did not.
var errStalled = errors.New("no progress, and nothing that says why")

// progress is what a leader is doing: looking for a range and applying it, or resting
// until there is one.
type progress struct {
	mu      sync.Mutex
	working time.Time // since when at this step; zero: it rests
}

// works tells that the next step begins.
func (p *progress) works() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working = time.Now()
}

func (p *progress) rests() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working = time.Time{}
}

// stalled tells that the leader has been busy with one thing for longer than anything may
// take.
func (p *progress) stalled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.working.IsZero() && time.Since(p.working) > stalledAfter
}
