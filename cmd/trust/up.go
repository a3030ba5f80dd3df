package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/cmd/trust/internal/supervise"
)

type upCmd struct{}

// Run starts everything, keeps it alive until a signal comes, and then stops it in order.
func (upCmd) Run(ctx context.Context, p *program) error {
	outliveReaders()
	home, err := supervise.OpenHome(p.settings.DataDir)
	if err != nil {
		return err
	}
	defer home.Close()

	// Read again now that nobody else writes there: another trust up may just have made
	// what was missing.
	if p.settings, err = p.settings.Again(os.Environ()); err != nil {
		return err
	}

	from, err := settle(ctx, p, p.stderr)
	if err != nil {
		return interrupted(ctx, err)
	}
	if err := awaitAddress(ctx, from.config.HTTPAddr); err != nil {
		return interrupted(ctx, err)
	}

	if from.server != nil {
		if err := from.server.Cluster.Init(ctx); err != nil {
			return interrupted(ctx, exit.Unreachable(err, "cannot make a Postgres in DATA_DIR"))
		}
	}

	log := newLogger(p.stderr, from.config, "up")
	s := &system{program: p, from: from, log: log, parts: supervise.New(ctx, home, log)}
	err = s.launch(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-s.parts.Failed():
		}
	}

	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGINT, syscall.SIGTERM) // a second one kills
	s.parts.StopAll(again)
	return interrupted(ctx, err)
}

// system is what trust up runs.
type system struct {
	*program
	from settled

	log   *slog.Logger
	parts *supervise.Supervisor
}

// interrupted turns an error that came after a stop signal into success, unless it says
// that the configuration is wrong.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && exit.CodeOf(err) != exit.CodeUsage {
		return nil
	}
	return err
}

// launch starts the parts in order: the database, its schema, then everything that uses
// it. It returns when all run; the first import goes on meanwhile.
func (s *system) launch(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { // a part that refuses to work ends the waiting below
		select {
		case err := <-s.parts.Failed():
			stop(err)
			s.parts.Fail(err)
		case <-ctx.Done():
		}
	}()

	if s.from.server != nil {
		s.parts.Keep(s.parts.Database, s.from.server.Part(s.parts.Fail))
		if err := s.from.server.AwaitReady(ctx); err != nil {
			return cause(ctx, err)
		}
	}

	if err := s.step(ctx, "schema"); err != nil {
		return cause(ctx, err)
	}
	if err := s.forgetOthers(); err != nil {
		return exit.Unreachable(err, "cannot prepare DATA_DIR")
	}

	serve, err := s.own("serve", "serve")
	if err != nil {
		return err
	}
	s.parts.Keep(s.parts.API, serve)
	for _, name := range namesOf(followers()) {
		worker, err := s.own("project-"+name, "project", name)
		if err != nil {
			return err
		}
		s.parts.Keep(s.parts.Clients, worker)
	}
	if s.from.config.Relay.URL != "" {
		relay, err := s.own("relay", "relay")
		if err != nil {
			return err
		}
		s.parts.Keep(s.parts.Clients, relay)
	}
	sender, err := s.own("webhooks", "webhooks")
	if err != nil {
		return err
	}
	s.parts.Keep(s.parts.Clients, sender)
	s.parts.Clients.Go(s.welcome)
	return nil
}

// ownFile returns the file of this program. On Linux it is the one that runs, even if a
// newer build has taken its name since: parts of two releases would not fit one schema.
func ownFile() (string, error) {
	// Of the process that executes it, which until then is this one.
	const running = "/proc/self/exe"

	if _, err := os.Stat(running); err == nil {
		return running, nil
	}
	return os.Executable()
}

// own returns a part that runs this program with other arguments.
func (p *program) own(name string, args ...string) (supervise.Part, error) {
	self, err := ownFile()
	if err != nil {
		return supervise.Part{}, exit.Unreachable(err, "cannot find this program's own file")
	}

	return supervise.Part{
		Name: name, Stop: syscall.SIGTERM, Grace: 15 * time.Second,
		Command: func(ctx context.Context) *exec.Cmd {
			cmd := exec.CommandContext(ctx, self, args...)
			cmd.Args[0] = os.Args[0] // as ps shows it
			cmd.Env = append(p.settings.AsEnvironment(os.Environ()), exit.PartVariable+"="+name)
			cmd.Stdout, cmd.Stderr = p.stdout, p.stderr
			return cmd
		},
	}, nil
}

// cause returns why ctx ended, or err if it has not ended.
func cause(ctx context.Context, err error) error {
	if reason := context.Cause(ctx); reason != nil {
		return reason
	}
	return err
}

// step runs one step of the preparation in a process of its own, until it is done.
func (s *system) step(ctx context.Context, name string) error {
	work, err := s.own("prepare", "prepare", name)
	if err != nil {
		return err
	}

	err = s.parts.Finish(ctx, work)

	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case supervise.ExitCode(err) == exit.CodeRefused:
		return exit.WrongUsage("the step %s refuses its configuration; correct what it says above and start again",
			name)
	default:
		return exit.NotSo("the step %s failed; its messages above say why", name)
	}
}

// welcome does the first import, and says where everything is once it works.
func (s *system) welcome(ctx context.Context) {
	if err := s.contents(ctx); err != nil {
		if ctx.Err() == nil {
			s.parts.Fail(err)
		}
		return
	}

	if !awaitReadyAnswer(ctx, s.from.config.HTTPAddr) {
		return
	}
	works, err := s.adminOpens(ctx)
	if err != nil {
		return // it was told to stop
	}
	if err := s.announce(works); err != nil {
		s.log.WarnContext(ctx, "cannot write to standard output")
	}
}

// adminOpens reports whether the first admin's password, as set or kept, opens the
// account: it may have been changed since, or the database restored.
func (s *system) adminOpens(ctx context.Context) (bool, error) {
	prove, err := s.own("prepare", "prepare", "admin")
	if err != nil {
		return false, err
	}

	err = s.parts.Finish(ctx, prove)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return err == nil, nil
}

// announce prints the addresses. It shows the admin's password only on a terminal, not in
// files and pipes, and only while that password works.
func (s *system) announce(works bool) error {
	c := s.from.config
	// Once more, because the password is made after the settings were read.
	kept, err := c.Settings.Again(os.Environ())
	if err != nil {
		return err
	}

	base := "http://" + reachableAddress(c.HTTPAddr)
	signIn := fmt.Sprintf("%s in municipality SALGA; password: ADMIN_PASSWORD in %s", c.Settings.Get("ADMIN_EMAIL"),
		c.EnvFile())
	switch {
	case !works:
		signIn = "made before, and its password is not the one that is set or kept here; make another admin with\n" +
			"                 trust admin create --municipality SALGA --email ADDRESS"
	case s.from.given:
		signIn = c.Settings.Get("ADMIN_EMAIL") + " in municipality SALGA; password: as given in ADMIN_PASSWORD"
	case isTerminal(s.stdout):
		signIn = fmt.Sprintf("%s in municipality SALGA; password: %s (kept in %s)",
			c.Settings.Get("ADMIN_EMAIL"), kept.Get("ADMIN_PASSWORD"), c.EnvFile())
	}

	database := describeDatabase(c)
	if s.from.server != nil {
		database += fmt.Sprintf("\n  Postgres       %s", s.from.server.Binaries)
	}
	_, err = fmt.Fprintf(s.stdout, `ready
  console        %s/console
  API            %s/api/v1
  documentation  %s/docs
  database       %s
  first admin    %s
`, base, base, base, database, signIn)
	return err
}

// describeDatabase names the database, and the folder of one that trust up runs.
func describeDatabase(c *settings.Config) string {
	address := settings.HostAndName(c.DatabaseURL)
	if !c.Settings.OwnServer() {
		return address
	}
	if dir := supervise.Where(c.DataDir); dir != "" {
		return address + " in " + dir
	}
	return address
}

// reachableAddress replaces "every address of this machine" by one that a client can
// connect to.
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

// awaitAddress refuses an address on which another process listens, after giving a
// predecessor time to end.
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
