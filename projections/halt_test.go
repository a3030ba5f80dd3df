package projections_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/projections"
)

// An event that cannot be decoded, among many that can: the projector halts just before
// it, says so, and goes on by itself once the cause is fixed.
func TestAnUndecodableEventHaltsDirectlyBeforeItAndNowhereElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 20 {
		w.register(t, w.tenant, "a")
	}
	bad := w.insertUnknown(t)
	for range 20 {
		w.register(t, w.tenant, "b")
	}

	config := w.config(t)
	config.PageSize = 8
	run(t, follow.NewWorker(config, projection(t, "users")))

	s := w.becomes(t, "users", follow.Halted)
	if s.Position != bad-1 || s.ErrorSince == nil || s.Lag != 21 || !strings.Contains(s.Error, "future.thing.v1") {
		t.Errorf("status %+v, the bad event is %d", s, bad)
	}

	users, err := w.queries.Users(t.Context(), w.tenant, projections.UserFilter{Q: "b@"}, projections.Page{})
	must(t, err)
	if len(users.Items) != 0 {
		t.Errorf("%d users from behind the event", len(users.Items))
	}

	w.rename(t, bad, "session.started.v1") // now the program knows the type
	w.caughtUp(t, "users")
	if s := w.becomes(t, "users", follow.Running); s.Error != "" || s.ErrorSince != nil {
		t.Errorf("status %+v", s)
	}
}

func TestAHaltedProjectorStillHaltsAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bad := w.insertUnknown(t)
	stop := w.work(t, projection(t, "users"))
	since := w.becomes(t, "users", follow.Halted).ErrorSince

	stop()
	if s := w.becomes(t, "users", follow.Stopped); s.Error == "" {
		t.Errorf("status after a stop %+v", s)
	}

	w.work(t, projection(t, "users"))
	if s := w.becomes(t, "users", follow.Halted); !s.ErrorSince.Equal(*since) {
		t.Errorf("halted since %v, then since %v", since, s.ErrorSince)
	}

	w.rename(t, bad, "session.started.v1")
	w.caughtUp(t, "users")
}

func TestARefusedRowHaltsWithoutTellingItsValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, w.tenant, "visible-only-to-the-person")
	_, err := w.db.Superuser(t).Exec(t.Context(),
		"alter table trust.users_v1 add constraint no_mail check (email = '')")
	must(t, err)
	w.work(t, projection(t, "users"))

	s := w.becomes(t, "users", follow.Halted)
	if strings.Contains(s.Error, "visible") || !strings.Contains(s.Error, "23514") ||
		!strings.Contains(s.Error, "no_mail") {
		t.Errorf("status %+v", s)
	}

	_, err = w.db.Superuser(t).Exec(t.Context(), "alter table trust.users_v1 drop constraint no_mail")
	must(t, err)
	w.caughtUp(t, "users")
}

func TestAGapInTheLogHalts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, w.tenant, "a")
	w.force(t, "update trust.events set position = position + 1 where position = $1", w.head(t))
	w.register(t, w.tenant, "b")

	w.work(t, projection(t, "users"))
	if s := w.becomes(t, "users", follow.Halted); s.Position != 1 || !strings.Contains(s.Error, "position 2") {
		t.Errorf("status %+v", s)
	}

	w.force(t, "update trust.events set position = position - 1 where position > 1")
	w.caughtUp(t, "users")
}

// insertUnknown inserts an event of a future type after the head.
func (w *world) insertUnknown(t *testing.T) (position int64) {
	t.Helper()
	const sql = `insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id, append_id,
			ordinal, event_type, record_id, payload, metadata, effective_at, recorded_at)
		select position + 1, $1, 'session', $2, 1, $3, $4,
			1, 'future.thing.v1', $2, '{}', '{}', recorded_at, recorded_at
		from trust.head() returning position`

	w.beforeCodes(t)
	must(t, w.db.Superuser(t).QueryRow(t.Context(), sql, w.tenant.UUID, newID(), newID(), newID()).Scan(&position))
	return position
}

func (w *world) rename(t *testing.T, position int64, eventType string) {
	t.Helper()
	w.force(t, "update trust.events set event_type = $2 where position = $1", position, eventType)
}

// force changes the database past the triggers that forbid it.
func (w *world) force(t *testing.T, sql string, args ...any) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), w.db.Superuser(t), func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "set local session_replication_role = replica"); err != nil {
			return err
		}

		_, err := tx.Exec(context.WithoutCancel(t.Context()), sql, args...)
		return err
	})
	must(t, err)
}

// People erased while the projector was halted or stopped: as soon as it goes on, what it
// had of them is blanked, and what it had not seen it never learns.
func TestAProjectorThatGoesOnForgetsPeopleErasedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := w.register(t, w.tenant, "seen")
	stop := w.work(t, projection(t, "users"))
	w.caughtUp(t, "users")

	bad := w.insertUnknown(t)
	unseen := w.register(t, w.tenant, "unseen")
	w.becomes(t, "users", follow.Halted)
	w.erase(t, seen)
	stop()
	w.erase(t, unseen)

	w.work(t, projection(t, "users"))
	w.becomes(t, "users", follow.Halted)
	w.rename(t, bad, "session.started.v1")
	w.caughtUp(t, "users")

	for _, id := range []domain.UserID{seen, unseen} {
		u, err := w.queries.User(t.Context(), w.tenant, id)
		must(t, err)
		if !u.Erased || u.Email != "" || u.FullName != "" {
			t.Errorf("an erased user reads %+v", u)
		}
	}
}
