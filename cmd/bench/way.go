package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// way times how long events take until a reader has them.
type way struct {
	mu      sync.Mutex
	from    map[uuid.UUID]time.Time // since when each is under way
	took    []time.Duration
	settled chan struct{} // closed once no event is under way; nil if nobody waits
}

func newWay() *way { return &way{from: map[uuid.UUID]time.Time{}} }

func (w *way) start(id uuid.UUID, from time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from[id] = from
}

// seen notes that an event has arrived; only its first time counts.
func (w *way) seen(id uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()

	from, known := w.from[id]
	if !known {
		return
	}
	w.took = append(w.took, time.Since(from))
	delete(w.from, id)
	w.check()
}

// wait returns a channel that is closed once every event started so far has arrived.
func (w *way) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()

	settled := make(chan struct{})
	w.settled = settled
	w.check()
	return settled
}

func (w *way) check() {
	if w.settled != nil && len(w.from) == 0 {
		close(w.settled)
		w.settled = nil
	}
}

// reset forgets what arrived before the clock.
func (w *way) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = nil
}

// lastArrival is how long the last events may take to arrive.
const lastArrival = 10 * time.Second

// time writes an event every 5 ms while follow runs, and waits for the last to arrive.
// One event goes before the clock, so that the follower has begun to follow. A write that
// takes longer than 5 ms makes those after it late; they are timed from when they were
// due.
func (w *way) time(
	ctx context.Context, p params, follow func(context.Context) error, write func(context.Context, uuid.UUID) error,
) (sample, error) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	followed := make(chan error, 1)
	go func() { followed <- follow(following) }()

	send := func(from time.Time) error {
		id := uuid.Must(uuid.NewV7())
		w.start(id, from)
		return write(ctx, id)
	}
	arrive := func() error {
		select {
		case <-w.wait():
			return nil
		case err := <-followed:
			return fmt.Errorf("the follower ended: %w", err)
		case <-time.After(lastArrival):
			return errors.New("not every event arrived")
		}
	}

	if err := send(time.Now()); err != nil {
		return sample{}, err
	}
	if err := arrive(); err != nil {
		return sample{}, err
	}
	w.reset()

	began, written := time.Now(), int64(0)
	for due := began; time.Since(began) < p.howLong; due = due.Add(time.Second / writesASecond) {
		from := due
		if early := time.Until(due); early > 0 {
			select {
			case <-time.After(early):
			case err := <-followed:
				return sample{}, fmt.Errorf("the follower ended: %w", err)
			}
			from = time.Now() // a timer that is late is nobody's fault
		}

		if err := send(from); err != nil {
			return sample{}, err
		}
		written++
	}
	seconds := time.Since(began).Seconds()

	if err := arrive(); err != nil {
		return sample{}, err
	}
	stop()
	<-followed //nolint:errcheck // it was told to end

	s := sample{Events: written, Seconds: seconds, Wrote: int64(len(w.took))}
	s.P50, s.P99 = percentiles(w.took)
	return s, nil
}
