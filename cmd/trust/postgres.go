package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/internal/localpg"
)

// postgresPart names the private server's pid file; databaseName the database in it.
const (
	postgresPart = "postgres"
	databaseName = "trust"
)

// giveUpAfter is how often the server may end before it was ready even once: with the pauses between, more than a minute. What a
// predecessor that was just killed still holds is free long before that.
const giveUpAfter = 20

// privateServer is the Postgres that trust up runs when it is given none.
type privateServer struct {
	cluster *localpg.Cluster
	log     *serverLog
	pipe    *os.File // the server's standard error; log reads the other end
	group   group

	ready atomic.Bool // it was, once
	ends  atomic.Int32
}

// newPrivateServer settles where the cluster is. It changes nothing on disk but empty folders.
func newPrivateServer(dir, password string, port int, log io.Writer, all bool) (*privateServer, error) {
	binaries, err := localpg.Find()
	if err != nil {
		return nil, exit.Unreachable(nil, "%v", err)
	}
	cluster, err := localpg.New(localpg.Config{
		Dir: filepath.Join(dir, postgresPart), Binaries: binaries, Port: port, Password: password,
	})
	if err != nil {
		return nil, exit.Unreachable(err, "cannot prepare a Postgres in DATA_DIR")
	}
	// A pipe of our own, and not one of package exec: after kill -9 orphaned backends hold it open for a moment, and exec would
	// wait for them before it says that the server has ended.
	from, to, err := os.Pipe()
	if err != nil {
		return nil, exit.Unreachable(err, "cannot make a pipe")
	}
	s := &privateServer{cluster: cluster, log: &serverLog{to: log, all: all}, pipe: to}
	go func() { _, _ = io.Copy(s.log, from) }()
	return s, nil
}

// part is the server for the supervisor. SIGINT is Postgres's fast shutdown: sessions are cut, nothing committed is lost.
func (s *privateServer) part(fail func(error)) part {
	return part{
		name: postgresPart, stop: syscall.SIGINT, grace: time.Minute,
		died: func() { s.ended(fail) },
		command: func(ctx context.Context) *exec.Cmd {
			cmd := s.cluster.Command(ctx)
			cmd.Stdout, cmd.Stderr = s.pipe, s.pipe
			return cmd
		},
	}
}

// ended hears that the server ended by itself. One that never worked will not work the next time either.
func (s *privateServer) ended(fail func(error)) {
	if n := s.ends.Add(1); n >= giveUpAfter && !s.ready.Load() {
		fail(exit.Unreachable(nil, "Postgres does not start; its last words: %s", s.log.lastLine()))
	}
}

// awaitReady returns when the server lets clients in, or ctx ends.
func (s *privateServer) awaitReady(ctx context.Context) error {
	if err := s.cluster.WaitReady(ctx); err != nil {
		return err
	}
	s.ready.Store(true)
	return nil
}

// accessOf reads port and password out of the address that trust up keeps.
func accessOf(address string) (port int, password string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return 0, "", exit.WrongUsage("DATABASE_URL in the file env in DATA_DIR is not the one trust up made; restore that file from a copy")
	}
	port, err = strconv.Atoi(u.Port())
	if err != nil {
		return 0, "", exit.WrongUsage("DATABASE_URL in the file env in DATA_DIR has no port; restore that file from a copy")
	}
	password, _ = u.User.Password()
	return port, password, nil
}

// freePort keeps a port if it is free, or becomes free within a moment (a predecessor may be ending), and else takes another one.
func freePort(ctx context.Context, wanted int) (int, error) {
	for deadline := time.Now().Add(5 * time.Second); wanted != 0 && time.Now().Before(deadline); {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(wanted)))
		if err == nil {
			return wanted, listener.Close()
		}
		if !retry.Wait(ctx, 100*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
	return localpg.FreePort()
}

// serverLog hands the server's log on with a mark before each line, and keeps the last one. Routine lines are left out unless
// all are wanted: on a terminal they hide what matters.
type serverLog struct {
	to  io.Writer
	all bool

	mu   sync.Mutex
	rest []byte // of a line that is not complete
	last string
}

// Write never fails: a supervisor whose standard error is gone must not stop the database.
func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		l.rest = append([]byte{}, rest...)
		routine := isRoutine(line)
		if !routine || l.last == "" {
			l.last = string(line)
		}
		if l.all || !routine {
			_, _ = l.to.Write(append([]byte("postgres: "), append(line, '\n')...))
		}
	}
}

// isRoutine tells lines that say nothing new: what the server does, and what it told its clients when it started or ended.
func isRoutine(line []byte) bool {
	for _, mark := range []string{" LOG:  ", " FATAL:  the database system is ", " FATAL:  terminating connection "} {
		if bytes.Contains(line, []byte(mark)) {
			return true
		}
	}
	return false
}

func (l *serverLog) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}
