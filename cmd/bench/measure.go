package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// sample is what one run of one contender measured.
type sample struct {
	Events  int64   `json:"events"` // within the seconds
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Wrote   int64   `json:"wrote"` // in all, with those before the clock started; of a projection, counted afterwards
}

func (s sample) rate() float64 {
	if s.Seconds <= 0 {
		return 0
	}
	return float64(s.Events) / s.Seconds
}

// operation does one thing each time it is called, and returns how many events that were;
// 0 if nothing is left to do.
type operation func(ctx context.Context, caller int) (events int, err error)

// drive has callers repeat an operation for a while, each as soon as it has its answer:
// first once without the clock, so that connections and plans are ready, then with it.
func drive(ctx context.Context, callers int, howLong time.Duration, do operation) (sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	events, took := make([]int64, callers), make([][]time.Duration, callers)

	all := func(each func(caller int) error) {
		var working sync.WaitGroup
		for caller := range callers {
			working.Go(func() {
				if err := each(caller); err != nil {
					cancel(err)
				}
			})
		}
		working.Wait()
	}

	all(func(caller int) error {
		n, err := do(ctx, caller)
		events[caller] = int64(n)
		return err
	})
	warm := sum(events)
	clear(events)

	began := time.Now()
	all(func(caller int) error {
		for ctx.Err() == nil && time.Since(began) < howLong {
			before := time.Now()
			n, err := do(ctx, caller)
			if err != nil || n == 0 {
				return err
			}
			events[caller] += int64(n)
			took[caller] = append(took[caller], time.Since(before))
		}
		return nil
	})
	seconds := time.Since(began).Seconds()

	s := sample{Events: sum(events), Seconds: seconds, Wrote: warm + sum(events)}
	s.P50, s.P99 = percentiles(slices.Concat(took...))
	return s, context.Cause(ctx)
}

// percentiles returns them in milliseconds.
func percentiles(took []time.Duration) (p50, p99 float64) {
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	return ms(took[len(took)/2]), ms(took[len(took)*99/100])
}

func sum(ns []int64) (total int64) {
	for _, n := range ns {
		total += n
	}
	return total
}

// median returns the median of at least one value.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}
