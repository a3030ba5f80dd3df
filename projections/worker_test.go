package projections_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// folding does something before or after a projection applies a page, in its transaction.
type folding struct {
	projections.Projection
	before, after func(ctx context.Context, tx pgx.Tx, events []domain.Recorded) error
}

func (f folding) Apply(ctx context.Context, tx follow.Tx, events []domain.Recorded, upTo int64) error {
	if f.before != nil {
		if err := f.before(ctx, tx, events); err != nil {
			return err
		}
	}
	if err := f.Projection.Apply(ctx, tx, events, upTo); err != nil || f.after == nil {
		return err
	}
	return f.after(ctx, tx, events)
}

// times does something the first n times.
func times(n int32, do func(context.Context, pgx.Tx) error) func(context.Context, pgx.Tx, []domain.Recorded) error {
	var count atomic.Int32
	return func(ctx context.Context, tx pgx.Tx, _ []domain.Recorded) error {
		if count.Add(1) > n {
			return nil
		}
		return do(ctx, tx)
	}
}

func TestAllProjectionsInOneWorkerFollowTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(t, projections.Followers()...)
	user := w.register(t, w.tenant, "early")
	consent := w.grant(t, w.tenant, user)
	w.append(t, w.tenant, domain.ConsentsOf(user), &domain.ConsentWithdrawn{ConsentID: consent, Purpose: "sms_alert"})
	w.append(t, w.tenant, domain.UserOf(user), &domain.UserRoleChanged{
		Role: domain.Change[domain.Role]{Old: domain.Citizen, New: domain.Admin},
	})

	for _, p := range projections.All() {
		w.caughtUp(t, p.Name())
		if s := w.becomes(t, p.Name(), follow.Running); s.Lag != 0 || s.Error != "" {
			t.Errorf("status %+v", s)
		}
	}

	got, err := w.queries.User(t.Context(), w.tenant, user)
	must(t, err)
	if got.Role != domain.Admin || got.Version != 2 || got.FullName != "Ṱhilivhali early" {
		t.Errorf("the user reads %+v", got)
	}

	c, err := w.queries.Consent(t.Context(), w.tenant, user, consent)
	must(t, err)
	if !c.Withdrawn() || c.RecordedBy != user {
		t.Errorf("the consent reads %+v", c)
	}
}

func TestABacklogIsFoldedInFullPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 50 {
		w.register(t, w.tenant, "a")
	}
	var next, largest atomic.Int64
	config := w.config(t)
	config.PageSize = 7
	config.Committed = func(_ string, after, upTo int64, _ time.Duration) {
		if !next.CompareAndSwap(after, upTo) {
			t.Errorf("a page after %d follows one up to %d", after, next.Load())
		}
		largest.Store(max(largest.Load(), upTo-after))
	}

	run(t, follow.NewWorker(config, projection(t, "users")))
	w.caughtUp(t, "users")

	w.register(t, w.tenant, "live")
	w.caughtUp(t, "users")
	if largest.Load() != 7 {
		t.Errorf("the largest page had %d events, want 7", largest.Load())
	}
}

func TestNothingIsSkippedWhenAnAppendIsHeldOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(t, projection(t, "consents"))
	w.caughtUp(t, "consents")
	before := w.head(t)

	held, err := w.db.Conn(t, pgtest.Query).Begin(t.Context())
	must(t, err)
	w.beforeCodes(t)
	_, err = held.Exec(t.Context(), `select trust.append(
		array[$1]::uuid[], array[$2]::uuid[], array[1], array[1], array[$2]::uuid[], array['purpose'],
		array[$3]::uuid[], array[0], array[1], array[1], array[1], array[$4]::uuid[], array['purpose.retired.v1'],
		array[null]::uuid[], array[$3]::uuid[], array[null]::uuid[], array['{}'], array[null]::bytea[], array['{}'],
		array[null]::timestamptz[], null)`,
		newID(), w.tenant.UUID, newID(), newID())
	must(t, err)

	later := make(chan domain.UserID, 1)
	go func() {
		defer close(later)
		user := newUser()
		w.grant(t, w.tenant, user) // waits for the held one
		later <- user
	}()

	super := w.db.Superuser(t)
	pgtest.Eventually(t, "the later append waits", func() (waits bool) {
		must(t, super.QueryRow(t.Context(),
			`select exists (select from pg_locks where locktype = 'advisory' and not granted
			and database = (select oid from pg_database where datname = current_database()))`).Scan(&waits))
		return waits
	})
	if s := w.status(t, "consents"); s.Position != before {
		t.Fatalf("the projector is at %d before any commit, want %d", s.Position, before)
	}

	must(t, held.Commit(t.Context()))
	user := pgtest.Receive(t, later)
	w.caughtUp(t, "consents")
	list, err := w.queries.Consents(t.Context(), w.tenant, user, projections.Page{})
	must(t, err)
	if len(list.Items) != 1 {
		t.Errorf("the later append made %d rows, want 1", len(list.Items))
	}
}

func TestAFoldThatFailsMidwayIsDoneAgainOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, w.tenant, "a")
	w.register(t, w.tenant, "b")
	w.work(t, folding{Projection: projection(t, "users"), after: times(3, func(context.Context, pgx.Tx) error {
		return errors.New("after the rows were written")
	})})
	w.caughtUp(t, "users")
}

func TestAConnectionLostBetweenFoldAndCommitIsNoHalt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, w.tenant, "a")
	super := w.db.Superuser(t)
	var lost atomic.Int32

	w.work(t, folding{
		Projection: projection(t, "users"),
		after: func(ctx context.Context, tx pgx.Tx, _ []domain.Recorded) error {
			if lost.Load() == 2 {
				return nil
			}
			var ended bool
			pid := tx.Conn().PgConn().PID()
			err := super.QueryRow(context.WithoutCancel(ctx), "select pg_terminate_backend($1, 10000)", pid).
				Scan(&ended)
			if ended {
				lost.Add(1)
			}
			return err
		},
	})
	w.caughtUp(t, "users")
	if s := w.status(t, "users"); lost.Load() != 2 || s.Error != "" {
		t.Errorf("lost %d connections, status %+v", lost.Load(), s)
	}
}

func TestAWorkerOutlivesTheLossOfEveryConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(t, projections.Followers()...)
	w.caughtUp(t, "users")
	super := w.db.Superuser(t)

	for range 3 {
		_, err := super.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and application_name like 'trust-follow-%'`)
		must(t, err)
		w.register(t, w.tenant, "a")
		for _, p := range projections.All() {
			w.caughtUp(t, p.Name())
		}
	}
}

func TestAPanicHaltsAndTheProjectorGoesOnAfterwards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, w.tenant, "a")
	var broken atomic.Bool
	broken.Store(true)

	w.work(t, folding{
		Projection: projection(t, "users"),
		before: func(context.Context, pgx.Tx, []domain.Recorded) error {
			if broken.Load() {
				panic("a value that nobody should read")
			}
			return nil
		},
	})
	if s := w.becomes(t, "users", follow.Halted); strings.Contains(s.Error, "nobody should read") ||
		!strings.Contains(s.Error, "event 2: ") {
		t.Errorf("status %+v", s)
	}

	broken.Store(false)
	w.caughtUp(t, "users")
	if s := w.becomes(t, "users", follow.Running); s.Error != "" || s.ErrorSince != nil {
		t.Errorf("status %+v", s)
	}
}

func TestTwoWorkersOfOneProjectionFoldEachEventOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	var folded [2]atomic.Int64
	var stops []func()
	for i := range folded {
		config := w.config(t)
		config.Committed = func(_ string, after, upTo int64, _ time.Duration) { folded[i].Add(upTo - after) }
		stops = append(stops, run(t, follow.NewWorker(config, projection(t, "users"))))
	}

	for range 20 {
		w.register(t, w.tenant, "a")
	}
	w.caughtUp(t, "users")

	sum := func() int64 { return folded[0].Load() + folded[1].Load() }
	pgtest.Eventually(t, "each event is reported", func() bool { return sum() >= w.head(t) })
	if sum() != w.head(t) {
		t.Errorf("%d and %d events were folded of %d", folded[0].Load(), folded[1].Load(), w.head(t))
	}

	leader := 0
	if folded[1].Load() > 0 {
		leader = 1
	}
	stops[leader]()
	for range 5 {
		w.register(t, w.tenant, "b")
	}
	w.caughtUp(t, "users")

	pgtest.Eventually(t, "each event is reported", func() bool { return sum() >= w.head(t) })
	if sum() != w.head(t) || folded[1-leader].Load() < 5 {
		t.Errorf("after one stopped, %d and %d events were folded of %d", folded[0].Load(), folded[1].Load(), w.head(t))
	}
}

func TestAForeignEpochIsObeyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.caughtUpByWorker(t)
	before := w.epoch(t)
	super := w.db.Superuser(t)
	var committed atomic.Int32
	config := w.config(t)
	config.Committed = func(string, int64, int64, time.Duration) {
		epoch := w.epoch(t) // read before the commit is counted, after which the test may end
		if committed.Add(1) == 1 && epoch < before+3 {
			t.Error("committed under an epoch that was over")
		}
	}

	run(t, follow.NewWorker(config, folding{
		Projection: projection(t, "users"),
		after: times(1, func(ctx context.Context, _ pgx.Tx) error {
			// As if another had become leader meanwhile: a page folded under the old
			// epoch must not be committed.
			_, err := super.Exec(ctx, "update trust.checkpoints set epoch = epoch + 1 where follower = 'users'")
			return err
		}),
	}))

	w.register(t, w.tenant, "a")
	w.caughtUp(t, "users") // it campaigned again
	pgtest.Eventually(t, "a commit is reported", func() bool { return committed.Load() > 0 })
	if epoch := w.epoch(t); epoch < before+3 {
		t.Errorf("epoch %d after %d: one is the first leadership's, one the test's, one the second leadership's",
			epoch, before)
	}
}

// caughtUpByWorker runs a users worker to the head and stops it.
func (w *world) caughtUpByWorker(t *testing.T) {
	t.Helper()
	stop := w.work(t, projection(t, "users"))
	w.caughtUp(t, "users")
	stop()
	w.becomes(t, "users", follow.Stopped)
}

func TestANotificationWakesAnIdleProjector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.config(t)
	config.PollEvery = time.Hour
	run(t, follow.NewWorker(config, projections.Followers()...))

	for range 5 {
		user := w.register(t, w.tenant, "a") // alone
		followed := func(name string) func() bool {
			return func() bool { return w.status(t, name).Position == w.head(t) }
		}
		pgtest.Eventually(t, "users follows", followed("users"))
		w.grant(t, w.tenant, user)
		pgtest.Eventually(t, "consents follows", followed("consents"))
		w.registerTogether(t) // and in a batch of several
		pgtest.Eventually(t, "users follows", followed("users"))
	}
}

// See ADR 16.
func TestAProjectorsPlansDoNotDependOnStatistics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, w.tenant, "a")
	settings := make(chan string, 1)

	w.work(t, folding{Projection: projection(t, "users"), after: times(1, func(ctx context.Context, tx pgx.Tx) error {
		var setting string
		err := tx.QueryRow(ctx, "select current_setting('enable_seqscan') || current_setting('enable_bitmapscan')").
			Scan(&setting)
		settings <- setting
		return err
	})})
	if got := pgtest.Receive(t, settings); got != "offoff" {
		t.Errorf("scans are %s", got)
	}
}

func TestWaitingForATableWakesAnIdleProjector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.config(t)
	config.PollEvery = time.Hour
	run(t, follow.NewWorker(config, projection(t, "municipalities")))
	for range 3 {
		w.register(t, w.tenant, "a")
		w.caughtUp(t, "municipalities")
	}
}

func TestAWorkerThatWaitsForAnHourStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.config(t)
	config.PollEvery = time.Hour
	super := w.db.Superuser(t)
	// The worker tries for a second, which may be too short on a slow machine.
	pgtest.Eventually(t, "it says that it stops", func() bool {
		stop := run(t, follow.NewWorker(config, projections.Followers()...))
		w.caughtUp(t, "users")
		stop()

		var state follow.State
		must(t, super.QueryRow(t.Context(), "select state from trust.checkpoints where follower = 'users'").
			Scan(&state))
		return state == follow.Stopped
	})

	var left int
	pgtest.Eventually(t, "every connection is gone", func() bool {
		must(t, super.QueryRow(t.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and application_name like 'trust-follow-%'`).Scan(&left))
		return left == 0
	})
}

func TestAWrongMasterKeyEndsTheWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.config(t)
	config.MasterKey = []byte("another key of at least thirty-two characters")
	err := follow.NewWorker(config, projection(t, "users")).Run(t.Context())
	if !errors.Is(err, eventstore.ErrWrongMasterKey) {
		t.Errorf("Run returns %v", err)
	}
}
