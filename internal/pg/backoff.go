package pg

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Backoff paces attempts: each pause is about twice the one before, up to the longest,
// and random enough that no two processes keep in step. It belongs to one goroutine.
type Backoff struct{ pauses backoff.ExponentialBackOff }

// NewBackoff returns a backoff whose pauses grow from first to longest.
func NewBackoff(first, longest time.Duration) *Backoff {
	return &Backoff{backoff.ExponentialBackOff{
		InitialInterval: first, MaxInterval: longest, Multiplier: 2,
		RandomizationFactor: backoff.DefaultRandomizationFactor,
	}}
}

// Next returns the next pause, for a caller that does the waiting itself.
func (b *Backoff) Next() time.Duration { return b.pauses.NextBackOff() }

// Wait pauses before the next attempt. It returns false if ctx ended first and there must
// be no next attempt.
func (b *Backoff) Wait(ctx context.Context) bool {
	timer := time.NewTimer(b.Next())
	defer timer.Stop()

	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Reset makes the next pause the first again, after a successful attempt.
func (b *Backoff) Reset() { b.pauses.Reset() }
