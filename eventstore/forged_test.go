package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// forgedGrant appends a consent "by herself" that takes effect in 2019, as an attacker
// would who has the API's login and no master key.
func (w *world) forgedGrant(t testing.TB, subject domain.UserID) (position int64) {
	t.Helper()
	id := [16]byte(subject.UUID)
	effective := time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
	return w.db.Forge(t, pgtest.Forgery{
		Tenant: w.tenant.UUID, StreamType: "consent", Stream: id, Type: "consent.granted.v1", Subject: &id, Actor: &id,
		Effective: &effective,
		Payload: fmt.Sprintf(
			`{"consent_id":%q,"purpose":"sms_alert","notice_version":1,"wording":"marked words","language":"en",`+
				`"sha256":"","channel":"web","recorded_by":"self","given_by":"self","given_at":"2019-01-01T00:00:00Z"}`,
			newID()),
	})
}

// readings are all ways to read the log, each over events that include those about one
// subject.
func (w *world) readings(
	t testing.TB, subject domain.UserID, forgedAppend [16]byte,
) map[string]func() ([]domain.Recorded, error) {
	t.Helper()
	stream := domain.ConsentsOf(subject)
	of := []domain.UserID{subject}

	type reading = func() ([]domain.Recorded, error)
	inTx := func(read func(tx pgx.Tx, r *eventstore.Reader) ([]domain.Recorded, error)) reading {
		return func() (events []domain.Recorded, err error) {
			conn := w.db.Conn(t, pgtest.Projector)
			r, err := eventstore.NewReader(t.Context(), conn, []byte(masterKey))
			if err != nil {
				return nil, err
			}
			err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
				events, err = read(tx, r)
				return err
			})
			return events, err
		}
	}

	return map[string]reading{
		"Load": func() ([]domain.Recorded, error) { return w.store.Load(t.Context(), w.tenant, stream) },
		"LoadPersonal": func() ([]domain.Recorded, error) {
			return w.store.LoadPersonal(t.Context(), w.tenant, stream)
		},
		"LoadAll": func() ([]domain.Recorded, error) {
			return w.store.LoadAll(t.Context(), w.tenant, domain.ConsentStream)
		},
		"FindAppend": func() ([]domain.Recorded, error) {
			return w.store.FindAppend(t.Context(), w.tenant, forgedAppend)
		},
		"LoadSession": func() ([]domain.Recorded, error) {
			events, _, err := w.store.LoadSession(t.Context(), w.tenant, subject, newID(), stream)
			return events, err
		},
		"LoadTail": func() ([]domain.Recorded, error) {
			never := func([]domain.Recorded) bool { return false }
			events, _, err := w.store.LoadTail(t.Context(), w.tenant,
				domain.Tail{Stream: stream, Purpose: "sms_alert", Enough: never})
			return events, err
		},
		"Range": inTx(func(tx pgx.Tx, r *eventstore.Reader) ([]domain.Recorded, error) {
			return r.Range(t.Context(), tx, 0, w.head(t))
		}),
		"RangeOf": inTx(func(tx pgx.Tx, r *eventstore.Reader) ([]domain.Recorded, error) {
			return r.RangeOf(t.Context(), tx, []domain.StreamType{domain.ConsentStream}, 0, w.head(t))
		}),
		"Whole": inTx(func(tx pgx.Tx, r *eventstore.Reader) (events []domain.Recorded, err error) {
			whole, err := r.Whole(t.Context(), tx, 0, w.head(t))
			for _, e := range whole {
				events = append(events, e.Recorded)
			}
			return events, err
		}),
		"Streams": inTx(func(tx pgx.Tx, r *eventstore.Reader) ([]domain.Recorded, error) {
			return r.Streams(t.Context(), tx, domain.ConsentStream, of, w.head(t))
		}),
		"Find": inTx(func(tx pgx.Tx, r *eventstore.Reader) ([]domain.Recorded, error) {
			return r.Find(t.Context(), tx, eventstore.Query{Subject: subject})
		}),
		"Find, sealed": inTx(func(tx pgx.Tx, r *eventstore.Reader) ([]domain.Recorded, error) {
			return r.Find(t.Context(), tx, eventstore.Query{Subject: subject, Sealed: true, Newest: true, Limit: 1})
		}),
		"InStreams": inTx(func(tx pgx.Tx, r *eventstore.Reader) ([]domain.Recorded, error) {
			only := []uuid.UUID{subject.UUID}
			return r.InStreams(t.Context(), tx, w.tenant, domain.ConsentStream, only, eventstore.Place{}, w.head(t), 10)
		}),
		"Histories": inTx(func(tx pgx.Tx, r *eventstore.Reader) (events []domain.Recorded, err error) {
			err = r.Histories(t.Context(), tx, domain.ConsentStream, w.head(t), 10, func(page []domain.Recorded) error {
				events = append(events, page...)
				return nil
			})
			return events, err
		}),
	}
}

func (w *world) disown(t testing.TB, position int64) (done eventstore.Disowned, err error) {
	t.Helper()
	conn := w.db.Conn(t, pgtest.Append)
	r, err := eventstore.NewReader(t.Context(), conn, []byte(masterKey))
	if err != nil {
		t.Fatal(err)
	}

	err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		done, err = r.Disown(t.Context(), tx, position, "found by a test")
		return err
	})
	return done, err
}

// No way of reading believes an event that was appended without the master key; each says
// where the event is, and nothing of what it says. Once it is disowned, each treats it as
// empty.
func TestAForgedEventIsRefusedByEveryReadingUntilItIsDisowned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subject := someone()
	must(t)(w.store.Append(t.Context(), grant(w.tenant, subject, 0)))
	forged := w.forgedGrant(t, subject)
	appended := query[[16]byte](t, w, "select append_id from trust.events where position = $1", forged)

	readings := w.readings(t, subject, appended)
	for name, read := range readings {
		_, err := read()
		refused(t, err, domain.CodeLogDamaged)
		if cause, is := errors.AsType[*eventstore.ForgedError](err); !is || cause.Position != forged {
			t.Errorf("%s says %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "marked") {
			t.Errorf("%s tells what the event says: %v", name, err)
		}
	}

	done, err := w.disown(t, forged)
	if err != nil || done.Type != "consent.granted.v1" || done.Position != forged+1 {
		t.Fatalf("disowned: %+v, %v", done, err)
	}
	for name, read := range readings {
		events, err := read()
		if err != nil {
			t.Errorf("%s, once it is disowned: %v", name, err)
		}
		for _, e := range events {
			if e.Position == forged && !e.IsVoid() {
				t.Errorf("%s applies it: %+v", name, e)
			}
		}
	}

	next := grant(w.tenant, subject, 2) // its version counts
	must(t)(w.store.Append(t.Context(), next))
	if again, err := w.disown(t, forged); err != nil || again.Position != 0 {
		t.Errorf("disowned again: %+v, %v", again, err)
	}
	if tenant := query[[16]byte](t, w, "select tenant_id from trust.events where position = $1",
		done.Position); tenant != w.tenant.UUID {
		t.Errorf("disowned in tenant %x", tenant)
	}
}

func TestOnlyAnEventWhoseCodeDoesNotHoldCanBeDisowned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subject := someone()
	done := must(t)(w.store.Append(t.Context(), grant(w.tenant, subject, 0)))
	if _, err := w.disown(t, done.Position()); !errors.Is(err, eventstore.ErrCodeHolds) {
		t.Errorf("an event of ours: %v", err)
	}
	if _, err := w.disown(t, done.Position()+1); !errors.Is(err, domain.Refuse(domain.CodeUnknownPosition, "")) {
		t.Errorf("no event: %v", err)
	}

	// A disowning with a valid code has no effect on an event whose own code is valid.
	must(t)(w.store.Append(t.Context(), domain.Append{ID: newID(), Tenant: w.tenant, Writes: []domain.Write{{
		Stream: domain.DisowningOf(done.Position()), Expected: 0,
		Events: []domain.Event{&domain.EventDisowned{
			Position: done.Position(), EventID: done.Events[0].EventID,
			Reason: "mistaken",
		}},
	}}}))
	events, err := w.store.Load(t.Context(), w.tenant, domain.ConsentsOf(subject))
	if err != nil || len(events) != 1 || events[0].IsVoid() {
		t.Errorf("%+v, %v", events, err)
	}
}

func TestAForgedDisowningDisownsNothing(t *testing.T) {
	t.Parallel()
	w := &world{db: pgtest.New(t)} // not newWorld: the log still holds a forgery at the end
	w.store, w.admin = open(t, w.db), &admin{conn: w.db.Superuser(t)}
	w.tenant = w.municipality(t, "CPT")
	subject := someone()
	forged := w.forgedGrant(t, subject)

	event := query[string](t, w, "select event_id::text from trust.events where position = $1", forged)
	w.db.Forge(t, pgtest.Forgery{
		Tenant: w.tenant.UUID, StreamType: "log", Stream: domain.DisowningOf(forged).ID, Type: "log.event_disowned.v1",
		Payload: fmt.Sprintf(`{"position":"%d","event_id":%q,"reason":"by the forger"}`, forged, event),
	})
	_, err := w.store.Load(t.Context(), w.tenant, domain.ConsentsOf(subject))
	refused(t, err, domain.CodeLogDamaged)

	if _, err := w.disown(t, forged); err != nil { // the stream is not spoilt
		t.Fatal(err)
	}
	if _, err := w.store.Load(t.Context(), w.tenant, domain.ConsentsOf(subject)); err != nil {
		t.Error(err)
	}
}

// An event in a tenant without a municipality is disowned in SALGA's tenant, where
// somebody sees it.
func TestAnEventOfNoMunicipalityIsDisownedInSALGAs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	forged := w.db.Forge(t, pgtest.Forgery{
		Tenant: newID(), StreamType: "municipality", Stream: newID(), Type: "municipality.deactivated.v1",
		Payload: "{}",
	})

	done, err := w.disown(t, forged)
	if err != nil {
		t.Fatal(err)
	}
	if tenant := query[[16]byte](t, w, "select tenant_id from trust.events where position = $1",
		done.Position); tenant != domain.PlatformTenant().UUID {
		t.Errorf("disowned in tenant %x", tenant)
	}
}

// A key that no master key ever wrapped, beside a forged registration, stops every
// rotation until that registration is disowned. Keys of a municipality that exists are
// kept.
func TestAKeyBesideAForgedRegistrationGoesWhenThatIsDisowned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	forge := func(tenant domain.TenantID, side *string) int64 {
		return w.db.Forge(t, pgtest.Forgery{
			Tenant: tenant.UUID, StreamType: "municipality", Stream: tenant.UUID, Type: "municipality.registered.v1",
			Payload: "{}", Side: side,
		})
	}

	proof := query[string](t, w, "select wrapped::text from trust.secrets where name = 'check'")
	invented := domain.TenantID{UUID: newID()}
	junk := fmt.Sprintf(`[{"append":1,"n":0,"kind":"create_key","tenant":%[1]q,"id":%[1]q,"name":"tenant",`+
		`"digest":%[2]q,"token":"\\x00"}]`, invented, proof)

	registration, again := forge(invented, &junk), forge(w.tenant, nil)
	if _, err := rotateOn(t.Context(), w.db.Conn(t, pgtest.Owner), masterKey, nextKey); err == nil ||
		!strings.Contains(err.Error(), invented.String()) {
		t.Fatalf("a rotation over the junk: %v", err)
	}

	for _, position := range []int64{registration, again} {
		if _, err := w.disown(t, position); err != nil {
			t.Fatal(err)
		}
	}
	w.mustRotate(t, masterKey, nextKey)
	w.mustRotate(t, nextKey, masterKey)
	w.register(t, w.tenant, "after@example.org")
}

// Beside an event of any type that may set a password, a forged one may have done so:
// with it goes the account's password, and with no other.
func TestWithAForgedEventThatMayHaveSetAPasswordGoesThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	types := query[[]string](t, w, `select array_agg(event_type order by event_type) from trust.event_types
		where stream_type = 'user'`)
	setting := query[[]string](t, w, "select array_agg(event_type) from trust.side_rules where kind = 'set_credential'")
	if len(types) < 15 || len(setting) < 5 {
		t.Fatalf("%d types of events, of which %d may set a password", len(types), len(setting))
	}

	for i, eventType := range types {
		user := w.register(t, w.tenant, fmt.Sprintf("person.%d@example.org", i))
		id := [16]byte(user.UUID)
		forged := w.db.Forge(t, pgtest.Forgery{
			Tenant: w.tenant.UUID, StreamType: "user", Stream: id, Type: eventType, Subject: &id, Payload: "{}",
		})

		done, err := w.disown(t, forged)
		left := query[bool](t, w, "select exists (select from trust.credentials where user_id = $1)", user.UUID)
		may := slices.Contains(setting, eventType)
		if err != nil || left == may || done.Password.IsZero() == may {
			t.Errorf("a forged %s, which may set a password: %t; it is left: %t (%+v, %v)",
				eventType, may, left, done, err)
		}
	}
}

// The log of a previous release: its events are believed until all have a code. From then
// on an event without one is not, and a program that writes none is refused.
func TestOlderEventsGetTheirCodesAndThenEveryEventMustHaveOne(t *testing.T) {
	t.Parallel()
	w := &world{db: pgtest.New(t)}
	w.store, w.admin = open(t, w.db), &admin{conn: w.db.Superuser(t)}
	w.tenant = w.municipality(t, "CPT")
	user := w.register(t, w.tenant, "marked@example.org")
	w.fillLog(t, 4500) // as by a program without codes
	w.exec(t, "set session_replication_role = replica; update trust.events set code = null where position < 4000")
	ours := must(t)(w.store.Append(t.Context(), grant(w.tenant, user, 0)))
	if _, err := w.store.LoadPersonal(t.Context(), w.tenant, domain.UserOf(user)); err != nil {
		t.Errorf("before all have codes: %v", err)
	}

	pool := w.db.Pool(t, pgtest.Owner)
	reader, err := eventstore.NewReader(t.Context(), pool, []byte(masterKey))
	if err != nil {
		t.Fatal(err)
	}

	stopped, stop := context.WithCancel(t.Context())
	_, err = reader.CodeOlder(stopped, pool, func(int64, int64) { stop() })
	if err == nil {
		t.Fatal("it was not stopped")
	}
	if coded, err := eventstore.Coded(t.Context(), pool); err != nil || coded {
		t.Errorf("half-way it is marked: %v, %v", coded, err)
	}

	given, err := reader.CodeOlder(t.Context(), pool, func(int64, int64) {})
	if err != nil || given == 0 || given >= 4502 {
		t.Errorf("%d more got a code, %v", given, err)
	}
	if again, err := reader.CodeOlder(t.Context(), pool, func(int64, int64) {}); err != nil || again != 0 {
		t.Errorf("again: %d, %v", again, err)
	}
	if position, marked, err := reader.Mark(t.Context(), pool); err != nil || !marked || position != ours.Position() {
		t.Errorf("marked %v at %d, %v", marked, position, err)
	}
	if _, err := w.readAll(t); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := w.store.LoadPersonal(t.Context(), w.tenant, domain.UserOf(user)); err != nil {
		t.Errorf("an older event: %v", err)
	}

	// An older program is refused, and inserted events are not believed, even when the
	// mark is moved.
	args, err := w.store.Arguments(t.Context(), grant(w.tenant, user, 1))
	if err != nil {
		t.Fatal(err)
	}
	older := "select trust.append_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, " +
		"$18, $19, $20, $21, now())"
	if _, err := w.db.Conn(t, pgtest.Query).Exec(t.Context(), older, args[:21]...); sqlState(err) != "0A000" {
		t.Errorf("a program that knows no codes: %v", err)
	}

	w.exec(t, "update trust.events set code = null where position = $1", ours.Position())
	_, err = w.store.Load(t.Context(), w.tenant, domain.ConsentsOf(user))
	refused(t, err, domain.CodeLogDamaged)
	w.exec(t, "update trust.coded set position = position + 1000")
	_, err = w.store.Load(t.Context(), w.tenant, domain.ConsentsOf(user))
	refused(t, err, domain.CodeLogDamaged)
	if _, _, err := reader.Mark(t.Context(), pool); !errors.Is(err, eventstore.ErrMark) {
		t.Errorf("the mark was moved: %v", err)
	}
}

func TestOnlyTheOwnerWritesCodesAndTheMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	for _, role := range []string{pgtest.Query, pgtest.Projector} {
		conn := w.db.Conn(t, role)
		for _, sql := range []string{
			`insert into trust.codes values (1, '\x00')`, "update trust.codes set code = ''",
			"delete from trust.codes", "truncate trust.codes",
			`insert into trust.coded values (true, 9, '\x00')`, "update trust.coded set position = 9",
			"delete from trust.coded", "truncate trust.coded",
		} {
			if _, err := conn.Exec(t.Context(), sql); sqlState(err) != denied {
				t.Errorf("%s, as %s: %v", sql, role, err)
			}
		}
	}
}
