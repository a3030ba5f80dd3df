package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// Command gives the server, ready to start in the foreground; it logs to standard error. When ctx ends the server gets
// SIGINT (a fast shutdown: sessions are cut, nothing committed is lost), and is killed if that takes a minute. Start it with
// StartBound(cmd, syscall.SIGINT), or it outlives a parent that crashes.
func (c *Cluster) Command(ctx context.Context) *exec.Cmd {
	settings := c.settings()
	args := []string{"-D", c.dataDir()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	cmd := c.command(ctx, "postgres", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	return cmd
}

// settings stand on the command line, where neither ALTER SYSTEM nor an edited file can undo what protects personal data.
func (c *Cluster) settings() map[string]string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(c.Port),
		"unix_socket_directories": c.SocketDir,
		"unix_socket_permissions": "0700",
		"password_encryption":     "scram-sha-256",

		// No personal data in the log: no parameters, no DETAIL lines (which quote rows), no failing statements.
		"log_parameter_max_length":          "0",
		"log_parameter_max_length_on_error": "0",
		"log_error_verbosity":               "terse",
		"log_min_error_statement":           "panic",
		"log_statement":                     "none",
		"log_min_duration_statement":        "-1",
		"logging_collector":                 "off", // the supervisor owns standard error
		"log_destination":                   "stderr",
		"log_checkpoints":                   "off", // every five minutes, and of no use to a small private cluster

		"TimeZone":        "UTC",
		"log_timezone":    "UTC",
		"max_connections": "200",
		"shared_buffers":  "128MB",
		"max_wal_size":    "2GB", // fewer checkpoints while events are loaded or projections rebuilt
		"wal_compression": "on",
		"jit":             "off", // our statements are short; compiling them costs more than it saves
	}
	maps.Copy(settings, c.config.Settings)
	return settings
}

// Server is a running server that this process started.
type Server struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended; read after ended is closed
}

// Start runs the server bound to this process and waits until it answers; ctx bounds that wait and nothing else. The
// server's log goes to log, unless that is nil. A server that ends before it answers gives the end of its log as the error.
func (c *Cluster) Start(ctx context.Context, log io.Writer) (*Server, error) {
	cmd := c.Command(context.WithoutCancel(ctx))
	last := &tail{}
	cmd.Stderr = last
	if log != nil {
		cmd.Stderr = io.MultiWriter(last, log)
	}
	cmd.Stdout = cmd.Stderr
	if err := StartBound(cmd, syscall.SIGINT); err != nil {
		return nil, fmt.Errorf("local postgres: %w", err)
	}
	server := &Server{cmd: cmd, ended: make(chan struct{})}
	go func() {
		server.err = cmd.Wait()
		close(server.ended)
	}()

	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-server.ended:
			stop()
		case <-waiting.Done():
		}
	}()
	if err := c.WaitReady(waiting); err != nil {
		server.Kill()
		return nil, fmt.Errorf("%w: %s", err, last)
	}
	return server, nil
}

// PID is the postmaster's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Ended is closed when the server has ended, for whatever reason.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Stop shuts down fast (SIGINT) and waits for it. When ctx ends first the server is killed, and ctx's error returned.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		<-s.ended  // the only cause: it has ended already
		return nil //nolint:nilerr // which is what was wanted
	}
	select {
	case <-s.ended:
		return s.err
	case <-ctx.Done():
		s.Kill()
		return errors.Join(ctx.Err(), s.err)
	}
}

// Kill ends the server as a crash would (SIGKILL) and waits for the postmaster; its backends notice a moment later.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // fails only when it has ended already
	<-s.ended
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

// String gives what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
