package reports

import "context"

// TakeTurns takes every turn to read everything about a person.
func (r *Reports) TakeTurns(ctx context.Context) (release func(), err error) {
	return func() { r.whole.Release(wholeAtOnce) }, r.whole.Acquire(ctx, wholeAtOnce)
}

// FoldActivityBy sets how many events Activity folds at once.
func (r *Reports) FoldActivityBy(page int) { r.activityPage = page }

// Counted waits until nothing is being counted between questions.
func (r *Reports) Counted() { r.counting.Wait() }

// StopCounting keeps counts from going on between questions until they are released.
func (r *Reports) StopCounting(ctx context.Context) (release func(), err error) {
	return func() { r.counts.Release(1) }, r.counts.Acquire(ctx, 1)
}

// KeepRights sets how many requests and holds are kept for a tenant.
func (r *Reports) KeepRights(most int) { r.mostKept = most }
