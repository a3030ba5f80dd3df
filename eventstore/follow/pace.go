package follow

import (
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/salga-trust/engine/internal/pg"
)

const (
	firstPause = 50 * time.Millisecond
	// longestPause is about how long a halted follower takes, at most, to notice that its cause is mended.
	longestPause = 5 * time.Second
	// tooOften is how often the same event may be too slow before it counts as at fault.
	tooOften = 3
	// tooLong is how many failures, one after the other, may be the weather while the leadership lives on beside them: the
	// pauses between them are about six seconds. After that the event counts as at fault.
	tooLong = 8
)

// pace is how large the next range may be and how long to wait before it. After a failure the next range is half of the failed
// one, down to the single event that is at fault, so that the checkpoint comes to stand directly before it; full pages return
// once the failed range is behind.
type pace struct {
	full int64

	mu      sync.Mutex
	page    int64 // 0: full
	suspect int64 // last position of the narrowest range that failed
	slow    span  // the range that was too slow last
	times   int   // how often it was, one time after the other
	storms  int   // how often it was the weather, one time after the other
	backoff *pg.Backoff
	pausing time.Duration // 0: no pause is due
}

func newPace(full int) *pace {
	return &pace{full: int64(full), backoff: pg.NewBackoff(firstPause, longestPause)}
}

func (p *pace) size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.page == 0 {
		return p.full
	}
	return p.page
}

// failed narrows after a failure, and makes a pause due, each time longer, when there is nothing to narrow or no event to
// blame. It tells whether the follower is to halt: the range is one event, and that is at fault, or
// has met trouble too often to blame that.
func (p *pace) failed(s span, found verdict) (halt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()

	single := s.UpTo-s.After == 1
	switch found {
	case atFault:
		halt = single
	case tooSlow:
		if p.slow != s {
			p.slow, p.times = s, 0
		}
		p.times++
		halt = single && p.times >= tooOften
	case weather:
		p.storms++
		halt = single && p.storms >= tooLong
	case hopeless:
	}

	p.page, p.suspect = max((s.UpTo-s.After)/2, 1), s.UpTo
	if single || found != atFault {
		p.pausing = p.backoff.Next()
	}
	return halt
}

func (p *pace) succeeded(s span) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backoff.Reset()
	p.times, p.storms = 0, 0
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
	return p.backoff.Next()
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
