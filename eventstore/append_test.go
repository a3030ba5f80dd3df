package eventstore_test

import (
	"crypto/sha256"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestAnAppendIsAddedOnlyAtTheVersionItWasDecidedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	for _, c := range []struct {
		name             string
		events, expected int // in the stream before, expected by the append
		conflict         bool
	}{
		{"the exact version", 2, 2, false},
		{"a stream that must not exist and does not", 0, 0, false},
		{"any version of a stream", 3, domain.AnyVersion, false},
		{"any version of no stream", 0, domain.AnyVersion, false},
		{"a version too low", 2, 1, true},
		{"a version too high", 2, 3, true},
		{"a stream that must not exist but does", 1, 0, true},
		{"a stream that must exist but does not", 0, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			subject := someone()
			for i := range c.events {
				must(t)(w.store.Append(t.Context(), grant(w.tenant, subject, i)))
			}

			a := grant(w.tenant, subject, c.expected)
			done, err := w.store.Append(t.Context(), a)

			if c.conflict {
				got := failed[*domain.ConflictError](t, err)
				want := domain.ConflictError{
					Stream: domain.ConsentsOf(subject), Expected: c.expected, Actual: c.events,
				}
				if *got != want {
					t.Errorf("got %+v, want %+v", *got, want)
				}
				w.absent(t, a)
				return
			}

			must(t)(done, err)
			if got := done.Events[0].Version; got != c.events+1 {
				t.Errorf("version %d, want %d", got, c.events+1)
			}
			w.present(t, done, a)
		})
	}
}

// absent fails the test if anything of an append is in the log.
func (w *world) absent(t testing.TB, a domain.Append) {
	t.Helper()
	if n := query[int](t, w, "select count(*) from trust.events where append_id = $1", a.ID); n != 0 {
		t.Errorf("%d events of an append that was refused are in the log", n)
	}
}

// present fails the test unless the log holds an append as its answer says, event by
// event, and nothing else under its id.
func (w *world) present(t testing.TB, done domain.Appended, a domain.Append) {
	t.Helper()
	stored, err := w.store.FindAppend(t.Context(), a.Tenant, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(stored) != len(done.Events) {
		t.Fatalf("%d events are in the log, the answer has %d", len(stored), len(done.Events))
	}

	for i, got := range stored {
		want := done.Events[i]
		got.Event, want.Event = nil, nil
		got.Origin, want.Origin = domain.Personal[domain.Origin]{}, domain.Personal[domain.Origin]{}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("stored:   %+v\nanswered: %+v", got, want)
		}
	}
}

func TestAnExpectationWatchesAStreamThatTheAppendDoesNotWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")
	for _, c := range []struct {
		name   string
		tenant domain.TenantID
	}{{"of the same tenant", w.tenant}, {"of another tenant", other}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			watched := someone()
			must(t)(w.store.Append(t.Context(), grant(c.tenant, watched, 0)))
			a := grant(w.tenant, someone(), 0)
			a.Expects = []domain.Expectation{{Tenant: c.tenant, Stream: domain.ConsentsOf(watched), Version: 1}}

			w.present(t, must(t)(w.store.Append(t.Context(), a)), a)

			must(t)(w.store.Append(t.Context(), grant(c.tenant, watched, 1))) // it moves
			b := grant(w.tenant, someone(), 0)
			b.Expects = a.Expects
			_, err := w.store.Append(t.Context(), b)
			if got := failed[*domain.ConflictError](t, err); got.Stream != domain.ConsentsOf(watched) ||
				got.Expected != 1 || got.Actual != 2 {
				t.Errorf("got %+v", got)
			}
			w.absent(t, b)
		})
	}
}

func TestOneStreamInTwoTenantsIsTwoStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, subject := w.municipality(t, "JHB"), someone()
	must(t)(w.store.Append(t.Context(), grant(w.tenant, subject, 0)))

	done := must(t)(w.store.Append(t.Context(), grant(other, subject, 0)))
	if done.Events[0].Version != 1 {
		t.Errorf("version %d, want 1", done.Events[0].Version)
	}
}

func TestAnAppendAcrossStreamsGetsConsecutivePositions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := grant(w.tenant, someone(), 0)
	a.Writes[0].Events = append(a.Writes[0].Events, granted(), granted())
	b := grant(w.tenant, someone(), 0)
	a.Writes = append(a.Writes, b.Writes[0], grant(w.tenant, someone(), 0).Writes[0])
	head := w.head(t)

	done := must(t)(w.store.Append(t.Context(), a))
	w.present(t, done, a)

	var versions []int
	for i, e := range done.Events {
		if e.Position != head+int64(i)+1 || e.Ordinal != i+1 || e.RecordedAt != done.Events[0].RecordedAt {
			t.Errorf("event %d: position %d, ordinal %d, recorded at %s", i, e.Position, e.Ordinal, e.RecordedAt)
		}
		versions = append(versions, e.Version)
	}
	if want := []int{1, 2, 3, 1, 1}; !reflect.DeepEqual(versions, want) {
		t.Errorf("versions %v, want %v", versions, want)
	}
	if done.Position() != head+5 || w.head(t) != head+5 {
		t.Errorf("position %d, head %d; want %d", done.Position(), w.head(t), head+5)
	}
}

// takes is an append that takes claims, with an event for each.
func takes(tenant domain.TenantID, holder uuid.UUID, claims ...domain.Claim) domain.Append {
	var writes []domain.SideWrite
	for _, c := range claims {
		writes = append(writes, domain.TakeClaim{Claim: c, Holder: holder})
	}
	return side(tenant, writes...)
}

// holder asserts who holds a claim; the zero id is nobody.
func (w *world) holder(t testing.TB, c domain.Claim, want uuid.UUID) {
	t.Helper()
	got, held, err := w.store.Holder(t.Context(), c)
	if err != nil || got != want || held != (want != uuid.Nil) {
		t.Errorf("holder %s (held: %t, %v), want %s", got, held, err, want)
	}
}

func TestAClaimHasOneHolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, one, two := emailClaim(w.tenant, "one@example.org"), newID(), newID()

	w.holder(t, claim, uuid.Nil)
	must(t)(w.store.Append(t.Context(), takes(w.tenant, one, claim)))
	w.holder(t, claim, one)

	b := takes(w.tenant, two, claim)
	_, err := w.store.Append(t.Context(), b)
	if got := failed[*domain.ClaimTakenError](t, err); got.Kind != domain.EmailClaim {
		t.Errorf("got %+v", got)
	}
	w.absent(t, b)
	w.holder(t, claim, one)

	must(t)(w.store.Append(t.Context(), takes(w.tenant, one, claim))) // the holder may take it again
	w.holder(t, claim, one)

	// Only the holder can release it.
	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.ReleaseClaim{Claim: claim, Holder: two})))
	w.holder(t, claim, one)

	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.ReleaseClaim{Claim: claim, Holder: one})))
	w.holder(t, claim, uuid.Nil)
	must(t)(w.store.Append(t.Context(), takes(w.tenant, two, claim)))
	w.holder(t, claim, two)

	other := emailClaim(w.municipality(t, "JHB"), "one@example.org") // unique within a tenant only
	must(t)(w.store.Append(t.Context(), takes(other.Tenant, one, other)))
	w.holder(t, other, one)
}

func TestOfManyThatTakeOneClaimAtOnceExactlyOneWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.lock(t)
	claim := emailClaim(w.tenant, "one@example.org")
	var appends []domain.Append
	var answers []<-chan answer
	for i := range 6 {
		appends = append(appends, takes(w.tenant, newID(), claim))
		answers = append(answers, w.background(t.Context(), appends[i]))
	}
	pgtest.Eventually(t, "five wait behind the first", func() bool { return w.store.Waiting() == 5 })
	release()

	winners := 0
	for i, from := range answers {
		got := pgtest.Receive(t, from)
		if got.err == nil {
			winners++
			w.holder(t, claim, appends[i].Side[0].(domain.TakeClaim).Holder)
			continue
		}
		failed[*domain.ClaimTakenError](t, got.err)
		w.absent(t, appends[i])
	}
	if winners != 1 {
		t.Errorf("%d won, want 1", winners)
	}
}

func TestOfSeveralClaimsTheOneThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	platform := domain.PlatformTenant()
	claims := []domain.Claim{
		{Tenant: platform, Kind: domain.MunicipalityCodeClaim, Value: "x"},
		{Tenant: platform, Kind: domain.MunicipalityNameClaim, Value: "x"}, // the same value: kinds do not meet
		emailClaim(w.tenant, "x"),
	}

	for i, taken := range claims {
		must(t)(w.store.Append(t.Context(), takes(w.tenant, newID(), taken)))
		a := takes(w.tenant, newID(), claims[2], claims[1], claims[0])
		a.Side = append([]domain.SideWrite{domain.DeleteCredential{User: someone()}}, a.Side...)
		a = domaintest.Beside(a)

		_, err := w.store.Append(t.Context(), a)
		if got := failed[*domain.ClaimTakenError](t, err); got.Kind != taken.Kind {
			t.Errorf("claim %d: the answer names %s, want %s", i, got.Kind, taken.Kind)
		}
		w.absent(t, a)
		w.exec(t, "delete from trust.claims")
	}
}

// side is an append of side writes, beside the events that they need.
func side(tenant domain.TenantID, writes ...domain.SideWrite) domain.Append {
	return domaintest.Beside(domain.Append{ID: newID(), Tenant: tenant, Side: writes})
}

func token(of string) [32]byte { return sha256.Sum256([]byte(of)) }

// isOpen asserts whether a session is open.
func (w *world) isOpen(t testing.TB, session uuid.UUID, want bool) {
	t.Helper()
	user := query[[16]byte](t, w, "select coalesce((select user_id from trust.sessions where session_id = $1), $1)",
		session)
	if _, open, err := w.store.LoadSession(t.Context(), w.tenant, domain.UserID{UUID: user}, session); err != nil ||
		open != want {
		t.Errorf("session %s is open: %t (%v), want %t", session, open, err, want)
	}
}

// start opens a session with a token.
func (w *world) start(t testing.TB, user domain.UserID, first string) uuid.UUID {
	t.Helper()
	session := newID()
	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.StartSession{
		Session: session, User: user, Token: token(first), ExpiresAt: time.Now().Add(time.Hour),
	})))
	return session
}

func TestASessionIsRotatedWithItsCurrentTokenOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.start(t, someone(), "first")
	rotate := func(from, to string) error {
		_, err := w.store.Append(t.Context(), side(w.tenant, domain.RotateSession{
			Session: session, From: token(from), To: token(to), ExpiresAt: time.Now().Add(time.Hour),
		}))
		return err
	}

	for _, c := range []struct {
		name, from, to string
		stale          bool
	}{
		{"the current token", "first", "second", false},
		{"the very same rotation again, as after an ambiguous commit", "first", "second", false},
		{"the old token for a new one", "first", "third", true},
		{"a token that never was", "no token", "third", true},
		{"the current token of now", "second", "third", false},
		{"a repeat that others have overtaken", "first", "second", true},
	} {
		err := rotate(c.from, c.to)
		if stale := err != nil; stale != c.stale {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.stale {
			failed[*domain.SessionStaleError](t, err)
		}
	}
	w.isOpen(t, session, true)

	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.EndSession{Session: session})))
	_, err := w.store.Append(t.Context(), side(w.tenant, domain.EndSession{Session: session}))
	failed[*domain.SessionStaleError](t, err) // ended already: an end is recorded once
	w.isOpen(t, session, false)

	failed[*domain.SessionStaleError](t, rotate("third", "fourth"))
	w.isOpen(t, session, false)
}

func TestAnExpiredSessionIsNotOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := newID()
	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.StartSession{
		Session: session, User: someone(), Token: token("x"), ExpiresAt: time.Now().Add(-time.Second),
	})))
	w.isOpen(t, session, false)
}

func TestSigningInSweepsUpTheUsersExpiredSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user, stranger := someone(), someone()
	for _, u := range []domain.UserID{user, stranger} {
		must(t)(w.store.Append(t.Context(), side(w.tenant, domain.StartSession{
			Session: newID(), User: u, Token: token("old"), ExpiresAt: time.Now().Add(-time.Second),
		})))
	}

	w.start(t, user, "a")
	w.start(t, user, "b") // beside the first, which is open

	if n := query[int](t, w, "select count(*) from trust.sessions where user_id = $1", user.UUID); n != 2 {
		t.Errorf("the user has %d sessions, want the two open ones", n)
	}
	if n := query[int](t, w, "select count(*) from trust.sessions where user_id = $1", stranger.UUID); n != 1 {
		t.Errorf("another user has %d sessions, want the one that is theirs", n)
	}
}

func TestEndSessionsEndsAllOfAUserButTheOneExcepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := someone()
	a, b, c, stranger := w.start(t, user, "a"), w.start(t, user, "b"), w.start(t, user, "c"), w.start(t, someone(), "d")

	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.EndSessions{User: user, Except: b})))
	w.isOpen(t, a, false)
	w.isOpen(t, b, true)
	w.isOpen(t, c, false)

	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.EndSessions{User: user})))
	w.isOpen(t, b, false)
	w.isOpen(t, stranger, true)
}

// A rotation that waits in the queue behind the end of all the user's sessions must not
// be answered as done.
func TestARotationBehindTheEndOfAllSessionsIsStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := someone()
	session := w.start(t, user, "first")

	release := w.lock(t)
	first := w.background(t.Context(), grant(w.tenant, someone(), 0))
	pgtest.Eventually(t, "the first leads", func() bool { return w.store.Leading() && w.store.Waiting() == 0 })
	end := w.background(t.Context(), side(w.tenant, domain.EndSessions{User: user}))
	pgtest.Eventually(t, "the end waits", func() bool { return w.store.Waiting() == 1 })
	rotation := w.background(t.Context(), side(w.tenant, domain.RotateSession{
		Session: session, From: token("first"), To: token("second"), ExpiresAt: time.Now().Add(time.Hour),
	}))
	pgtest.Eventually(t, "the rotation waits", func() bool { return w.store.Waiting() == 2 })
	release()

	for _, from := range []<-chan answer{first, end} {
		if got := pgtest.Receive(t, from); got.err != nil {
			t.Error(got.err)
		}
	}
	failed[*domain.SessionStaleError](t, pgtest.Receive(t, rotation).err)
	w.isOpen(t, session, false)
}

func TestASubjectsKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.register(t, w.tenant, "one@example.org")
	before := w.dump(t)

	again := side(w.tenant, domain.CreateSubjectKey{Subject: user})
	_, err := w.store.Append(t.Context(), again)
	failed[*domain.KeyExistsError](t, err)
	w.unchanged(t, before)

	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.DestroySubjectKey{Subject: user})))
	if !query[bool](t, w, "select wrapped is null and destroyed_at is not null from trust.keys where key_id = $1",
		user.UUID) {
		t.Error("the destroyed key left no tombstone")
	}

	before = w.dump(t)
	again.ID = newID()
	_, err = w.store.Append(t.Context(), again)
	failed[*domain.KeyExistsError](t, err)
	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.DestroySubjectKey{Subject: user})))
	if !slices.Equal(w.dump(t)["trust.keys"], before["trust.keys"]) {
		t.Error("the time of its destruction changed")
	}
}

// unchanged fails the test if any row of schema trust differs from an earlier dump.
func (w *world) unchanged(t testing.TB, before map[string][]string) {
	t.Helper()
	after := w.dump(t)
	for name, rows := range after {
		if !reflect.DeepEqual(rows, before[name]) {
			t.Errorf("%s changed:\n%q\nwas\n%q", name, rows, before[name])
		}
	}
}

func TestSetCredentialKeepsWhatItDoesNotName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.register(t, w.tenant, "old@example.org")

	check := func(email, verifier string) {
		t.Helper()
		accounts, err := w.store.Accounts(t.Context(), email, domain.TenantID{})
		if want := []domain.Account{{Tenant: w.tenant, User: user, Verifier: verifier}}; err != nil ||
			!reflect.DeepEqual(accounts, want) {
			t.Errorf("%s: got %+v (%v), want %+v", email, accounts, err, want)
		}
		if got, err := w.store.Verifier(t.Context(), w.tenant, user); err != nil || got != verifier {
			t.Errorf("verifier %q (%v), want %q", got, err, verifier)
		}
	}
	nobody := func(email string) {
		t.Helper()
		if accounts, err := w.store.Accounts(t.Context(), email, w.tenant); err != nil || len(accounts) != 0 {
			t.Errorf("%s: got %+v, %v", email, accounts, err)
		}
	}

	check("old@example.org", "a hash")
	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.SetCredential{User: user, Verifier: "another hash"})))
	check("old@example.org", "another hash")
	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.SetCredential{User: user, Email: "new@example.org"})))
	check("new@example.org", "another hash")
	nobody("old@example.org")

	must(t)(w.store.Append(t.Context(), side(w.tenant, domain.DeleteCredential{User: user})))
	nobody("new@example.org")
	if got, err := w.store.Verifier(t.Context(), w.tenant, user); err != nil || got != "" {
		t.Errorf("verifier %q, %v", got, err)
	}
}

func TestAccountsLooksInOneTenantOrInAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")
	one, two := w.register(t, w.tenant, "same@example.org"), w.register(t, other, "same@example.org")

	for _, c := range []struct {
		tenant domain.TenantID
		want   []domain.UserID
	}{
		{w.tenant, []domain.UserID{one}},
		{other, []domain.UserID{two}},
		{domain.TenantID{}, []domain.UserID{one, two}},
	} {
		accounts, err := w.store.Accounts(t.Context(), "same@example.org", c.tenant)
		if err != nil || len(accounts) != len(c.want) {
			t.Errorf("tenant %s: got %+v, %v", c.tenant, accounts, err)
		}
	}

	if got, err := w.store.Verifier(t.Context(), other, one); err != nil || got != "" {
		t.Errorf("another tenant reads the verifier %q, %v", got, err)
	}
}

// Each refusal is tried with every kind of side write before and after the one that is
// refused: none of them may take effect.
func TestSideWritesStandOrFallWithTheirAppend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.register(t, w.tenant, "taken@example.org")
	session := w.start(t, user, "current")
	must(t)(w.store.Append(t.Context(), grant(w.tenant, user, 0)))

	soon := time.Now().Add(time.Hour)
	all := func(refused ...domain.SideWrite) []domain.SideWrite {
		other := someone()
		writes := []domain.SideWrite{
			domain.TakeClaim{Claim: emailClaim(w.tenant, "free@example.org"), Holder: other.UUID},
			domain.ReleaseClaim{Claim: emailClaim(w.tenant, "taken@example.org"), Holder: user.UUID},
			domain.SetCredential{User: other, Email: "free@example.org", Verifier: "x"},
			domain.SetCredential{User: user, Verifier: "replaced"},
			domain.DeleteCredential{User: user},
			domain.CreateSubjectKey{Subject: other},
			domain.DestroySubjectKey{Subject: user},
			domain.StartSession{Session: newID(), User: other, Token: token("x"), ExpiresAt: soon},
			domain.RotateSession{Session: session, From: token("current"), To: token("next"), ExpiresAt: soon},
			domain.EndSessions{User: user},
		}
		return append(append(writes[:5:5], refused...), writes[5:]...)
	}

	for _, c := range []struct {
		name   string
		append domain.Append
	}{
		{"a stream moved", domain.Append{Writes: grant(w.tenant, user, 0).Writes, Side: all()}},
		{"an expected stream moved", domain.Append{
			Side: all(), Expects: []domain.Expectation{{Tenant: w.tenant, Stream: domain.ConsentsOf(user), Version: 7}},
		}},
		{"a claim is taken", domain.Append{
			Side: all(domain.TakeClaim{Claim: emailClaim(w.tenant, "taken@example.org"), Holder: newID()}),
		}},
		{"a session is stale", domain.Append{
			Side: all(domain.RotateSession{Session: session, From: token("x"), To: token("y")}),
		}},
		{"a key exists", domain.Append{Side: all(domain.CreateSubjectKey{Subject: user})}},
		{"an event is unknown", domain.Append{
			Side: all(), Writes: []domain.Write{{
				Stream: domain.ConsentsOf(someone()), Events: []domain.Event{granted(), unknownEvent{}},
			}},
		}},
		{"a side write fails in the database", domain.Append{
			Side: all(domain.SetCredential{User: someone(), Verifier: "but no address"}),
		}},
	} {
		before := w.dump(t)
		a := c.append
		a.ID, a.Tenant = newID(), w.tenant
		a = domaintest.Beside(a)

		if done, err := w.store.Append(t.Context(), a); err == nil {
			t.Errorf("%s: added: %+v", c.name, done)
		}
		w.unchanged(t, before)
	}

	// The same writes do something when nothing is refused.
	a := side(w.tenant, all()...)
	before := w.dump(t)
	must(t)(w.store.Append(t.Context(), a))
	for _, name := range []string{"trust.claims", "trust.credentials", "trust.keys", "trust.sessions"} {
		if reflect.DeepEqual(w.dump(t)[name], before[name]) {
			t.Errorf("%s did not change", name)
		}
	}
}

type unknownEvent struct{}

func (unknownEvent) EventType() string { return "weather.changed.v1" }

func TestAnUnknownEventTypeNeverEntersTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.dump(t)
	a := grant(w.tenant, someone(), 0)
	a.Writes[0].Events = append(a.Writes[0].Events, unknownEvent{})

	_, err := w.store.Append(t.Context(), a)
	if got := failed[*domain.UnknownEventError](t, err); got.Type != "weather.changed.v1" {
		t.Errorf("got %+v", got)
	}
	w.unchanged(t, before)
}

func TestAnAppendNeedsATenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.dump(t)
	if _, err := w.store.Append(t.Context(), grant(domain.TenantID{}, someone(), 0)); err == nil {
		t.Error("it was added")
	}
	w.unchanged(t, before)
}

func TestAnEventNeverHoldsFromAfterItWasRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now()
	for _, c := range []struct {
		name  string
		given time.Time
		kept  bool
	}{
		{
			"in the past, in another zone and to the nanosecond",
			now.Add(-time.Hour).In(time.FixedZone("SAST", 2*60*60)).Truncate(time.Microsecond).Add(7), true,
		},
		{"in the future", now.Add(time.Hour), false},
		{"not stated", time.Time{}, false},
	} {
		a := grant(w.tenant, someone(), 0)
		a.Writes[0].Events[0].(*domain.ConsentGranted).GivenAt = c.given

		done := must(t)(w.store.Append(t.Context(), a))
		w.present(t, done, a)

		want := done.Events[0].RecordedAt
		if c.kept {
			want = c.given.Truncate(time.Microsecond)
		}
		if got := done.Events[0].EffectiveAt; !got.Equal(want) {
			t.Errorf("%s: it takes effect at %s, want %s", c.name, got, want)
		}
	}
}

// The clock of the database may be set back: recorded_at then stands still until the
// clock has caught up.
func TestTheTimeOfRecordingNeverRunsBackwards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	last := must(t)(w.store.Append(t.Context(), grant(w.tenant, someone(), 0))).Events[0]
	ahead := last.RecordedAt.Add(time.Hour)
	w.exec(t, "set session_replication_role = replica")
	w.exec(t, "update trust.events set recorded_at = $1 where position = $2", ahead, last.Position)

	one := must(t)(w.store.Append(t.Context(), grant(w.tenant, someone(), 0))).Events[0]
	if !one.RecordedAt.Equal(ahead) || !one.EffectiveAt.Before(ahead.Add(-time.Minute)) {
		t.Errorf("alone: recorded at %s, effective at %s; want %s, and the clock",
			one.RecordedAt, one.EffectiveAt, ahead)
	}

	release := w.lock(t)
	first, batch := w.gather(t, grant(w.tenant, someone(), 0), grant(w.tenant, someone(), 0))
	release()

	for _, from := range append(batch, first) {
		got := pgtest.Receive(t, from)
		if got.err != nil || !got.done.Events[0].RecordedAt.Equal(ahead) {
			t.Errorf("in a batch: %+v", got)
		}
	}
}

func TestConcurrentConflictsAreAnsweredWithTheVersionThatStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subject := someone()

	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = w.store.Append(t.Context(), grant(w.tenant, subject, 0)) })
	}
	wg.Wait()

	added := 0
	for _, err := range errs {
		if err == nil {
			added++
		} else if c, ok := errors.AsType[*domain.ConflictError](err); !ok || c.Actual != 1 {
			t.Errorf("got %v", err)
		}
	}
	if added != 1 {
		t.Errorf("%d were added, want 1", added)
	}
}
