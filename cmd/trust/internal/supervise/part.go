package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"syscall"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pg"
)

// Part is one process of the system.
type Part struct {
	Name    string // of its pid file
	Command func(context.Context) *exec.Cmd
	Stop    syscall.Signal // asks it to end; the kernel sends it too when the supervisor is gone
	Grace   time.Duration  // how long it may take to end before it is killed

	died func() // is called at each end that nobody asked for; may be nil
}

// How long a part that died waits for its next start: longer each time, until it has run
// for a good while.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 5 * time.Second
	goodWhile  = 30 * time.Second
)

// keep runs a part until ctx ends, and again whenever it ends by itself. A part that
// refuses its configuration would do so forever, so it ends the supervisor.
func (s *Supervisor) keep(ctx context.Context, p Part) {
	pauses := pg.NewBackoff(firstPause, longPause)
	for {
		started := time.Now()
		err := s.once(ctx, p)
		if ctx.Err() != nil {
			return
		}

		if ExitCode(err) == exit.CodeRefused {
			s.Fail(exit.WrongUsage("%s refuses its configuration; correct what it says above and start again", p.Name))
			return
		}

		if time.Since(started) > goodWhile {
			pauses.Reset()
		}
		s.log.WarnContext(ctx, "a part ended; starting it again", slog.String("part", p.Name),
			slog.String("how", how(err)))
		if p.died != nil {
			p.died()
		}

		if !pauses.Wait(ctx) {
			return
		}
	}
}

// Finish runs a part that ends by itself until it has done its work. It repeats one that
// could not reach what it needs, and accepts any other answer.
func (s *Supervisor) Finish(ctx context.Context, p Part) error {
	pauses := pg.NewBackoff(firstPause, longPause)
	for {
		err := s.once(ctx, p)
		code := ExitCode(err)
		if err == nil || ctx.Err() != nil || code == exit.CodeNotSo || code == exit.CodeRefused {
			return err
		}

		s.log.WarnContext(ctx, "a step failed; trying it again", slog.String("part", p.Name),
			slog.String("how", how(err)))
		if !pauses.Wait(ctx) {
			return err
		}
	}
}

// once runs a part from start to end. When ctx ends it asks the part to end, and kills it
// if that takes longer than its grace or the supervisor has to hurry. The pid file exists
// exactly as long as the process.
func (s *Supervisor) once(ctx context.Context, p Part) error {
	if err := ctx.Err(); err != nil {
		return err
	}

	cmd := p.Command(context.WithoutCancel(ctx)) // await asks it to end before it kills it
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// It gets a process group of its own, because a Ctrl-C on the terminal is for the
	// supervisor, which stops the parts in order.
	cmd.SysProcAttr.Setpgid = true
	if err := localpg.StartBound(cmd, p.Stop); err != nil {
		return err
	}

	pidErr := s.home.started(p.Name, cmd.Process.Pid)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err := s.await(ctx, p, cmd, ended)
	if fileErr := errors.Join(pidErr, s.home.ended(p.Name)); fileErr != nil {
		s.log.ErrorContext(ctx, "the pid file could not be written", slog.String("part", p.Name),
			slog.String("error", fileErr.Error()))
	}
	return err
}

func (s *Supervisor) await(ctx context.Context, p Part, cmd *exec.Cmd, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}

	_ = cmd.Process.Signal(p.Stop) // fails only when it has ended already
	patience := time.NewTimer(p.Grace)
	defer patience.Stop()
	select {
	case err := <-ended:
		return err
	case <-patience.C:
		s.log.ErrorContext(ctx, "a part did not end when asked; killing it", slog.String("part", p.Name))
	case <-s.hurry:
	}

	_ = cmd.Process.Kill()
	return <-ended
}

// ExitCode returns the exit code of a process, or -1 if it was killed or never started.
func ExitCode(err error) int {
	if err == nil {
		return exit.CodeDone
	}
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode()
	}
	return -1
}

// how describes how a process ended.
func how(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return fmt.Sprint(err)
}
