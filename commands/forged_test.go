package commands_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// Attacks by somebody who has the API's database login but not the master key: each calls
// the append function directly.

func (w *world) disown(t *testing.T, position int64) eventstore.Disowned {
	t.Helper()
	conn := w.db.Conn(t, pgtest.Append)
	r, err := eventstore.NewReader(t.Context(), conn, []byte("a master key of at least thirty-two characters"))
	ok(t, err)

	tx, err := conn.Begin(t.Context())
	ok(t, err)
	done, err := r.Disown(t.Context(), tx, position, "found by a test")
	ok(t, err)
	ok(t, tx.Commit(t.Context()))
	return done
}

func TestAForgedConsentOfLongAgoAllowsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	thandi := w.citizen(t, "CPT", "thandi@example.co.za")
	id := [16]byte(thandi.User.UUID)
	long := time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
	forged := w.db.Forge(t, pgtest.Forgery{
		Tenant: w.cpt.UUID, StreamType: "consent", Stream: id, Type: "consent.granted.v1",
		Subject: &id, Actor: &id, Effective: &long,
		Payload: fmt.Sprintf(
			`{"consent_id":%q,"purpose":"newsletter","notice_version":1,"wording":"x","language":"en","sha256":"",`+
				`"channel":"web","recorded_by":"self","given_by":"self","given_at":"2019-01-01T00:00:00Z"}`, newKey()),
	})

	_, err := w.CheckConsent(t.Context(), thandi, commands.CheckConsent{Purpose: "newsletter"})
	refused(t, err, domain.CodeLogDamaged)

	w.disown(t, forged)
	check, err := w.CheckConsent(t.Context(), thandi, commands.CheckConsent{Purpose: "newsletter"})
	ok(t, err)
	if check.Allowed || check.Decided {
		t.Errorf("the forged consent counts: %+v", check)
	}
	_, err = w.RecordConsent(t.Context(), thandi, smsAlert()) // the stream goes on
	ok(t, err)
}

func TestACitizenWhoWasMadeAdminPastTheProgramsIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	thandi := w.citizen(t, "CPT", "thandi@example.co.za")
	id := [16]byte(thandi.User.UUID)
	salga := [16]byte{1}
	forged := w.db.Forge(t, pgtest.Forgery{
		Tenant: w.cpt.UUID, StreamType: "user", Stream: id, Type: "user.role_changed.v1", Subject: &id, Actor: &salga,
		Payload: `{"role":{"old":"citizen","new":"admin"}}`,
	})

	_, err := w.Authenticate(t.Context(),
		commands.Call{Tenant: thandi.Tenant, User: thandi.User, Session: thandi.Session})
	refused(t, err, domain.CodeLogDamaged)

	w.disown(t, forged)
	call, err := w.Authenticate(t.Context(),
		commands.Call{Tenant: thandi.Tenant, User: thandi.User, Session: thandi.Session})
	ok(t, err)
	if call.Role() != domain.Citizen {
		t.Errorf("she is %s", call.Role())
	}
}

// A password set beside a forged event opens nothing: sign-in reads the account's events,
// and disowning the event removes the password.
func TestAPasswordThatWasSetPastTheProgramsOpensNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.CreateUser(t.Context(), commands.System(domain.PlatformTenant()), commands.CreateUser{
		Email: "admin@salga.example", Password: password, FullName: "Admin", Role: domain.Admin,
	})
	ok(t, err)
	admin := w.signedIn(t, "SALGA", "admin@salga.example")

	verifier, err := argon2id.CreateHash("the attacker's", &argon2id.Params{
		Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32,
	})
	ok(t, err)
	side, err := json.Marshal([]map[string]any{{
		"append": 1, "n": 0, "kind": "set_credential", "tenant": admin.Tenant.UUID, "id": admin.User.UUID,
		"value": verifier,
	}})
	ok(t, err)
	id, written := [16]byte(admin.User.UUID), string(side)
	forged := w.db.Forge(t, pgtest.Forgery{
		Tenant: admin.Tenant.UUID, StreamType: "user", Stream: id, Type: "user.password_changed.v1",
		Subject: &id, Actor: &id, Payload: "{}", Side: &written,
	})

	signIn := func() error {
		_, err := w.SignIn(t.Context(), commands.Call{}, commands.SignIn{
			Email: "admin@salga.example", Password: "the attacker's", MunicipalityCode: "SALGA",
		})
		return err
	}
	refused(t, signIn(), domain.CodeLogDamaged)

	if done := w.disown(t, forged); done.Password != admin.User {
		t.Errorf("disowned: %+v", done)
	}
	refused(t, signIn(), domain.CodeInvalidCredentials)
	_, err = w.Authenticate(t.Context(), commands.Call{Tenant: admin.Tenant, User: admin.User, Session: admin.Session})
	refused(t, err, domain.CodeSessionEnded)
}
