package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// way times how long events take from the start of their append to a reader.
type way struct {
	mu      sync.Mutex
	started map[uuid.UUID]time.Time
	took    []time.Duration
	all     chan struct{} // closed when writing has ended and everything was seen
	ended   bool
}

func newWay() *way { return &way{started: map[uuid.UUID]time.Time{}, all: make(chan struct{})} }

func (w *way) start(id uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started[id] = time.Now()
}

// seen notes that an event has arrived; only its first time counts.
func (w *way) seen(id uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()

	began, known := w.started[id]
	if !known {
		return
	}
	w.took = append(w.took, time.Since(began))
	delete(w.started, id)
	w.check()
}

func (w *way) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.check()
}

func (w *way) check() {
	if w.ended && len(w.started) == 0 {
		close(w.all)
		w.ended = false
	}
}

// lastArrival is how long the last events may take to arrive.
const lastArrival = 10 * time.Second

// time writes an event every 5 ms, however long the last one took, while follow runs.
// Then it waits for the last events to arrive.
func (w *way) time(
	ctx context.Context, p params, follow func(context.Context) error, write func(context.Context, uuid.UUID) error,
) (sample, error) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	followed := make(chan error, 1)
	go func() { followed <- follow(following) }()

	tick := time.NewTicker(time.Second / writesASecond)
	defer tick.Stop()
	began, written := time.Now(), int64(0)
	for time.Since(began) < p.howLong {
		select {
		case <-tick.C:
		case err := <-followed:
			return sample{}, fmt.Errorf("the follower ended: %w", err)
		}

		id := uuid.Must(uuid.NewV7())
		w.start(id)
		if err := write(ctx, id); err != nil {
			return sample{}, err
		}
		written++
	}
	seconds := time.Since(began).Seconds()

	w.end()
	select {
	case <-w.all:
	case err := <-followed:
		return sample{}, fmt.Errorf("the follower ended: %w", err)
	case <-time.After(lastArrival):
		return sample{}, errors.New("not every event arrived")
	}
	stop()
	<-followed //nolint:errcheck // it was told to end

	s := sample{Events: written, Seconds: seconds, Wrote: int64(len(w.took))}
	s.P50, s.P99 = percentiles(w.took)
	return s, nil
}
