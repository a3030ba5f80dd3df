package follow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/salga-trust/engine/internal/pg"
)

const (
	// firstPause is the pause after a first failure.
	firstPause = 50 * time.Millisecond
	// longestPause is about the longest that a halted follower takes to notice that the
	// cause is fixed.
	longestPause = 5 * time.Second
	// tooOften is how often the same event may be too slow before it counts as at fault.
	tooOften = 3
	// tooRough is how often the same event may meet trouble that is not its own before it
	// counts as at fault: a server that answers everything else is never in such trouble
	// for half a minute.
	tooRough = 12

	// firstPage is the size of a leader's first page, in events. After a page that took
	// less than quick the size doubles; after one that took longer than slow it halves.
	firstPage = 500
	quick     = 400 * time.Millisecond
	slow      = time.Second
)

// pace decides how large the next range may be and how long to wait before it. Ranges are
// as large as can be applied in about a second. After a failure the next range is half of
// the failed one, or a tenth if that was too slow, down to the single event at fault, so
// that the checkpoint ends directly before it. Pages grow again once the failed range is
// past.
//
// A calm follower rests after each range that did not fill its page.
type pace struct {
	full int64
	calm time.Duration // how long it rests; 0: it is not calm

	mu      sync.Mutex
	page    int64
	suspect int64   // last position of the narrowest range that failed
	last    failure // the previous failure since the last success
	times   int     // how often it occurred in a row
	backoff *pg.Backoff
	pausing time.Duration // 0: no pause is due
}

// failure is a range that failed, and how.
type failure struct {
	span  span
	found verdict
}

func newPace(full int, calm time.Duration) *pace {
	return &pace{
		full: int64(full), calm: calm, page: min(int64(full), firstPage),
		backoff: pg.NewBackoff(firstPause, longestPause),
	}
}

func (p *pace) size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.page
}

// failed narrows after a failure. If there is nothing to narrow or no event to blame, it
// makes a pause due, each time longer. It tells whether to halt: the range is one event,
// and that event is at fault, or has met trouble too often to blame the trouble.
func (p *pace) failed(s span, found verdict) (halt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if this := (failure{s, found}); p.last != this {
		p.last, p.times = this, 0
	}
	p.times++

	single, narrower := s.UpTo-s.After == 1, (s.UpTo-s.After)/2
	switch found {
	case atFault:
		halt = single
	case tooSlow:
		halt = single && p.times >= tooOften
		narrower /= 5
	case weather:
		halt = single && p.times >= tooRough
	case hopeless:
	}

	p.page, p.suspect = max(narrower, 1), s.UpTo
	if single || found != atFault {
		p.pausing = p.backoff.Next()
	}
	return halt
}

// rest makes a pause due, each time longer.
func (p *pace) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pausing = p.backoff.Next()
}

func (p *pace) succeeded(s span, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backoff.Reset()
	p.last = failure{}
	if s.UpTo-s.After < p.page {
		p.pausing = p.calm
	}

	switch {
	case took > slow:
		p.page = max((s.UpTo-s.After)/2, 1)
	case took < quick && s.UpTo >= p.suspect && s.UpTo-s.After >= p.page:
		p.page = min(2*p.page, p.full)
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
	// ended is closed with the leadership: v3 passes no context, and the wait below must
	// end.
	ended    <-chan struct{}
	depose   context.CancelCauseFunc
	pace     *pace
	progress *progress
	wake     <-chan struct{}
	poll     time.Duration
	logger   *slog.Logger
}

// HandleError implements the backoff manager. If there is nothing new, it waits here for
// a wake-up, for a limited time, and asks for no further pause. v3 cannot end this wait,
// so the end of the term does. v3 waits out every other pause itself, and ends it when it
// closes.
func (p pauses) HandleError(_ watermill.LoggerAdapter, nothing bool, err error) time.Duration {
	p.progress.rests()

	if errors.Is(err, errSilent) {
		p.depose(err)
	}
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
