package projections

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/salga-trust/engine/domain"
)

const (
	awaitAtMost = 2 * time.Second
	// awaitLook is how often checkpoints are looked at while somebody waits: about the time a projector needs to follow.
	awaitLook = 5 * time.Millisecond
	// awaitWake is after how many looks the projector is woken: one that the append has woken is there by then.
	awaitWake = 2
)

// WaitFor waits until a projection's table holds every event up to a position: at most 2 s, then read_model_behind. A projector that
// nothing up to there concerned is in no hurry, so it is woken.
func (q *Queries) WaitFor(ctx context.Context, projection string, position int64) error {
	if _, ok := ByName(projection); !ok {
		return fmt.Errorf("wait for an unknown projection %q", projection)
	}
	if position <= 0 {
		return nil
	}
	timeout, cancel := context.WithTimeout(ctx, awaitAtMost)
	defer cancel()
	w := &waiter{projection: projection, position: position, done: make(chan error, 1)}
	q.await.add(ctx, w)
	defer q.await.remove(w)
	select {
	case err := <-w.done:
		return Unavailable(err)
	case <-timeout.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return domain.Refuse(domain.CodeReadModelBehind, "The read table has not reached position %d yet.", position)
	}
}

// awaiter lets any number of waiters share one loop, which runs only while somebody waits.
type awaiter struct {
	look func(ctx context.Context) (map[string]int64, error)
	wake func(ctx context.Context, projection string)

	mu      sync.Mutex
	waiters map[*waiter]struct{}
	running bool
}

type waiter struct {
	projection string
	position   int64
	looks      int        // in vain
	done       chan error // holds one
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
		go a.run(context.WithoutCancel(ctx)) // it serves others too
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
		reached, err := a.look(look)
		for projection := range a.tell(reached, err) {
			a.wake(look, projection)
		}
		cancel()
		<-tick.C
	}
}

// wanted tells whether somebody waits; if not, the loop has ended.
func (a *awaiter) wanted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = len(a.waiters) > 0
	return a.running
}

// tell tells who need not wait any longer, and gives the projections to wake.
func (a *awaiter) tell(reached map[string]int64, err error) (late map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	late = make(map[string]bool)
	for w := range a.waiters {
		if err != nil || reached[w.projection] >= w.position {
			w.done <- err
			delete(a.waiters, w)
		} else if w.looks++; w.looks == awaitWake {
			late[w.projection] = true
		}
	}
	return late
}
