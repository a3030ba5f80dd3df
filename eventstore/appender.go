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

// appender is the group commit. One caller at a time leads: it takes everything that
// waits, writes it in one call of trust.append, and hands the lead to the first of those
// who came meanwhile. There is no timer: a lone caller leads at once, on its own
// goroutine, and a batch is as large as what arrived during the last commit.
type appender struct {
	pool     *pgxpool.Pool
	patience time.Duration
	now      func() time.Time // this process's clock

	mu      sync.Mutex
	waiting []*waiter
	leading bool

	last lastAppend

	unheardUntil time.Time // the leader's; see call
	strays       []backend // the leader's; see endStrays
}

// waiter is an append in the queue. Its turn is either to lead or to read its result.
type waiter struct {
	entry    *entry
	deadline time.Time // when its caller is answered at the latest
	turn     chan struct{}
	lead     bool
	sent     bool // it may be in the log already, or come into it; see mayStillCome
	done     bool
	result   result
	err      error
}

const (
	maxWaiting = 4096            // appends in the queue; beyond it the answer is "overloaded"
	maxBatch   = 512             // appends in one call
	patience   = 5 * time.Second // see Patience
	unheardFor = time.Second     // how long nobody is woken after the queue of notifications was full
)

func newAppender(pool *pgxpool.Pool) *appender {
	return &appender{pool: pool, patience: patience, now: time.Now}
}

// append writes one entry, together with whatever else waits. When ctx ends before the
// entry was taken into a batch it is withdrawn; after that the outcome is awaited,
// because it can no longer be prevented. Its patience includes the time in which others
// before it wait for the database.
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

		if w.done { // read only after a turn, which is what makes another goroutine's finish visible here
			return w.result, w.err
		}
		a.flush(context.WithoutCancel(ctx))
	}
}

// latest is when a caller is answered at the latest: nobody hears an answer after the
// deadline of its request.
func (a *appender) latest(ctx context.Context) time.Time {
	latest := time.Now().Add(a.patience)
	if asked, ok := ctx.Deadline(); ok && asked.Before(latest) {
		return asked
	}
	return latest
}

// enqueue puts an entry in the queue, and gives it the lead if nobody has it. It refuses
// when the queue is full.
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

// withdraw takes an entry out of the queue, unless it leads, is being written, or was
// sent and that matters.
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

// flush writes one batch, in which the leader is the first, and hands the lead on. It
// tries until the first of the batch has to be answered; those who came later go back to
// the queue.
func (a *appender) flush(ctx context.Context) {
	batch := a.take()
	defer a.handOn()

	first := slices.MinFunc(batch, byDeadline)
	ctx, cancel := context.WithDeadline(ctx, first.deadline)
	defer cancel()
	a.write(ctx, batch)
}

func byDeadline(a, b *waiter) int { return a.deadline.Compare(b.deadline) }

// putBack returns an entry whose batch got no answer to the queue.
func (a *appender) putBack(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.lead = false
	a.waiting = append(a.waiting, w)
	slices.SortStableFunc(a.waiting, byDeadline)
}

// noteSent keeps in mind that a batch may be in the log, or come into it.
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

// take removes from the queue, in order, what may share a batch: no two appends that
// touch one thing, if one of them writes it. The first always may, so the leader's own
// append is in its batch.
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

// send writes a batch, again on a new connection while the database is away, and on the
// same one when the batch met another transaction. Two things make that safe: no copy is
// on its way any more when the next is sent, and what was committed before the connection
// broke comes back as a repeat. So an answer is final.
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

// endsWithin tells whether a try that takes so long would be cut: the answer is certain
// without it, and would be unknown after.
func endsWithin(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < d
}

// try sends a batch once, when none that was sent before can come any more.
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

// call sends a batch once. When the cluster's queue of notifications is full it wakes
// nobody: followers come by themselves soon, and what was decided is not lost for their
// sake.
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
