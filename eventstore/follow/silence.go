package follow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Nothing waits for ever. From the inside out, each limit is longer than those before it,
// so that the limit nearest to the cause is the one that reports:
//
//	idle in a transaction  deadAfter        Postgres ends the session *
//	a lock                 lockedAtMost     Postgres says so; it is tried again
//	a statement            statementAtMost  Postgres says so *
//	an answer              silentAfter      the socket is dead: the leader steps down
//	a range                applyAtMost      it fails *
//	anything               stalledAfter     the leader steps down
//
// * It is tried again; the third time at the same event, the follower halts.
const (
	lockedAtMost    = 2 * time.Second
	statementAtMost = 3 * time.Second
	silentAfter     = 4 * time.Second
	applyAtMost     = 6 * time.Second
	stalledAfter    = 8 * time.Second
)

// errSilent says that a socket did not answer in time.
var errSilent = errors.New("the database went silent in the middle of an exchange")

// heard is a connection on which a read or a write fails if it takes too long: a network
// that drops packets reports nothing. TCP keep-alives would take minutes, and a proxy
// answers them.
type heard struct {
	net.Conn
	mu    sync.Mutex
	given time.Time // the deadline that pgx set; zero: none
}

// listenFor makes the connections of a configuration fail when they are silent for too
// long.
func listenFor(c *pgconn.Config) {
	c.ConnectTimeout = applyAtMost // of which dialling may take silentAfter

	dial := c.DialFunc
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		within, cancel := context.WithTimeout(ctx, silentAfter)
		defer cancel()

		conn, err := dial(within, network, address)
		if err != nil && within.Err() != nil && ctx.Err() == nil {
			return nil, silent()
		}
		if err != nil {
			return nil, err
		}
		return &heard{Conn: conn}, nil
	}
}

func (h *heard) Read(p []byte) (int, error) {
	if err := h.limit(h.SetReadDeadline); err != nil {
		return 0, err
	}
	n, err := h.Conn.Read(p)
	return n, h.silence(err)
}

func (h *heard) Write(p []byte) (int, error) {
	if err := h.limit(h.SetWriteDeadline); err != nil {
		return 0, err
	}
	n, err := h.Conn.Write(p)
	return n, h.silence(err)
}

// limit sets the deadline of the next read or write, unless pgx has set an earlier one.
func (h *heard) limit(set func(time.Time) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	deadline := time.Now().Add(silentAfter)
	if !h.given.IsZero() && h.given.Before(deadline) {
		deadline = h.given
	}
	return set(deadline)
}

// SetDeadline implements net.Conn. pgx sets one in the past to break off an exchange.
func (h *heard) SetDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.given = t
	return h.Conn.SetDeadline(t)
}

// silence turns a timeout that is ours into errSilent. pgx does not see it as a timeout,
// on which it would keep the connection open; code that asks whether the connection broke
// sees that it did.
func (h *heard) silence(err error) error {
	timeout, ok := errors.AsType[net.Error](err)
	if !ok || !timeout.Timeout() {
		return err
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.given.IsZero() && !time.Now().Before(h.given) {
		return err
	}
	return silent()
}

func silent() error { return fmt.Errorf("%w: %w", errSilent, net.ErrClosed) }
