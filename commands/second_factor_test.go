package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
)

// phone is an authenticator: it knows the secret and has a clock.
type phone struct {
	secret string
	now    func() time.Time
}

// code returns the code of the time step that is this many steps from now.
func (p phone) code(t *testing.T, steps int) string {
	t.Helper()
	code, err := hotp.GenerateCode(p.secret, uint64(int(p.now().Unix()/30)+steps))
	ok(t, err)
	return code
}

// secure sets up a second factor, with the code of the previous time step, and returns
// the caller authenticated anew.
func (w *world) secure(t *testing.T, call commands.Call) (commands.Call, phone) {
	t.Helper()
	begun, err := w.BeginSecondFactor(t.Context(), call, commands.BeginSecondFactor{CurrentPassword: password})
	ok(t, err)

	p := phone{begun.Value.Secret, w.clock.now}
	call = w.again(t, call)
	_, err = w.ConfirmSecondFactor(t.Context(), call, commands.ConfirmSecondFactor{Code: p.code(t, -1)})
	ok(t, err)
	return w.again(t, call), p
}

func (w *world) again(t *testing.T, call commands.Call) commands.Call {
	t.Helper()
	call, err := w.Authenticate(t.Context(), call)
	ok(t, err)
	return call
}

func (w *world) signInWith(t *testing.T, email, code string) (commands.Answer[commands.Session], error) {
	t.Helper()
	return w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: email, Password: password, Code: code})
}

// midstep puts the clock in the middle of a step, so that none ends while a test runs.
func (w *world) midstep() *world {
	w.clock.mu.Lock()
	defer w.clock.mu.Unlock()
	w.clock.at = w.clock.at.Truncate(30 * time.Second).Add(15 * time.Second)
	return w
}

func TestSignInTakesPasswordAndCodeOnceASecondFactorIsSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	call := w.staff(t, domain.Admin, "a@example.co.za")
	other := w.signedIn(t, "CPT", "a@example.co.za")

	_, err := w.BeginSecondFactor(t.Context(), call, commands.BeginSecondFactor{CurrentPassword: "not it"})
	refused(t, err, domain.CodePasswordWrong)
	begun, err := w.BeginSecondFactor(t.Context(), call, commands.BeginSecondFactor{CurrentPassword: password})
	ok(t, err)
	if !strings.Contains(begun.Value.URI, begun.Value.Secret) ||
		!strings.HasPrefix(begun.Value.URI, "otpauth://totp/") {
		t.Errorf("the address for the authenticator is %s", begun.Value.URI)
	}
	_, err = w.signInWith(t, "a@example.co.za", "") // before it is confirmed, no code is asked for
	ok(t, err)

	call = w.again(t, call)
	p := phone{begun.Value.Secret, w.clock.now}
	_, err = w.ConfirmSecondFactor(t.Context(), call, commands.ConfirmSecondFactor{Code: "000000"})
	refused(t, err, domain.CodeTOTPRequired)
	_, err = w.ConfirmSecondFactor(t.Context(), call, commands.ConfirmSecondFactor{Code: p.code(t, -1)})
	ok(t, err)
	if call = w.again(t, call); !call.SecondFactor().IsSet() {
		t.Error("the session that set it up does not know of it")
	}

	_, err = w.Authenticate(t.Context(), other)
	refused(t, err, domain.CodeSessionEnded)
	_, err = w.BeginSecondFactor(t.Context(), call, commands.BeginSecondFactor{CurrentPassword: password})
	refused(t, err, domain.CodeTOTPAlreadySet)

	_, err = w.signInWith(t, "a@example.co.za", "")
	refused(t, err, domain.CodeTOTPRequired)
	_, err = w.SignIn(t.Context(), commands.Call{},
		commands.SignIn{Email: "a@example.co.za", Password: "wrong", Code: p.code(t, 0)})
	refused(t, err, domain.CodeInvalidCredentials)
	_, err = w.signInWith(t, "a@example.co.za", p.code(t, 0)[:3]+" "+p.code(t, 0)[3:]) // as authenticators show it
	ok(t, err)
}

// Somebody without the right password learns neither whether there is a second factor nor
// whether a code is right.
func TestBeforeThePasswordIsRightNothingTellsOfASecondFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	_, p := w.secure(t, w.staff(t, domain.Admin, "a@example.co.za"))
	w.staff(t, domain.Admin, "b@example.co.za")

	for _, code := range []string{"", "000000", p.code(t, 0)} {
		for _, email := range []string{"a@example.co.za", "b@example.co.za", "nobody@example.co.za"} {
			_, err := w.SignIn(t.Context(), commands.Call{},
				commands.SignIn{Email: email, Password: "wrong", Code: code})
			refused(t, err, domain.CodeInvalidCredentials)
		}
	}

	_, err := w.signInWith(t, "a@example.co.za", p.code(t, 0)) // wrong passwords did not use it up
	ok(t, err)
}

func TestACodeIsGoodOneStepAroundNowAndNoFurther(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	_, p := w.secure(t, w.staff(t, domain.Admin, "a@example.co.za"))
	w.clock.advance(10 * time.Minute)

	for _, c := range []struct {
		steps int
		opens bool
	}{{-2, false}, {2, false}, {-1, true}, {0, true}, {1, true}} {
		_, err := w.signInWith(t, "a@example.co.za", p.code(t, c.steps))
		if opens := err == nil; opens != c.opens {
			t.Errorf("a code %d steps from now: %v, want it to open: %t", c.steps, err, c.opens)
		}
	}
}

func TestACodeThatWasAcceptedNeverOpensAgainNorDoesAnOlderOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	call, p := w.secure(t, w.staff(t, domain.Admin, "a@example.co.za"))

	_, err := w.signInWith(t, "a@example.co.za", p.code(t, -1)) // confirmed it
	refused(t, err, domain.CodeTOTPRequired)

	_, err = w.signInWith(t, "a@example.co.za", p.code(t, 1))
	ok(t, err)

	for _, steps := range []int{1, 0, -1} {
		_, err := w.signInWith(t, "a@example.co.za", p.code(t, steps))
		refused(t, err, domain.CodeTOTPRequired)
	}

	_, err = w.RemoveSecondFactor(t.Context(), call,
		commands.RemoveSecondFactor{CurrentPassword: password, Code: p.code(t, 1)})
	refused(t, err, domain.CodeTOTPRequired) // nor does it do anything else
}

func TestOfOneCodeShownToTwoProcessesAtOnceExactlyOneOpens(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	_, p := w.secure(t, w.staff(t, domain.Admin, "a@example.co.za"))
	other, _ := handler(t, w.db, w.clock)

	for range 5 {
		w.clock.advance(5 * time.Minute) // past any pause
		code := p.code(t, 0)

		var all sync.WaitGroup
		results := make([]error, 4)
		for i := range results {
			all.Go(func() {
				h := []*commands.Handler{w.Handler, other}[i%2]
				_, results[i] = h.SignIn(t.Context(), commands.Call{},
					commands.SignIn{Email: "a@example.co.za", Password: password, Code: code})
			})
		}
		all.Wait()

		opened := 0
		for _, err := range results {
			if err == nil {
				opened++
			} else if !errors.Is(err, domain.Refuse(domain.CodeTOTPRequired, "")) {
				t.Errorf("got %v", err)
			}
		}
		if opened != 1 {
			t.Fatalf("one code opened %d sessions: %v", opened, results)
		}

		w.clock.advance(time.Minute)
		_, err := w.signInWith(t, "a@example.co.za", p.code(t, 0)) // resets the count of wrong codes
		ok(t, err)
	}
}

func (w *world) wrongCode(t *testing.T, p phone) string {
	t.Helper()
	for n := range 5 {
		wrong := fmt.Sprintf("%06d", n)
		if wrong != p.code(t, -1) && wrong != p.code(t, 0) && wrong != p.code(t, 1) {
			return wrong
		}
	}
	t.Fatal("five codes are right")
	return ""
}

func TestWrongCodesAreRecordedAndSoonNoneIsLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	call, p := w.secure(t, w.staff(t, domain.Admin, "a@example.co.za"))
	for range 5 {
		_, err := w.signInWith(t, "a@example.co.za", w.wrongCode(t, p))
		refused(t, err, domain.CodeTOTPRequired)
	}

	_, err := w.signInWith(t, "a@example.co.za", p.code(t, 0)) // not even a right one
	refused(t, err, domain.CodeTOTPLocked)
	_, err = w.RemoveSecondFactor(t.Context(), call,
		commands.RemoveSecondFactor{CurrentPassword: password, Code: p.code(t, 0)})
	refused(t, err, domain.CodeTOTPLocked)
	_, err = w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: "a@example.co.za", Password: "wrong"})
	refused(t, err, domain.CodeInvalidCredentials)
	if n := w.failuresByCode(t, call.User); n != 5 {
		t.Errorf("%d wrong codes are recorded, want 5", n)
	}

	w.clock.advance(61 * time.Second)
	_, err = w.signInWith(t, "a@example.co.za", w.wrongCode(t, p))
	refused(t, err, domain.CodeTOTPRequired)
	w.clock.advance(61 * time.Second) // the pause is two minutes now
	_, err = w.signInWith(t, "a@example.co.za", p.code(t, 0))
	refused(t, err, domain.CodeTOTPLocked)
	w.clock.advance(60 * time.Second)
	_, err = w.signInWith(t, "a@example.co.za", p.code(t, 0))
	ok(t, err)

	_, err = w.signInWith(t, "a@example.co.za", w.wrongCode(t, p)) // the count starts again
	refused(t, err, domain.CodeTOTPRequired)
	_, err = w.signInWith(t, "a@example.co.za", p.code(t, 1))
	ok(t, err)
}

func (w *world) failuresByCode(t *testing.T, user domain.UserID) (n int) {
	t.Helper()
	events, err := w.store.Load(t.Context(), w.cpt, domain.SessionsOf(user))
	ok(t, err)
	for _, e := range events {
		if failed, is := e.Event.(*domain.SignInFailed); is && failed.Cause == domain.FailedByCode {
			n += failed.Count
		}
	}
	return n
}

func TestNoMoreGuessesAreJudgedHoweverManyComeAtOnceAndToHoweverManyProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	call, p := w.secure(t, w.staff(t, domain.Admin, "a@example.co.za"))
	other, _ := handler(t, w.db, w.clock)

	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			h := []*commands.Handler{w.Handler, other}[i%2]
			_, err := h.SignIn(t.Context(), commands.Call{},
				commands.SignIn{Email: "a@example.co.za", Password: password, Code: w.wrongCode(t, p)})
			if err == nil {
				t.Error("a wrong code opened a session")
			}
		})
	}

	all.Wait()

	if n := w.failuresByCode(t, call.User); n != 5 {
		t.Errorf("%d guesses were checked, want 5", n)
	}
}

func TestASecondFactorOutlivesANewPasswordAndANewAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	call, p := w.secure(t, w.staff(t, domain.Admin, "a@example.co.za"))
	_, err := w.ChangePassword(t.Context(), call,
		commands.ChangePassword{Current: password, New: "another battery staple"})
	ok(t, err)
	_, err = w.ChangeProfile(t.Context(), w.again(t, call), commands.ChangeProfile{
		Email: new("b@example.co.za"), CurrentPassword: "another battery staple",
	})
	ok(t, err)

	signIn := commands.SignIn{Email: "b@example.co.za", Password: "another battery staple"}
	_, err = w.SignIn(t.Context(), commands.Call{}, signIn)
	refused(t, err, domain.CodeTOTPRequired)

	signIn.Code = p.code(t, 0)
	_, err = w.SignIn(t.Context(), commands.Call{}, signIn)
	ok(t, err)
}

func TestOneSecondFactorIsBegunAtATimeAndNotForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	call := w.staff(t, domain.Admin, "a@example.co.za")
	begin := func(key string) (commands.NewSecondFactor, int64) {
		call = w.again(t, call)
		keyed := call
		keyed.Key = key
		begun, err := w.BeginSecondFactor(t.Context(), keyed, commands.BeginSecondFactor{CurrentPassword: password})
		ok(t, err)
		call = w.again(t, call)
		return begun.Value, begun.Position
	}
	confirm := func(secret string) error {
		_, err := w.ConfirmSecondFactor(t.Context(), call,
			commands.ConfirmSecondFactor{Code: phone{secret, w.clock.now}.code(t, 0)})
		return err
	}

	_, err := w.ConfirmSecondFactor(t.Context(), call, commands.ConfirmSecondFactor{Code: "000000"})
	refused(t, err, domain.CodeNotFound)

	late, _ := begin("")
	w.clock.advance(10 * time.Minute)
	refused(t, confirm(late.Secret), domain.CodeNotFound)

	former, _ := begin("")
	first, at := begin("key")
	again, where := begin("key")
	if again.Secret != "" || again.URI != "" || again.ExpiresAt != first.ExpiresAt || where != at {
		t.Errorf("a repeat answers %+v at %d, the first was at %d", again, where, at)
	}
	refused(t, confirm(former.Secret), domain.CodeTOTPRequired)
	ok(t, confirm(first.Secret))
}

func TestASecondFactorIsRemovedByPasswordAndCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	call, p := w.secure(t, w.staff(t, domain.Admin, "a@example.co.za"))

	remove := func(password, code string) error {
		_, err := w.RemoveSecondFactor(t.Context(), call,
			commands.RemoveSecondFactor{CurrentPassword: password, Code: code})
		return err
	}

	refused(t, remove("wrong", p.code(t, 0)), domain.CodePasswordWrong)
	refused(t, remove(password, ""), domain.CodeTOTPRequired)
	ok(t, remove(password, p.code(t, 0)))
	call = w.again(t, call)
	refused(t, remove(password, p.code(t, 1)), domain.CodeNotFound)

	_, err := w.signInWith(t, "a@example.co.za", "")
	ok(t, err)
}

func TestAnotherAdminRecoversASecondFactorAndTheLogSaysWhoAndWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	call, _ := w.secure(t, w.staff(t, domain.Manager, "a@example.co.za"))
	admin, manager := w.staff(t, domain.Admin, "b@example.co.za"), w.staff(t, domain.Manager, "c@example.co.za")
	recovers := func(by commands.Call, user domain.UserID, reason string) error {
		_, err := w.RecoverSecondFactor(t.Context(), by, commands.RecoverSecondFactor{User: user, Reason: reason})
		return err
	}

	refused(t, recovers(manager, call.User, "lost"), domain.CodeForbidden)
	refused(t, recovers(admin, admin.User, "lost"), domain.CodeForbidden)
	refused(t, recovers(admin, call.User, " "), domain.CodeInvalid)
	refused(t, recovers(admin, manager.User, "lost"), domain.CodeNotFound)
	ok(t, recovers(admin, call.User, "Phone stolen; came in person."))

	_, err := w.Authenticate(t.Context(), call)
	refused(t, err, domain.CodeSessionEnded)
	_, err = w.signInWith(t, "a@example.co.za", "")
	ok(t, err)

	events, err := w.store.LoadPersonal(t.Context(), w.cpt, domain.UserOf(call.User))
	ok(t, err)
	last := events[len(events)-1]
	removed, is := last.Event.(*domain.SecondFactorRemoved)
	if !is || last.Actor != admin.User || removed.Cause != domain.CauseRecovery {
		t.Fatalf("the log says %+v", last)
	}
	if why, _ := removed.Private.Get(); why.Reason != "Phone stolen; came in person." {
		t.Errorf("the log says why: %q", why.Reason)
	}

	_, err = w.EraseMe(t.Context(), admin, erasureOf(password))
	refused(t, err, domain.CodeLastAdmin)
}

func erasureOf(password string) commands.EraseMe {
	return commands.EraseMe{Confirmation: commands.EraseConfirmation, Password: password}
}

// A stolen login of the API reaches only sealed secrets, and the tables only through
// functions.
func TestAStolenDatabaseLoginReadsNoSecretAndSetsNoneThatOpens(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	victim, p := w.secure(t, w.staff(t, domain.Admin, "a@example.co.za"))
	thief, own := w.secure(t, w.staff(t, domain.Manager, "b@example.co.za"))

	stolen := w.db.Conn(t, pgtest.Query)
	_, err := stolen.Exec(t.Context(), "select factor_secret from trust.credentials")
	if err == nil {
		t.Error("the API's login reads credentials")
	}
	sealed := func(call commands.Call) (secret []byte) {
		const sql = "select factor_secret from trust.second_factor($1, $2)"
		ok(t, stolen.QueryRow(t.Context(), sql, call.User.UUID, call.Tenant.UUID).Scan(&secret))
		return secret
	}

	for _, call := range []commands.Call{victim, thief} {
		if text := string(sealed(call)); strings.Contains(text, p.secret) || strings.Contains(text, own.secret) {
			t.Error("a secret is in plain text")
		}
	}

	// Even the owner of the tables, who may write the row, cannot make their own codes
	// open another person's account.
	owner := w.db.Superuser(t)
	_, err = owner.Exec(t.Context(), "update trust.credentials set factor_secret = $1 where user_id = $2",
		sealed(thief), victim.User.UUID)
	ok(t, err)
	if _, err := w.signInWith(t, "a@example.co.za", own.code(t, 0)); err == nil {
		t.Error("a secret moved to another account opens it")
	}
}

func TestAnErasureDestroysTheSecondFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	w.staff(t, domain.Admin, "stays@example.co.za")
	call, _ := w.secure(t, w.citizen(t, "CPT", "a@example.co.za"))
	_, err := w.EraseMe(t.Context(), call, erasureOf(password))
	ok(t, err)

	const sql = "select count(*) from trust.credentials where user_id = $1"
	var left int
	ok(t, w.db.Superuser(t).QueryRow(t.Context(), sql, call.User.UUID).Scan(&left))
	if left != 0 {
		t.Error("a credential is left")
	}
}

// The test vectors of RFC 6238, appendix B, with the library as it is used here: SHA-1,
// the last six of the eight digits.
func TestCodesAreThoseOfRFC6238(t *testing.T) {
	t.Parallel()
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // 12345678901234567890

	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924",
		2000000000: "69279037", 20000000000: "65353130",
	} {
		got, err := hotp.ValidateCustom(want[2:], uint64(at/30), secret,
			hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil || !got {
			t.Errorf("at %d: %t, %v", at, got, err)
		}
	}
}
