package projections_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// The tests here start this test binary again as a worker process of the users
// projection, so that it can be stopped and killed for real. Between fold and commit of
// the first page with more than one event, the child sends itself the signal that it was
// told. It goes on when its standard input ends, because a stop signal may arrive later
// than it was sent.
const (
	childURL    = "PROJECTIONS_CHILD_URL"
	childSignal = "PROJECTIONS_CHILD_SIGNAL"
)

func runChild(url string) {
	signals := map[string]syscall.Signal{"stop": syscall.SIGSTOP, "kill": syscall.SIGKILL}
	var raised atomic.Bool
	users, _ := projections.ByName("users")

	worker := follow.NewWorker(follow.Config{
		DatabaseURL: url, MasterKey: []byte(masterKey), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, folding{Projection: users, after: func(_ context.Context, _ pgx.Tx, events []domain.Recorded) error {
		if s, ok := signals[os.Getenv(childSignal)]; ok && len(events) > 1 && !raised.Swap(true) {
			if err := syscall.Kill(os.Getpid(), s); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, os.Stdin)
			return err
		}
		return nil
	}})

	if err := worker.Run(context.Background()); err != nil {
		slog.Error("child", slog.Any("error", err))
	}
}

// child starts a worker process. goOn lets it continue after its signal.
func (w *world) child(t *testing.T, signal string) (cmd *exec.Cmd, goOn func()) {
	t.Helper()
	cmd = exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0]) // killed below, before the database goes
	cmd.Env = append(os.Environ(), childURL+"="+w.db.URL(pgtest.Projector), childSignal+"="+signal)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	input, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})

	return cmd, func() { must(t, input.Close()) }
}

// registerTogether appends several users in one transaction, so that one page holds them.
func (w *world) registerTogether(t *testing.T) {
	t.Helper()
	a := domain.Append{ID: newID(), Tenant: w.tenant}
	for range 5 {
		user := newUser()
		a.Side = append(a.Side, domain.CreateSubjectKey{Subject: user})
		a.Writes = append(a.Writes, domain.Write{
			Stream: domain.UserOf(user),
			Events: []domain.Event{&domain.UserRegistered{
				MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
				Person: domain.Known(domain.PersonFacts{Email: "a@example.org", FullName: "Together"}),
			}},
		})
	}

	_, err := w.store.Append(t.Context(), a)
	must(t, err)
}

func TestALeaderKilledBetweenFoldAndCommitIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child, _ := w.child(t, "kill")
	pgtest.Eventually(t, "the child leads", func() bool { return w.epoch(t) >= 1 })
	w.caughtUp(t, "users")

	w.registerTogether(t)
	if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended with %v", err)
	}
	if s := w.status(t, "users"); s.Lag != 5 {
		t.Fatalf("what was killed before its commit is visible: %+v", s)
	}

	w.work(t, projection(t, "users"))
	w.caughtUp(t, "users")
}

func TestALeaderThatStandsStillLosesItsLeadershipAndWritesNothingOnWaking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child, goOn := w.child(t, "stop")
	pgtest.Eventually(t, "the child leads", func() bool { return w.epoch(t) >= 1 })
	w.caughtUp(t, "users")

	stop := w.work(t, projection(t, "users")) // stands by
	w.registerTogether(t)                     // the child stops itself between fold and commit
	pgtest.Eventually(t, "the standby leads", func() bool { return w.epoch(t) >= 2 })
	w.caughtUp(t, "users")
	seen := w.head(t)

	goOn()
	must(t, child.Process.Signal(syscall.SIGCONT))
	w.registerTogether(t)
	w.caughtUp(t, "users")
	super := w.db.Superuser(t)
	pgtest.Eventually(t, "the child stands by", func() (standing bool) {
		must(t, super.QueryRow(t.Context(), `select count(*) = 2 from pg_stat_activity
			where datname = current_database() and application_name = 'trust-follow-leader'`).Scan(&standing))
		return standing
	})
	if s := w.becomes(t, "users", follow.Running); s.Position < seen {
		t.Errorf("status %+v", s)
	}

	stop()
	w.register(t, w.tenant, "last")
	w.caughtUp(t, "users") // by the child
	if epoch := w.epoch(t); epoch < 3 {
		t.Errorf("epoch %d, want 3: the child's second leadership", epoch)
	}
}
