package follow_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
)

// diary wants every kind of stream, and writes down each position.
type diary struct{}

func (diary) Name() string { return "diary" }

func (diary) Kinds() []domain.StreamType { return nil }

func (diary) Apply(ctx context.Context, tx follow.Tx, events []domain.Recorded, _ int64) error {
	for _, e := range events {
		if _, err := tx.Exec(ctx, "insert into public.diary (position) values ($1)", e.Position); err != nil {
			return err
		}
	}
	return nil
}

// guarded is the tally behind a guard that may keep it from applying.
type guarded struct {
	tally
	guard func(ctx context.Context, tx follow.Tx, events []domain.Recorded) error
}

func (g guarded) Apply(ctx context.Context, tx follow.Tx, events []domain.Recorded, upTo int64) error {
	if err := g.guard(ctx, tx, events); err != nil {
		return err
	}
	return g.tally.Apply(ctx, tx, events, upTo)
}

func TestTheExampleIsTheOneInTheDocument(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("example_test.go")
	must(t, err)
	document, err := os.ReadFile("../../CONTRIBUTING.md")
	must(t, err)
	parts := strings.Split(string(code), "// ----\n")
	if len(parts) != 3 || !strings.Contains(string(document), strings.TrimSpace(parts[1])) {
		t.Error("CONTRIBUTING.md does not show the example follower as it is tested")
	}
}

func TestAFollowerAppliesEachEventOnceWhateverConnectionsAreLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, tally{}, diary{})
	w.run(t, tally{}, diary{}) // stands by, or leads
	for range 10 {
		w.grant(t, 1+rand.IntN(5))
		_, err := w.super.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and application_name like 'trust-follow-%'`)
		must(t, err)
	}
	w.grant(t, 1)
	w.counted(t)

	head, err := w.store.Head(t.Context())
	must(t, err)
	pgtest.Eventually(t, "the diary has followed", func() bool { return w.status(t, "diary").Position == head })

	var lines, last int64
	must(t, w.super.QueryRow(t.Context(), "select count(*), max(position) from public.diary").Scan(&lines, &last))
	if lines != head || last != head {
		t.Errorf("the diary has %d lines up to %d of a log of %d", lines, last, head)
	}
}

func TestAPoisonedEventHaltsItsFollowerVisiblyAndNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, 4)
	w.append(t, domain.ConsentsOf(domain.UserID{UUID: newID()}), nil, &domain.ConsentGranted{
		Decision: domain.Decision{ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "poison"},
	})
	bad, err := w.store.Head(t.Context())
	must(t, err)
	w.grant(t, 4)

	var mended atomic.Bool
	w.run(t, diary{}, guarded{guard: func(_ context.Context, _ follow.Tx, events []domain.Recorded) error {
		for _, e := range events {
			if g, ok := e.Event.(*domain.ConsentGranted); ok && g.Purpose == "poison" && !mended.Load() {
				return &follow.PlainError{Text: "nobody can count that"}
			}
		}
		return nil
	}})

	s := w.becomes(t, "tally", follow.Halted)
	if s.Position != bad-1 || s.Lag != 5 || s.ErrorSince == nil || !strings.Contains(s.Error, "nobody can count that") {
		t.Errorf("status %+v; the poisoned event is %d", s, bad)
	}
	if got := w.tally(t); got != 4 {
		t.Errorf("the tally says %d, want the 4 grants before the event", got)
	}
	pgtest.Eventually(t, "the diary goes on", func() bool { return w.status(t, "diary").Lag == 0 })

	mended.Store(true)
	w.granted++ // the poison itself
	w.counted(t)
	if s := w.becomes(t, "tally", follow.Running); s.Error != "" || s.ErrorSince != nil {
		t.Errorf("status %+v", s)
	}
}

func TestAnErrorThatMayHoldPersonalDataIsShownByItsTypeAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, 1)
	w.run(t, guarded{guard: func(context.Context, follow.Tx, []domain.Recorded) error {
		return errors.New("thandi@example.org cannot be counted")
	}})
	if s := w.becomes(t, "tally", follow.Halted); strings.Contains(s.Error, "thandi") {
		t.Errorf("status %+v", s)
	}
}

// A statement that takes too long may be passing trouble, and is tried again; at the
// third time the event is to blame.
func TestAnEventThatIsTooSlowAThirdTimeHalts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, 2)
	var slow atomic.Int64
	slow.Store(2)
	w.run(t, guarded{guard: func(ctx context.Context, tx follow.Tx, _ []domain.Recorded) error {
		if slow.Add(-1) < 0 {
			return nil
		}
		_, err := tx.Exec(ctx, "set local statement_timeout = 1; select pg_sleep(10)")
		return err
	}})
	w.counted(t)
	if s := w.status(t, "tally"); s.Error != "" {
		t.Errorf("after two slow tries: %+v", s)
	}

	slow.Store(1_000_000)
	w.grant(t, 1)
	if s := w.becomes(t, "tally", follow.Halted); !strings.Contains(s.Error, "57014") {
		t.Errorf("status %+v", s)
	}
	slow.Store(0)
	w.counted(t)
}

// Trouble with the database is waited out. But trouble that one event meets every time,
// while the leadership is healthy, is that event's.
func TestAnEventThatAlwaysMeetsTroubleHaltsVisibly(t *testing.T) {
	t.Parallel()
	for state, statement := range map[string]string{
		"53400": "do $$ begin raise exception 'too large for a temporary file' using errcode = '53400'; end $$",
		"55P03": "do $$ begin raise exception 'locked' using errcode = '55P03'; end $$",
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grant(t, 2)

			var mended atomic.Bool
			w.run(t, guarded{guard: func(ctx context.Context, tx follow.Tx, _ []domain.Recorded) error {
				if mended.Load() {
					return nil
				}
				_, err := tx.Exec(ctx, statement)
				return err
			}})
			if s := w.becomes(t, "tally", follow.Halted); !strings.Contains(s.Error, state) || s.Position != 1 {
				t.Errorf("status %+v", s)
			}

			mended.Store(true)
			w.counted(t)
			if s := w.becomes(t, "tally", follow.Running); s.Error != "" {
				t.Errorf("status %+v", s)
			}
		})
	}
}

func TestSettingsOfTheDatabaseDoNotReachAFollower(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	settings := map[string]string{
		"statement_timeout": "100ms", "lock_timeout": "100ms", "default_transaction_isolation": "serializable",
		"client_encoding": "LATIN1", "row_security": "off",
	}
	for name, value := range settings {
		sql := fmt.Sprintf("alter database %s set %s = '%s'", pgx.Identifier{w.db.Name()}.Sanitize(), name, value)
		_, err := w.super.Exec(t.Context(), sql)
		must(t, err)
	}

	w.run(t, guarded{guard: func(ctx context.Context, tx follow.Tx, _ []domain.Recorded) error {
		if _, err := tx.Exec(ctx, "select pg_sleep(0.3)"); err != nil {
			return err
		}
		for name, value := range settings {
			var got string
			if err := tx.QueryRow(ctx, "select current_setting($1)", name).Scan(&got); err != nil {
				return err
			}
			if got == value {
				return &follow.PlainError{Text: name + " is " + value}
			}
		}
		return nil
	}})
	w.grant(t, 1)
	w.counted(t)
	if s := w.status(t, "tally"); s.Error != "" {
		t.Errorf("status %+v", s)
	}
}

func TestAFollowerKilledGoesOnAtItsCheckpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		w.grant(t, 20)

		child := w.start(t)
		before := w.tally(t)
		pgtest.Eventually(t, "some of it is counted", func() bool { return w.tally(t) > before })
		must(t, child.Process.Kill())
		_ = child.Wait() // killed
		if got, at := w.tally(t), w.status(t, "tally").Position; int64(got) != max(at-1, 0) {
			t.Fatalf("%d grants are counted at position %d: rows and checkpoint have parted", got, at)
		}
	}
	w.start(t)
	w.counted(t)
}

func TestAStandbyTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, 2)
	leader := w.start(t)
	w.counted(t)
	w.start(t) // stands by
	led := w.epoch(t, "tally")

	must(t, leader.Process.Kill())
	_ = leader.Wait() // killed
	w.grant(t, 5)
	w.counted(t)
	if epoch := w.epoch(t, "tally"); epoch != led+1 {
		t.Errorf("epoch %d after %d: want one new leadership", epoch, led)
	}
}

func TestAFollowerThatNeverRanIsStoppedAtTheBeginning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if s := w.status(t, "tally"); s.State != follow.Stopped || s.Position != 0 || s.Lag != 1 || s.SeenAt != nil {
		t.Errorf("status %+v", s)
	}
}

func TestAServerThatRefusesTheLoginEndsTheWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.config(t)
	config.DatabaseURL += "_not_there"
	if strings.Contains(config.DatabaseURL, "?") {
		config.DatabaseURL = strings.Replace(w.config(t).DatabaseURL, "?", "_not_there?", 1)
	}

	err := follow.NewWorker(config, tally{}).Run(t.Context())
	if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != "3D000" {
		t.Errorf("Run returns %v", err)
	}
}

func TestALoginWithoutTheRoleEndsTheWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.config(t)
	config.DatabaseURL = w.db.URL(pgtest.Query)
	if err := follow.NewWorker(config, tally{}).Run(t.Context()); !errors.Is(err, follow.ErrWrongLogin) {
		t.Errorf("Run returns %v", err)
	}
}
