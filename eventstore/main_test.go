package eventstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const masterKey = "a master key of at least thirty-two characters"

// world is a database of one test, its store, and a municipality in it.
type world struct {
	db     *pgtest.DB
	store  *eventstore.Store
	tenant domain.TenantID
	admin  *admin
}

// admin is the superuser's connection, for one goroutine at a time.
type admin struct {
	sync.Mutex
	conn *pgx.Conn
}

// newWorld makes a database with one municipality. When the test ends, the log's
// invariants are checked.
func newWorld(t testing.TB) *world {
	t.Helper()
	db := pgtest.New(t)
	w := &world{db: db, store: open(t, db), admin: &admin{conn: db.Superuser(t)}}
	w.tenant = w.municipality(t, "CPT")
	t.Cleanup(func() { checkLog(t, db) })
	return w
}

func open(t testing.TB, db *pgtest.DB) *eventstore.Store {
	t.Helper()
	return openOn(t, db.Pool(t, pgtest.Query), masterKey)
}

// openOn opens a store that waits for its database as long as a test does.
func openOn(t testing.TB, pool *pgxpool.Pool, key string) *eventstore.Store {
	t.Helper()
	store, err := eventstore.Open(t.Context(), pool, []byte(key), eventstore.Patience(pgtest.Patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func (w *world) municipality(t testing.TB, code string) domain.TenantID {
	t.Helper()
	id := domain.TenantID{UUID: newID()}
	must(t)(w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: id,
		Writes: []domain.Write{{
			Stream: domain.MunicipalityOf(id),
			Events: []domain.Event{
				&domain.MunicipalityRegistered{Code: code, Name: "Municipality " + code, Province: "Gauteng"},
			},
		}},
		Side: []domain.SideWrite{domain.CreateTenantKey{Tenant: id}},
	}))
	return id
}

// register adds a person with a key, an e-mail claim and a credential.
func (w *world) register(t testing.TB, tenant domain.TenantID, email string) domain.UserID {
	t.Helper()
	a := registration(tenant, email)
	must(t)(w.store.Append(t.Context(), a))
	return domain.UserID{UUID: a.Writes[0].Stream.ID}
}

func registration(tenant domain.TenantID, email string) domain.Append {
	user := domain.UserID{UUID: newID()}
	return domain.Append{
		ID: newID(), Tenant: tenant, Actor: user, Origin: domain.Origin{IP: "203.0.113.7", UserAgent: "marked-agent"},
		Writes: []domain.Write{{Stream: domain.UserOf(user), Events: []domain.Event{&domain.UserRegistered{
			MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
			Person: domain.Known(domain.PersonFacts{
				Email: email, FullName: "Ṱhilivhali Marked", Phone: "+27821234567",
			}),
		}}}},
		Side: []domain.SideWrite{
			domain.CreateSubjectKey{Subject: user},
			domain.TakeClaim{Claim: emailClaim(tenant, email), Holder: user.UUID},
			domain.SetCredential{User: user, Email: email, Verifier: "a hash"},
		},
	}
}

func emailClaim(tenant domain.TenantID, email string) domain.Claim {
	return domain.Claim{Tenant: tenant, Kind: domain.EmailClaim, Value: email}
}

// grant is an append of one consent without personal parts.
func grant(tenant domain.TenantID, subject domain.UserID, expected int) domain.Append {
	return domain.Append{
		ID: newID(), Tenant: tenant,
		Writes: []domain.Write{{
			Stream: domain.ConsentsOf(subject), Expected: expected, Events: []domain.Event{granted()},
		}},
	}
}

func granted() *domain.ConsentGranted {
	return &domain.ConsentGranted{Decision: domain.Decision{
		ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "sms_alert", NoticeVersion: 1,
		Wording: "To send you SMS alerts about water and electricity interruptions.", Language: domain.English,
		SHA256: domain.WordingHash("x"), Channel: domain.Web, RecordedBy: domain.BySelf, GivenBy: domain.BySelf,
		Basis: domain.ConsentBasis,
	}}
}

func someone() domain.UserID { return domain.UserID{UUID: newID()} }

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// must fails the test on an error.
func must(t testing.TB) func(domain.Appended, error) domain.Appended {
	t.Helper()
	return func(a domain.Appended, err error) domain.Appended {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// refused fails the test unless err is the refusal with this code.
func refused(t testing.TB, err error, code domain.Code) {
	t.Helper()
	if !errors.Is(err, domain.Refuse(code, "")) {
		t.Errorf("got %v, want %s", err, code)
	}
}

// failed fails the test unless err has type E, and returns it.
func failed[E error](t testing.TB, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("got %v, want a %T", err, e)
	}
	return e
}

// query returns one value, as the superuser sees it.
func query[T any](t testing.TB, w *world, sql string, args ...any) (value T) {
	t.Helper()
	w.admin.Lock()
	defer w.admin.Unlock()
	if err := w.admin.conn.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// exec changes the database past every program, as the superuser.
func (w *world) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	w.admin.Lock()
	defer w.admin.Unlock()
	if _, err := w.admin.conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// beforeCodes turns the log into that of a program without codes: an event without one is
// believed, so a test can write its own.
func (w *world) beforeCodes(t testing.TB) {
	t.Helper()
	w.exec(t, "delete from trust.coded")
}

// dump returns every row of every table of schema trust, with bytea in hexadecimal.
func (w *world) dump(t testing.TB) map[string][]string {
	t.Helper()
	tables := map[string][]string{}
	for _, name := range w.tables(t) {
		tables[name] = query[[]string](t, w,
			"select coalesce(array_agg(r::text order by r::text), '{}') from "+name+" r")
	}
	return tables
}

// tables lists the tables of schema trust.
func (w *world) tables(t testing.TB) []string {
	t.Helper()
	return query[[]string](t, w, `select array_agg(format('%I.%I', schemaname, tablename) order by tablename)
		from pg_tables where schemaname = 'trust'`)
}

// lock takes the log's lock, as an append of another process does, and returns a function
// that releases it.
func (w *world) lock(t testing.TB) (release func()) {
	t.Helper()
	conn := w.db.Superuser(t)
	if _, err := conn.Exec(t.Context(), "select pg_advisory_lock(7267411)"); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := conn.Exec(t.Context(), "select pg_advisory_unlock(7267411)"); err != nil {
			t.Error(err)
		}
	}
}

// blocked lists the backends of this database that wait for the log's lock.
func (w *world) blocked(t testing.TB) []int32 {
	t.Helper()
	return query[[]int32](t, w, `select coalesce(array_agg(pid), '{}') from pg_locks
		where locktype = 'advisory' and not granted and objid = 7267411
		  and database = (select oid from pg_database where datname = current_database())`)
}

// answer is the outcome of an append in the background.
type answer struct {
	done domain.Appended
	err  error
}

// background appends on another goroutine.
func (w *world) background(ctx context.Context, a domain.Append) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		done, err := w.store.Append(ctx, a)
		answers <- answer{done, err}
	}()
	return answers
}

// checkLog checks what must hold for any log after any test: no gap, contiguous versions,
// time never backwards, every event decodable and with a tenant.
func checkLog(t testing.TB, db *pgtest.DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pgtest.Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, db.URL(pgtest.Projector))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)

	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := eventstore.NewReader(ctx, tx, []byte(masterKey))
	if err != nil {
		t.Fatal(err)
	}

	head, err := eventstore.Head(ctx, tx)
	if err != nil {
		t.Fatal(err)
	}
	events, err := reader.Range(ctx, tx, 0, head)
	if err != nil {
		t.Errorf("the log does not read back: %v", err)
		return
	}

	type key struct {
		tenant domain.TenantID
		stream domain.Stream
	}
	versions := map[key]int{}
	var last time.Time
	for _, e := range events {
		of := key{e.Tenant, e.Stream}
		if versions[of]++; e.Version != versions[of] {
			t.Errorf("position %d: version %d of its stream, want %d", e.Position, e.Version, versions[of])
		}
		if e.RecordedAt.Before(last) {
			t.Errorf("position %d was recorded before its predecessor", e.Position)
		}
		if e.EffectiveAt.After(e.RecordedAt) {
			t.Errorf("position %d takes effect after it was recorded", e.Position)
		}
		if e.Tenant.IsZero() {
			t.Errorf("position %d has no tenant", e.Position)
		}
		last = e.RecordedAt
	}
}
