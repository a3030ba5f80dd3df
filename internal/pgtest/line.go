package pgtest

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Line is a network between a program and a database that can go silent: connections stay
// open, and not a byte passes.
type Line struct {
	server *pgx.ConnConfig
	folder string

	mu     sync.Mutex
	sounds chan struct{} // closed while bytes pass
	lost   chan struct{} // closed once no byte of the connections so far will ever pass
}

// NewLine opens a line to the database at an address, and closes it when the test ends.
func NewLine(t testing.TB, address string) *Line {
	t.Helper()
	server, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}

	folder, err := os.MkdirTemp("", "line-") // the path of a socket must be short
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	l := &Line{server: server, folder: folder, sounds: make(chan struct{}), lost: make(chan struct{})}
	close(l.sounds)

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(folder, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		stop()
		_ = listener.Close()
		_ = os.RemoveAll(folder)
	})

	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(ctx, client)
		}
	}()
	return l
}

// Over returns an address that leads over the line.
func (l *Line) Over(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // a URL that this package made
	}

	query := u.Query()
	query.Set("host", l.folder)
	query.Set("port", strconv.Itoa(5432))
	u.Host, u.RawQuery = "", strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String()
}

// Silence makes the line silent, for new connections as well, until Resume. Nothing is
// lost.
func (l *Line) Silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sounds = make(chan struct{})
}

// Resume ends a silence.
func (l *Line) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.sounds)
}

// Lose makes the connections that are open silent for good; new ones work.
func (l *Line) Lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.lost)
	l.lost = make(chan struct{})
}

func (l *Line) carry(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()

	l.mu.Lock()
	lost := l.lost
	l.mu.Unlock()
	if !l.pass(ctx, lost) {
		return
	}

	network, address := pgconn.NetworkAddress(l.server.Host, l.server.Port)
	server, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()

	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			l.copy(ctx, lost, way[0], way[1])
			ended <- struct{}{}
		}()
	}

	select {
	case <-ended:
	case <-ctx.Done():
	}
}

func (l *Line) copy(ctx context.Context, lost chan struct{}, from, to net.Conn) {
	bytes := make([]byte, 32<<10)

	for {
		n, err := from.Read(bytes)
		if !l.pass(ctx, lost) {
			return
		}
		if n > 0 {
			if _, err := to.Write(bytes[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until bytes may pass; on a lost connection, until ctx ends.
func (l *Line) pass(ctx context.Context, lost chan struct{}) bool {
	l.mu.Lock()
	sounds := l.sounds
	l.mu.Unlock()

	select {
	case <-sounds:
	case <-lost:
	case <-ctx.Done():
	}

	select {
	case <-lost:
		<-ctx.Done()
		return false
	default:
		return ctx.Err() == nil
	}
}
