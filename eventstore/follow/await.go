package follow

import (
	"context"
	"sync"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

const (
	// awaitAtMost is the longest that WaitFor waits.
	awaitAtMost = 2 * time.Second
	// awaitLook is how often checkpoints are read while somebody waits: about the time
	// that a follower needs.
	awaitLook = 5 * time.Millisecond
	// awaitWake is the number of looks after which the follower is woken: a follower that
	// the append has woken is there by then.
	awaitWake = 2
)

// WaitFor waits until a follower has reached a position: at most 2 s, then
// read_model_behind. A follower that wants none of the events up to there would only poll
// later, so it is woken. A position beyond the log's head is refused at once. Errors:
// unknown_position, read_model_behind, unavailable.
func (o *Observer) WaitFor(ctx context.Context, follower string, position int64) error {
	if position <= 0 {
		return nil
	}
	timeout, cancel := context.WithTimeout(ctx, awaitAtMost)
	defer cancel()

	w := &waiter{follower: follower, position: position, done: make(chan error, 1)}
	o.await.add(ctx, w)
	defer o.await.remove(w)

	select {
	case err := <-w.done:
		return eventstore.Unavailable(err)
	case <-timeout.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return domain.Refuse(domain.CodeReadModelBehind, "The read table has not reached position %d yet.", position)
	}
}

// awaiter lets any number of waiters share one loop, which runs only while somebody
// waits.
type awaiter struct {
	look func(ctx context.Context) (reached map[string]int64, head int64, err error)
	wake func(ctx context.Context, follower string)

	mu      sync.Mutex
	waiters map[*waiter]struct{}
	running bool
}

type waiter struct {
	follower string
	position int64
	asked    bool       // it was waiting before the last look began
	looks    int        // how many were in vain
	done     chan error // buffers one
}

func (a *awaiter) add(ctx context.Context, w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiters == nil {
		a.waiters = make(map[*waiter]struct{})
	}

	a.waiters[w] = struct{}{}
	if !a.running {
		a.running = true
		// Without the caller's cancellation: the loop serves others too.
		go a.run(context.WithoutCancel(ctx))
	}
}

func (a *awaiter) remove(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiters, w)
}

func (a *awaiter) run(ctx context.Context) {
	tick := time.NewTicker(awaitLook)
	defer tick.Stop()

	for a.wanted() {
		look, cancel := context.WithTimeout(ctx, awaitAtMost)
		reached, head, err := a.look(look)
		for follower := range a.tell(reached, head, err) {
			a.wake(look, follower)
		}
		cancel()
		<-tick.C
	}
}

// wanted tells whether anybody waits; if not, the loop has ended. It marks those who wait
// before the look begins.
func (a *awaiter) wanted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for w := range a.waiters {
		w.asked = true
	}
	a.running = len(a.waiters) > 0
	return a.running
}

// tell releases those who need not wait any longer, and returns the followers to wake.
// Anybody who came during the look may know of a position that it did not see.
func (a *awaiter) tell(reached map[string]int64, head int64, err error) (late map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()

	late = make(map[string]bool)
	for w := range a.waiters {
		switch {
		case err != nil || reached[w.follower] >= w.position:
			w.done <- err
			delete(a.waiters, w)
		case w.asked && w.position > head:
			w.done <- eventstore.UnknownPosition()
			delete(a.waiters, w)
		default:
			if w.looks++; w.looks == awaitWake {
				late[w.follower] = true
			}
		}
	}
	return late
}
