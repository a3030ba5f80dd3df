package commands

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// tallies records what a stranger can make happen as often as they like: failed password
// checks, and calls that name another tenant. The log gets at most one event a minute for
// each. Repeats within the minute are counted; the first one after it records their
// number, or, if none comes, a timer does a little later.
//
// Events wait in a queue and are appended in the background, because the time of an
// answer must not reveal what was known: within a second, or as soon as the database
// takes them. A crash loses the queue and the counts; a process that stops in an orderly
// way records both first, see RecordTallies.
//
// It holds at most maxTallies tallies, for little more than a minute each, and maxQueued
// events: 2 KiB each, so 24 MiB. An event that finds the queue full goes back into the
// count. If every tally holds a count, a new one is not recorded; as each costs a run of
// Argon2id or a signed-in call, no machine gets that far.
type tallies struct {
	store Store
	now   func() time.Time

	mu      sync.Mutex
	of      map[tallied]*tally
	queue   []domain.Append // oldest first
	waker   *time.Timer     // calls visit
	visitAt time.Time       // when it will; zero: never

	writing sync.Mutex // one at a time, so that each event is appended once
}

// tallied names what is counted: failed checks of a user's password or, if named is set,
// the user's calls that name that tenant.
type tallied struct {
	user  domain.UserID
	named domain.TenantID
}

type tally struct {
	since  time.Time // when its newest event was made
	count  int       // how often it has happened since then
	newest happening
}

// happening is an append, and the function that sets the number in its event.
type happening struct {
	append domain.Append
	number func(int)
}

const (
	tallyLength = time.Minute
	// tallyPatience is how much longer a count waits for an event to go into.
	tallyPatience = 10 * time.Second
	maxTallies    = 10_000
	maxNamed      = 10

	// queuePause separates an event from the answer: appended at once, it would slow down
	// the very next request.
	queuePause = 500 * time.Millisecond
	maxQueued  = 2_000
	// writeLimit bounds one visit to the log, so that a visit that hangs is tried again.
	writeLimit = 10 * time.Second
)

func newTallies(store Store, now func() time.Time) *tallies {
	t := &tallies{store: store, now: now, of: map[tallied]*tally{}}
	t.waker = time.AfterFunc(time.Hour, t.visit)
	t.waker.Stop()
	return t
}

// noteNaming counts one call in which a user named another tenant. It returns the number
// that the event must state; 0 means no event for now. A user who names more than
// maxNamed tenants is making them up: the rest share one tally.
func (t *tallies) noteNaming(user domain.UserID, tenant domain.TenantID, h happening) int {
	t.mu.Lock()
	defer t.mu.Unlock()

	what := tallied{user: user, named: tenant}
	if _, known := t.of[what]; !known && t.named(user) >= maxNamed {
		what.named.UUID = uuid.Max
	}
	return t.add(what, h)
}

// named counts the tenants that a user has named lately.
func (t *tallies) named(user domain.UserID) (n int) {
	for what := range t.of {
		if what.user == user && !what.named.IsZero() {
			n++
		}
	}
	return n
}

// noteLater counts one, and queues its event if one is due.
func (t *tallies) noteLater(what tallied, h happening) {
	t.mu.Lock()
	defer t.mu.Unlock()

	if n := t.add(what, h); n > 0 {
		t.enqueue(what, h, n)
	}
}

// add counts one and returns the number that its event must state; 0: no event for now.
func (t *tallies) add(what tallied, h happening) int {
	now := t.now()
	one, known := t.of[what]
	if known && !one.lasted(tallyLength, now) {
		one.count++
		one.newest = h
		return 0
	}
	if !known && len(t.of) >= maxTallies && !t.makeRoom() {
		return 0
	}

	n := 1
	if known {
		n += one.count
	}
	t.of[what] = &tally{since: now}
	t.visitWithin(tallyPatience)
	return n
}

// enqueue puts an event in the queue, or, if that is full, back into the count.
func (t *tallies) enqueue(what tallied, h happening, n int) {
	if len(t.queue) >= maxQueued {
		t.of[what] = &tally{count: n, newest: h}
		return
	}

	h.number(n)
	t.queue = append(t.queue, h.append)
	t.visitWithin(queuePause)
}

// makeRoom forgets a tally with a count of zero, and reports whether there was one.
func (t *tallies) makeRoom() bool {
	for what, one := range t.of {
		if one.count == 0 {
			delete(t.of, what)
			return true
		}
	}
	return false
}

// lasted reports whether a tally has lasted this long; a clock that went back counts too.
func (t *tally) lasted(length time.Duration, now time.Time) bool {
	return now.Sub(t.since).Abs() >= length
}

func (t *tallies) visitWithin(pause time.Duration) {
	at := time.Now().Add(pause)
	if t.visitAt.IsZero() || at.Before(t.visitAt) {
		t.visitAt = at
		t.waker.Reset(pause)
	}
}

// visit records what is due, and arranges the next visit while anything is left.
func (t *tallies) visit() {
	//nolint:forbidigo // the requests behind these events have long been answered
	ctx, cancel := context.WithTimeout(context.Background(), writeLimit)
	defer cancel()

	t.mu.Lock()
	t.visitAt = time.Time{}
	t.close(tallyLength + tallyPatience)
	t.mu.Unlock()

	_ = t.write(ctx) // what the log does not take now stays in the queue

	t.mu.Lock()
	defer t.mu.Unlock()

	switch {
	case len(t.queue) > 0:
		t.visitWithin(queuePause)
	case len(t.of) > 0:
		t.visitWithin(tallyPatience)
	}
}

// close queues the counts of tallies that have lasted this long, and forgets tallies that
// counted nothing.
func (t *tallies) close(length time.Duration) {
	now := t.now()
	for what, one := range t.of {
		if !one.lasted(length, now) {
			continue
		}

		delete(t.of, what)
		if one.count > 0 {
			t.of[what] = &tally{since: now}
			t.enqueue(what, one.newest, one.count)
		}
	}
}

// write appends the queue, oldest first, until it is empty or the log is unavailable.
func (t *tallies) write(ctx context.Context) error {
	t.writing.Lock()
	defer t.writing.Unlock()

	for {
		a, waits := t.first()
		if !waits {
			return nil
		}

		_, err := t.store.Append(ctx, a)
		refusal, refused := errors.AsType[*domain.Error](err)
		passing := refused && domain.Refusals()[refusal.Code].Class == domain.ClassUnavailable
		if passing || ctx.Err() != nil {
			return err
		}

		// It is in the log, or never will be: nothing is recorded about a person who was
		// just erased.
		t.dropFirst()
	}
}

func (t *tallies) first() (a domain.Append, waits bool) {
	t.mu.Lock()
	defer t.mu.Unlock()

	if len(t.queue) == 0 {
		return domain.Append{}, false
	}
	return t.queue[0], true
}

func (t *tallies) dropFirst() {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.queue[0] = domain.Append{}
	if t.queue = t.queue[1:]; len(t.queue) == 0 {
		t.queue = nil
	}
}

// RecordTallies asks to record what was counted and is not in the log yet. It is for a
// process that is about to stop.
type RecordTallies struct{}

// RecordTallies records the counts, whether or not the minute is over. It returns the
// log's error if the log did not take all of them.
func (h *Handler) RecordTallies(ctx context.Context, _ Call, _ RecordTallies) (Answer[struct{}], error) {
	t := h.tallies
	for {
		t.mu.Lock()
		t.close(0)
		done := len(t.of) == 0 && len(t.queue) == 0
		t.mu.Unlock()

		if done {
			return Answer[struct{}]{}, nil
		}

		if err := t.write(ctx); err != nil {
			return Answer[struct{}]{}, err
		}
	}
}

// passwordFailed counts a failed check of an account's password. All checks of one
// account count together; command and cause are those of the newest.
func (h *Handler) passwordFailed(call Call, user domain.UserID, command, cause string) {
	e := &domain.SignInFailed{Cause: cause}
	h.tallies.noteLater(tallied{user: user}, happening{number: func(n int) { e.Count = n }, append: domain.Append{
		ID: h.newID(), Tenant: call.Tenant, Actor: call.ActorID(), Origin: call.Origin,
		Metadata: domain.Metadata{ActorRole: call.roleName(), Correlation: call.Correlation, Command: command},
		Writes: []domain.Write{
			{Stream: domain.SessionsOf(user), Expected: domain.AnyVersion, Events: []domain.Event{e}},
		},
	}})
}
