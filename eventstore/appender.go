package eventstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// appender is the group commit. One caller at a time leads: it takes everything that is
// waiting, writes it in one call of trust.append, and hands the lead to the first caller
// that arrived meanwhile. There is no timer: a lone caller leads at once, on its own
// goroutine, and a batch is as large as what arrived during the last commit.
type appender struct {
	pool     *pgxpool.Pool
	patience time.Duration
	now      func() time.Time // this process's clock

	mu      sync.Mutex
	waiting []*waiter
	leading bool

	last lastAppend

	// Only the leader uses these; see call and endStrays.
	unheardUntil time.Time
	strays       []backend
}

// waiter is an append in the queue. Its turn is either to lead or to read its result.
type waiter struct {
	entry    *entry
	deadline time.Time // the latest time to answer its caller
	turn     chan struct{}
	lead     bool
	sent     bool // it may be in the log already, or enter it later; see mayStillCome
	done     bool
	result   result
	err      error
}

const (
	// maxWaiting is how many appends the queue holds; beyond it the answer is
	// "overloaded".
	maxWaiting = 4096
	// maxBatch is how many appends one call takes.
	maxBatch = 512
	// patience is the default Patience.
	patience = 5 * time.Second
	// unheardFor is how long no follower is woken after the queue of notifications was
	// full.
	unheardFor = time.Second
)

func newAppender(pool *pgxpool.Pool) *appender {
	return &appender{pool: pool, patience: patience, now: time.Now}
}

// append writes one entry, together with whatever else is waiting. If ctx ends before the
// entry is taken into a batch, the entry is withdrawn; after that append waits for the
// outcome, which can no longer be prevented. The entry's patience includes the time in
// which earlier entries wait for the database.
func (a *appender) append(ctx context.Context, e *entry) (result, error) {
	w := &waiter{entry: e, deadline: a.latest(ctx), turn: make(chan struct{}, 1)}
	if !a.enqueue(w) {
		return result{}, domain.Refuse(domain.CodeOverloaded, "Too many requests are waiting to be written; try again.")
	}

	patience := time.NewTimer(time.Until(w.deadline))
	defer patience.Stop()

	gone := ctx.Done()
	for {
		select {
		case <-w.turn:
		case <-gone:
			if a.withdraw(w, false) {
				return result{}, Unavailable(ctx.Err())
			}
			gone = nil
			continue
		case <-patience.C:
			if a.withdraw(w, true) {
				return result{}, w.unanswered(context.DeadlineExceeded)
			}
			continue
		}

		// Read only after a turn, which makes another goroutine's finish visible here.
		if w.done {
			return w.result, w.err
		}
		a.flush(context.WithoutCancel(ctx))
	}
}

// latest is the latest time to answer a caller: nobody hears an answer after the deadline
// of its request.
func (a *appender) latest(ctx context.Context) time.Time {
	latest := time.Now().Add(a.patience)
	if asked, ok := ctx.Deadline(); ok && asked.Before(latest) {
		return asked
	}
	return latest
}

// enqueue puts an entry in the queue, and gives it the lead if nobody has it. It refuses
// if the queue is full.
func (a *appender) enqueue(w *waiter) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) >= maxWaiting {
		return false
	}

	a.waiting = append(a.waiting, w)
	if !a.leading {
		a.leading = true
		w.giveLead()
	}
	return true
}

func (w *waiter) giveLead() {
	w.lead = true
	w.turn <- struct{}{}
}

func (w *waiter) finish(r result, err error) {
	w.result, w.err, w.done = r, err, true
	w.turn <- struct{}{}
}

// unanswered is the error of an append that got no answer in time. One that was never
// sent is certainly not in the log.
func (w *waiter) unanswered(err error) error {
	err = fmt.Errorf("append: %w", err)
	if w.sent {
		return outcomeUnknown(err)
	}
	return Unavailable(err)
}

// withdraw takes an entry out of the queue. It fails if the entry leads or is being
// written, or, unless evenIfSent, if it was sent.
func (a *appender) withdraw(w *waiter, evenIfSent bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.lead || w.sent && !evenIfSent {
		return false
	}

	for i, other := range a.waiting {
		if other == w {
			a.waiting = append(a.waiting[:i:i], a.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// flush writes one batch, with the leader's entry first, and hands the lead on. It tries
// until the earliest deadline in the batch; entries with time left then go back to the
// queue.
func (a *appender) flush(ctx context.Context) {
	batch := a.take()
	defer a.handOn()

	first := slices.MinFunc(batch, byDeadline)
	ctx, cancel := context.WithDeadline(ctx, first.deadline)
	defer cancel()
	a.write(ctx, batch)
}

func byDeadline(a, b *waiter) int { return a.deadline.Compare(b.deadline) }

// putBack returns an entry to the queue after its batch got no answer.
func (a *appender) putBack(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.lead = false
	a.waiting = append(a.waiting, w)
	slices.SortStableFunc(a.waiting, byDeadline)
}

// noteSent records that a batch may be in the log, or enter it later.
func (a *appender) noteSent(batch []*waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range batch {
		w.sent = true
	}
}

func (a *appender) handOn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == 0 {
		a.leading = false
		return
	}
	a.waiting[0].giveLead()
}

// take removes from the queue, in order, the entries that may share a batch: no two
// appends that touch the same thing if one of them writes it. The first always may, so
// the leader's own append is in its batch.
func (a *appender) take() []*waiter {
	a.mu.Lock()
	defer a.mu.Unlock()

	batch := make([]*waiter, 0, min(len(a.waiting), maxBatch))
	left := a.waiting[:0]
	touched := make(map[touch]struct{}, 4*cap(batch))
	for _, w := range a.waiting {
		if len(batch) == maxBatch || clashes(touched, w.entry.touches) {
			left = append(left, w)
			continue
		}
		for _, t := range w.entry.touches {
			touched[t] = struct{}{}
		}
		batch = append(batch, w)
	}

	clear(a.waiting[len(left):])
	a.waiting = left
	return batch
}

// write sends a batch until it has an answer. A batch that fails as a whole is halved, so
// that one bad append cannot fail its neighbours; but not when the database is to blame,
// which would refuse each half as well.
func (a *appender) write(ctx context.Context, batch []*waiter) {
	results, err := a.send(ctx, batch)
	switch {
	case err == nil:
		for i, w := range batch {
			w.finish(results[i], nil)
		}

	case len(batch) == 1 || pg.Classify(err) != pg.None:
		for _, w := range batch {
			if ctx.Err() != nil && time.Now().Before(w.deadline) {
				a.putBack(w)
			} else {
				w.finish(result{}, w.unanswered(err))
			}
		}

	default:
		half := len(batch) / 2
		a.write(ctx, batch[:half])
		a.write(ctx, batch[half:])
	}
}

// send writes a batch: again on a new connection while the database is unreachable, and
// on the same one when the batch met another transaction. Two things make that safe: no
// earlier copy can still arrive when the next is sent, and what was committed before the
// connection broke comes back as a repeat. So an answer is final.
func (a *appender) send(ctx context.Context, batch []*waiter) ([]result, error) {
	entries := make([]*entry, len(batch))
	for i, w := range batch {
		entries[i] = w.entry
	}
	args, err := arguments(entries)
	if err != nil {
		return nil, err
	}

	pauses := pg.NewBackoff(10*time.Millisecond, 500*time.Millisecond)
	for {
		began := time.Now()
		results, err := a.try(ctx, batch, entries, args)
		took := time.Since(began)
		a.last.note(err)

		if trouble := pg.Classify(err); trouble != pg.Away && trouble != pg.Again {
			return results, err
		}
		if !pauses.Wait(ctx) || endsWithin(ctx, 2*took) {
			return nil, err
		}
	}
}

// endsWithin tells whether ctx ends before an attempt that takes d. Such an attempt would
// be cut off: without it the outcome is certain, and after it unknown.
func endsWithin(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < d
}

// try sends a batch once, when no earlier copy of it can arrive any more.
func (a *appender) try(ctx context.Context, batch []*waiter, entries []*entry, args []any) ([]result, error) {
	if err := a.endStrays(ctx); err != nil {
		return nil, err
	}

	conn, err := a.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()

	results, err := a.call(ctx, conn, entries, args)
	if mayStillCome(err, conn) {
		a.strays = append(a.strays, backendOf(conn))
		a.noteSent(batch)
	}
	return results, err
}

// call sends a batch once. When the cluster's queue of notifications is full, it wakes
// nobody: followers poll soon anyway, and no append fails for their sake.
func (a *appender) call(ctx context.Context, conn *pgxpool.Conn, entries []*entry, args []any) ([]result, error) {
	if time.Now().Before(a.unheardUntil) {
		return callUnheard(ctx, conn, a.now, entries, args)
	}

	results, err := call(ctx, conn, a.now, entries, args)
	if !pg.IsQueueFull(err) {
		return results, err
	}

	results, err = callUnheard(ctx, conn, a.now, entries, args)
	if err == nil {
		a.unheardUntil = time.Now().Add(unheardFor)
	}
	return results, err
}
