package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
)

// detour is a network that delays one message: the test decides when the sender loses its
// connection, and when the message arrives.
type detour struct {
	about uuid.UUID // the append whose message is delayed, found by its bytes on the wire

	taken  atomic.Bool
	held   chan struct{} // closed when the message is held back
	broken chan struct{} // closed when its connection breaks
	away   atomic.Bool   // nothing else is carried

	mu      sync.Mutex
	server  net.Conn
	message []byte
}

// overDetour opens a store whose connections go over a detour, for a login with only the
// API's rights.
func overDetour(t *testing.T, w *world, about uuid.UUID) (*world, *detour) {
	t.Helper()
	d := &detour{about: about, held: make(chan struct{}), broken: make(chan struct{})}
	config, err := pgxpool.ParseConfig(w.db.URL(pgtest.Query))
	if err != nil {
		t.Fatal(err)
	}

	login, root := "late_"+strings.ReplaceAll(about.String(), "-", ""), w.db.Superuser(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := root.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec("create role " + login + " login password '" + config.ConnConfig.Password + "' in role trust_query")
	t.Cleanup(func() { exec("drop role " + login) })

	config.ConnConfig.User = login
	config.ConnConfig.DialFunc = d.dial
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &world{db: w.db, store: openOn(t, pool, masterKey), admin: w.admin, tenant: w.tenant}, d
}

func (d *detour) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.away.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.ErrClosed}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return &detoured{Conn: conn, detour: d}, err
}

// detoured is a connection that may turn out to be the one that carries the message.
type detoured struct {
	net.Conn
	detour  *detour
	late    atomic.Bool
	hurried atomic.Bool // a deadline is set
}

func (c *detoured) Write(b []byte) (int, error) {
	d := c.detour
	if bytes.Contains(b, d.about[:]) && d.taken.CompareAndSwap(false, true) {
		d.mu.Lock()
		d.server, d.message = c.Conn, bytes.Clone(b)
		d.mu.Unlock()
		c.late.Store(true)
		close(d.held)
		if c.hurried.Load() { // the deadline may have passed before the message was written
			d.lose()
		}
	}

	if c.late.Load() {
		return len(b), nil
	}
	if d.away.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// Read also ends a wait that began before the message was taken: pgx reads in the
// background while it writes, if a write is slow.
func (c *detoured) Read(b []byte) (int, error) {
	if !c.late.Load() {
		n, err := c.Conn.Read(b)
		if n > 0 || !c.late.Load() {
			return n, err
		}
	}

	<-c.detour.broken
	return 0, io.ErrUnexpectedEOF
}

// Close leaves the server's side open, as a network does that loses the end of a
// connection.
func (c *detoured) Close() error {
	if c.late.Load() {
		return nil
	}
	return c.Conn.Close()
}

// SetDeadline ends the wait for an answer as well.
func (c *detoured) SetDeadline(at time.Time) error {
	c.hurried.Store(!at.IsZero())
	if c.late.Load() && !at.IsZero() {
		c.detour.lose()
		return nil
	}
	return c.Conn.SetDeadline(at)
}

// lose makes the sender see a broken connection.
func (d *detour) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.broken:
	default:
		close(d.broken)
	}
	if d.server != nil {
		_ = d.server.SetReadDeadline(time.Now())
	}
}

// deliver lets the message arrive, and waits until the server has dealt with it.
func (d *detour) deliver(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { _ = d.server.Close() }()
	_ = d.server.SetDeadline(time.Now().Add(pgtest.Patience))

	_, _ = d.server.Write(d.message) // it fails if the server has closed its side
	var said []byte
	some := make([]byte, 4096)
	for !bytes.Contains(said, []byte("Z\x00\x00\x00\x05I")) {
		n, err := d.server.Read(some)
		said = append(said, some[:n]...)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("the server does not answer the late message")
		}
		if err != nil {
			return
		}
	}
}

// The state that a refusal was based on may change: a late copy must find nobody to carry
// it out.
func TestAnAppendRefusedForAVersionNeverEntersTheLogHoweverLateItArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	person := someone()
	ahead := grant(w.tenant, person, 1)
	over, network := overDetour(t, w, ahead.ID)

	from := over.background(t.Context(), ahead)
	pgtest.Receive(t, network.held)
	network.lose()
	failed[*domain.ConflictError](t, pgtest.Receive(t, from).err)

	must(t)(w.store.Append(t.Context(), grant(w.tenant, person, 0)))
	network.deliver(t)
	w.absent(t, ahead)
}

func TestAnAppendRefusedForAClaimNeverEntersTheLogHoweverLateItArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, holder := emailClaim(w.tenant, "a@b.example"), newID()
	second := takes(w.tenant, newID(), claim)
	over, network := overDetour(t, w, second.ID)

	from := over.background(t.Context(), second)
	pgtest.Receive(t, network.held)
	must(t)(w.store.Append(t.Context(), takes(w.tenant, holder, claim)))
	network.lose()
	failed[*domain.ClaimTakenError](t, pgtest.Receive(t, from).err)

	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.ReleaseClaim{Claim: claim, Holder: holder})))
	network.deliver(t)
	w.absent(t, second)
	w.holder(t, claim, uuid.Nil)
}

func TestEveryAppendOfABatchThatIsRefusedNeverEntersTheLogHoweverLateItArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	person := someone()
	ahead, good := grant(w.tenant, person, 1), grant(w.tenant, someone(), 0)
	over, network := overDetour(t, w, ahead.ID)

	release := w.lock(t)
	first, answers := over.gather(t, good, ahead)
	release()
	must(t)(func() (domain.Appended, error) { a := pgtest.Receive(t, first); return a.done, a.err }())
	pgtest.Receive(t, network.held)
	network.lose()
	w.added(t, good, answers[0])
	failed[*domain.ConflictError](t, pgtest.Receive(t, answers[1]).err)

	must(t)(w.store.Append(t.Context(), grant(w.tenant, person, 0)))
	network.deliver(t)
	w.absent(t, ahead)
	if n := query[int](t, w, "select count(*) from trust.events where append_id = $1", good.ID); n != 1 {
		t.Errorf("the other append of the batch is in the log %d times", n)
	}
}

// The database is unreachable from then on, so no backend can be ended.
func TestAnAppendThatWasSentAndNotAnsweredHasAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sent, unsent := grant(w.tenant, someone(), 0), grant(w.tenant, someone(), 0)
	over, network := overDetour(t, w, sent.ID)
	over.store.SetPatience(time.Second)

	sentAnswer := over.background(t.Context(), sent)
	pgtest.Receive(t, network.held)
	unsentAnswer := over.background(t.Context(), unsent)
	pgtest.Eventually(t, "the other waits", func() bool { return over.store.Waiting() == 1 })
	network.away.Store(true)
	network.lose()
	refused(t, pgtest.Receive(t, sentAnswer).err, domain.CodeOutcomeUnknown)
	refused(t, pgtest.Receive(t, unsentAnswer).err, domain.CodeUnavailable)

	network.deliver(t)
	network.away.Store(false)
	if done := must(t)(over.store.Append(t.Context(), sent)); !done.Repeat {
		t.Error("the late copy was carried out, but the append sent again is not a repeat of it")
	}
	w.absent(t, unsent)
}

// The deadline passes while an answer is awaited: the next append is sent only when the
// late copy can no longer arrive.
func TestAnAppendWhoseOutcomeWasUnknownIsEndedBeforeTheNextIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sent := grant(w.tenant, someone(), 0)
	over, network := overDetour(t, w, sent.ID)
	over.store.SetPatience(time.Second)
	_, err := over.store.Append(t.Context(), sent)
	refused(t, err, domain.CodeOutcomeUnknown)

	over.store.SetPatience(pgtest.Patience)
	must(t)(over.store.Append(t.Context(), grant(w.tenant, someone(), 0)))
	network.deliver(t)
	w.absent(t, sent)
}
