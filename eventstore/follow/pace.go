package follow

import (
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
)

const (
	firstPause = 50 * time.Millisecond
	// longestPause is how long a halted follower takes, at most, to notice that its cause is fixed.
	longestPause = 5 * time.Second
)

// pace is how large the next range may be and how long to wait before it. After a failure the next range is half of the failed
// one, down to the single event that is at fault, so that the checkpoint comes to stand directly before it; full pages return
// once the failed range is behind.
type pace struct {
	full int64

	mu      sync.Mutex
	page    int64 // 0: full
	suspect int64 // last position of the narrowest range that failed
	next    time.Duration
	pausing time.Duration // 0: no pause is due
}

func (p *pace) size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.page == 0 {
		return p.full
	}
	return p.page
}

// failed narrows after a failure; pause asks to wait first, each time twice as long. It tells whether the range was one event.
func (p *pace) failed(s span, pause bool) (single bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.page, p.suspect = max((s.UpTo-s.After)/2, 1), s.UpTo
	single = s.UpTo-s.After == 1
	if pause || single {
		p.next = min(max(2*p.next, firstPause), longestPause)
		p.pausing = p.next
	}
	return single
}

func (p *pace) succeeded(s span) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = 0
	if s.UpTo >= p.suspect {
		p.page = 0
	}
}

// pause returns the pause that is due, once.
func (p *pace) pause() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.pausing
	p.pausing = 0
	return d
}

// lost is the pause after a look that failed.
func (p *pace) lost() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = min(max(2*p.next, firstPause), longestPause)
	return p.next
}

// pauses decides how long the subscriber waits before it looks again.
type pauses struct {
	ended  <-chan struct{} // the leadership: v3 passes no context, and the wait below must end
	pace   *pace
	wake   <-chan struct{}
	poll   time.Duration
	logger *slog.Logger
}

// HandleError implements the backoff manager. With nothing new it waits here for a wake-up, bounded, and asks for no more; v3
// cannot end this wait, so the end of the term does. Every other pause is v3's to wait, which ends when it closes.
func (p pauses) HandleError(_ watermill.LoggerAdapter, nothing bool, err error) time.Duration {
	if err != nil {
		select {
		case <-p.ended:
		default:
			p.logger.Warn("cannot look for events", slog.String("error", Describe(err)))
		}
		return p.pace.lost()
	}
	if !nothing {
		return p.pace.pause()
	}
	timer := time.NewTimer(p.poll)
	defer timer.Stop()
	select {
	case <-p.wake:
	case <-timer.C:
	case <-p.ended:
	}
	return 0
}
