package eventstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// impatient opens a store that gives up soon.
func impatient(t *testing.T, w *world) *world {
	t.Helper()
	store := openOn(t, w.db.Pool(t, pgtest.Query), masterKey)
	store.SetPatience(time.Second)
	return &world{db: w.db, store: store, admin: w.admin, tenant: w.tenant}
}

func TestAReadOnlyServerIsUnavailableAndItsConnectionsAreNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	over := impatient(t, w)
	name := pgx.Identifier{w.db.Name()}.Sanitize()

	// A session keeps the default that it began with: until it ends, that server is
	// read-only for it.
	w.exec(t, "alter database "+name+" set default_transaction_read_only = on")
	w.exec(t, `select pg_terminate_backend(pid, 60000) from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid()`)
	pgtest.Eventually(t, "it says that the database is read-only, and refuses", func() bool {
		_, err := over.store.Append(t.Context(), grant(w.tenant, someone(), 0))
		if err == nil {
			t.Fatal("a read-only server took an append")
		}
		said, ok := errors.AsType[*pgconn.PgError](err)
		refusal, refused := errors.AsType[*domain.Error](err)
		return ok && said.Code == pgerrcode.ReadOnlySQLTransaction && refused && refusal.Code == domain.CodeUnavailable
	})

	w.exec(t, "alter database "+name+" reset default_transaction_read_only")
	a := grant(w.tenant, someone(), 0)
	w.present(t, must(t)(over.store.Append(t.Context(), a)), a)
}

func TestAfterAFailoverTheStoreReadsFromTheNewServer(t *testing.T) {
	t.Parallel()
	before, after := newWorld(t), newWorld(t)

	var address atomic.Value // a name that leads to one server, and then to the other
	address.Store(before.db.Name())
	config, err := pgxpool.ParseConfig(before.db.URL(pgtest.Query))
	if err != nil {
		t.Fatal(err)
	}
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		c.Database = address.Load().(string)
		return nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)

	store := openOn(t, pool, masterKey)
	withdrawn := grant(before.tenant, someone(), 0)
	must(t)(store.Append(t.Context(), withdrawn))

	address.Store(after.db.Name())
	before.eachAppend(t, "raise sqlstate '25006'")
	if got, err := store.Load(t.Context(), before.tenant, withdrawn.Writes[0].Stream); err != nil || len(got) != 1 {
		t.Errorf("nothing has told it yet, but it reads %v (%v)", got, err)
	}

	a := grant(after.tenant, someone(), 0)
	done := must(t)(store.Append(t.Context(), a))
	after.beforeCodes(t) // the new server is another database here, with keys of its own
	after.exec(t, "set session_replication_role = replica; update trust.events set code = null")
	after.present(t, done, a)
	if got, err := store.Load(t.Context(), before.tenant, withdrawn.Writes[0].Stream); err != nil || len(got) != 0 {
		t.Errorf("it still reads %v from the server before (%v)", got, err)
	}
}

func TestABatchIsNotHalvedWhenTheDiskIsFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	over := impatient(t, w)
	w.eachAppend(t, "raise sqlstate '53100'")

	const callers = 64
	var answers []<-chan answer
	for range callers {
		answers = append(answers, over.background(t.Context(), grant(w.tenant, someone(), 0)))
	}
	for _, from := range answers {
		got := pgtest.Receive(t, from)
		refusal, is := errors.AsType[*domain.Error](got.err)
		// The last attempt may be cut off.
		if !is || refusal.Code != domain.CodeUnavailable && refusal.Code != domain.CodeOutcomeUnknown {
			t.Errorf("a full disk is answered %v", got.err)
		}
	}
	if calls := query[int](t, w, "select last_value from public.calls"); calls > callers/2 {
		t.Errorf("the full disk was tried %d times for %d appends", calls, callers)
	}

	w.exec(t, "drop trigger trouble on trust.events")
	pgtest.Eventually(t, "it takes appends again", func() bool {
		_, err := over.store.Append(t.Context(), grant(w.tenant, someone(), 0))
		return err == nil
	})
}

func TestABatchThatMetAnotherTransactionIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, state := range []string{
		pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected, pgerrcode.LockNotAvailable,
	} {
		w := newWorld(t)
		w.eachAppend(t, "if call < 4 then raise sqlstate '"+state+"'; end if")
		a := grant(w.tenant, someone(), 0)
		w.present(t, must(t)(w.store.Append(t.Context(), a)), a)
	}
}

func TestAnAppendThatTakesTooLongSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.eachAppend(t, "raise sqlstate '57014'")
	_, err := w.store.Append(t.Context(), grant(w.tenant, someone(), 0))
	refused(t, err, domain.CodeTimeout)
	if calls := query[int](t, w, "select last_value from public.calls"); calls != 1 {
		t.Errorf("it was tried %d times", calls)
	}
}

// The database does not finish one append, and another waits for the same turn: nobody
// waits longer than their request, nor longer than appends may take.
func TestAnAppendIsAnsweredByTheSoonerOfItsPatienceAndItsRequestsDeadline(t *testing.T) {
	t.Parallel()
	const sooner = 2 * time.Second
	for name, c := range map[string]struct{ patience, request time.Duration }{
		"the request's deadline": {pgtest.Patience, sooner},
		"the append's patience":  {sooner, pgtest.Patience},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			release := w.lock(t)
			defer release()
			w.store.SetPatience(c.patience)
			ctx, cancel := context.WithTimeout(t.Context(), c.request)
			defer cancel()

			began, person := time.Now(), someone()
			leads := w.background(ctx, grant(w.tenant, person, 0))
			pgtest.Eventually(t, "the first is sent", func() bool { return len(w.blocked(t)) == 1 })
			waits := w.background(ctx, grant(w.tenant, person, domain.AnyVersion))

			refused(t, pgtest.Receive(t, leads).err, domain.CodeOutcomeUnknown)
			// Its turn may come a moment before its deadline.
			if err := pgtest.Receive(t, waits).err; !errors.Is(err, domain.Refuse(domain.CodeUnavailable, "")) {
				refused(t, err, domain.CodeOutcomeUnknown)
			}
			if took := time.Since(began); took < sooner || took > 4*sooner {
				t.Errorf("they were answered after %s, want %s", took, sooner)
			}
		})
	}
}

// eachAppend makes the server do something instead of each append of an event, and count
// the calls.
func (w *world) eachAppend(t *testing.T, do string) {
	t.Helper()
	w.exec(t, `create sequence public.calls;
		create function public.trouble() returns trigger language plpgsql security definer as $$
		declare
			call bigint := nextval('public.calls');
		begin
			`+do+`;
			return null;
		end $$;
		create trigger trouble before insert on trust.events for each statement execute function public.trouble()`)
}

// A full queue of notifications fails at commit. That of Postgres 15 holds 8 GB, so a
// trigger, which also fails at commit, stands in for it.
func TestAFullQueueOfNotificationsStopsNoAppend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `create sequence public.refusals;
		create function public.full_queue() returns trigger language plpgsql security definer as $$ begin
			if current_setting('trust.notify', true) is distinct from 'off' then
				perform nextval('public.refusals');
				raise sqlstate '54000' using message = 'too many notifications in the NOTIFY queue';
			end if;
			return null;
		end $$;
		create constraint trigger full_queue after insert on trust.events deferrable initially deferred
			for each row execute function public.full_queue()`)

	lone := grant(w.tenant, someone(), 0)
	w.present(t, must(t)(w.store.Append(t.Context(), lone)), lone)

	const callers = 32
	var appends []domain.Append
	var answers []<-chan answer
	for range callers {
		a := grant(w.tenant, someone(), 0)
		appends, answers = append(appends, a), append(answers, w.background(t.Context(), a))
	}
	for i, a := range appends {
		w.added(t, a, answers[i])
	}
	if refused := query[int](t, w, "select last_value from public.refusals"); refused > callers/2 {
		t.Errorf("it was tried %d times to wake somebody, for %d appends", refused, callers+1)
	}

	w.exec(t, "drop trigger full_queue on trust.events")
	w.eachAppend(t, "raise sqlstate '54000'")
	if _, err := w.store.Append(t.Context(), grant(w.tenant, someone(), 0)); !pg.IsQueueFull(err) {
		t.Errorf("another limit is %v", err)
	}
}

func TestAnAcknowledgedAppendIsOnDiskWhateverTheDatabaseSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, "alter database "+w.db.Name()+" set synchronous_commit = off")
	w.eachAppend(t, "if current_setting('synchronous_commit') <> 'on' then raise sqlstate '22000'; end if")
	store := openOn(t, w.db.Pool(t, pgtest.Query), masterKey)
	a := grant(w.tenant, someone(), 0)
	_, err := store.Append(t.Context(), a)
	if calls := query[int](t, w, "select last_value from public.calls"); err != nil || calls != 1 {
		t.Errorf("appended %d times, %v", calls, err)
	}
}
