package webhooks

import (
	"context"
	"net/netip"
	"time"
)

// PauseAfter is pauseAfter.
func PauseAfter(failures int) time.Duration { return pauseAfter(failures) }

// Resolve makes Check look names up here.
func (n *Network) Resolve(lookup func(host string) []netip.Addr) {
	n.lookup = func(_ context.Context, host string) ([]netip.Addr, error) { return lookup(host), nil }
}

// Hurry shortens the time that a try may take.
func (n *Network) Hurry(patience time.Duration) {
	n.secure.Timeout, n.plain.Timeout = patience, patience
}

// Try sends something once.
func (n *Network) Try(ctx context.Context, url string) (status int, failure Failure) {
	came := n.post(ctx, delivery{url: url, body: "{}"}, "whsec_c2VjcmV0", time.Now())
	return came.status, came.failure
}

// Step sends once whatever is due, and returns how many deliveries it tried.
func (s *Sender) Step(ctx context.Context) (tried int, err error) {
	tried, err = s.start(ctx)
	s.jobs.Wait()
	return tried, err
}

// Take takes what is due and does nothing with it, as a process that is killed.
func (s *Sender) Take(ctx context.Context) (int, error) {
	due, err := s.take(ctx)
	return len(due), err
}

// Lease is how long a delivery belongs to a process.
const Lease = lease
