package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
)

// supervisor starts the parts of the system, keeps them alive and stops them in order. It does none of their work.
type supervisor struct {
	home *home
	log  *slog.Logger

	failed chan error    // what makes going on senseless; the first counts
	hurry  chan struct{} // closed: no part is given time to end

	server  *privateServer // nil: the database is not ours
	clients group          // everything that uses the database, but for serve
	serve   group
}

// group is parts that are stopped together.
type group struct {
	stop    context.CancelFunc
	ctx     context.Context
	running sync.WaitGroup
}

func newSupervisor(h *home, log *slog.Logger, server *privateServer) *supervisor {
	s := &supervisor{home: h, log: log, failed: make(chan error, 1), hurry: make(chan struct{}), server: server}
	// Not children of the program's context: at a signal they end one after the other, not all at once.
	for _, g := range []*group{&s.serve, &s.clients} {
		g.ctx, g.stop = context.WithCancel(context.Background())
	}
	if server != nil {
		server.group.ctx, server.group.stop = context.WithCancel(context.Background())
	}
	return s
}

// start keeps a part alive in a group.
func (s *supervisor) start(g *group, p part) {
	g.running.Go(func() { s.keep(g.ctx, p) })
}

// fail ends the supervisor with an error.
func (s *supervisor) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// stopAll ends everything: no new requests, then nobody who uses the database, then the database. A second signal makes it kill.
func (s *supervisor) stopAll(again <-chan os.Signal) {
	done := make(chan struct{})
	go func() {
		select {
		case <-again:
			close(s.hurry)
		case <-done:
		}
	}()
	groups := []*group{&s.serve, &s.clients}
	if s.server != nil {
		groups = append(groups, &s.server.group)
	}
	for _, g := range groups {
		g.stop()
		g.running.Wait()
	}
	close(done)
}

// own gives a part that runs this program with other arguments.
func (p *program) own(name string, args ...string) (part, error) {
	self, err := os.Executable()
	if err != nil {
		return part{}, exit.Unreachable(err, "cannot find this program's own file")
	}
	return part{
		name: name, stop: syscall.SIGTERM, grace: 15 * time.Second,
		command: func(ctx context.Context) *exec.Cmd {
			cmd := exec.CommandContext(ctx, self, args...)
			cmd.Env = append(p.settings.AsEnvironment(os.Environ()), exit.PartVariable+"="+name)
			cmd.Stdout, cmd.Stderr = p.stdout, p.stderr
			return cmd
		},
	}, nil
}
