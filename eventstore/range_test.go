package eventstore_test

import (
	"errors"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// The events of one kind are those of that kind in the whole range, opened. An unknown or
// missing event of another kind is just as much of a reason to stop.
func TestARangeOfOneKindIsThatPartOfTheWhole(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t) // not newWorld: the log is broken at the end
	w := &world{db: db, store: open(t, db), admin: &admin{conn: db.Superuser(t)}}
	w.tenant = w.municipality(t, "CPT")
	for _, email := range []string{"a@example.org", "b@example.org"} {
		must(t)(w.store.Append(t.Context(), grant(w.tenant, w.register(t, w.tenant, email), 0)))
	}

	conn := db.Conn(t, pgtest.Projector)
	reader, err := eventstore.NewReader(t.Context(), conn, []byte(masterKey))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := reader.Range(t.Context(), conn, 0, 5)
	if err != nil {
		t.Fatal(err)
	}

	for kind, count := range map[domain.StreamType]int{
		domain.UserStream: 2, domain.ConsentStream: 2, domain.MunicipalityStream: 1, domain.RightsStream: 0,
	} {
		part, err := reader.RangeOf(t.Context(), conn, []domain.StreamType{kind}, 0, 5)
		if err != nil || len(part) != count {
			t.Fatalf("%s: %d events, %v", kind, len(part), err)
		}
		for _, e := range part {
			want := whole[e.Position-1]
			if e.Stream.Type != kind || e.EventID != want.EventID || e.Metadata != want.Metadata ||
				e.Event.EventType() != want.Event.EventType() {
				t.Errorf("%s: %+v, want %+v", kind, e, want)
			}
			user, ok := e.Event.(*domain.UserRegistered)
			if ok && user.Person != want.Event.(*domain.UserRegistered).Person {
				t.Errorf("position %d reads %v", e.Position, user.Person)
			}
		}
	}

	damage := func(sql string, check func(kind domain.StreamType, err error) bool) {
		t.Helper()
		w.exec(t, "set session_replication_role = replica")
		w.exec(t, sql)
		for _, kind := range []domain.StreamType{domain.UserStream, domain.MunicipalityStream} {
			if _, err := reader.RangeOf(t.Context(), conn, []domain.StreamType{kind}, 0, 5); !check(kind, err) {
				t.Errorf("after %s, %s reads %v", sql, kind, err)
			}
		}
	}

	damage("update trust.events set event_type = 'future.thing.v1' where position = 5",
		func(_ domain.StreamType, err error) bool {
			_, is := errors.AsType[*domain.UnknownEventError](err)
			return is
		})
	damage("delete from trust.events where position = 5", func(_ domain.StreamType, err error) bool {
		gap, is := errors.AsType[*eventstore.GapError](err)
		return is && gap.Want == 5
	})
}
