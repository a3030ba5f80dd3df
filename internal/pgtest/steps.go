package pgtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Fate is what happens to a step, that is, to one message that the server has to answer.
type Fate int

// The fates of a step.
const (
	// Passes is a step that reaches the server, and whose answer comes back.
	Passes Fate = iota
	// Fails is one that never reaches the server: its connection breaks.
	Fails
	// Unheard is one that the server carries out, but whose connection breaks before the
	// answer is back.
	Unheard
	// Left is one that reaches the server, but whose connection breaks at once: the
	// server may still be carrying it out when its client goes on.
	Left
)

// Steps is a way to a database on which every exchange is counted, step by step: each
// start of a session, each statement and each end of a copy, of all connections in the
// order in which they come. Each may meet a different fate.
type Steps struct {
	server *pgx.ConnConfig
	folder string
	decide func(step int) Fate

	mu    sync.Mutex
	taken int
	then  func()
	ended bool // nothing passes any more
	open  map[net.Conn]struct{}
}

// NewSteps opens a way to the database at an address, and closes it when the test ends.
// decide returns the fate of each step, counted from 1; several goroutines may call it,
// one at a time.
func NewSteps(t testing.TB, address string, decide func(step int) Fate) *Steps {
	t.Helper()
	server, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}

	folder, err := os.MkdirTemp("", "steps-") // the path of a socket must be short
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	s := &Steps{server: server, folder: folder, decide: decide, open: map[net.Conn]struct{}{}}

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(folder, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		stop()
		_ = listener.Close()
		s.End()
		_ = os.RemoveAll(folder)
	})

	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go s.carry(ctx, client)
		}
	}()
	return s
}

// Over returns an address that leads over the steps.
func (s *Steps) Over(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // a URL that this package made
	}

	query := u.Query()
	query.Set("host", s.folder)
	query.Set("port", "5432")
	u.Host, u.RawQuery = "", strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String()
}

// Taken returns how many steps were taken so far.
func (s *Steps) Taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// Then sets what to do as soon as the server has carried out a step that is to be
// unheard, before the process that took it notices: such as killing that process.
func (s *Steps) Then(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.then = do
}

func (s *Steps) carriedOut() {
	s.mu.Lock()
	do := s.then
	s.mu.Unlock()
	if do != nil {
		do()
	}
}

// End breaks all connections, present and future, as if the process that uses them were
// dead.
func (s *Steps) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for conn := range s.open {
		_ = conn.Close()
	}
}

func (s *Steps) carry(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()

	network, address := pgconn.NetworkAddress(s.server.Host, s.server.Port)
	server, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()

	if !s.enter(client, server) {
		return
	}
	defer s.leave(client, server)

	c := &conversation{steps: s, client: client, server: server}
	c.answered.L = &c.mu
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		c.listen()
	}()
	c.talk()
	_ = server.Close()
	<-listening
}

func (s *Steps) enter(conns ...net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range conns {
		s.open[conn] = struct{}{}
	}
	return !s.ended
}

func (s *Steps) leave(conns ...net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range conns {
		delete(s.open, conn)
	}
}

func (s *Steps) next() Fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return Fails
	}
	s.taken++
	return s.decide(s.taken)
}

// conversation is one connection, message by message.
type conversation struct {
	steps          *Steps
	client, server net.Conn

	mu       sync.Mutex
	answered sync.Cond
	open     int  // steps that the server has yet to answer
	deaf     bool // answers are no longer passed on
	over     bool // the server has closed its side
}

// talk passes on what the client says, and breaks the connection if a step's fate says
// so.
func (c *conversation) talk() {
	in := bufio.NewReader(c.client)
	start, err := startOf(in)
	if err != nil {
		return
	}

	if isCancel(start) {
		_, _ = c.server.Write(start)
		_, _ = io.Copy(io.Discard, c.server) // until the server has dealt with it and closes
		return
	}
	if !c.begin(start) {
		return
	}

	var said []byte
	for {
		m, err := messageOf(in)
		if err != nil {
			return
		}
		said = append(said, m...)

		switch m[0] {
		case 'Q', 'S', 'c', 'f': // a statement, a sync, the end of a copy, the failure of one
			if !c.step(said) {
				return
			}
			said = said[:0]
		case 'p', 'd', 'H', 'X': // a password, rows, a flush, a farewell
			if _, err := c.server.Write(said); err != nil {
				return
			}
			said = said[:0]
		}
	}
}

// begin takes the first step. The server asks for a password before it has answered, so
// what the client says still passes.
func (c *conversation) begin(start []byte) bool {
	fate := c.steps.next()
	if fate == Fails {
		return false
	}

	c.mu.Lock()
	c.open, c.deaf = 1, fate == Unheard
	c.mu.Unlock()
	_, err := c.server.Write(start)
	return err == nil && fate != Left
}

// step passes on a message that ends a step, with those before it, and reports whether
// the conversation goes on.
func (c *conversation) step(said []byte) bool {
	fate := c.steps.next()
	if fate == Fails {
		return false
	}

	c.mu.Lock()
	c.open++
	c.deaf = c.deaf || fate == Unheard
	c.mu.Unlock()
	if _, err := c.server.Write(said); err != nil || fate != Unheard {
		return err == nil && fate == Passes
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	for c.open > 0 && !c.over {
		c.answered.Wait()
	}
	return false
}

// listen passes on what the server says, until an answer that is to be unheard is
// complete.
func (c *conversation) listen() {
	in := bufio.NewReader(c.server)
	defer func() {
		c.mu.Lock()
		c.over = true
		c.answered.Broadcast()
		c.mu.Unlock()
		_ = c.client.Close()
	}()

	for {
		m, err := messageOf(in)
		if err != nil {
			return
		}
		c.mu.Lock()
		if m[0] == 'Z' || m[0] == 'G' { // it is ready for the next, or for rows to copy
			c.open--
			c.answered.Broadcast()
		}
		deaf, done := c.deaf, c.open == 0
		c.mu.Unlock()
		switch {
		case deaf && done:
			c.steps.carriedOut()
			return
		case deaf && m[0] != 'R': // the client's password is needed
			continue
		}
		if _, err := c.client.Write(m); err != nil {
			return
		}
	}
}

const maxMessage = 1 << 30

var errTooLong = errors.New("no Postgres message is that long")

// startOf reads the first message of a connection, which has no type.
func startOf(in *bufio.Reader) ([]byte, error) { return framed(in, nil) }

// messageOf reads a message, its type first.
func messageOf(in *bufio.Reader) ([]byte, error) {
	kind, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	return framed(in, []byte{kind})
}

func framed(in *bufio.Reader, kind []byte) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, err
	}

	n := int(binary.BigEndian.Uint32(length[:]))
	if n < 4 || n > maxMessage {
		return nil, errTooLong
	}

	m := slices.Grow(append(kind, length[:]...), n-4)
	m = m[:len(m)+n-4]
	_, err := io.ReadFull(in, m[len(m)-(n-4):])
	return m, err
}

// isCancel reports whether a connection exists only to cancel what another does.
func isCancel(start []byte) bool {
	return len(start) == 16 && binary.BigEndian.Uint32(start[4:]) == 80877102
}
