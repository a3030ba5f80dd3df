package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"github.com/salga-trust/engine/internal/localpg"
)

// Postmaster is a running Postgres server that this process started.
type Postmaster struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended; read after ended is closed
}

// Start runs a cluster's server, bound to this process, and waits until it answers; ctx
// bounds only that wait. The server's log goes to log, unless that is nil. If the server
// ends before it answers, the error holds the end of its log.
func Start(ctx context.Context, cluster *localpg.Cluster, log io.Writer) (*Postmaster, error) {
	cmd := cluster.Command(context.WithoutCancel(ctx))
	last := &tail{}
	cmd.Stderr = last
	if log != nil {
		cmd.Stderr = io.MultiWriter(last, log)
	}
	cmd.Stdout = cmd.Stderr

	if err := localpg.StartBound(cmd, syscall.SIGINT); err != nil {
		return nil, fmt.Errorf("local postgres: %w", err)
	}
	started := &Postmaster{cmd: cmd, ended: make(chan struct{})}
	go func() {
		started.err = cmd.Wait()
		close(started.ended)
	}()

	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-started.ended:
			stop()
		case <-waiting.Done():
		}
	}()

	if err := cluster.WaitReady(waiting); err != nil {
		started.Kill()
		return nil, fmt.Errorf("%w: %s", err, last)
	}
	return started, nil
}

// PID returns the postmaster's process id.
func (p *Postmaster) PID() int { return p.cmd.Process.Pid }

// Ended returns a channel that is closed once the server has ended, for whatever reason.
func (p *Postmaster) Ended() <-chan struct{} { return p.ended }

// Stop shuts the server down fast (SIGINT) and waits for it. If ctx ends first, the
// server is killed and the error of ctx returned.
func (p *Postmaster) Stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		<-p.ended  // the only cause: it has ended already
		return nil //nolint:nilerr // that is what was wanted
	}

	select {
	case <-p.ended:
		return p.err
	case <-ctx.Done():
		p.Kill()
		return errors.Join(ctx.Err(), p.err)
	}
}

// Kill ends the server as a crash would (SIGKILL) and waits for the postmaster; its
// backends notice a moment later.
func (p *Postmaster) Kill() {
	_ = p.cmd.Process.Kill() // fails only if it has ended already
	<-p.ended
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write keeps the last two kilobytes: enough for the reason, short enough for an error.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-2048):]
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// SocketURL returns the superuser's connection string for a database over the cluster's
// Unix socket: faster than TCP, and only for the server's user and root. It contains the
// password.
func SocketURL(cluster *localpg.Cluster, database string) string {
	u, err := url.Parse(cluster.URL(database))
	if err != nil {
		panic(err) // a URL that package url made
	}

	u.Host = ""
	u.RawQuery = url.Values{"host": {cluster.SocketDir}, "port": {strconv.Itoa(cluster.Port)}}.Encode()
	return u.String()
}
