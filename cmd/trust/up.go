package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
)

type upCmd struct{}

// Run starts everything, keeps it alive until a signal comes, and then stops it in order.
func (upCmd) Run(p *program) error {
	home, err := openHome(p.settings.DataDir)
	if err != nil {
		return err
	}
	defer home.close()
	// Read again now that nobody else writes there: another trust up may just have made what is missing here.
	if p.settings, err = p.settings.Again(os.Environ()); err != nil {
		return err
	}
	from, err := settle(p.ctx, p, p.stderr)
	if err != nil {
		return interrupted(p.ctx, err)
	}
	if err := awaitAddress(p.ctx, from.config.HTTPAddr); err != nil {
		return interrupted(p.ctx, err)
	}
	if from.server != nil {
		if err := from.server.cluster.Init(p.ctx); err != nil {
			return interrupted(p.ctx, exit.Unreachable(err, "cannot make a Postgres in DATA_DIR"))
		}
	}
	s := newSupervisor(home, newLogger(p.stderr, from.config, "up"), from.server)
	again := make(chan os.Signal, 1)
	err = s.launch(p, from)
	if err == nil {
		select {
		case <-p.ctx.Done():
		case err = <-s.failed:
		}
	}
	signal.Notify(again, syscall.SIGINT, syscall.SIGTERM) // a second one kills
	s.stopAll(again)
	return interrupted(p.ctx, err)
}

// interrupted makes "stopped because somebody said so" a success.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && exit.CodeOf(err) != exit.CodeUsage {
		return nil
	}
	return err
}

// launch starts the parts in order: the database, its schema, then everything that uses it. It returns when all run; the first
// import goes on meanwhile.
func (s *supervisor) launch(p *program, from settled) error {
	ctx, stop := context.WithCancelCause(p.ctx)
	defer stop(nil)
	go func() { // a part that refuses to work ends the waiting below
		select {
		case err := <-s.failed:
			stop(err)
			s.fail(err)
		case <-ctx.Done():
		}
	}()
	if s.server != nil {
		s.start(&s.server.group, s.server.part(s.fail))
		if err := s.server.awaitReady(ctx); err != nil {
			return cause(ctx, err)
		}
	}
	if err := s.step(ctx, p, "schema"); err != nil {
		return cause(ctx, err)
	}
	if err := s.forgetOthers(from.config); err != nil {
		return exit.Unreachable(err, "cannot prepare DATA_DIR")
	}
	serve, err := p.own("serve", "serve")
	if err != nil {
		return err
	}
	s.start(&s.serve, serve)
	for _, name := range projectorNames() {
		worker, err := p.own("project-"+name, "project", name)
		if err != nil {
			return err
		}
		s.start(&s.clients, worker)
	}
	s.clients.running.Go(func() { s.welcome(p, from) })
	return nil
}

// cause is why ctx ended, if it did, and else err.
func cause(ctx context.Context, err error) error {
	if reason := context.Cause(ctx); reason != nil {
		return reason
	}
	return err
}

// step does one step of the preparation in a process of its own, until it is done.
func (s *supervisor) step(ctx context.Context, p *program, name string) error {
	work, err := p.own("prepare", "prepare", name)
	if err != nil {
		return err
	}
	err = s.finish(ctx, work)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case codeOf(err) == exit.CodeRefused:
		return exit.WrongUsage("the step %s refuses its configuration; correct what it says above and start again", name)
	default:
		return exit.NotSo("the step %s did not succeed; it says above why", name)
	}
}

// welcome does the first import, and says where everything is once it works.
func (s *supervisor) welcome(p *program, from settled) {
	ctx := s.clients.ctx
	if err := s.contents(ctx, p, from.config); err != nil {
		if ctx.Err() == nil {
			s.fail(err)
		}
		return
	}
	if !awaitReadyAnswer(ctx, from.config.HTTPAddr) {
		return
	}
	if err := announce(p, from); err != nil {
		s.log.Warn("cannot write to standard output")
	}
}

// announce prints the addresses. The admin's password is for the eyes of who sits before the terminal, not for files and pipes.
func announce(p *program, from settled) error {
	c := from.config
	base := "http://" + reachableAddress(c.HTTPAddr)
	signIn := fmt.Sprintf("%s in municipality SALGA; password: ADMIN_PASSWORD in %s", c.Settings.Get("ADMIN_EMAIL"), c.EnvFile())
	switch {
	case from.given:
		signIn = c.Settings.Get("ADMIN_EMAIL") + " in municipality SALGA; password: as given in ADMIN_PASSWORD"
	case isTerminal(p.stdout):
		signIn = fmt.Sprintf("%s in municipality SALGA; password: %s (kept in %s)",
			c.Settings.Get("ADMIN_EMAIL"), c.Settings.Get("ADMIN_PASSWORD"), c.EnvFile())
	}
	database := from.config.DatabaseURL
	_, err := fmt.Fprintf(p.stdout, `ready
  API            %s/api/v1
  documentation  %s/docs
  database       %s
  first admin    %s
`, base, base, describeDatabase(database, from.server), signIn)
	return err
}

func describeDatabase(address string, server *privateServer) string {
	if server == nil {
		return settings.HostAndName(address)
	}
	return settings.HostAndName(address) + " in " + server.cluster.Dir
}

// reachableAddress replaces "every address of this machine" by one that a browser can open.
func reachableAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// awaitAddress refuses an address that somebody else listens on, after a moment in which a predecessor may end.
func awaitAddress(ctx context.Context, address string) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err == nil {
			return listener.Close()
		}
		if time.Now().After(deadline) || !errors.Is(err, syscall.EADDRINUSE) {
			return exit.Unreachable(err, "cannot listen on HTTP_ADDR; end what listens there, or set another address")
		}
		if !retry.Wait(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}
