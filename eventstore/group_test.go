package eventstore_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// The answers to many concurrent callers must form one history: every acknowledged append
// is in the log once, where the answer says, and every refusal was true.
func TestManyCallersSeeOneHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := &history{world: w, claims: map[string]uuid.UUID{}, taken: map[string]bool{}}
	for range 4 {
		h.hot = append(h.hot, someone())
	}

	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 10 {
				h.act(t)
			}
		})
	}
	wg.Wait()

	h.check(t)
}

// history is what callers did and the answers they got.
type history struct {
	*world
	hot []domain.UserID

	mu        sync.Mutex
	added     []domain.Appended
	conflicts []domain.ConflictError
	claims    map[string]uuid.UUID // the holder, as answered
	taken     map[string]bool      // the claims answered as taken
}

func (h *history) act(t *testing.T) {
	t.Helper()
	switch rand.IntN(3) {
	case 0:
		h.writeHot(t, h.hot[rand.IntN(len(h.hot))])
	case 1:
		h.note(t, grant(h.tenant, someone(), 0))

	case 2:
		value := string(rune('a' + rand.IntN(16)))
		a := takes(h.tenant, newID(), emailClaim(h.tenant, value))
		if h.note(t, a) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if holder, ok := h.claims[value]; ok {
				t.Errorf("%s and %s both hold one claim", holder, a.Side[0].(domain.TakeClaim).Holder)
			}
			h.claims[value] = a.Side[0].(domain.TakeClaim).Holder
			return
		}

		h.mu.Lock()
		defer h.mu.Unlock()
		h.taken[value] = true
	}
}

// writeHot retries with the version that the conflict names, as commands do.
func (h *history) writeHot(t *testing.T, subject domain.UserID) {
	t.Helper()
	for expected := 0; ; {
		done, err := h.store.Append(t.Context(), grant(h.tenant, subject, expected))
		if err == nil {
			h.mu.Lock()
			h.added = append(h.added, done)
			h.mu.Unlock()
			return
		}

		conflict, ok := errors.AsType[*domain.ConflictError](err)
		if !ok {
			t.Error(err)
			return
		}
		h.mu.Lock()
		h.conflicts = append(h.conflicts, *conflict)
		h.mu.Unlock()
		expected = conflict.Actual
	}
}

// note appends, and tells whether the append was added; a claim that is taken is the only
// other answer.
func (h *history) note(t *testing.T, a domain.Append) bool {
	t.Helper()
	done, err := h.store.Append(t.Context(), a)
	if err != nil {
		if _, ok := errors.AsType[*domain.ClaimTakenError](err); !ok {
			t.Error(err)
		}
		return false
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	h.added = append(h.added, done)
	return true
}

func (h *history) check(t *testing.T) {
	t.Helper()
	for _, done := range h.added {
		stored, err := h.store.FindAppend(t.Context(), h.tenant, done.Events[0].AppendID)
		if err != nil || len(stored) != 1 {
			t.Fatalf("%d events (%v), want 1", len(stored), err)
		}
		got, want := stored[0], done.Events[0]
		if got.Position != want.Position || got.Version != want.Version || got.EventID != want.EventID ||
			!got.RecordedAt.Equal(want.RecordedAt) {
			t.Errorf("stored %+v\nanswered %+v", got, want)
		}
	}

	if head := h.head(t); head != int64(len(h.added))+1 { // one is the municipality
		t.Errorf("%d events are in the log, %d were acknowledged", head-1, len(h.added))
	}

	versions := map[uuid.UUID]int{}
	for _, subject := range h.hot {
		events, err := h.store.Load(t.Context(), h.tenant, domain.ConsentsOf(subject))
		if err != nil {
			t.Fatal(err)
		}
		versions[subject.UUID] = len(events)
	}
	// A version only grows, and the expected one had been seen.
	for _, c := range h.conflicts {
		if c.Actual <= c.Expected || c.Actual > versions[c.Stream.ID] {
			t.Errorf("%+v was no conflict", c)
		}
	}

	for value, holder := range h.claims {
		h.holder(t, emailClaim(h.tenant, value), holder)
	}
	for value := range h.taken {
		if _, ok := h.claims[value]; !ok {
			t.Errorf("the claim %s was refused but nobody holds it", value)
		}
	}
}

// gather makes a first append lead and wait for the log's lock, which the test holds, so
// that the others gather for one batch.
func (w *world) gather(t *testing.T, others ...domain.Append) (first <-chan answer, answers []<-chan answer) {
	t.Helper()
	first = w.background(t.Context(), grant(w.tenant, someone(), 0))
	pgtest.Eventually(t, "the first waits for the lock", func() bool {
		return len(w.blocked(t)) == 1 && w.store.Waiting() == 0
	})

	for i, a := range others {
		answers = append(answers, w.background(t.Context(), a))
		pgtest.Eventually(t, "the next waits behind it", func() bool { return w.store.Waiting() == i+1 })
	}
	return first, answers
}

// added fails the test unless an append was added.
func (w *world) added(t *testing.T, a domain.Append, from <-chan answer) domain.Appended {
	t.Helper()
	got := pgtest.Receive(t, from)
	if got.err != nil {
		t.Fatal(got.err)
	}
	w.present(t, got.done, a)
	return got.done
}

func TestAnAppendThatFailsInTheDatabaseFailsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.start(t, someone(), "x")

	for _, c := range []struct {
		name string
		side domain.SideWrite
	}{
		{"a null where none may be", domain.SetCredential{User: someone(), Verifier: "but no address"}},
		{"a session twice", domain.StartSession{Session: session, User: someone(), ExpiresAt: time.Now()}},
	} {
		for _, bad := range []int{0, 1, 4, 8} {
			release := w.lock(t)
			var appends []domain.Append
			for i := range 9 {
				a := takes(w.tenant, newID(), emailClaim(w.tenant, newID().String()))
				if i == bad {
					a.Side = append(a.Side, c.side)
					a = domaintest.Beside(a)
				}
				appends = append(appends, a)
			}

			first, answers := w.gather(t, appends...)
			release()
			if got := pgtest.Receive(t, first); got.err != nil {
				t.Error(got.err)
			}

			for i, from := range answers {
				if i != bad {
					w.added(t, appends[i], from)
					continue
				}

				got := pgtest.Receive(t, from)
				if pg := failed[*pgconn.PgError](t, got.err); pg.Code[:2] != "23" {
					t.Errorf("%s: got %v", c.name, got.err)
				}
				w.absent(t, appends[i])
				w.holder(t, appends[i].Side[0].(domain.TakeClaim).Claim, uuid.Nil)
			}
		}
	}
}

func TestTwoAppendsOfOneIDOnSeveralStreamsAreAddedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.lock(t)
	a, b, c := grant(w.tenant, someone(), 0), grant(w.tenant, someone(), 0), grant(w.tenant, someone(), 0)
	b.ID = a.ID // nothing else in common, so they share the batch and hit the unique key
	first, answers := w.gather(t, a, b, c)
	release()

	w.added(t, c, answers[2])
	one, two := pgtest.Receive(t, answers[0]), pgtest.Receive(t, answers[1])
	if one.err != nil || two.err != nil || one.done.Repeat == two.done.Repeat ||
		one.done.Position() != two.done.Position() {
		t.Errorf("got %+v and %+v", one, two)
	}
	if got := pgtest.Receive(t, first); got.err != nil {
		t.Error(got.err)
	}
}

func TestAFullQueueAnswersAtOnceAndLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.lock(t)
	before := w.head(t)
	first, _ := w.gather(t)

	answers := make([]<-chan answer, eventstore.MaxWaiting)
	for i := range answers {
		answers[i] = w.background(t.Context(), grant(w.tenant, someone(), 0))
	}
	pgtest.Eventually(t, "the queue is full", func() bool { return w.store.Waiting() == eventstore.MaxWaiting })
	for range 3 { // while the lock is held, so nothing but the queue can answer
		a := grant(w.tenant, someone(), 0)
		_, err := w.store.Append(t.Context(), a)
		refused(t, err, domain.CodeOverloaded)
		w.absent(t, a)
	}

	release()
	positions := map[int64]bool{pgtest.Receive(t, first).done.Position(): true}
	for _, from := range answers {
		got := pgtest.Receive(t, from)
		if got.err != nil {
			t.Fatal(got.err)
		}
		positions[got.done.Position()] = true
	}
	if len(positions) != eventstore.MaxWaiting+1 || w.head(t) != before+eventstore.MaxWaiting+1 {
		t.Errorf("%d positions, the log grew by %d; want %d", len(positions), w.head(t)-before, eventstore.MaxWaiting+1)
	}

	a := grant(w.tenant, someone(), 0)
	w.present(t, must(t)(w.store.Append(t.Context(), a)), a)
}

func TestACallerThatStopsWaitingIsWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.lock(t)
	first, _ := w.gather(t)

	ctx, cancel := context.WithCancel(t.Context())
	gone, stays := grant(w.tenant, someone(), 0), grant(w.tenant, someone(), 0)
	goneAnswer := w.background(ctx, gone)
	staysAnswer := w.background(t.Context(), stays)
	expired, stop := context.WithDeadline(t.Context(), time.Now())
	defer stop()
	pgtest.Eventually(t, "both wait", func() bool { return w.store.Waiting() == 2 })

	late := grant(w.tenant, someone(), 0)
	_, err := w.store.Append(expired, late)
	refused(t, err, domain.CodeUnavailable)

	cancel()
	if got := pgtest.Receive(t, goneAnswer); !errors.Is(got.err, context.Canceled) {
		t.Errorf("got %+v", got)
	}
	if n := w.store.Waiting(); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}

	release()
	if got := pgtest.Receive(t, first); got.err != nil {
		t.Error(got.err)
	}
	w.added(t, stays, staysAnswer)
	w.absent(t, gone)
	w.absent(t, late)
}

// Once its batch is being written, an append can no longer be prevented, so its caller
// gets the outcome, not the end of its context.
func TestACallerThatStopsWaitingTooLateGetsTheOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.lock(t)
	ctx, cancel := context.WithCancel(t.Context())
	a := grant(w.tenant, someone(), 0)
	from := w.background(ctx, a)
	pgtest.Eventually(t, "it waits for the lock", func() bool { return len(w.blocked(t)) == 1 })

	cancel()
	release()
	w.added(t, a, from)
}

// secondBatch brings some appends into one batch that waits for the log's lock, and
// returns a function that lets it go.
func (w *world) secondBatch(t *testing.T, appends ...domain.Append) (answers []<-chan answer, release func()) {
	t.Helper()
	releaseFirst := w.lock(t)
	first, answers := w.gather(t, appends...)

	next := w.db.Superuser(t)
	locked := make(chan error, 1)
	go func() {
		_, err := next.Exec(t.Context(), "select pg_advisory_lock(7267411)")
		locked <- err
	}()
	pgtest.Eventually(t, "the test queues for the lock behind the first append", func() bool {
		return len(w.blocked(t)) == 2
	})

	releaseFirst()
	if got := pgtest.Receive(t, first); got.err != nil {
		t.Error(got.err)
	}
	if err := pgtest.Receive(t, locked); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "the batch waits for the lock", func() bool {
		return len(w.blocked(t)) == 1 && w.store.Waiting() == 0
	})

	return answers, func() {
		t.Helper()
		if _, err := next.Exec(t.Context(), "select pg_advisory_unlock(7267411)"); err != nil {
			t.Error(err)
		}
	}
}

func TestABatchWhoseConnectionIsKilledIsSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	appends := []domain.Append{
		grant(w.tenant, someone(), 0), takes(w.tenant, newID(), emailClaim(w.tenant, "x")), registration(w.tenant, "y"),
	}
	answers, release := w.secondBatch(t, appends...)

	for range 3 { // each time it comes back on another connection
		victim := w.blocked(t)[0]
		if !query[bool](t, w, "select pg_terminate_backend($1)", victim) {
			t.Fatal("the backend is gone already")
		}
		pgtest.Eventually(t, "the batch comes again", func() bool {
			p := w.blocked(t)
			return len(p) == 1 && p[0] != victim
		})
	}

	release()
	for i, a := range appends {
		if done := w.added(t, a, answers[i]); done.Repeat {
			t.Error("it was written before the connection broke")
		}
	}
	if head := w.head(t); head != 5 { // the municipality, the first, and these
		t.Errorf("head %d, want 5", head)
	}
}

func TestABatchWhoseCommitWasNotHeardOfIsFoundInTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &line{}
	w.store = openOver(t, w.db, l)

	session := w.start(t, someone(), "first")
	rotation := side(w.tenant, domain.RotateSession{
		Session: session, From: token("first"), To: token("second"), ExpiresAt: time.Now().Add(time.Hour),
	})
	appends := []domain.Append{
		grant(w.tenant, someone(), 0), takes(w.tenant, newID(), emailClaim(w.tenant, "x")), registration(w.tenant, "y"),
		rotation,
	}
	answers, release := w.secondBatch(t, appends...)

	l.swallow.Store(true)
	release()
	for i, a := range appends {
		done := w.added(t, a, answers[i])
		if done.Repeat != (len(a.Writes) > 0) {
			t.Errorf("append %d: repeat: %t", i, done.Repeat)
		}
	}

	if l.swallow.Load() {
		t.Error("no answer was lost, so this tested nothing")
	}
	if head := w.head(t); head != 6 {
		t.Errorf("head %d, want 6", head)
	}
	if n := query[int](t, w, "select count(*) from trust.keys where kind = 'subject'"); n != 1 {
		t.Errorf("%d keys of subjects, want 1", n)
	}
}

func TestALoneAppendWhoseCommitWasNotHeardOfIsFoundInTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &line{}
	w.store = openOver(t, w.db, l)
	release := w.lock(t)
	a := registration(w.tenant, "x")
	from := w.background(t.Context(), a)
	pgtest.Eventually(t, "it waits for the lock", func() bool { return len(w.blocked(t)) == 1 })

	l.swallow.Store(true)
	release()
	if done := w.added(t, a, from); !done.Repeat || done.Position() != 2 {
		t.Errorf("got %+v", done)
	}
}

func TestADatabaseThatIsAwayForTooLongIsUnavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &line{}
	pool := poolOver(t, w.db, l)
	var store *eventstore.Store
	var err error
	// Opening is an append, which a slow machine may keep waiting.
	pgtest.Eventually(t, "the store opens", func() bool {
		store, err = eventstore.Open(t.Context(), pool, []byte(masterKey), eventstore.Patience(time.Second))
		return err == nil
	})
	t.Cleanup(store.Close)
	over := &world{store: store}
	before := w.dump(t)

	l.cut()
	appends := []domain.Append{
		grant(w.tenant, someone(), 0), takes(w.tenant, newID(), emailClaim(w.tenant, "x")), registration(w.tenant, "y"),
	}
	var answers []<-chan answer
	for _, a := range appends {
		answers = append(answers, over.background(t.Context(), a))
	}
	for _, from := range answers {
		refused(t, pgtest.Receive(t, from).err, domain.CodeUnavailable)
	}
	_, err = store.Load(t.Context(), w.tenant, domain.MunicipalityOf(w.tenant))
	refused(t, err, domain.CodeUnavailable)
	_, err = store.Head(t.Context())
	refused(t, err, domain.CodeUnavailable)
	w.unchanged(t, before)

	l.mend()
	for _, a := range appends {
		var done domain.Appended
		// Reads are not sent again, so a broken connection in the pool shows.
		pgtest.Eventually(t, "the append goes through", func() bool {
			if done, err = store.Append(t.Context(), a); err != nil {
				refused(t, err, domain.CodeUnavailable)
			}
			return err == nil
		})
		w.present(t, done, a)
	}
}

func TestADatabaseThatIsAwayForAWhileIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &line{}
	over := &world{store: openOver(t, w.db, l)}

	l.cut()
	var appends []domain.Append
	var answers []<-chan answer
	for range 8 {
		a := grant(w.tenant, someone(), 0)
		appends, answers = append(appends, a), append(answers, over.background(t.Context(), a))
	}
	pgtest.Eventually(t, "the database was asked several times", func() bool { return l.refused.Load() > 3 })

	l.mend()
	for i, a := range appends {
		w.added(t, a, answers[i])
	}
}

// Whenever callers cancel, nobody hangs, the lead is never lost, and an error means that
// nothing was written. A caller who hangs up, or has to be answered in time, gets the
// outcome, or learns that nothing happened, or that the outcome is unknown; then the same
// append sent again is added, or was added before.
func TestCallersWhoGiveUpLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 60 {
		const callers = 16
		appends, answers := make([]domain.Append, callers), make([]<-chan answer, callers)

		hot := someone()
		for i := range appends {
			appends[i] = grant(w.tenant, hot, domain.AnyVersion) // one stream: most wait for several batches
			if i%2 == 0 {
				appends[i] = grant(w.tenant, someone(), 0)
			}

			ctx, cancel := context.WithCancel(t.Context())
			soon := time.Duration(rand.IntN(5000)) * time.Microsecond
			if i%4 < 2 {
				defer time.AfterFunc(soon, cancel).Stop()
			} else {
				ctx, cancel = context.WithTimeout(t.Context(), soon)
			}
			defer cancel()
			answers[i] = w.background(ctx, appends[i])
		}

		for i, from := range answers {
			got := pgtest.Receive(t, from)
			refusal, _ := errors.AsType[*domain.Error](got.err)
			switch {
			case got.err == nil:
				w.present(t, got.done, appends[i])
			case refusal != nil && refusal.Code == domain.CodeOutcomeUnknown:
				w.present(t, must(t)(w.store.Append(t.Context(), appends[i])), appends[i])
			case errors.Is(got.err, context.Canceled), refusal != nil && refusal.Code == domain.CodeUnavailable:
				w.absent(t, appends[i])
			default:
				t.Errorf("got %v", got.err)
			}
		}

		must(t)(w.store.Append(t.Context(), grant(w.tenant, someone(), 0)))
	}

	pgtest.Eventually(t, "nobody leads or waits", func() bool { return !w.store.Leading() && w.store.Waiting() == 0 })
}

// line is the network between a store and its database, for a test to break.
type line struct {
	swallow atomic.Bool  // the next answer is lost and its connection breaks
	refused atomic.Int64 // connections refused while it was cut

	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

// openOver opens a store whose connections go over a line.
func openOver(t testing.TB, db *pgtest.DB, l *line) *eventstore.Store {
	t.Helper()
	return openOn(t, poolOver(t, db, l), masterKey)
}

func poolOver(t testing.TB, db *pgtest.DB, l *line) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(db.URL(pgtest.Query))
	if err != nil {
		t.Fatal(err)
	}

	config.ConnConfig.DialFunc = l.dial
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		l.refused.Add(1)
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}

	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.conns = append(l.conns, conn)
	return &lineConn{conn, l}, nil
}

// cut breaks all connections and refuses new ones.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

type lineConn struct {
	net.Conn
	line *line
}

// Read loses an answer that has arrived: Postgres sends it only after the commit, because
// it is shorter than its buffer.
func (c *lineConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && n > 0 && c.line.swallow.CompareAndSwap(true, false) {
		return 0, errors.Join(io.ErrUnexpectedEOF, c.Close())
	}
	return n, err
}

// Callers who wait behind others for a database that is away are answered as soon as
// those: none waits for its own turn on top.
func TestInAnOutageEveryAppendIsAnsweredWithinItsPatience(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &line{}
	over := &world{store: openOver(t, w.db, l)}
	const patience = 2 * time.Second
	over.store.SetPatience(patience)
	l.cut()

	person := someone()
	began := time.Now()
	var answers []<-chan answer
	for range 5 { // to one stream, so that no two share a batch
		a := grant(w.tenant, person, domain.AnyVersion)
		answers = append(answers, over.background(t.Context(), a))
	}
	for _, from := range answers {
		refused(t, pgtest.Receive(t, from).err, domain.CodeUnavailable)
	}
	if took := time.Since(began); took >= 2*patience {
		t.Errorf("the last was answered after %s, and their patience is %s", took, patience)
	}
}

func TestALaterCallerIsNotRefusedWithAnEarlierOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &line{}
	over := &world{store: openOver(t, w.db, l)}
	appendWith := func(patience time.Duration) (domain.Append, <-chan answer) {
		a := grant(w.tenant, someone(), 0)
		over.store.SetPatience(patience)
		return a, over.background(t.Context(), a)
	}
	l.cut()

	_, leads := appendWith(time.Second)
	pgtest.Eventually(t, "the database was asked", func() bool {
		return l.refused.Load() > 0 && over.store.Waiting() == 0
	})
	_, first := appendWith(2 * time.Second)
	pgtest.Eventually(t, "the first waits", func() bool { return over.store.Waiting() == 1 })
	later, last := appendWith(pgtest.Patience)
	refused(t, pgtest.Receive(t, leads).err, domain.CodeUnavailable)
	refused(t, pgtest.Receive(t, first).err, domain.CodeUnavailable)

	l.mend()
	w.added(t, later, last)
}

// An erasure demands that the person never did anything about anybody else. An act that
// waits with it for the same turn counts.
func TestAnActIsSeenByADemandThatComesRightAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	act := grant(w.tenant, someone(), 0)
	read := domain.Append{ID: newID(), Tenant: w.tenant, Writes: []domain.Write{{
		Stream: domain.Stream{Type: domain.AccessStream, ID: newID()},
		Events: []domain.Event{&domain.PersonalDataRead{Route: "r", Fields: "profile"}},
	}}}

	for _, acted := range []domain.Append{act, read} {
		acted.Actor = someone()
		own := grant(w.tenant, acted.Actor, 0)
		own.Actor = acted.Actor

		release := w.lock(t)
		first, answers := w.gather(t, own, acted, demand(w.tenant, acted.Actor))
		release()

		if got := pgtest.Receive(t, first); got.err != nil {
			t.Fatal(got.err)
		}
		w.added(t, own, answers[0])
		w.added(t, acted, answers[1])
		failed[*domain.StaffRecordError](t, pgtest.Receive(t, answers[2]).err)
	}
}

func TestAnAppendThatIsTooLargeIsRefusedInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.SetPatience(pgtest.Patience) // with the race detector, the largest takes seconds
	person := someone()
	large := domain.Append{ID: newID(), Tenant: w.tenant, Writes: []domain.Write{{Stream: domain.ConsentsOf(person)}}}
	for range 32_767 {
		large.Writes[0].Events = append(large.Writes[0].Events, granted())
	}
	tooLarge := large
	tooLarge.Writes = append(tooLarge.Writes[:1:1],
		domain.Write{Stream: domain.ConsentsOf(someone()), Events: []domain.Event{granted()}})

	_, err := w.store.Append(t.Context(), tooLarge)
	refused(t, err, domain.CodeInvalid)
	if err == nil || !strings.Contains(err.Error(), "at most 32767 events, and this one has 32768") {
		t.Errorf("it says %v", err)
	}
	if done := must(t)(w.store.Append(t.Context(), large)); len(done.Events) != 32_767 {
		t.Errorf("%d events were added", len(done.Events))
	}

	sides := domain.Append{ID: newID(), Tenant: w.tenant}
	for range 3_277 {
		sides.Side = append(sides.Side, domain.EndSession{Session: newID()})
	}
	_, err = w.store.Append(t.Context(), sides)
	refused(t, err, domain.CodeInvalid)
}
