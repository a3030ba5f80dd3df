package projections_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

func (w *world) disown(t *testing.T, position int64) {
	t.Helper()
	must(t, pgx.BeginFunc(t.Context(), w.db.Conn(t, pgtest.Append), func(tx pgx.Tx) error {
		_, err := w.reader.Disown(t.Context(), tx, position, "found by a test")
		return err
	}))
}

// Each projector halts just before a forged event and says which one it is. Once the
// event is disowned, the projector goes on by itself, as if the event were empty; so do a
// rebuild and verify.
func TestAForgedEventHaltsTheProjectorThatWantsItUntilItIsDisowned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna")
	id, stranger := [16]byte(anna.UUID), [16]byte(newID())
	salga := [16]byte(newID())
	w.work(t, projections.Followers()...)
	for _, name := range []string{"users", "consents", "municipalities"} {
		w.caughtUp(t, name)
	}

	forgeries := map[string]pgtest.Forgery{
		"a role": {
			StreamType: "user", Stream: id, Type: "user.role_changed.v1", Subject: &id, Actor: &salga,
			Payload: `{"role":{"old":"citizen","new":"admin"}}`,
		},
		"an erasure": {StreamType: "user", Stream: id, Type: "user.erased.v1", Subject: &id, Payload: `{}`},
		"an account": {
			StreamType: "user", Stream: stranger, Type: "user.registered.v1", Subject: &stranger,
			Payload: `{"municipality_code":"CPT","role":"admin","preferred_language":"en"}`,
		},
		"a consent": {
			StreamType: "consent", Stream: id, Type: "consent.granted.v1", Subject: &id, Actor: &id,
			Payload: fmt.Sprintf(
				`{"consent_id":%q,"purpose":"newsletter","notice_version":1,"wording":"x","language":"en","sha256":"",`+
					`"channel":"web","recorded_by":"self","given_by":"self"}`, newID()),
		},
		"a closed municipality": {
			StreamType: "municipality", Stream: w.tenant.UUID, Type: "municipality.deactivated.v1", Payload: `{}`,
		},
	}
	follower := map[string]string{"user": "users", "consent": "consents", "municipality": "municipalities"}
	for what, f := range forgeries {
		f.Tenant = w.tenant.UUID
		forged := w.db.Forge(t, f)

		name := follower[f.StreamType]
		s := w.becomes(t, name, follow.Halted)
		if s.Position != forged-1 || !strings.Contains(s.Error, fmt.Sprintf("position %d is forged", forged)) {
			t.Errorf("%s: status %+v", what, s)
		}
		if err := w.verify(t); err == nil || !strings.Contains(err.Error(), "its code does not hold") {
			t.Errorf("%s: verify says %v", what, err)
		}

		w.disown(t, forged)
		w.becomes(t, name, follow.Running)
		w.caughtUp(t, name)
	}

	bheki := w.register(t, w.tenant, "bheki")
	for _, name := range []string{"users", "consents", "municipalities"} {
		w.caughtUp(t, name)
	}
	users, err := w.queries.Users(t.Context(), w.tenant, projections.UserFilter{}, projections.Page{})
	must(t, err)
	if len(users.Items) != 2 {
		t.Errorf("%d users, want Anna and Bheki", len(users.Items))
	}
	for _, u := range users.Items {
		if u.Role != domain.Citizen || u.Erased || u.FullName == "" || (u.ID != anna && u.ID != bheki) {
			t.Errorf("user %+v", u)
		}
	}

	list, err := w.queries.Consents(t.Context(), w.tenant, anna, projections.Page{})
	must(t, err)
	if len(list.Items) != 0 {
		t.Errorf("consents %+v", list.Items)
	}
	w.check(t)

	for _, name := range []string{"users", "consents", "municipalities"} {
		if done, err := newRebuilder(t, w).try(t.Context(), t, name); err != nil ||
			done.Wrong != (projections.Wrong{}) {
			t.Errorf("a rebuild of %s: %+v, %v", name, done, err)
		}
	}
	w.check(t)
}
