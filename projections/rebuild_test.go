package projections_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// rebuilder rebuilds as an operator does: as the owner of the tables.
type rebuilder struct {
	w        *world
	db       projections.Beginner
	verifier *pgx.Conn
	at       map[projections.Stage]func() // called once, when a stage begins
}

func newRebuilder(t testing.TB, w *world) *rebuilder {
	t.Helper()
	return &rebuilder{
		w: w, db: w.db.Pool(t, pgtest.Owner), verifier: w.db.Conn(t, pgtest.Projector),
		at: map[projections.Stage]func(){},
	}
}

func (r *rebuilder) try(ctx context.Context, t testing.TB, name string) (projections.Rebuilt, error) {
	t.Helper()
	return projections.Rebuild(ctx, r.db, r.w.reader, projection(t, name), func(stage projections.Stage, _, _ int64) {
		do := r.at[stage]
		delete(r.at, stage)
		if do != nil {
			do()
		}
	})
}

// rebuild rebuilds a table and verifies everything.
func (r *rebuilder) rebuild(t testing.TB, name string) projections.Rebuilt {
	t.Helper()
	done, err := r.try(t.Context(), t, name)
	must(t, err)
	r.check(t)
	return done
}

// check verifies every invariant.
func (r *rebuilder) check(t testing.TB) {
	t.Helper()
	must(t, projections.Verify(t.Context(), r.verifier, r.w.reader, nil))
}

// versions returns the versions of a read table, oldest first.
func (w *world) versions(t testing.TB, name string) []string {
	t.Helper()
	rows, err := w.db.Superuser(t).Query(t.Context(),
		"select relname from pg_class where relkind = 'r' and relname like $1 order by oid", name+`\_v%`)
	must(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return names
}

// text returns all rows of all versions of a read table as text.
func (w *world) text(t testing.TB, name string) string {
	t.Helper()
	var all strings.Builder
	for _, version := range w.versions(t, name) {
		var rows string
		must(t, w.db.Superuser(t).QueryRow(t.Context(),
			"select coalesce(string_agg(v::text, E'\n'), '') from trust."+version+" v").Scan(&rows))
		all.WriteString(version + "\n" + rows + "\n")
	}
	return all.String()
}

// live fills the world with people in every state, municipalities and consents.
func (w *world) live(t testing.TB) {
	t.Helper()
	known, erased := w.register(t, w.tenant, "known"), w.register(t, w.tenant, "gone")
	other := w.municipality(t, "JHB")
	w.register(t, other, "elsewhere")
	w.append(t, w.tenant, domain.UserOf(known), &domain.UserEmailChanged{
		Email: domain.Known(domain.Change[string]{New: "new@example.org"}),
	})
	w.append(t, other, domain.MunicipalityOf(other), &domain.MunicipalityDeactivated{})

	for _, subject := range []domain.UserID{known, erased} {
		consent := w.grant(t, w.tenant, subject)
		w.append(t, w.tenant, domain.ConsentsOf(subject),
			&domain.ConsentWithdrawn{ConsentID: consent, Purpose: "sms_alert"})
		w.grant(t, w.tenant, subject)
	}

	w.erase(t, erased)
	w.residents(t, known)
}

// residents adds a person whom a clerk recorded and who got an account, and a second
// record of somebody, which was merged into the first.
func (w *world) residents(t testing.TB, known domain.UserID) {
	t.Helper()
	clerk, resident, second := newUser(), newUser(), newUser()
	for _, id := range []domain.UserID{resident, second} {
		_, err := w.store.Append(t.Context(), domain.Append{
			ID: newID(), Tenant: w.tenant, Actor: clerk, Side: []domain.SideWrite{domain.CreateSubjectKey{Subject: id}},
			Writes: []domain.Write{{Stream: domain.UserOf(id), Events: []domain.Event{&domain.ResidentRecorded{
				MunicipalityCode: "CPT", PreferredLanguage: domain.English,
				Person: domain.Known(domain.ResidentFacts{FullName: "Nomsa", Phone: "+27821234567"}),
			}}}},
		})
		must(t, err)
	}
	w.append(t, w.tenant, domain.UserOf(resident),
		&domain.AccountOpened{Email: domain.Known(domain.Change[string]{New: "nomsa@example.org"})},
		&domain.EmailVerified{})

	merged := &domain.ResidentMerged{From: second, Into: known}
	people := &domaintest.Pair{IDs: [2]domain.UserID{known, second}}
	people.Add(1, w.recorded(t, w.tenant, domain.ConsentsOf(second), nil,
		&domain.ConsentGranted{Decision: decision("newsletter", time.Time{}), ValidityDays: 90})...)
	added, err := people.Merge()
	must(t, err)
	for i, id := range people.IDs {
		w.append(t, w.tenant, domain.UserOf(id), merged)
		w.append(t, w.tenant, domain.ConsentsOf(id), added[i]...)
	}
}

func TestARebuiltTableEqualsTheOneBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t)
	w.work(t, projections.Followers()...)
	r := newRebuilder(t, w)

	for name, rows := range map[string]int64{"municipalities": 2, "users": 5, "consents": 6} {
		w.caughtUp(t, name)
		got := r.rebuild(t, name)
		want := projections.Rebuilt{Position: w.head(t), Rows: rows, Kept: "trust." + name + "_v1"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	w.register(t, w.tenant, "late")
	w.caughtUp(t, "users")
	r.rebuild(t, "users")
	if got := w.versions(t, "users"); !slices.Equal(got, []string{"users_v2", "users_v3"}) {
		t.Errorf("after two rebuilds there are %v, want the newest and the one before", got)
	}

	dropped, err := projections.DropKept(t.Context(), r.db, projection(t, "users"))
	if got := w.versions(t, "users"); err != nil || !slices.Equal(dropped, []string{"trust.users_v2"}) ||
		!slices.Equal(got, []string{"users_v3"}) {
		t.Errorf("dropped %v, %v; there are %v", dropped, err, got)
	}

	w.check(t)
}

// Everything but the rows is as in the table before: rights, row-level security, indexes,
// settings, comments.
func TestARebuiltTableIsBuiltAndGuardedLikeTheOneBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t)
	r := newRebuilder(t, w)
	const shape = `select jsonb_pretty(jsonb_build_object(
		'owner', c.relowner::regrole, 'rights', (select array_agg(a::text order by a::text) from unnest(c.relacl) a),
		'secured', c.relrowsecurity and c.relforcerowsecurity, 'settings', c.reloptions, 'kind', c.relkind,
		'columns', (select array_agg(
				row(attname, atttypid::regtype, attnotnull, col_description(c.oid, attnum))::text order by attnum)
			from pg_attribute where attrelid = c.oid and attnum > 0),
		'policies', (select array_agg(
				row(polname, polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid),
					pg_get_expr(polwithcheck, polrelid))::text order by polname)
			from pg_policy where polrelid = c.oid),
		'indexes', (select array_agg(
				row(pg_get_indexdef(indexrelid), indisprimary, obj_description(indexrelid, 'pg_class'))::text
				order by indexrelid)
			from pg_index where indrelid = c.oid),
		'constraints', (select array_agg(pg_get_constraintdef(oid) order by pg_get_constraintdef(oid))
			from pg_constraint where conrelid = c.oid)))
		from pg_class c where c.oid = $1::text::regclass`

	describe := func(table string) (text string) {
		must(t, w.db.Superuser(t).QueryRow(t.Context(), shape, "trust."+table).Scan(&text))
		return text
	}

	for _, p := range projections.All() {
		first := p.Name() + "_v1"
		before := describe(first)
		r.rebuild(t, p.Name())

		next := p.Name() + "_v2"
		if diff := cmp.Diff(before, strings.ReplaceAll(describe(next), next, first)); diff != "" {
			t.Errorf("%s (-before +after):\n%s", p.Name(), diff)
		}
		if !strings.Contains(before, "_pkey") || !strings.Contains(before, "trust_projector") {
			t.Errorf("this looks at nothing: %s", before)
		}
	}

	var hidden int
	other := domain.TenantID{UUID: newID()}
	must(t, pgx.BeginFunc(t.Context(), w.db.Conn(t, pgtest.Query), func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "select set_config('trust.tenant', $1, true)", other.String()); err != nil {
			return err
		}

		return tx.QueryRow(t.Context(), "select count(*) from trust.users").Scan(&hidden)
	}))
	if hidden != 0 {
		t.Errorf("another tenant sees %d users", hidden)
	}
}

func TestARebuildMendsWhatIsWrongAndCountsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t)
	w.work(t, projections.Followers()...)
	for _, p := range projections.All() {
		w.caughtUp(t, p.Name())
	}
	super := w.db.Superuser(t)
	stranger := "00000000-0000-7000-8000-000000000000"

	for _, sql := range []string{
		"delete from trust.users_v1 where email like 'elsewhere%'",
		"update trust.users_v1 set full_name = 'Somebody Else' where email = 'new@example.org'",
		"update trust.users_v1 set email = 'shown@example.org', is_erased = false where is_erased",
		"insert into trust.users_v1 select '" + stranger +
			`', tenant_id, municipality_code, email, full_name, phone, preferred_language, role,
			is_active, is_erased, created_at, updated_at, version, position
			from trust.users_v1 where email = 'new@example.org'`,
	} {
		_, err := super.Exec(t.Context(), sql)
		must(t, err)
	}

	got := newRebuilder(t, w).rebuild(t, "users")
	if got.Wrong.Missing != 1 || got.Wrong.Extra != 1 || got.Wrong.Changed != 2 ||
		got.Wrong.First.String() != stranger || got.Wrong.None() {
		t.Errorf("got %+v", got.Wrong)
	}
}

func TestAHaltedProjectorGoesOnAfterARebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.register(t, w.tenant, "a")
	w.work(t, projection(t, "users"))
	w.caughtUp(t, "users")
	_, err := w.db.Superuser(t).Exec(t.Context(), "update trust.users_v1 set version = 7")
	must(t, err)
	w.append(t, w.tenant, domain.UserOf(user), &domain.UserDeactivated{Cause: domain.CauseAdmin})
	w.becomes(t, "users", follow.Halted)

	newRebuilder(t, w).rebuild(t, "users")
	if s := w.status(t, "users"); s.State == follow.Halted || s.Error != "" || s.Position != w.head(t) {
		t.Errorf("after the rebuild: %+v", s)
	}

	w.append(t, w.tenant, domain.UserOf(user), &domain.UserReactivated{})
	w.caughtUp(t, "users")
}

// Events that the projector folds until the very last moment are in the new table too.
func TestARebuildIsNeverBehindTheProjector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRebuilder(t, w)
	w.work(t, projection(t, "users"))

	for _, stage := range stages() {
		r.at[stage] = func() {
			w.register(t, w.tenant, "during "+string(stage))
			w.caughtUp(t, "users")
		}
	}

	got := r.rebuild(t, "users")
	if text := w.text(t, "users"); got.Position != w.head(t) || strings.Count(text, "during switching@E") != 2 ||
		got.Rows != 0 {
		t.Errorf("%+v\n%s", got, text)
	}
}

// A page with nothing for the table does not touch it, so only the checkpoint's own lock
// keeps the projector out.
func TestASwitchNeverMovesACheckpointBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRebuilder(t, w)
	super, committed := w.db.Superuser(t), make(chan error, 1)
	r.at[projections.Switching] = func() {
		w.municipality(t, "JHB")
		tx, err := w.db.Superuser(t).Begin(t.Context())
		must(t, err)
		_, err = tx.Exec(t.Context(), "update trust.checkpoints set position = $1 where follower = 'users'", w.head(t))
		must(t, err)

		go func() {
			waits := false
			for !waits && t.Context().Err() == nil {
				_ = super.QueryRow(t.Context(),
					`select exists (select from pg_stat_activity where datname = current_database()
					and wait_event_type = 'Lock' and usename is not null)`).Scan(&waits)
			}
			committed <- tx.Commit(t.Context())
		}()
	}

	got := r.rebuild(t, "users")
	must(t, pgtest.Receive(t, committed))
	if s := w.status(t, "users"); s.Position != w.head(t) || got.Position != s.Position {
		t.Errorf("the checkpoint is at %d and the table at %d, the log at %d", s.Position, got.Position, w.head(t))
	}
}

// A fold that meets the new table, which is already past its range, is no reason to halt.
func TestAProjectorDoesNotHaltAtEventsThatARebuildHasFolded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folds, rebuilt := make(chan struct{}), make(chan struct{})
	w.work(t, folding{
		Projection: projection(t, "users"),
		before: func(_ context.Context, _ pgx.Tx, page []domain.Recorded) error {
			if _, closed := page[0].Event.(*domain.UserDeactivated); closed {
				folds <- struct{}{}
				<-rebuilt
			}
			return nil
		},
	})

	user := w.register(t, w.tenant, "a")
	w.caughtUp(t, "users")
	w.append(t, w.tenant, domain.UserOf(user), &domain.UserDeactivated{Cause: domain.CauseAdmin})
	pgtest.Receive(t, folds)
	newRebuilder(t, w).rebuild(t, "users")

	go func() {
		for range folds { // of later tries, if the test is slow and Postgres ended the first
		}
	}()

	close(rebuilt)
	defer close(folds)
	w.append(t, w.tenant, domain.UserOf(user), &domain.UserReactivated{})

	for head := w.head(t); w.status(t, "users").Position < head; {
		if s := w.status(t, "users"); s.State == follow.Halted || s.Error != "" {
			t.Fatalf("it halted: %+v", s)
		}
	}
	w.caughtUp(t, "users")
}

// Random histories, folded up to a random position: the rebuilt table continues from
// there as the one before would have.
func TestARebuildAtAnyPointOfARandomHistory(t *testing.T) {
	t.Parallel()
	consents := projection(t, "consents")
	var w *world
	var f *folder
	var r *rebuilder
	begin := everyTenth(func() {
		w = newWorld(t)
		f, r = newFolder(t, w), newRebuilder(t, w)
	})

	rapid.Check(t, func(rt *rapid.T) {
		begin()
		chronicle := w.chronicle()
		extend := func(label string) {
			for _, d := range rapid.SliceOfN(randomDecision(), 1, 6).Draw(rt, label) {
				chronicle.record(t, d, time.Now())
			}
		}

		extend("history")
		_, err := f.fold(t.Context(), consents, rapid.Int64Range(1, 6).Draw(rt, "page"))
		must(t, err)

		if rapid.Bool().Draw(rt, "meanwhile") {
			r.at[projections.Comparing] = func() { extend("meanwhile") }
		}
		if got := r.rebuild(t, "consents"); !got.Wrong.None() {
			rt.Fatalf("the rebuild reports correct rows as wrong: %+v", got.Wrong)
		}

		extend("afterwards")
		for more := true; more; {
			more, err = f.fold(t.Context(), consents, rapid.Int64Range(1, 6).Draw(rt, "page"))
			must(t, err)
		}

		r.check(t)
	})
}

func stages() []projections.Stage {
	return []projections.Stage{
		projections.Copying, projections.Indexing, projections.Comparing, projections.Following, projections.Switching,
	}
}

// Whenever an erasure comes, nothing identifies the person in the end: neither in the
// live table nor in the one that is kept.
func TestAnErasureDuringARebuildLeavesNothingInAnyVersion(t *testing.T) {
	t.Parallel()
	for _, projecting := range []bool{true, false} {
		for _, stage := range append(stages(), "before", "after") {
			t.Run(fmt.Sprintf("%s, projecting %t", stage, projecting), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				r := newRebuilder(t, w)
				stop := w.work(t, projection(t, "users"))
				person, neighbour := w.register(t, w.tenant, "person"), w.register(t, w.tenant, "neighbour")
				w.caughtUp(t, "users")
				if !projecting {
					stop()
				}

				erase := func() {
					w.append(t, w.tenant, domain.UserOf(person), &domain.UserEmailChanged{
						Email: domain.Known(domain.Change[string]{New: "person2@example.org"}),
					})
					w.erase(t, person)
				}

				if stage == "before" {
					erase()
				}
				r.at[stage] = erase

				got := r.rebuild(t, "users")
				if stage == "after" {
					erase()
				}
				if !projecting {
					w.work(t, projection(t, "users"))
				}
				w.caughtUp(t, "users")

				text := w.text(t, "users")
				if strings.Contains(text, "person") || !strings.Contains(text, "neighbour") ||
					strings.Count(text, "("+person.String()) != 2 {
					t.Errorf("after the erasure:\n%s", text)
				}
				if !got.Wrong.None() {
					t.Errorf("the rebuild reports correct rows as wrong: %+v", got.Wrong)
				}

				w.append(t, w.tenant, domain.UserOf(neighbour), &domain.UserDeactivated{Cause: domain.CauseAdmin})
				w.caughtUp(t, "users")
			})
		}
	}
}

// Queries and projectors go on while tables are rebuilt again and again: no query fails
// or misses rows.
func TestNobodyNoticesARebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRebuilder(t, w)
	w.work(t, projections.Followers()...)

	var people []domain.UserID
	for range 20 {
		user := w.register(t, w.tenant, "a")
		w.grant(t, w.tenant, user)
		people = append(people, user)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.caughtUp(t, "users")
	w.caughtUp(t, "consents")

	failed, asked := make(chan error, 3), atomic.Int64{}
	ask := func(what string, question func() (int, error)) {
		var err error
		for ctx.Err() == nil && err == nil {
			found, e := question()
			asked.Add(1)
			if err = e; err == nil && found == 0 {
				err = errors.New("found nothing")
			}
		}

		if ctx.Err() != nil {
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", what, err)
		}
		failed <- err
	}

	go ask("users", func() (int, error) {
		l, err := w.queries.Users(ctx, w.tenant, projections.UserFilter{}, projections.Page{})
		return len(l.Items), err
	})
	go ask("consents", func() (int, error) {
		l, err := w.queries.Consents(ctx, w.tenant, people[0], projections.Page{})
		return len(l.Items), err
	})
	go ask("appends", func() (int, error) {
		_, err := w.store.Append(ctx, domain.Append{ID: newID(), Tenant: w.tenant, Writes: []domain.Write{{
			Stream: domain.ConsentsOf(people[1]), Expected: domain.AnyVersion,
			Events: []domain.Event{&domain.ConsentGranted{Decision: decision("newsletter", time.Time{})}},
		}}})
		return 1, err
	})

	for i := range 8 {
		r.rebuild(t, []string{"users", "consents"}[i%2])
	}
	cancel()

	for range 3 {
		if err := pgtest.Receive(t, failed); err != nil {
			t.Error(err)
		}
	}

	if asked.Load() < 100 {
		t.Errorf("only %d questions were asked: nobody could have noticed", asked.Load())
	}
	for _, name := range []string{"users", "consents"} {
		w.caughtUp(t, name)
	}
}

func TestARebuildThatIsBrokenOffChangesNothing(t *testing.T) {
	t.Parallel()
	for _, stage := range stages() {
		t.Run(string(stage), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.live(t)
			w.work(t, projections.Followers()...)
			w.caughtUp(t, "users")

			r := newRebuilder(t, w)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r.at[stage] = cancel
			if _, err := r.try(ctx, t, "users"); !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
			if got := w.versions(t, "users"); !slices.Equal(got, []string{"users_v1"}) {
				t.Errorf("it left %v", got)
			}

			w.check(t)
			pgtest.Eventually(t, "Postgres has noticed", func() bool {
				_, err := r.try(t.Context(), t, "users")
				if !errors.Is(err, projections.ErrRebuilding) {
					must(t, err)
				}
				return err == nil
			})
		})
	}
}

func TestATableIsRebuiltOnceAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRebuilder(t, w)
	r.at[projections.Indexing] = func() {
		if _, err := r.try(t.Context(), t, "users"); !errors.Is(err, projections.ErrRebuilding) {
			t.Errorf("a second one ends with %v", err)
		}
		r.rebuild(t, "consents") // another table
	}

	r.rebuild(t, "users")
}

// A verification reads the tables on an old snapshot, which does not see the rows of a
// newer version. So a switch must wait for it.
func TestASwitchWaitsForReadersOnASnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t)
	f := newFolder(t, w)

	for more := true; more; {
		var err error
		more, err = f.fold(t.Context(), projection(t, "users"), 1000)
		must(t, err)
	}

	r := newRebuilder(t, w)
	verified, waited := make(chan error, 1), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(waited) })
	r.at[projections.Waiting] = goOn
	r.at[projections.Comparing] = func() {
		reached := make(chan struct{})
		conn := w.db.Conn(t, pgtest.Projector)
		go func() {
			verified <- projections.Verify(t.Context(), conn, w.reader, func(what string, done, total int64) {
				if what == "the log" && done == total { // the tables are not yet read
					close(reached)
					<-waited
				}
			})
		}()
		<-reached
	}

	_, err := r.try(t.Context(), t, "users")
	goOn() // in case it has not waited
	must(t, err)
	if err := pgtest.Receive(t, verified); err != nil {
		t.Errorf("a verification meanwhile: %v", err)
	}
}

func TestARebuildRefusesADamagedLog(t *testing.T) {
	t.Parallel()
	var gap *eventstore.GapError
	var forged *eventstore.ForgedError
	var order *follow.PlainError
	for what, damage := range map[string]struct {
		sql string
		as  any
	}{
		"a gap": {"delete from trust.events where position = 3", &gap},
		"a lost end": {"update trust.events set position = position + 1 where position = (select max(position) " +
			"from trust.events)", &gap},
		"an event": {
			"update trust.events set event_type = 'user.unheard_of.v1' where stream_type = 'user'",
			&forged,
		},
		"another order": {
			"update trust.events set version = version + 7 where stream_type = 'user' and version > 1", &order,
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.live(t)

			_, err := w.db.Superuser(t).Exec(t.Context(), "set session_replication_role = replica; "+damage.sql)
			must(t, err)
			if _, err := newRebuilder(t, w).try(t.Context(), t, "users"); err == nil || !errors.As(err, damage.as) {
				t.Errorf("it ended with %v", err)
			}
			if got := w.versions(t, "users"); !slices.Equal(got, []string{"users_v1"}) {
				t.Errorf("it left %v", got)
			}
		})
	}
}
