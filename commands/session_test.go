package commands_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestEveryFailedSignInLooksTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.municipality(t, "JHB", "City of Johannesburg")
	w.citizen(t, "CPT", "one@example.co.za")
	w.citizen(t, "CPT", "two@example.co.za")
	w.citizen(t, "JHB", "two@example.co.za")

	for name, c := range map[string]commands.SignIn{
		"an unknown address":          {Email: "nobody@example.co.za", Password: password},
		"a wrong password":            {Email: "one@example.co.za", Password: "wrong password"},
		"an empty password":           {Email: "one@example.co.za"},
		"another municipality":        {Email: "one@example.co.za", Password: password, MunicipalityCode: "JHB"},
		"an unknown municipality":     {Email: "one@example.co.za", Password: password, MunicipalityCode: "NOPE"},
		"two accounts, none of which": {Email: "two@example.co.za", Password: password},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.SignIn(t.Context(), commands.Call{}, c)
			refused(t, err, domain.CodeInvalidCredentials)
		})
	}

	_, err := w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: "ONE@example.co.za", Password: password})
	ok(t, err)
	_, err = w.SignIn(t.Context(), commands.Call{},
		commands.SignIn{Email: "two@example.co.za", Password: password, MunicipalityCode: "jhb"})
	ok(t, err)
}

func TestFailedSignInsAreRecordedAtMostOnceAMinuteWithTheirNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	fail := func() {
		_, err := w.SignIn(t.Context(), commands.Call{Origin: domain.Origin{IP: "203.0.113.9"}},
			commands.SignIn{Email: "one@example.co.za", Password: "wrong"})
		refused(t, err, domain.CodeInvalidCredentials)
	}

	for range 4 {
		fail()
	}
	w.clock.advance(61 * time.Second)
	fail()
	w.unchanged(t, func() {
		_, err := w.SignIn(t.Context(), commands.Call{},
			commands.SignIn{Email: "stranger@example.co.za", Password: "x"})
		refused(t, err, domain.CodeInvalidCredentials)
	})
	w.failures(t, call.User, "1 password", "4 password")
}

// failures waits until exactly these failed checks of a user's password are recorded:
// number and cause of each event.
func (w *world) failures(t *testing.T, user domain.UserID, want ...string) {
	t.Helper()
	var got []string
	pgtest.Eventually(t, "recorded failures: "+strings.Join(want, ", "), func() bool {
		events, err := w.store.Load(t.Context(), w.cpt, domain.SessionsOf(user))
		ok(t, err)

		got = nil
		for _, e := range events {
			if f, is := e.Event.(*domain.SignInFailed); is {
				got = append(got, fmt.Sprint(f.Count, " ", f.Cause))
			}
		}
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}

// settled records what a process records before it stops.
func (w *world) settled(t *testing.T) {
	t.Helper()
	_, err := w.RecordTallies(t.Context(), commands.Call{}, commands.RecordTallies{})
	ok(t, err)
}

func TestEveryFailedCheckOfAPasswordIsRecordedLikeAFailedSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const wrong = "wrong horse battery"
	for cause, check := range map[string]func(commands.Call) error{
		"password": func(commands.Call) error {
			_, err := w.SignIn(t.Context(), commands.Call{},
				commands.SignIn{Email: "password@example.co.za", Password: wrong})
			return err
		},
		"user.change_password": func(call commands.Call) error {
			_, err := w.ChangePassword(t.Context(), call, commands.ChangePassword{Current: wrong, New: password})
			return err
		},
		"user.change_profile": func(call commands.Call) error {
			_, err := w.ChangeProfile(t.Context(), call, commands.ChangeProfile{
				Email: new("new@example.co.za"), CurrentPassword: wrong,
			})
			return err
		},
		"user.erase": func(call commands.Call) error {
			_, err := w.EraseMe(t.Context(), call,
				commands.EraseMe{Confirmation: commands.EraseConfirmation, Password: wrong})
			return err
		},
		"user.register": func(commands.Call) error {
			again := registration("CPT", "user.register@example.co.za")
			again.Password = wrong
			_, err := w.Register(t.Context(), commands.Call{Key: "the first one's"}, again)
			return err
		},
	} {
		t.Run(cause, func(t *testing.T) {
			email := cause + "@example.co.za"
			made, err := w.Register(t.Context(), commands.Call{Key: "the first one's"}, registration("CPT", email))
			ok(t, err)
			call := w.signedIn(t, "CPT", email)

			for range 3 {
				if check(call) == nil {
					t.Fatal("a wrong password was taken")
				}
			}
			w.failures(t, made.Value.ID, "1 "+cause)
			w.settled(t)
			w.failures(t, made.Value.ID, "1 "+cause, "2 "+cause)
		})
	}
}

func TestAGuessIsAskedForBeforeEachCheckOfAPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.Register(t.Context(), commands.Call{Key: "k"}, registration("CPT", "one@example.co.za"))
	ok(t, err)
	call := w.signedIn(t, "CPT", "one@example.co.za")

	enough := errors.New("enough")
	var asked []string
	call.Guess = func(_ context.Context, email string) error {
		asked = append(asked, email)
		return enough
	}
	anonymous := commands.Call{Guess: call.Guess, Key: "k"}

	admin := commands.System(w.cpt)
	admin.Key = "k"
	member := commands.CreateUser{
		Email: "two@example.co.za", Password: password, FullName: "Staff", Role: domain.Manager,
	}
	_, err = w.CreateUser(t.Context(), admin, member)
	ok(t, err)
	admin.Guess = call.Guess

	for name, check := range map[string]func() error{
		"one@example.co.za, at sign-in": func() error {
			_, err := w.SignIn(t.Context(), anonymous, commands.SignIn{Email: "one@example.co.za", Password: password})
			return err
		},
		"nobody@example.co.za, at sign-in": func() error {
			_, err := w.SignIn(t.Context(), anonymous,
				commands.SignIn{Email: "nobody@example.co.za", Password: password})
			return err
		},
		"one@example.co.za, for another password": func() error {
			_, err := w.ChangePassword(t.Context(), call, commands.ChangePassword{Current: password, New: password})
			return err
		},
		"one@example.co.za, for another address": func() error {
			c := call
			c.Key = "moves"
			_, err := w.ChangeProfile(t.Context(), c, commands.ChangeProfile{
				Email: new("new@example.co.za"), CurrentPassword: password,
			})
			return err
		},
		"one@example.co.za, for an erasure": func() error {
			_, err := w.EraseMe(t.Context(), call,
				commands.EraseMe{Confirmation: commands.EraseConfirmation, Password: password})
			return err
		},
		"one@example.co.za, for a registration again": func() error {
			_, err := w.Register(t.Context(), anonymous, registration("CPT", "one@example.co.za"))
			return err
		},
		"two@example.co.za, for an account of staff again": func() error {
			_, err := w.CreateUser(t.Context(), admin, member)
			return err
		},
	} {
		asked = nil
		w.unchanged(t, func() {
			if err := check(); !errors.Is(err, enough) {
				t.Errorf("%s: %v, want the refusal of the guess", name, err)
			}
		})
		if email, _, _ := strings.Cut(name, ","); !slices.Equal(asked, []string{email}) {
			t.Errorf("%s: asked about %v", name, asked)
		}
	}

	asked = nil
	_, err = w.ChangeProfile(t.Context(), call, commands.ChangeProfile{FullName: new("Another Name")})
	ok(t, err)
	if len(asked) > 0 {
		t.Errorf("asked about %v though no password is checked", asked)
	}
}

func TestATenantNamedAgainAndAgainIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	named := []domain.TenantID{{UUID: uuid.New()}, {UUID: uuid.New()}}
	name := func(tenant domain.TenantID) {
		_, err := w.RecordTenantMismatch(t.Context(), call,
			commands.RecordTenantMismatch{Route: "GET /", Named: tenant})
		ok(t, err)
	}

	before := w.head(t)
	for range 50 {
		name(named[0])
		name(named[1])
	}
	w.clock.advance(time.Minute)
	name(named[0])
	w.settled(t)

	counts := map[domain.TenantID][]int{}
	events, err := w.store.LoadAll(t.Context(), w.cpt, domain.AccessStream)
	ok(t, err)
	for _, e := range events {
		if m, is := e.Event.(*domain.TenantMismatch); is {
			counts[m.Named] = append(counts[m.Named], m.Count)
			if e.Actor != call.User {
				t.Errorf("recorded of %v, want %v", e.Actor, call.User)
			}
		}
	}
	if first := counts[named[0]]; !slices.Equal(first, []int{0, 50}) {
		t.Errorf("of the first: %v, want once and 50 times", first)
	}
	if second := counts[named[1]]; !slices.Equal(second, []int{0, 49}) {
		t.Errorf("of the second: %v, want once and, as the process stops, 49 times", second)
	}
	if n := w.head(t) - before; n != 4 {
		t.Errorf("%d events of 101 calls, want 4", n)
	}
}

func TestARefreshTokenIsGoodOnceAndItsReuseEndsTheFamily(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.citizen(t, "CPT", "one@example.co.za")
	signedIn, err := w.SignIn(t.Context(), commands.Call{},
		commands.SignIn{Email: "one@example.co.za", Password: password})
	ok(t, err)

	first := signedIn.Value
	family := commands.Call{Tenant: first.Tenant, User: first.User, Session: first.ID}
	refresh := func(token uuid.UUID) (commands.Session, error) {
		a, err := w.RefreshSession(t.Context(), family, commands.RefreshSession{Token: token})
		return a.Value, err
	}
	second, err := refresh(first.Token)
	ok(t, err)
	third, err := refresh(second.Token)
	ok(t, err)

	_, err = refresh(first.Token) // stolen
	refused(t, err, domain.CodeSessionEnded)
	_, err = refresh(third.Token) // the holder's
	refused(t, err, domain.CodeSessionEnded)
	_, err = w.Authenticate(t.Context(), family)
	refused(t, err, domain.CodeSessionEnded)

	other := w.signedIn(t, "CPT", "one@example.co.za") // a new family is not affected
	_, err = w.SignOut(t.Context(), other, commands.SignOut{})
	ok(t, err)
	w.unchanged(t, func() {
		_, err := w.SignOut(t.Context(), other, commands.SignOut{})
		ok(t, err)
	})
	_, err = w.Authenticate(t.Context(), other)
	refused(t, err, domain.CodeSessionEnded)
}

func TestTenantsThatAreMadeUpFillNoLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	before := w.head(t)
	for range 100 {
		_, err := w.RecordTenantMismatch(t.Context(), call, commands.RecordTenantMismatch{
			Route: "GET /", Named: domain.TenantID{UUID: uuid.New()},
		})
		ok(t, err)
	}
	w.settled(t)

	named := 0
	events, err := w.store.LoadAll(t.Context(), w.cpt, domain.AccessStream)
	ok(t, err)
	for _, e := range events {
		if m, is := e.Event.(*domain.TenantMismatch); is {
			named += max(1, m.Count)
		}
	}
	if n := w.head(t) - before; n > 12 || named != 100 {
		t.Errorf("%d events say that %d tenants were named, want 12 at most and 100", n, named)
	}
}

// family returns an open session, and a function that refreshes it in any process.
func (w *world) family(t *testing.T, email string) (
	first commands.Session, refresh func(*commands.Handler, uuid.UUID) (commands.Session, error),
) {
	t.Helper()
	w.citizen(t, "CPT", email)
	signedIn, err := w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: email, Password: password})
	ok(t, err)

	first = signedIn.Value
	holder := commands.Call{Tenant: first.Tenant, User: first.User, Session: first.ID}
	return first, func(process *commands.Handler, token uuid.UUID) (commands.Session, error) {
		a, err := process.RefreshSession(t.Context(), holder, commands.RefreshSession{Token: token})
		return a.Value, err
	}
}

// replacedAgo sets how long ago a session's token was last replaced.
func (w *world) replacedAgo(t *testing.T, session uuid.UUID, ago time.Duration) {
	t.Helper()
	_, err := w.db.Superuser(t).Exec(t.Context(),
		"update trust.sessions set replaced_at = clock_timestamp() - $2::interval where session_id = $1", session, ago)
	ok(t, err)
}

// recorded counts the events of a kind in the session stream of a user.
func recorded[E domain.Event](t *testing.T, w *world, user domain.UserID) (n int) {
	t.Helper()
	events, err := w.store.Load(t.Context(), w.cpt, domain.SessionsOf(user))
	ok(t, err)
	for _, e := range events {
		if _, is := e.Event.(E); is {
			n++
		}
	}
	return n
}

func TestRefreshesAtOnceOnTwoProcessesGetOneSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, refresh := w.family(t, "one@example.co.za")
	other, _ := handler(t, w.db, &clock{at: time.Now().Add(time.Second)})

	got := make([]commands.Session, 20)
	var tabs sync.WaitGroup
	for i := range got {
		tabs.Go(func() {
			var err error
			if got[i], err = refresh([]*commands.Handler{w.Handler, other}[i%2], first.Token); err != nil {
				t.Error(err)
			}
		})
	}
	tabs.Wait()

	for _, s := range got {
		if s != got[0] || s.Token == first.Token {
			t.Errorf("one got %+v, another %+v", got[0], s)
		}
	}
	_, err := refresh(other, got[0].Token)
	ok(t, err)
}

func TestARefreshWhoseAnswerWasLostIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, refresh := w.family(t, "one@example.co.za")

	lost, err := refresh(w.Handler, first.Token)
	ok(t, err)
	w.clock.advance(3 * time.Second)
	w.replacedAgo(t, first.ID, 9*time.Second)
	again, err := refresh(w.Handler, first.Token)
	ok(t, err)

	if again != lost {
		t.Errorf("first %+v, then %+v", lost, again)
	}
}

func TestAReplacedTokenEndsTheFamily(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, replaced := range map[string]time.Duration{
		"after ten seconds": 11 * time.Second,
		"after its ten seconds, asked for again within them":             10*time.Second + time.Millisecond,
		"replaced while the clock ran a day ahead, which is right again": -24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			first, refresh := w.family(t, uuid.NewString()+"@example.co.za")
			second, err := refresh(w.Handler, first.Token)
			ok(t, err)
			_, err = refresh(w.Handler, first.Token)
			ok(t, err)

			w.replacedAgo(t, first.ID, replaced)
			_, err = refresh(w.Handler, first.Token)
			refused(t, err, domain.CodeSessionEnded)
			_, err = refresh(w.Handler, second.Token)
			refused(t, err, domain.CodeSessionEnded)
			if n := recorded[*domain.SessionReuseDetected](t, w, first.User); n != 1 {
				t.Errorf("%d reuses recorded, want 1", n)
			}
		})
	}
}

func TestTheEndOfASessionIsRecordedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, refresh := w.family(t, "one@example.co.za")
	other, _ := handler(t, w.db, w.clock)
	second, err := refresh(w.Handler, first.Token)
	ok(t, err)
	_, err = refresh(w.Handler, second.Token)
	ok(t, err)

	var thieves sync.WaitGroup
	for i := range 20 {
		thieves.Go(func() {
			_, err := refresh([]*commands.Handler{w.Handler, other}[i%2], first.Token)
			refused(t, err, domain.CodeSessionEnded)
		})
	}
	thieves.Wait()

	reused := recorded[*domain.SessionReuseDetected](t, w, first.User)
	ended := recorded[*domain.SessionEnded](t, w, first.User)
	if reused != 1 || ended != 1 {
		t.Errorf("recorded %d reuses and %d ends, want one of each", reused, ended)
	}
}

func TestSigningOutManyTimesAtOnceIsRecordedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine := w.citizen(t, "CPT", "one@example.co.za")

	var tabs sync.WaitGroup
	for range 20 {
		tabs.Go(func() {
			if _, err := w.SignOut(t.Context(), mine, commands.SignOut{}); err != nil {
				t.Error(err)
			}
		})
	}
	tabs.Wait()

	if n := recorded[*domain.SessionEnded](t, w, mine.User); n != 1 {
		t.Errorf("%d ends recorded, want 1", n)
	}
}

// Earlier releases replaced tokens with random ones and kept no record of what they
// replaced.
func TestASessionFromBeforeTheUpgradeGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, refresh := w.family(t, "one@example.co.za")
	_, err := w.db.Superuser(t).Exec(t.Context(), "update trust.sessions set replaced = null, replaced_at = null")
	ok(t, err)

	second, err := refresh(w.Handler, first.Token)
	ok(t, err)
	_, err = refresh(w.Handler, second.Token)
	ok(t, err)
}

func TestAnotherPasswordEndsAllOtherSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine := w.citizen(t, "CPT", "one@example.co.za")
	other := w.signedIn(t, "CPT", "one@example.co.za")

	_, err := w.ChangePassword(t.Context(), mine, commands.ChangePassword{Current: "wrong", New: "another password"})
	refused(t, err, domain.CodePasswordWrong)
	_, err = w.ChangePassword(t.Context(), mine, commands.ChangePassword{Current: password, New: "short"})
	refused(t, err, domain.CodeInvalid)

	_, err = w.ChangePassword(t.Context(), mine, commands.ChangePassword{Current: password, New: "another password"})
	ok(t, err)
	_, err = w.Authenticate(t.Context(), other)
	refused(t, err, domain.CodeSessionEnded)
	_, err = w.Authenticate(t.Context(), mine)
	ok(t, err)

	_, err = w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: "one@example.co.za", Password: password})
	refused(t, err, domain.CodeInvalidCredentials)
	_, err = w.SignIn(t.Context(), commands.Call{},
		commands.SignIn{Email: "one@example.co.za", Password: "another password"})
	ok(t, err)
}

func TestPeopleOfAClosedMunicipalityAreTurnedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")
	_, err := w.SetMunicipalityActive(t.Context(), commands.System(domain.PlatformTenant()),
		commands.SetMunicipalityActive{Municipality: w.cpt, Active: false})
	ok(t, err)

	_, err = w.Authenticate(t.Context(), call)
	refused(t, err, domain.CodeMunicipalityInactive)
	_, err = w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: "one@example.co.za", Password: password})
	refused(t, err, domain.CodeInvalidCredentials)
}

func TestANewAddressMovesSignInAndFreesTheOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "old@example.co.za")
	w.citizen(t, "CPT", "taken@example.co.za")

	change := func(email, current string) error {
		_, err := w.ChangeProfile(t.Context(), call, commands.ChangeProfile{Email: &email, CurrentPassword: current})
		return err
	}

	refused(t, change("new@example.co.za", "wrong"), domain.CodePasswordWrong)
	refused(t, change("taken@example.co.za", password), domain.CodeEmailTaken)
	ok(t, change("new@example.co.za", password))

	call = w.signedIn(t, "CPT", "new@example.co.za")
	ok(t, change("NEW@example.co.za", password)) // another spelling of the same address
	_, err := w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: "old@example.co.za", Password: password})
	refused(t, err, domain.CodeInvalidCredentials)

	w.citizen(t, "CPT", "old@example.co.za")
	me, err := w.Me(t.Context(), call)
	ok(t, err)
	if me.Value.Email != "new@example.co.za" {
		t.Errorf("the address is %s", me.Value.Email)
	}
}

func TestAChangeMeantForAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "CPT", "one@example.co.za")

	name := "Another Name"
	call.IfMatch = 7
	_, err := w.ChangeProfile(t.Context(), call, commands.ChangeProfile{FullName: &name})
	refused(t, err, domain.CodeStale)

	call.IfMatch = 1
	me, err := w.ChangeProfile(t.Context(), call, commands.ChangeProfile{FullName: &name})
	ok(t, err)
	if me.Value.FullName != name || me.Value.Version != 2 {
		t.Errorf("changed to %+v", me.Value)
	}

	call = w.call(t, commands.Session{ID: call.Session, Tenant: call.Tenant, User: call.User})
	w.unchanged(t, func() {
		same, err := w.ChangeProfile(t.Context(), call, commands.ChangeProfile{FullName: &name})
		ok(t, err)
		if same.Position != me.Position {
			t.Errorf("unchanged returns position %d, want %d", same.Position, me.Position)
		}
	})
}

// Six sign-ins at once cost 64 MiB each; a process that kept that memory would be larger
// by all of it for the rest of its life.
func TestTheMemoryOfSignInsIsGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dear := commands.New(w.store, commands.Config{Hashes: 6})

	var signing sync.WaitGroup
	for range 6 {
		signing.Go(func() {
			_, err := dear.SignIn(t.Context(), commands.Call{},
				commands.SignIn{Email: "nobody@example.org", Password: "a guess of theirs"})
			refused(t, err, domain.CodeInvalidCredentials)
		})
	}
	signing.Wait()

	pgtest.Eventually(t, "the process is as small as before", func() bool {
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		return memory.HeapSys-memory.HeapReleased < 128<<20
	})
}
