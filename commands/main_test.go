package commands_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// world is the system under test, without HTTP and read tables: a command must need
// neither.
type world struct {
	*commands.Handler
	db    *pgtest.DB
	store *eventstore.Store
	clock *clock
	cpt   domain.TenantID
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db := pgtest.New(t)
	w := &world{db: db, clock: &clock{at: time.Now()}}
	w.Handler, w.store = handler(t, db, w.clock)
	w.cpt = w.municipality(t, "CPT", "City of Cape Town")

	for _, p := range []domain.DefinePurpose{
		purpose("sms_alert", domain.ConsentBasis), purpose("newsletter", domain.ConsentBasis),
		purpose("account_billing", domain.LegalObligation), childProgramme(),
	} {
		_, err := w.DefinePurpose(t.Context(), commands.System(domain.PlatformTenant()), p)
		ok(t, err)
	}
	return w
}

// handler returns the handler and store of one more process on the same database.
func handler(t testing.TB, db *pgtest.DB, c *clock) (*commands.Handler, *eventstore.Store) {
	t.Helper()
	store, err := eventstore.Open(t.Context(), db.Pool(t, pgtest.Query),
		[]byte("a master key of at least thirty-two characters"),
		eventstore.Patience(pgtest.Patience))
	ok(t, err)
	t.Cleanup(store.Close)

	cheap := &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	return commands.New(store, commands.Config{Now: c.now, Argon2id: cheap, Hashes: 8}), store
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func texts(say string) map[domain.Language]string {
	return map[domain.Language]string{
		domain.English: say + " in English.", domain.Zulu: say + " ngesiZulu.",
		domain.Afrikaans: say + " in Afrikaans.",
	}
}

func purpose(code string, basis domain.Basis) domain.DefinePurpose {
	return domain.DefinePurpose{Code: code, Basis: basis, Retention: "3 years", Texts: texts(code)}
}

func childProgramme() domain.DefinePurpose {
	p := purpose("child_programme", domain.ConsentBasis)
	p.CompetentPerson = true
	return p
}

func (w *world) municipality(t testing.TB, code, name string) domain.TenantID {
	t.Helper()
	m, err := w.RegisterMunicipality(t.Context(), commands.System(domain.PlatformTenant()), domain.RegisterMunicipality{
		Code: code, Name: name, Province: "Western Cape",
	})
	ok(t, err)
	return m.Value.ID
}

const password = "correct horse battery"

func registration(municipality, email string) commands.Register {
	return commands.Register{
		Email: email, Password: password, FullName: "Ṱhilivhali  Mudau", Phone: "082 123 4567",
		MunicipalityCode: municipality, PreferredLanguage: domain.Zulu,
		Consent: &commands.RegisterConsent{
			Purpose: domain.PlatformRegistrationCode, Language: domain.Zulu, Consented: true,
		},
	}
}

// citizen registers and signs in.
func (w *world) citizen(t testing.TB, municipality, email string) commands.Call {
	t.Helper()
	_, err := w.Register(t.Context(), commands.Call{}, registration(municipality, email))
	ok(t, err)
	return w.signedIn(t, municipality, email)
}

// staff creates an account with a role in CPT and signs in.
func (w *world) staff(t testing.TB, role domain.Role, email string) commands.Call {
	t.Helper()
	_, err := w.CreateUser(t.Context(), commands.System(w.cpt), commands.CreateUser{
		Email: email, Password: password, FullName: "Staff", Role: role,
	})
	ok(t, err)
	return w.signedIn(t, "CPT", email)
}

func (w *world) signedIn(t testing.TB, municipality, email string) commands.Call {
	t.Helper()
	signedIn, err := w.SignIn(t.Context(), commands.Call{},
		commands.SignIn{Email: email, Password: password, MunicipalityCode: municipality})
	ok(t, err)
	return w.call(t, signedIn.Value)
}

func (w *world) call(t testing.TB, s commands.Session) commands.Call {
	t.Helper()
	call, err := w.Authenticate(t.Context(), commands.Call{Tenant: s.Tenant, User: s.User, Session: s.ID})
	ok(t, err)
	return call
}

func smsAlert() commands.RecordConsent {
	return commands.RecordConsent{Purpose: "sms_alert", Language: domain.Zulu, Consented: true}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused fails the test unless the error is a refusal with this code.
func refused(t testing.TB, err error, code domain.Code) {
	t.Helper()
	e, is := errors.AsType[*domain.Error](err)
	if !is || e.Code != code {
		t.Fatalf("got %v, want refusal %s", err, code)
	}
}

func (w *world) head(t testing.TB) int64 {
	t.Helper()
	head, err := w.store.Head(t.Context())
	ok(t, err)
	return head
}

// unchanged fails the test if work adds anything to the log.
func (w *world) unchanged(t testing.TB, work func()) {
	t.Helper()
	before := w.head(t)
	work()
	if after := w.head(t); after != before {
		t.Errorf("the log grew from %d to %d", before, after)
	}
}

// onlyFailures fails the test if work adds anything to the log but failed checks of a
// password, which are recorded when it is convenient.
func (w *world) onlyFailures(t testing.TB, work func()) {
	t.Helper()
	count := func() (n int) {
		const others = "select count(*) from trust.events where event_type <> 'session.sign_in_failed.v1'"
		ok(t, w.db.Superuser(t).QueryRow(t.Context(), others).Scan(&n))
		return n
	}
	before := count()
	work()
	if after := count(); after != before {
		t.Errorf("%d events are new that are no failures", after-before)
	}
}

func at(offset time.Duration) time.Time { return time.Now().Add(offset) }

func evidence() *domain.Evidence {
	return &domain.Evidence{
		SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Reference: "box 7, form 12",
	}
}

func newKey() string { return uuid.NewString() }
