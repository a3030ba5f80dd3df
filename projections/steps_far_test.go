//go:build far

package projections_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// Every step towards the database in turn fails, or is carried out without an answer, or
// is the last one before the process is killed. The steps are counted as they pass, so a
// new step is tried as well. After each run everything is checked, and then the same deed
// must succeed.
func TestFarNothingIsLeftHalfDoneWhicheverStepFails(t *testing.T) {
	t.Parallel()
	for _, d := range deeds() {
		for name, try := range map[string]func(*testing.T, deed, setting, *pgtest.Steps) error{
			"fails": inProcess, "unheard": inProcess, "killed": inChild,
		} {
			t.Run(d.name+" "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				steps, last := 0, setting{}

				for met := true; met && !t.Failed(); {
					t.Run(strconv.Itoa(steps+1), func(t *testing.T) {
						met = d.try(t, w, &last, name, steps+1, try)
					})
					if met {
						steps++
					}
				}

				t.Logf("%d steps", steps)
				if steps < d.least {
					t.Errorf("it takes %d steps: this test looks in the wrong place", steps)
				}
			})
		}
	}
}

// try does a deed while one step meets its fate, and reports whether it reached that
// step.
func (d deed) try(
	t *testing.T, w *world, last *setting, name string, step int,
	try func(*testing.T, deed, setting, *pgtest.Steps) error,
) (met bool) {
	t.Helper()
	w, at := d.prepare(t, w, *last)
	*last = at
	fate := pgtest.Unheard
	if name == "fails" {
		fate = pgtest.Fails
	}

	steps := pgtest.NewSteps(t, at.URL, func(n int) pgtest.Fate {
		if n == step {
			return fate
		}
		return pgtest.Passes
	})
	direct := at
	at.URL = steps.Over(at.URL)

	err := try(t, d, at, steps)
	steps.End()
	met = steps.Taken() >= step
	switch {
	case !met && err != nil:
		t.Errorf("nothing failed, and it says %v", err)
	case name == "killed" && err != nil && !errors.Is(err, errKilled):
		t.Errorf("it ended before it was killed, and says %v", err)
	}

	d.check(t, w, direct, err)
	if direct.Live != "" {
		direct.Live = live(t, w) // the next one has to be another one again
	}
	if err := d.do(t.Context(), direct); err != nil && !errors.Is(err, errDone) {
		t.Errorf("done again it says %v", err)
	}
	d.check(t, w, direct, nil)
	return met
}

func inProcess(t *testing.T, d deed, at setting, _ *pgtest.Steps) error {
	t.Helper()
	return d.do(t.Context(), at)
}

// inChild does a deed in a process that is killed at the step whose answer is lost.
func inChild(t *testing.T, d deed, at setting, steps *pgtest.Steps) error {
	t.Helper()
	text, err := json.Marshal(at)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFarADeedIsDoneInAProcessOfItsOwn$")
	cmd.Env = append(os.Environ(), childDeed+"="+d.name, childSetting+"="+string(text))
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()

	var killed atomic.Bool
	started := make(chan struct{})
	steps.Then(func() {
		<-started // for the race detector, which does not see that the child connects only once started
		killed.Store(true)
		_ = cmd.Process.Kill()
	})
	must(t, cmd.Start())
	close(started)

	err = cmd.Wait()
	if killed.Load() {
		return errKilled
	}
	return err
}

// This is what the test above runs when it starts this binary again; otherwise it does
// nothing.
func TestFarADeedIsDoneInAProcessOfItsOwn(t *testing.T) {
	t.Parallel()
	name, text := os.Getenv(childDeed), os.Getenv(childSetting)
	for _, d := range deeds() {
		if d.name == name {
			var at setting
			must(t, json.Unmarshal([]byte(text), &at))
			must(t, d.do(t.Context(), at))
		}
	}
}

const (
	childDeed    = "PROJECTIONS_CHILD_DEED"
	childSetting = "PROJECTIONS_CHILD_SETTING"
)

var (
	errKilled = errors.New("its process was killed")
	errDone   = errors.New("it was done already")
)

// deed is something that is done in many steps.
type deed struct {
	name  string
	least int // steps
	// prepare is for another time in the same world. It gets the setting of the time
	// before, or an empty one.
	prepare func(t *testing.T, w *world, before setting) (*world, setting)
	do      func(context.Context, setting) error
	check   func(t *testing.T, w *world, at setting, err error)
}

// setting is what a deed needs, in a form that can be passed to another process.
type setting struct {
	URL    string // of the database
	Direct string // the same database, without the steps
	API    string // likewise, for the role that appends
	Tenant domain.TenantID
	ID     uuid.UUID // of the append, and of the person it registers
	Head   int64
	Live   string // the version of the table before
	Events []byte // of the backup
	Keys   []byte
	Empty  map[string]int64 // see counted: before the restore
	Whole  map[string]int64 // after it
}

func deeds() []deed {
	return []deed{
		{"append", 8, prepareAppend, doAppend, checkAppend},
		{"appends in a batch", 8, prepareAppend, doAppends, checkAppends},
		{"apply", 20, prepareApply, doApply, checkApply},
		{"rebuild", 30, prepareRebuild, doRebuild, checkRebuild},
		{"restore", 30, prepareRestore, doRestore, checkRestore},
	}
}

func prepareAppend(_ *testing.T, w *world, _ setting) (*world, setting) {
	url := w.db.URL(pgtest.Query)
	return w, setting{URL: url, Direct: url, Tenant: w.tenant, ID: newID()}
}

// registers returns an append with parts of every kind: events in two streams, a key, a
// claim and a credential.
func (at setting) registers() domain.Append {
	person := domain.UserID{UUID: at.ID}
	return domain.Append{
		ID: at.ID, Tenant: at.Tenant, Actor: person, Origin: domain.Origin{IP: "203.0.113.7", UserAgent: "agent"},
		Writes: []domain.Write{
			{Stream: domain.UserOf(person), Events: []domain.Event{&domain.UserRegistered{
				MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
				Person: domain.Known(domain.PersonFacts{Email: at.address(), FullName: "Ṱhilivhali New"}),
			}}},
			{Stream: domain.ConsentsOf(person), Events: []domain.Event{
				&domain.ConsentGranted{Decision: fixed(at.ID, "sms_alert")},
				&domain.ConsentGranted{Decision: fixed(uuid.NewSHA1(at.ID, nil), "other")},
			}},
		},
		Side: []domain.SideWrite{
			domain.CreateSubjectKey{Subject: person},
			domain.TakeClaim{Claim: at.claim(), Holder: at.ID},
			domain.SetCredential{User: person, Email: at.address(), Verifier: "a hash"},
		},
	}
}

func (at setting) address() string { return at.ID.String() + "@example.org" }

func (at setting) claim() domain.Claim {
	return domain.Claim{Tenant: at.Tenant, Kind: domain.EmailClaim, Value: at.address()}
}

// fixed returns a decision whose id stays the same when the append is made again.
func fixed(id uuid.UUID, purpose string) domain.Decision {
	return domain.Decision{
		ConsentID: domain.ConsentID{UUID: id}, Purpose: purpose, NoticeVersion: 1, Wording: "words",
		Language: domain.English, SHA256: domain.WordingHash("words"), Channel: domain.Web,
		RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}
}

// doAppend appends, and compares what it was told with what is in the log.
func doAppend(ctx context.Context, at setting) error {
	var told domain.Appended
	err := withStore(ctx, at.URL, func(store *eventstore.Store) (err error) {
		told, err = store.Append(ctx, at.registers())
		return err
	})
	if err != nil {
		return err
	}
	return at.compare(ctx, told)
}

// compare compares what an append was told with what is in the log.
func (at setting) compare(ctx context.Context, told domain.Appended) error {
	return withStore(ctx, at.Direct, func(store *eventstore.Store) error {
		stored, err := store.FindAppend(ctx, at.Tenant, at.ID)
		if err != nil {
			return err
		}
		if got, want := placesOf(told.Events), placesOf(stored); !slices.Equal(got, want) {
			return fmt.Errorf("it was told %v, and the log has %v", got, want)
		}
		return nil
	})
}

// batched is how many appends are made at once.
const batched = 8

// nth returns the setting of one of many appends.
func (at setting) nth(i int) setting {
	at.ID = uuid.NewSHA1(at.ID, []byte{byte(i)})
	return at
}

// failures are the errors of appends that were made at once.
type failures [batched]error

func (f *failures) Error() string { return errors.Join(f[:]...).Error() }

// doAppends makes appends at once: while one waits for the log, the others gather. One
// goes before them, so that none has to wait for a key.
func doAppends(ctx context.Context, at setting) error {
	var told [batched]domain.Appended
	var failed failures
	err := withStore(ctx, at.URL, func(store *eventstore.Store) error {
		if _, err := store.Append(ctx, at.nth(batched).registers()); err != nil {
			return err
		}

		log, err := pgx.Connect(ctx, at.Direct)
		if err != nil {
			return err
		}
		defer func() { _ = log.Close(context.WithoutCancel(ctx)) }()
		if _, err := log.Exec(ctx, "select pg_advisory_lock(7267411)"); err != nil {
			return err
		}

		var appending sync.WaitGroup
		for i := range batched {
			appending.Go(func() { told[i], failed[i] = store.Append(ctx, at.nth(i).registers()) })
		}
		all := make(chan struct{})
		go func() {
			appending.Wait()
			close(all)
		}()

		err = untilOneWaits(ctx, log, all)
		_, unlocked := log.Exec(ctx, "select pg_advisory_unlock(7267411)")
		<-all
		return errors.Join(err, unlocked)
	})

	switch {
	case err != nil:
		return err
	case failed != failures{}:
		return &failed
	}
	for i, one := range told {
		if err := at.nth(i).compare(ctx, one); err != nil {
			return err
		}
	}
	return at.sharedOne(ctx, told)
}

// sharedOne returns an error if each append had a transaction of its own: then nothing
// was said about batches.
func (at setting) sharedOne(ctx context.Context, told [batched]domain.Appended) error {
	var ids []uuid.UUID
	for i, one := range told {
		if one.Repeat {
			return nil // some are older than the others
		}
		ids = append(ids, at.nth(i).ID)
	}

	db, err := pgx.Connect(ctx, at.Direct)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	if _, err := db.Exec(ctx, "select set_config('trust.tenant', $1, false)", at.Tenant.String()); err != nil {
		return err
	}
	var alone bool
	err = db.QueryRow(ctx, "select count(distinct xmin::text) = $2 from trust.events where append_id = any($1)",
		ids, batched).Scan(&alone)
	if err == nil && alone {
		err = errors.New("no two appends shared a transaction")
	}
	return err
}

// untilOneWaits returns once somebody waits for the log's lock, or nobody will any more.
func untilOneWaits(ctx context.Context, db *pgx.Conn, all <-chan struct{}) error {
	for {
		var waits bool
		err := db.QueryRow(ctx, `select exists (select from pg_locks where locktype = 'advisory' and not granted
			and objid = 7267411 and database = (select oid from pg_database where datname = current_database()))`).
			Scan(&waits)
		if err != nil || waits {
			return err
		}

		select {
		case <-all:
			return nil
		case <-time.After(time.Millisecond): // nothing tells that a session waits
		}
	}
}

// checkAppends checks each of the appends as if it were alone.
func checkAppends(t *testing.T, w *world, at setting, err error) {
	t.Helper()
	w.check(t)
	many, each := errors.AsType[*failures](err)
	for i := range batched {
		if each {
			err = many[i]
		}
		checkParts(t, w, at.nth(i), err)
	}
}

// placesOf says where events are in the log.
func placesOf(events []domain.Recorded) (places []string) {
	for _, e := range events {
		places = append(places, fmt.Sprintf("%d: version %d of %v", e.Position, e.Version, e.Stream))
	}
	return places
}

// withStore opens the log as an API does.
func withStore(ctx context.Context, url string, do func(*eventstore.Store) error) error {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return err
	}
	pool, err := pg.Connect(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()

	store, err := eventstore.Open(ctx, pool, []byte(masterKey))
	if err != nil {
		return err
	}
	defer store.Close()
	return do(store)
}

// checkAppend checks that all parts of the append are there, or none: all if it was
// acknowledged, and none if it was refused, whatever the reason.
func checkAppend(t *testing.T, w *world, at setting, err error) {
	t.Helper()
	w.check(t)
	checkParts(t, w, at, err)
}

func checkParts(t *testing.T, w *world, at setting, err error) {
	t.Helper()
	stored, e := w.store.FindAppend(t.Context(), w.tenant, at.ID)
	must(t, e)
	_, held, e := w.store.Holder(t.Context(), at.claim())
	must(t, e)
	var key, credential bool
	must(t, w.db.Superuser(t).QueryRow(t.Context(), `select exists (select from trust.keys where key_id = $1),
		exists (select from trust.credentials where user_id = $1)`, at.ID).Scan(&key, &credential))

	there := len(stored) == 3
	if !there && len(stored) > 0 || held != there || key != there || credential != there {
		t.Errorf("it is there in part: %d events, claim %t, key %t, credential %t", len(stored), held, key, credential)
	}

	open := errors.Is(err, domain.Refuse(domain.CodeOutcomeUnknown, "")) || errors.Is(err, errKilled)
	switch {
	case err == nil && !there:
		t.Error("it was acknowledged, and is lost")
	case err != nil && there && !open:
		t.Errorf("it is there, and says %v", err)
	}
}

// prepareApply makes events of each kind that consents are folded from.
func prepareApply(t *testing.T, w *world, _ setting) (*world, setting) {
	t.Helper()
	for i := range 3 {
		person := w.register(t, w.tenant, fmt.Sprint("person", i))
		consent := w.grant(t, w.tenant, person)
		w.append(t, w.tenant, domain.ConsentsOf(person),
			&domain.ConsentWithdrawn{ConsentID: consent, Purpose: "sms_alert"})
		w.grant(t, w.tenant, person)
	}
	return w, setting{URL: w.db.URL(pgtest.Projector), Direct: w.db.URL(pgtest.Projector), Head: w.head(t)}
}

// doApply follows the log until everything is applied.
func doApply(ctx context.Context, at setting) error {
	ctx, cancel := context.WithTimeout(ctx, pgtest.Patience)
	defer cancel()
	watching, err := pgx.Connect(ctx, at.Direct)
	if err != nil {
		return err
	}
	defer func() { _ = watching.Close(context.WithoutCancel(ctx)) }()

	consents, _ := projections.ByName("consents")
	worker := follow.NewWorker(follow.Config{DatabaseURL: at.URL, MasterKey: []byte(masterKey), PageSize: 5}, consents)

	working, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	var failed error
	ended.Go(func() { failed = worker.Run(working) })
	defer ended.Wait()
	defer stop()

	for {
		var there bool
		err := watching.QueryRow(ctx,
			"select exists (select from trust.checkpoints where follower = 'consents' and position >= $1)", at.Head).
			Scan(&there)
		if err != nil || there {
			stop()
			ended.Wait()
			return errors.Join(err, failed)
		}

		<-time.After(5 * time.Millisecond) // poll, since another process may be doing the work
	}
}

// checkApply checks that rows and checkpoint agree, whatever the checkpoint is, and that
// the worker went on: only a kill ends it.
func checkApply(t *testing.T, w *world, at setting, err error) {
	t.Helper()
	w.check(t)
	if err != nil && !errors.Is(err, errKilled) {
		t.Errorf("the worker gave up: %v", err)
	}
	if s := w.status(t, "consents"); err == nil && s.Position < at.Head {
		t.Errorf("it followed up to position %d of %d", s.Position, at.Head)
	}
}

func prepareRebuild(t *testing.T, w *world, before setting) (*world, setting) {
	t.Helper()
	if before.Live == "" {
		_, at := prepareApply(t, w, before)
		must(t, doApply(t.Context(), at))
	}
	return w, setting{
		URL: w.db.URL(pgtest.Owner), Direct: w.db.URL(pgtest.Projector), API: w.db.URL(pgtest.Query),
		Tenant: w.tenant, Live: live(t, w),
	}
}

// live returns the version of the table that the view names.
func live(t *testing.T, w *world) (version string) {
	t.Helper()
	must(t, w.db.Superuser(t).QueryRow(t.Context(), "select trust.live_version('consents')::text").Scan(&version))
	return version
}

// doRebuild rebuilds a table whose projector meanwhile follows a new event, so that the
// rebuild has to follow it too.
func doRebuild(ctx context.Context, at setting) error {
	pool, err := pgxpool.New(ctx, at.URL)
	if err != nil {
		return err
	}
	defer pool.Close()

	reader, err := eventstore.NewReader(ctx, pool, []byte(masterKey))
	if err != nil {
		return err
	}

	meanwhile := errors.New("it was not compared")
	consents, _ := projections.ByName("consents")
	done, err := projections.Rebuild(ctx, pool, reader, consents, func(stage projections.Stage, _, _ int64) {
		if stage == projections.Comparing {
			meanwhile = grantAndFollow(ctx, &at)
		}
	})

	switch {
	case err != nil:
		return err
	case meanwhile != nil:
		return fmt.Errorf("%w: %w", errNotFollowed, meanwhile)
	case done.Position < at.Head:
		return fmt.Errorf("%w: it ended at position %d of %d", errNotFollowed, done.Position, at.Head)
	}
	return nil
}

var errNotFollowed = errors.New("it did not follow the log")

// grantAndFollow appends a consent, and has the projector follow it. at.Head is then its
// position.
func grantAndFollow(ctx context.Context, at *setting) error {
	err := withStore(ctx, at.API, func(store *eventstore.Store) error {
		done, err := store.Append(ctx, domain.Append{
			ID: newID(), Tenant: at.Tenant, Writes: []domain.Write{{
				Stream: domain.ConsentsOf(newUser()),
				Events: []domain.Event{&domain.ConsentGranted{Decision: fixed(newID(), "sms_alert")}},
			}},
		})
		at.Head = done.Position()
		return err
	})
	if err != nil {
		return err
	}
	return doApply(ctx, setting{URL: at.Direct, Direct: at.Direct, Head: at.Head})
}

// checkRebuild checks that the view names one whole table, another one if that was
// acknowledged, and that no half-built one is left.
func checkRebuild(t *testing.T, w *world, at setting, err error) {
	t.Helper()
	w.check(t)
	now := live(t, w)
	if errors.Is(err, errNotFollowed) {
		t.Error(err)
	}
	if err == nil && now == at.Live {
		t.Errorf("it was acknowledged, and the view still names %s", now)
	}

	db := w.db.Superuser(t)
	var granted int
	must(t, db.QueryRow(t.Context(), "select count(*) from trust.events where event_type = $1",
		(*domain.ConsentGranted)(nil).EventType()).Scan(&granted))
	names, err := db.Query(t.Context(),
		`select tablename from pg_tables where schemaname = 'trust' and tablename ~ '^consents_v'`)
	must(t, err)

	tables, err := pgx.CollectRows(names, pgx.RowTo[string])
	must(t, err)
	if len(tables) > 2 {
		t.Errorf("too much is left: %v", tables)
	}

	for _, table := range tables {
		var rows int
		must(t, db.QueryRow(t.Context(), "select count(*) from trust."+table).Scan(&rows))
		// The version before this one is not followed any more.
		if rows > granted || rows < 6 || "trust."+table == now && rows != granted {
			t.Errorf("%s has %d rows of %d, and the view names %s", table, rows, granted, now)
		}
	}
}

// prepareRestore makes an empty database, and the first time a backup: one of the events,
// then the erasure of a person, then one of the keys. So the restore has to erase that
// person again.
func prepareRestore(t *testing.T, w *world, before setting) (*world, setting) {
	t.Helper()
	at := before
	if at.Events == nil {
		at = backUp(t, w)
	}

	empty := *w
	empty.db = pgtest.New(t)
	at.URL, at.Empty = empty.db.URL(pgtest.Superuser), counted(t, &empty)
	return &empty, at
}

// backUp writes a backup of a log with everything that a backup holds.
func backUp(t *testing.T, w *world) (at setting) {
	t.Helper()
	prepareApply(t, w, at)
	account := setting{Tenant: w.tenant, ID: newID()} // with a credential and a claim
	_, err := w.store.Append(t.Context(), account.registers())
	must(t, err)
	person := w.register(t, w.tenant, "somebody who leaves")
	w.grant(t, w.tenant, person)

	var events, keys bytes.Buffer
	backup := func(write func(*eventstore.Backup) error) {
		b, err := eventstore.BeginBackup(t.Context(), w.db.Superuser(t))
		must(t, err)
		defer b.Close(t.Context())
		must(t, write(b))
	}

	backup(func(b *eventstore.Backup) error {
		at.Head = b.Head()
		_, err := b.WriteEvents(t.Context(), &events)
		return err
	})
	must(t, commands.ReapplyErasure(t.Context(), running{w.store}, domain.Recorded{
		Tenant: w.tenant, Subject: person, AppendID: newID(), RecordedAt: time.Now(),
		Event: &domain.UserErased{Cause: domain.BySelf, Keys: []uuid.UUID{person.UUID}},
	}))
	backup(func(b *eventstore.Backup) error {
		_, err := b.WriteKeys(t.Context(), &keys)
		return err
	})

	at.Events, at.Keys, at.Whole = events.Bytes(), keys.Bytes(), counted(t, w)
	return at
}

// running is a log in use, in which somebody is erased as a restore would do it.
type running struct{ *eventstore.Store }

func (r running) LoadLog(
	ctx context.Context, tenant domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	return r.Load(ctx, tenant, streams...)
}

func (r running) AppendAsOf(ctx context.Context, a domain.Append, _ time.Time) error {
	_, err := r.Append(ctx, a)
	return err
}

func doRestore(ctx context.Context, at setting) error {
	return restore(ctx, at, bytes.NewReader(at.Keys), bytes.NewReader(at.Events))
}

// restore does what trust restore does, in its order.
func restore(ctx context.Context, at setting, keys, events io.Reader) error {
	conn, err := pgx.Connect(ctx, at.URL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	r, err := eventstore.BeginRestore(ctx, conn)
	if errors.Is(err, eventstore.ErrNotEmpty) {
		return errDone
	}
	if err != nil {
		return err
	}
	defer r.Close(ctx)

	for _, step := range []func() error{
		func() error { return r.ReadKeys(ctx, keys) },
		func() error { return r.Prove(ctx, []byte(masterKey)) },
		func() error { return r.ReadEvents(ctx, events, nil) },
		func() error { return r.Settle(ctx, at.Head) },
		func() error { return noneForged(ctx, r, at.Head) },
		func() error { return eraseAgain(ctx, r) },
		func() error { _, err := r.Finish(ctx); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// A restore reads two files. Whichever read fails, or finds that the file ends there, the
// database stays as it was, and the whole files restore it.
func TestFarARestoreThatCannotReadItsFilesLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]error{"a read that fails": errUnreadable, "a file that ends": io.EOF} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			reads, last := 0, setting{}
			for met := true; met && !t.Failed(); reads++ {
				t.Run(strconv.Itoa(reads), func(t *testing.T) {
					restored, at := prepareRestore(t, w, last)
					last = at

					files := &reading{left: reads, end: end}
					err := restore(t.Context(), at, files.of(at.Keys), files.of(at.Events))
					if met = files.ended; met && err == nil {
						t.Error("it was restored from half of the files")
					}
					checkRestore(t, restored, at, err)

					if met {
						must(t, doRestore(t.Context(), at))
						checkRestore(t, restored, at, nil)
					}
				})
			}
			t.Logf("%d reads", reads)
			if reads < 10 {
				t.Errorf("it took %d reads: this test looks in the wrong place", reads)
			}
		})
	}
}

var errUnreadable = errors.New("the disk does not answer")

// reading counts the reads of all files. After some of them every read ends with an
// error.
type reading struct {
	left  int // until then
	end   error
	ended bool
}

// of returns a file that is read a thousand bytes at a time.
func (r *reading) of(file []byte) io.Reader { return &shortReads{r, bytes.NewReader(file)} }

type shortReads struct {
	reading *reading
	file    *bytes.Reader
}

func (s *shortReads) Read(b []byte) (int, error) {
	if s.reading.left <= 0 && s.file.Len() > 0 {
		s.reading.ended = true
		return 0, s.reading.end
	}
	s.reading.left--
	return s.file.Read(b[:min(len(b), 1000)])
}

func noneForged(ctx context.Context, r *eventstore.Restore, head int64) error {
	first, count, err := r.Forged(ctx, head)
	if err == nil && count > 0 {
		err = fmt.Errorf("%d events are forged: %w", count, first)
	}
	return err
}

func eraseAgain(ctx context.Context, r *eventstore.Restore) error {
	erased, err := r.Erasures(ctx)
	if err == nil && len(erased) != 1 {
		err = fmt.Errorf("%d people are to be erased again", len(erased))
	}
	if err != nil {
		return err
	}
	return commands.ReapplyErasure(ctx, r, erased[0])
}

// counted counts what a restore brings back.
func counted(t *testing.T, w *world) (counts map[string]int64) {
	t.Helper()
	counts = map[string]int64{}
	for _, rows := range []string{
		"trust.events", "trust.events where code is not null",
		"trust.coded", "trust.keys", "trust.keys where destroyed_at is not null",
		"trust.secrets", "trust.credentials", "trust.claims",
	} {
		var n int64
		must(t, w.db.Superuser(t).QueryRow(t.Context(), "select count(*) from "+rows).Scan(&n))
		counts[rows] = n
	}
	return counts
}

// checkRestore checks that everything is there, as much of each as in the database that
// was backed up, and open to everybody, or that nothing is.
func checkRestore(t *testing.T, w *world, at setting, err error) {
	t.Helper()
	var open bool
	must(t, w.db.Superuser(t).QueryRow(t.Context(), "select has_schema_privilege('trust_query', 'trust', 'usage')").
		Scan(&open))

	got := counted(t, w)
	switch {
	case err != nil && maps.Equal(got, at.Empty):
	case open && maps.Equal(got, at.Whole):
		w.check(t)
	default:
		t.Errorf("after %v, open %t: %v\nwant %v", err, open, got, at.Whole)
	}
}
