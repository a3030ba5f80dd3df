package eventstore_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// marks are values that identify a person: those of the registration, and of the other
// events that hold any.
func marks() []string {
	return []string{
		"marked@example.org", "remarked@example.org", "Ṱhilivhali Marked", "Renamed Marked",
		"+27821234567", "+27830000001", "203.0.113.7", "marked-agent",
		"a marked reference", "a marked reason", "Marked Guardian",
	}
}

// lifeOf registers a person and appends every kind of event with a personal part.
func (w *world) lifeOf(t testing.TB) domain.UserID {
	t.Helper()
	user := w.register(t, w.tenant, "marked@example.org")

	decision := granted()
	decision.Private = domain.Known(domain.DecisionFacts{
		EvidenceReference: "a marked reference", CompetentPerson: &domain.CompetentPerson{Name: "Marked Guardian"},
	})
	withdrawn := &domain.ConsentWithdrawn{
		ConsentID: decision.ConsentID, Purpose: decision.Purpose, RecordedBy: domain.BySelf,
		Private: domain.Known(domain.WithdrawalFacts{Reason: "a marked reason"}),
	}

	origin := domain.Origin{IP: "203.0.113.7", UserAgent: "marked-agent"}
	must(t)(w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: w.tenant, Actor: user, Origin: origin,
		Writes: []domain.Write{
			{Stream: domain.UserOf(user), Expected: 1, Events: []domain.Event{
				&domain.UserProfileChanged{
					Fields: []string{"full_name", "phone"},
					Person: domain.Known(domain.ProfileChanges{
						FullName: &domain.Change[string]{Old: "Ṱhilivhali Marked", New: "Renamed Marked"},
						Phone:    &domain.Change[string]{Old: "+27821234567", New: "+27830000001"},
					}),
				},
				&domain.UserEmailChanged{
					Email: domain.Known(domain.Change[string]{Old: "marked@example.org", New: "remarked@example.org"}),
				},
			}},
			{Stream: domain.ConsentsOf(user), Events: []domain.Event{decision, withdrawn}},
		},
		Side: []domain.SideWrite{
			domain.ReleaseClaim{Claim: emailClaim(w.tenant, "marked@example.org"), Holder: user.UUID},
			domain.TakeClaim{Claim: emailClaim(w.tenant, "remarked@example.org"), Holder: user.UUID},
			domain.SetCredential{User: user, Email: "remarked@example.org"},
		},
	}))

	// By an unknown actor, who may be the person: sealed under the person's key.
	must(t)(w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: w.tenant, Origin: origin,
		Writes: []domain.Write{{
			Stream: domain.SessionsOf(user),
			Events: []domain.Event{&domain.SignInFailed{Count: 1, Cause: "password"}},
		}},
	}))
	return user
}

func lifeStreams(user domain.UserID) []domain.Stream {
	return []domain.Stream{domain.UserOf(user), domain.ConsentsOf(user), domain.SessionsOf(user)}
}

// personal returns the state of each personal part of events: the subject's and the
// origin's.
func personal(events []domain.Recorded) (subject, origin []domain.PersonalState) {
	for _, r := range events {
		switch e := r.Event.(type) {
		case *domain.UserRegistered:
			subject = append(subject, e.Person.State())
		case *domain.UserProfileChanged:
			subject = append(subject, e.Person.State())
		case *domain.UserEmailChanged:
			subject = append(subject, e.Email.State())
		case *domain.ConsentGranted:
			subject = append(subject, e.Private.State())
		case *domain.ConsentWithdrawn:
			subject = append(subject, e.Private.State())
		}

		origin = append(origin, r.Origin.State())
	}
	return subject, origin
}

func allAre(states []domain.PersonalState, want domain.PersonalState, n int) bool {
	for _, s := range states {
		if s != want {
			return false
		}
	}
	return len(states) == n
}

// text writes out everything in events, including personal parts.
func text(events []domain.Recorded) string {
	var b strings.Builder
	for _, r := range events {
		origin, _ := r.Origin.Get()
		fmt.Fprintf(&b, "%+v %+v\n", r.Event, origin)

		switch e := r.Event.(type) {
		case *domain.UserProfileChanged:
			person, _ := e.Person.Get()
			fmt.Fprintf(&b, "%+v %+v\n", person.FullName, person.Phone)
		case *domain.ConsentGranted:
			private, _ := e.Private.Get()
			fmt.Fprintf(&b, "%+v\n", private.CompetentPerson)
		}
	}
	return b.String()
}

func TestNothingThatIdentifiesAPersonIsReadableInAnyTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.lifeOf(t)

	events, err := w.store.LoadPersonal(t.Context(), w.tenant, lifeStreams(user)...)
	if err != nil {
		t.Fatal(err)
	}
	opened := text(events)
	for _, mark := range marks() {
		if !strings.Contains(opened, mark) {
			t.Errorf("LoadPersonal does not return %q", mark)
		}
	}
	if _, origin := personal(events); !allAre(origin, domain.Open, 6) {
		t.Errorf("origins %v, want all open", origin)
	}

	values := 0
	for table, rows := range w.dump(t) {
		for _, row := range rows {
			values++
			for _, mark := range marks() {
				if strings.Contains(row, mark) || strings.Contains(row, hex.EncodeToString([]byte(mark))) {
					t.Errorf("%s holds %q: %s", table, mark, row)
				}
			}
		}
	}
	if values < 10 {
		t.Errorf("%d rows were searched", values)
	}

	w.exec(t, "insert into trust.secrets values ('marked-agent', '\\x00'), ('planted', convert_to('x203.0.113.7x', "+
		"'utf8'))")
	if dump := fmt.Sprint(w.dump(t)); !strings.Contains(dump, "marked-agent") ||
		!strings.Contains(dump, hex.EncodeToString([]byte("203.0.113.7"))) {
		t.Error("the search does not find what was planted")
	}
}

func TestLoadWithholdsWhatIsPersonal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.lifeOf(t)

	events, err := w.store.Load(t.Context(), w.tenant, lifeStreams(user)...)
	if err != nil {
		t.Fatal(err)
	}

	if subject, origin := personal(events); !allAre(subject, domain.Withheld, 5) ||
		!allAre(origin, domain.Withheld, 6) {
		t.Errorf("subject %v, origin %v; want all withheld", subject, origin)
	}
	if loaded := text(events); strings.Contains(loaded, "arked") || strings.Contains(loaded, "203.0.113.7") {
		t.Errorf("it returns %s", loaded)
	}
}

// readAll reads the whole log as a projector does.
func (w *world) readAll(t testing.TB) ([]domain.Recorded, error) {
	t.Helper()
	tx, err := w.db.Conn(t, pgtest.Projector).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())

	reader, err := eventstore.NewReader(t.Context(), tx, []byte(masterKey))
	if err != nil {
		return nil, err
	}
	head, err := eventstore.Head(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	return reader.Range(t.Context(), tx, 0, head)
}

func TestAPersonWhoseKeyIsDestroyedIsErasedEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.lifeOf(t)
	other := open(t, w.db) // another process, which remembers the key
	if events, err := other.LoadPersonal(t.Context(), w.tenant, domain.UserOf(user)); err != nil ||
		!strings.Contains(text(events), "arked") {
		t.Fatalf("%s, %v", text(events), err)
	}

	must(t)(w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: w.tenant, Actor: user, Origin: domain.Origin{IP: "203.0.113.7"},
		Writes: []domain.Write{{
			Stream: domain.UserOf(user), Expected: 3,
			Events: []domain.Event{&domain.UserErased{}},
		}},
		Side: []domain.SideWrite{domain.DestroySubjectKey{Subject: user}},
	}))
	erased := time.Now()

	for name, store := range map[string]*eventstore.Store{"the same process": w.store, "another process": other} {
		erasedIn := func() bool {
			events, err := store.LoadPersonal(t.Context(), w.tenant, lifeStreams(user)...)
			if err != nil {
				t.Fatal(err)
			}
			subject, _ := personal(events)
			return allAre(subject, domain.Erased, 5)
		}
		pgtest.Eventually(t, name+" forgets the key", erasedIn)

		events, err := store.LoadPersonal(t.Context(), w.tenant, lifeStreams(user)...)
		if err != nil {
			t.Fatal(err)
		}
		_, origin := personal(events)
		// Including the origin of the failed sign-in, which may have been the person's.
		if !allAre(origin, domain.Erased, 7) {
			t.Errorf("%s: origins %v; want erased", name, origin)
		}
		if loaded := text(events); strings.Contains(loaded, "Marked") || strings.Contains(loaded, "marked@") {
			t.Errorf("%s still returns %s", name, loaded)
		}
	}
	if took := time.Since(erased); eventstore.KeyMemory > 2*time.Second {
		t.Errorf("keys are remembered for %s (here %s), which is longer than 2 s", eventstore.KeyMemory, took)
	}

	events, err := w.readAll(t)
	if err != nil {
		t.Fatal(err)
	}
	if subject, _ := personal(events); !allAre(subject, domain.Erased, 5) {
		t.Errorf("the reader returns states %v, want all erased", subject)
	}

	if events, err = w.store.Load(t.Context(), w.tenant, domain.UserOf(user)); err != nil || len(events) != 4 {
		t.Errorf("Load returns %d events, %v", len(events), err)
	}
	if account := domain.Fold[domain.User](events); !account.Erased || account.Active {
		t.Errorf("folded: %+v", account)
	}
}

func TestAnAppendThatNeedsADestroyedKeyIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.register(t, w.tenant, "one@example.org")
	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.DestroySubjectKey{Subject: user})))
	store := open(t, w.db)

	personalPart := grant(w.tenant, user, 0)
	decision := personalPart.Writes[0].Events[0].(*domain.ConsentGranted)
	decision.Private = domain.Known(domain.DecisionFacts{EvidenceReference: "x"})
	asActor := grant(w.tenant, someone(), 0)
	asActor.Actor, asActor.Origin = user, domain.Origin{IP: "203.0.113.7"}
	before := w.dump(t)
	for _, a := range []domain.Append{personalPart, asActor} {
		_, err := store.Append(t.Context(), a)
		refused(t, err, domain.CodeSubjectErased)
	}
	w.unchanged(t, before)

	must(t)(store.Append(t.Context(), grant(w.tenant, user, 0))) // one without anything personal needs no key
}

func TestAKeyIsNeverMadeOnDemand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := grant(w.tenant, someone(), 0)
	a.Writes[0].Events[0].(*domain.ConsentGranted).Private = domain.Known(domain.DecisionFacts{EvidenceReference: "x"})
	before := w.dump(t)

	if _, err := w.store.Append(t.Context(), a); err == nil {
		t.Error("it was sealed under a key that nobody made")
	}
	stranger := registration(domain.TenantID{UUID: newID()}, "x")
	if _, err := w.store.Append(t.Context(), stranger); err == nil {
		t.Error("a person was registered in a tenant without a key")
	}
	w.unchanged(t, before)
}

func TestAWrongMasterKeyIsRefusedAndWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.dump(t)
	wrong := []byte(masterKey + ".")

	_, err := eventstore.Open(t.Context(), w.db.Pool(t, pgtest.Query), wrong)
	if !errors.Is(err, eventstore.ErrWrongMasterKey) {
		t.Errorf("the store says %v", err)
	}
	_, err = eventstore.NewReader(t.Context(), w.db.Conn(t, pgtest.Projector), wrong)
	if !errors.Is(err, eventstore.ErrWrongMasterKey) {
		t.Errorf("the reader says %v", err)
	}

	w.unchanged(t, before)
}

func TestProcessesThatOpenAFreshDatabaseAtOnceAgree(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)

	stores := make([]*eventstore.Store, 6)
	errs := make([]error, len(stores))
	var wg sync.WaitGroup
	for i := range stores {
		pool := db.Pool(t, pgtest.Query)
		wg.Go(func() {
			stores[i], errs[i] = eventstore.Open(t.Context(), pool, []byte(masterKey),
				eventstore.Patience(pgtest.Patience))
		})
	}
	wg.Wait()

	for i, store := range stores {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		t.Cleanup(store.Close)
		if store.Digest("x", "y") != stores[0].Digest("x", "y") {
			t.Error("two processes have different lookup keys")
		}
	}
	if stores[0].Digest("xy") == stores[0].Digest("x", "y") ||
		stores[0].Digest("x", "y") == stores[0].Digest("y", "x") {
		t.Error("the digest does not tell parts apart")
	}

	w := &world{db: db, store: stores[0], admin: &admin{conn: db.Superuser(t)}}
	if n := query[int](t, w, "select count(*) from trust.keys"); n != 1 {
		t.Errorf("%d keys, want the platform's", n)
	}
	if n := query[int](t, w, "select count(*) from trust.secrets"); n != 3 {
		t.Errorf("%d secrets, want 3", n)
	}

	// One process opens what another has sealed.
	w.tenant = w.municipality(t, "CPT")
	user := w.register(t, w.tenant, "marked@example.org")
	events, err := stores[5].LoadPersonal(t.Context(), w.tenant, domain.UserOf(user))
	if err != nil || !strings.Contains(text(events), "marked@example.org") {
		t.Errorf("%s, %v", text(events), err)
	}
	checkLog(t, db)
}

func TestTheKeyOfAMonthIsMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stores := []*eventstore.Store{w.store, open(t, w.db)}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			_, err := stores[i%2].Append(t.Context(), domain.Append{
				ID: newID(), Tenant: w.tenant, Origin: domain.Origin{IP: "203.0.113.7"},
				Writes: []domain.Write{{
					Stream: domain.Stream{Type: domain.AccessStream, ID: newID()},
					Events: []domain.Event{&domain.TenantMismatch{Route: "GET /"}},
				}},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	if n := query[int](t, w, "select count(*) from trust.keys where kind = 'month'"); n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
}

// Data sealed under a key that no database holds can never be opened, and a failover may
// lose the key of the month too.
func TestAKeyThatAFailoverLostIsNotSealedUnderForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	visit := func() domain.Appended {
		return must(t)(w.store.Append(t.Context(), domain.Append{
			ID: newID(), Tenant: w.tenant, Origin: domain.Origin{IP: "203.0.113.7"}, Writes: []domain.Write{{
				Stream: domain.Stream{Type: domain.AccessStream, ID: newID()},
				Events: []domain.Event{&domain.TenantMismatch{Route: "GET /"}},
			}},
		}))
	}

	kept := visit().Position()
	w.exec(t, "set session_replication_role = replica")
	w.exec(t, fmt.Sprintf("delete from trust.events where position = %d; delete from trust.keys where kind = 'month'",
		kept))
	w.exec(t, "set session_replication_role = origin")

	pgtest.Eventually(t, "the key of the month is made anew", func() bool {
		visit()
		return query[int](t, w, "select count(*) from trust.keys where kind = 'month'") == 1
	})

	last := visit().Position()
	found := w.find(t, eventstore.Query{Tenant: w.tenant, Newest: true, Limit: 1})
	if e := found[len(found)-1]; e.Position != last || e.Origin.State() != domain.Open {
		t.Errorf("at %d of %d the origin is %v", e.Position, last, e.Origin.State())
	}

	// Nobody can open those of the first second, and the check at the end would fail.
	w.exec(t, "set session_replication_role = replica")
	w.exec(t, fmt.Sprintf("delete from trust.events where position >= %d", kept))
	w.exec(t, "set session_replication_role = origin")
}

// A platform admin acts in a municipality: the origin is sealed under the admin's own
// key, which the municipality does not see.
func TestTheOriginOfAnActorOfAnotherTenantIsWithheldFromThisOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	platform := domain.PlatformTenant()
	admin := w.register(t, platform, "admin@example.org")
	user := w.register(t, w.tenant, "marked@example.org")
	a := grant(w.tenant, user, 0)
	a.Actor, a.ActorTenant, a.Origin = admin, platform, domain.Origin{IP: "198.51.100.9"}
	must(t)(w.store.Append(t.Context(), a))

	for name, store := range map[string]*eventstore.Store{
		"a process that just used the key": w.store, "another": open(t, w.db),
	} {
		events, err := store.LoadPersonal(t.Context(), w.tenant, domain.ConsentsOf(user), domain.UserOf(user))
		if err != nil || len(events) != 2 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		if _, origin := personal(events); origin[0] != domain.Open || origin[1] != domain.Withheld {
			t.Errorf("%s: origins %v, want open and withheld", name, origin)
		}

		// This brings the key into memory, for the other tenant.
		if _, err := store.LoadPersonal(t.Context(), platform, domain.UserOf(admin)); err != nil {
			t.Fatal(err)
		}
		events, err = store.LoadPersonal(t.Context(), w.tenant, domain.ConsentsOf(user))
		if err != nil {
			t.Fatal(err)
		}
		if _, origin := personal(events); origin[0] != domain.Withheld {
			t.Errorf("%s uses the key of another tenant from memory", name)
		}
	}
}

func TestAReaderStopsAtAGap(t *testing.T) {
	t.Parallel()
	w := &world{db: pgtest.New(t)} // not newWorld: the log is broken on purpose
	w.store, w.admin = open(t, w.db), &admin{conn: w.db.Superuser(t)}
	w.tenant = w.municipality(t, "CPT")
	for range 4 {
		must(t)(w.store.Append(t.Context(), grant(w.tenant, someone(), 0)))
	}

	w.exec(t, "set session_replication_role = replica")
	w.exec(t, "delete from trust.events where position = 3")
	_, err := w.readAll(t)
	if gap := failed[*eventstore.GapError](t, err); gap.Want != 3 || gap.Got != 4 {
		t.Errorf("got %+v", gap)
	}

	w.beforeCodes(t)
	w.exec(t, "update trust.events set code = null, event_type = 'weather.changed.v1' where position = 2")
	w.exec(t, "delete from trust.events where position > 2")
	_, err = w.readAll(t)
	if got := failed[*domain.UnknownEventError](t, err); !strings.Contains(err.Error(), "position 2") {
		t.Errorf("got %v (%+v)", err, got)
	}
}

// The reason why somebody read the data of several people is sealed although there is no
// single person whose key could seal it.
func TestAReasonAboutSeveralPeopleIsSealedUnderTheTenantsKeyOfTheMonth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	read := &domain.PersonalDataRead{
		Route: "trust replay", Fields: "profile",
		Private: domain.Known(domain.ReadFacts{Reason: "about Marked"}),
	}
	stream := domain.Stream{Type: domain.AccessStream, ID: newID()}
	done := must(t)(w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: w.tenant, Writes: []domain.Write{{Stream: stream, Events: []domain.Event{read}}},
	}))

	if n := query[int](t, w,
		"select count(*) from trust.events where payload::text like '%Marked%' or sealed::text like "+
			"'%'||encode('Marked', 'hex')||'%'"); n != 0 {
		t.Error("the reason is readable in the log")
	}

	events, err := open(t, w.db).LoadPersonal(t.Context(), w.tenant, stream)
	if err != nil || len(events) != len(done.Events) {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if facts, _ := events[0].Event.(*domain.PersonalDataRead).Private.Get(); facts.Reason != "about Marked" {
		t.Errorf("opened: %+v", facts)
	}
}
