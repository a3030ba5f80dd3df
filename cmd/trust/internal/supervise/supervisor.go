package supervise

import (
	"context"
	"log/slog"
	"os"
	"sync"
)

// Supervisor starts the parts of the system, keeps them alive and stops them in order. It
// does none of their work.
type Supervisor struct {
	Database *Group // stopped last
	Clients  *Group // everything that uses the database, except the API
	API      *Group // stopped first

	home   *Home
	log    *slog.Logger
	failed chan error    // why everything has to end; the first error counts
	hurry  chan struct{} // closed when parts get no more time to end
}

// New returns a supervisor without parts. The parts outlive the end of ctx: at a signal
// they end one after the other, not all at once.
func New(ctx context.Context, h *Home, log *slog.Logger) *Supervisor {
	ctx = context.WithoutCancel(ctx)
	return &Supervisor{
		Database: newGroup(ctx), Clients: newGroup(ctx), API: newGroup(ctx),
		home: h, log: log, failed: make(chan error, 1), hurry: make(chan struct{}),
	}
}

// Group is a number of parts, and other work beside them, that are stopped together.
type Group struct {
	start func(do func(context.Context))
	stop  func() // and waits
}

func newGroup(ctx context.Context) *Group {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup

	return &Group{
		start: func(do func(context.Context)) { running.Go(func() { do(ctx) }) },
		stop: func() {
			cancel()
			running.Wait()
		},
	}
}

// Go runs do beside the parts of a group, in a context that ends when the group is
// stopped.
func (g *Group) Go(do func(context.Context)) { g.start(do) }

// Keep keeps a part alive in a group.
func (s *Supervisor) Keep(g *Group, p Part) {
	g.start(func(ctx context.Context) { s.keep(ctx, p) })
}

// Fail ends the supervisor with an error.
func (s *Supervisor) Fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// Failed receives the error for which the supervisor has to end. A receiver that is not
// the last to need it passes it on with Fail.
func (s *Supervisor) Failed() <-chan error { return s.failed }

// StopAll stops the API, then everything else that uses the database, then the database.
// A second signal makes it kill them.
func (s *Supervisor) StopAll(again <-chan os.Signal) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-again:
			close(s.hurry)
		case <-done:
		}
	}()

	for _, g := range []*Group{s.API, s.Clients, s.Database} {
		g.stop()
	}
}
