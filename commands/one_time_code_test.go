package commands_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

const newPassword = "staple of another battery"

// mailbox holds what was sent.
type mailbox struct {
	mu      sync.Mutex
	letters []domain.Letter
}

func (m *mailbox) take(l domain.Letter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.letters = append(m.letters, l)
	return nil
}

// last returns the newest letter, and forgets all.
func (m *mailbox) last(t *testing.T) domain.Letter {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.letters) == 0 {
		t.Fatal("no letter was sent")
	}
	l := m.letters[len(m.letters)-1]
	m.letters = nil
	return l
}

func (m *mailbox) none(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.letters) > 0 {
		t.Errorf("letters were sent: %+v", m.letters)
	}
}

// newWorldWithMail is a world that sends letters.
func newWorldWithMail(t *testing.T) (*world, *mailbox) {
	t.Helper()
	w, box := newWorld(t), &mailbox{}
	cheap := &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	w.Handler = commands.New(w.store, commands.Config{
		Now: w.clock.now, Argon2id: cheap, Hashes: 8, Mail: box.take,
	})
	return w, box
}

// resetCode has staff hand a code over.
func (w *world) resetCode(t *testing.T, by commands.Call, user domain.UserID) string {
	t.Helper()
	made, err := w.IssueResetCode(t.Context(), w.again(t, by), commands.IssueResetCode{
		User: user, IdentityDocument: "ID card, number ending in 083",
	})
	ok(t, err)
	return made.Value.Text.String()
}

func (w *world) redeem(t *testing.T, code string) error {
	t.Helper()
	_, err := w.RedeemCode(t.Context(), commands.Call{}, commands.RedeemCode{Code: code, Password: newPassword})
	return err
}

func (w *world) letsIn(t *testing.T, email, password string) bool {
	t.Helper()
	opens, err := w.Opens(t.Context(), commands.SignIn{Email: email, Password: password, MunicipalityCode: "CPT"})
	ok(t, err)
	return opens
}

// codes counts the rows of one-time codes.
func (w *world) codes(t *testing.T) (n int) {
	t.Helper()
	ok(t, w.db.Conn(t, pgtest.Owner).QueryRow(t.Context(), "select count(*) from trust.one_time_codes").Scan(&n))
	return n
}

// events returns the newest events of a stream.
func (w *world) events(t *testing.T, tenant domain.TenantID, stream domain.Stream) []domain.Recorded {
	t.Helper()
	events, err := w.store.LoadPersonal(t.Context(), tenant, stream)
	ok(t, err)
	return events
}

// wrongly returns a code that begins like another and is not it.
func wrongly(code string) string {
	last := code[len(code)-1]
	if last == '0' {
		return code[:len(code)-1] + "1"
	}
	return code[:len(code)-1] + "0"
}

func TestAHandedCodeSetsANewPasswordOnceAndEndsAllSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, thandi := w.staff(t, domain.FieldWorker, "clerk@example.org"), w.citizen(t, "CPT", "thandi@example.org")

	code := w.resetCode(t, clerk, thandi.User)
	ok(t, w.redeem(t, strings.ToLower(strings.ReplaceAll(code, "-", " "))))
	if w.letsIn(t, "thandi@example.org", password) || !w.letsIn(t, "thandi@example.org", newPassword) {
		t.Error("the password is not the new one")
	}
	_, err := w.Authenticate(t.Context(), thandi)
	refused(t, err, domain.CodeSessionEnded)
	w.unchanged(t, func() { refused(t, w.redeem(t, code), domain.CodeCodeInvalid) })

	history := w.events(t, w.cpt, domain.UserOf(thandi.User))
	issued, is := history[len(history)-2].Event.(*domain.ResetCodeIssued)
	seen, _ := issued.Private.Get()
	if !is || issued.Channel != domain.CodeByStaff || seen.IdentityDocument != "ID card, number ending in 083" ||
		history[len(history)-2].Actor != clerk.User {
		t.Errorf("the issue is recorded as %+v", history[len(history)-2])
	}
	changed, is := history[len(history)-1].Event.(*domain.UserPasswordChanged)
	if !is || changed.Cause != domain.CauseReset || changed.CodeID != issued.CodeID ||
		history[len(history)-1].Actor != thandi.User {
		t.Errorf("the change is recorded as %+v", history[len(history)-1])
	}
}

func TestACodeIsShownOnceAndNeverStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, thandi := w.staff(t, domain.Admin, "admin@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	call := w.again(t, admin)
	call.Key = newKey()
	c := commands.IssueResetCode{User: thandi.User, IdentityDocument: "ID card"}

	first, err := w.IssueResetCode(t.Context(), call, c)
	ok(t, err)
	again, err := w.IssueResetCode(t.Context(), call, c)
	ok(t, err)
	if again.Value.Text != "" || !again.Value.ExpiresAt.Equal(first.Value.ExpiresAt) ||
		again.Position != first.Position {
		t.Errorf("a repeat answers %+v, the first was %+v", again, first)
	}
	c.IdentityDocument = "passport"
	_, err = w.IssueResetCode(t.Context(), call, c)
	refused(t, err, domain.CodeIdempotencyKeyReused)

	text := string(first.Value.Text)
	for _, query := range []string{
		"select coalesce(string_agg(e::text, ' '), '') from trust.events e",
		"select coalesce(string_agg(c::text, ' '), '') from trust.one_time_codes c",
	} {
		var dump string
		ok(t, w.db.Conn(t, pgtest.Owner).QueryRow(t.Context(), query).Scan(&dump))
		for _, secret := range []string{text, text[:8], text[8:], first.Value.Text.String()} {
			if dump == "" || strings.Contains(dump, secret) {
				t.Errorf("%s holds %q", query, secret)
			}
		}
	}
	ok(t, w.redeem(t, text))
}

func TestASecondFactorOutlivesANewPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t).midstep()
	admin, manager := w.staff(t, domain.Admin, "admin@example.org"), w.staff(t, domain.Manager, "manager@example.org")
	_, phone := w.secure(t, manager)

	ok(t, w.redeem(t, w.resetCode(t, admin, manager.User)))
	signIn := commands.SignIn{Email: "manager@example.org", Password: newPassword, MunicipalityCode: "CPT"}
	_, err := w.SignIn(t.Context(), commands.Call{}, signIn)
	refused(t, err, domain.CodeTOTPRequired)
	signIn.Code = phone.code(t, 1)
	_, err = w.SignIn(t.Context(), commands.Call{}, signIn)
	ok(t, err)
}

func TestACodeTriedFiveTimesIsUsedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, thandi := w.staff(t, domain.FieldWorker, "clerk@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	failures := func() (n int) {
		for _, e := range w.events(t, w.cpt, domain.SessionsOf(thandi.User)) {
			if failed, is := e.Event.(*domain.SignInFailed); is && failed.Cause == domain.FailedByOneTimeCode {
				n += failed.Count
			}
		}
		return n
	}

	// Four tries leave the fifth.
	code := w.resetCode(t, clerk, thandi.User)
	for range domain.MaxWrongTries - 1 {
		refused(t, w.redeem(t, wrongly(code)), domain.CodeCodeInvalid)
	}
	ok(t, w.redeem(t, code))

	code = w.resetCode(t, clerk, thandi.User)
	for range domain.MaxWrongTries {
		refused(t, w.redeem(t, wrongly(code)), domain.CodeCodeInvalid)
	}
	w.unchanged(t, func() {
		refused(t, w.redeem(t, code), domain.CodeCodeInvalid)
		refused(t, w.redeem(t, wrongly(code)), domain.CodeCodeInvalid)
	})
	if n := failures(); n != 2*domain.MaxWrongTries-1 {
		t.Errorf("%d wrong tries are recorded, want %d", n, 2*domain.MaxWrongTries-1)
	}

	// Nobody's code is counted against nobody.
	w.unchanged(t, func() {
		for _, nobodys := range []string{"0000-0000-0000-0000", "x", strings.Repeat("0", 10_000)} {
			refused(t, w.redeem(t, nobodys), domain.CodeCodeInvalid)
		}
	})
}

func TestManyGuessesAtOnceAreEachCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, thandi := w.staff(t, domain.FieldWorker, "clerk@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	code, before := w.resetCode(t, clerk, thandi.User), w.head(t)

	other, _ := handler(t, w.db, w.clock) // another process
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			h := w.Handler
			if i%2 == 0 {
				h = other
			}
			_, err := h.RedeemCode(t.Context(), commands.Call{},
				commands.RedeemCode{Code: wrongly(code), Password: newPassword})
			if !errors.Is(err, domain.InvalidCode()) && !errors.Is(err, domain.Refuse(domain.CodeBusy, "")) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()

	if counted := w.head(t) - before; counted != domain.MaxWrongTries {
		t.Errorf("%d of thirty guesses at once were judged, want %d", counted, domain.MaxWrongTries)
	}
	refused(t, w.redeem(t, code), domain.CodeCodeInvalid)
}

func TestOfTwoThatRedeemACodeAtOnceOneDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, thandi := w.staff(t, domain.FieldWorker, "clerk@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	code := w.resetCode(t, clerk, thandi.User)

	outcomes := make([]error, 2)
	passwords := []string{"the first password", "the second password"}
	var both sync.WaitGroup
	for i := range outcomes {
		both.Go(func() {
			_, outcomes[i] = w.RedeemCode(t.Context(), commands.Call{},
				commands.RedeemCode{Code: code, Password: passwords[i]})
		})
	}
	both.Wait()

	for i, err := range outcomes {
		if err != nil {
			refused(t, err, domain.CodeCodeInvalid)
		}
		if w.letsIn(t, "thandi@example.org", passwords[i]) != (err == nil) {
			t.Errorf("%q: answered %v", passwords[i], err)
		}
	}
	if (outcomes[0] == nil) == (outcomes[1] == nil) {
		t.Errorf("answered %v and %v", outcomes[0], outcomes[1])
	}
}

// Whatever the reason, the answer is the same, and the log has nothing of it.
func TestACodeThatCannotBeRedeemedIsAlwaysTheSameRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(t, domain.Admin, "admin@example.org")
	platform := commands.System(domain.PlatformTenant())
	for name, spoil := range map[string]func(thandi commands.Call){
		"replaced": func(thandi commands.Call) { w.resetCode(t, admin, thandi.User) },
		"the password was changed otherwise": func(thandi commands.Call) {
			_, err := w.ChangePassword(t.Context(), w.again(t, thandi),
				commands.ChangePassword{Current: password, New: "yet another password"})
			ok(t, err)
		},
		"the address was changed": func(thandi commands.Call) {
			_, err := w.ChangeProfile(t.Context(), w.again(t, thandi), commands.ChangeProfile{
				Email: new("another@example.org"), CurrentPassword: password,
			})
			ok(t, err)
		},
		"the account was closed": func(thandi commands.Call) {
			_, err := w.DeactivateUser(t.Context(), w.again(t, admin), commands.DeactivateUser{User: thandi.User})
			ok(t, err)
		},
		"the person was erased": func(thandi commands.Call) {
			_, err := w.EraseMe(t.Context(), w.again(t, thandi), commands.EraseMe{
				Confirmation: commands.EraseConfirmation, Password: password,
			})
			ok(t, err)
		},
		"it has expired": func(commands.Call) { w.clock.advance(domain.CodeLasts) },
	} {
		email := uuid.NewString() + "@example.org"
		thandi := w.citizen(t, "CPT", email)
		code := w.resetCode(t, admin, thandi.User)
		spoil(thandi)

		w.unchanged(t, func() {
			err := w.redeem(t, code)
			refused(t, err, domain.CodeCodeInvalid)
			if err.Error() != domain.InvalidCode().Error() {
				t.Errorf("%s: %v", name, err)
			}
		})
		if w.letsIn(t, email, newPassword) {
			t.Errorf("%s: the password was changed", name)
		}
	}

	// The municipality was closed.
	thandi := w.citizen(t, "CPT", "last@example.org")
	code := w.resetCode(t, admin, thandi.User)
	_, err := w.SetMunicipalityActive(t.Context(), platform, commands.SetMunicipalityActive{Municipality: w.cpt})
	ok(t, err)
	refused(t, w.redeem(t, code), domain.CodeCodeInvalid)
}

func TestNobodyHandsACodeToThemselvesOrToAnotherMunicipality(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	elsewhere := w.municipality(t, "JHB", "Johannesburg")
	admin, thandi := w.staff(t, domain.Admin, "admin@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	manager := w.staff(t, domain.Manager, "manager@example.org")
	jabu := w.citizen(t, "JHB", "jabu@example.org")
	document := "ID card"

	w.unchanged(t, func() {
		for name, c := range map[string]struct {
			by   commands.Call
			user domain.UserID
			want domain.Code
		}{
			"oneself":                {admin, admin.User, domain.CodeForbidden},
			"a citizen":              {thandi, manager.User, domain.CodeForbidden},
			"a higher role":          {manager, admin.User, domain.CodeForbidden},
			"another municipality":   {admin, jabu.User, domain.CodeNotFound},
			"nobody":                 {admin, domain.UserID{UUID: uuid.New()}, domain.CodeNotFound},
			"an operator, elsewhere": {commands.System(elsewhere), thandi.User, domain.CodeNotFound},
		} {
			_, err := w.IssueResetCode(t.Context(), c.by, commands.IssueResetCode{
				User: c.user, IdentityDocument: document,
			})
			if !errors.Is(err, domain.Refuse(c.want, "")) {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		}
	})

	made, err := w.IssueResetCode(t.Context(), commands.System(w.cpt), commands.IssueResetCode{
		User: admin.User, IdentityDocument: document,
	})
	ok(t, err)
	ok(t, w.redeem(t, made.Value.Text.String()))
	history := w.events(t, w.cpt, domain.UserOf(admin.User))
	issued, is := history[len(history)-2].Event.(*domain.ResetCodeIssued)
	if !is || issued.Channel != domain.CodeByOperator || !history[len(history)-2].Actor.IsZero() {
		t.Errorf("an operator's code is recorded as %+v", history[len(history)-2])
	}
}

func TestARedemptionIsRepeatedUnderItsKeyByWhoKnowsThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, thandi := w.staff(t, domain.FieldWorker, "clerk@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	call := commands.Call{Key: newKey()}
	c := commands.RedeemCode{Code: w.resetCode(t, clerk, thandi.User), Password: newPassword}

	first, err := w.RedeemCode(t.Context(), call, c)
	ok(t, err)
	w.unchanged(t, func() {
		again, err := w.RedeemCode(t.Context(), call, c)
		ok(t, err)
		if again.Position != first.Position {
			t.Errorf("a repeat is at %d, the first at %d", again.Position, first.Position)
		}
	})
	c.Password = "some other password"
	_, err = w.RedeemCode(t.Context(), call, c)
	refused(t, err, domain.CodeIdempotencyKeyReused)
}

// A stolen database login can write rows, but not make a code: it has no key for digests.
func TestACodeIsNobodyElsesAndLastsNoLongerWhateverIsWrittenInItsRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, thandi := w.staff(t, domain.FieldWorker, "clerk@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	jabu, db := w.citizen(t, "CPT", "jabu@example.org"), w.db.Conn(t, pgtest.Superuser)
	for _, change := range []string{
		"update trust.one_time_codes set user_id = '" + jabu.User.String() + "'",
		"update trust.one_time_codes set expires_at = expires_at + interval '1 hour'",
		"update trust.one_time_codes set code_id = gen_random_uuid()",
	} {
		code := w.resetCode(t, clerk, thandi.User)
		_, err := db.Exec(t.Context(), change)
		ok(t, err)
		refused(t, w.redeem(t, code), domain.CodeCodeInvalid)
		_, err = db.Exec(t.Context(), "delete from trust.one_time_codes")
		ok(t, err)
	}
}

func TestNoCodeIsLeftOfAnErasedPerson(t *testing.T) {
	t.Parallel()
	w, box := newWorldWithMail(t)
	clerk, thandi := w.staff(t, domain.FieldWorker, "clerk@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	w.resetCode(t, clerk, thandi.User)
	_, err := w.BeginEmailVerification(t.Context(), w.again(t, thandi), commands.BeginEmailVerification{})
	ok(t, err)
	box.last(t)
	if n := w.codes(t); n != 2 {
		t.Fatalf("%d codes, want 2", n)
	}

	_, err = w.EraseMe(t.Context(), w.again(t, thandi), commands.EraseMe{
		Confirmation: commands.EraseConfirmation, Password: password,
	})
	ok(t, err)
	if n := w.codes(t); n != 0 {
		t.Errorf("%d codes are left", n)
	}
}

func TestACodeOutlivesAChangeOfTheMasterKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clerk, thandi := w.staff(t, domain.FieldWorker, "clerk@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	code := w.resetCode(t, clerk, thandi.User)

	const next = "another master key of thirty-two characters"
	tx, err := w.db.Conn(t, pgtest.Owner).Begin(t.Context())
	ok(t, err)
	_, err = eventstore.Rotate(t.Context(), tx, []byte("a master key of at least thirty-two characters"), []byte(next))
	ok(t, err)
	ok(t, tx.Commit(t.Context()))

	store, err := eventstore.Open(t.Context(), w.db.Pool(t, pgtest.Query), []byte(next),
		eventstore.Patience(pgtest.Patience))
	ok(t, err)
	t.Cleanup(store.Close)
	cheap := &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	w.Handler = commands.New(store, commands.Config{Now: w.clock.now, Argon2id: cheap})
	ok(t, w.redeem(t, code))
}

func (w *world) asksForReset(t *testing.T, email, municipality string) {
	t.Helper()
	_, err := w.RequestPasswordReset(t.Context(), commands.Call{},
		commands.RequestPasswordReset{Email: email, MunicipalityCode: municipality})
	ok(t, err)
	_, err = w.SendResetCodes(t.Context(), commands.Call{}, commands.SendResetCodes{})
	ok(t, err)
}

func TestACodeForANewPasswordIsSentToWhoHasAnAccountAndNobodyElse(t *testing.T) {
	t.Parallel()
	w, box := newWorldWithMail(t)
	w.municipality(t, "JHB", "Johannesburg")
	admin, thandi := w.staff(t, domain.Admin, "admin@example.org"), w.citizen(t, "CPT", "thandi@example.org")
	closed, erased := w.citizen(t, "CPT", "closed@example.org"), w.citizen(t, "CPT", "erased@example.org")
	_, err := w.DeactivateUser(t.Context(), admin, commands.DeactivateUser{User: closed.User})
	ok(t, err)
	_, err = w.EraseMe(t.Context(), erased, commands.EraseMe{
		Confirmation: commands.EraseConfirmation, Password: password,
	})
	ok(t, err)

	w.unchanged(t, func() {
		for _, asked := range [][2]string{
			{"nobody@example.org", "CPT"},
			{"thandi@example.org", "JHB"},
			{"thandi@example.org", "NOPE"},
			{"closed@example.org", "CPT"},
			{"erased@example.org", "CPT"},
			{"thandi@example.org", domain.PlatformCode},
		} {
			w.asksForReset(t, asked[0], asked[1])
		}
		box.none(t)
	})

	w.asksForReset(t, " Thandi@Example.ORG", "cpt")
	letter := box.last(t)
	if letter.To != "thandi@example.org" || letter.Language != domain.Zulu ||
		letter.Municipality != "City of Cape Town" {
		t.Errorf("the letter is %+v", letter)
	}
	history := w.events(t, w.cpt, domain.UserOf(thandi.User))
	issued, is := history[len(history)-1].Event.(*domain.ResetCodeIssued)
	if !is || issued.Channel != domain.CodeByEmail || !history[len(history)-1].Actor.IsZero() {
		t.Errorf("recorded as %+v", history[len(history)-1])
	}
	ok(t, w.redeem(t, letter.Code.String()))
	if !w.letsIn(t, "thandi@example.org", newPassword) {
		t.Error("the new password does not open the account")
	}

	for _, bad := range []commands.RequestPasswordReset{
		{MunicipalityCode: "CPT"},
		{Email: "thandi@example.org"},
		{Email: "a@example.org\r\nBcc: b@example.org", MunicipalityCode: "CPT"},
	} {
		_, err := w.RequestPasswordReset(t.Context(), commands.Call{}, bad)
		refused(t, err, domain.CodeInvalid)
	}
}

func TestAServerWithoutMailSendsAndRecordsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	thandi := w.citizen(t, "CPT", "thandi@example.org")
	w.unchanged(t, func() {
		w.asksForReset(t, "thandi@example.org", "CPT")
		_, err := w.BeginEmailVerification(t.Context(), thandi, commands.BeginEmailVerification{})
		refused(t, err, domain.CodeMailNotSetUp)
	})
}

func TestAnAddressIsVerifiedByTheCodeThatWasSentToIt(t *testing.T) {
	t.Parallel()
	w, box := newWorldWithMail(t)
	thandi, jabu := w.citizen(t, "CPT", "thandi@example.org"), w.citizen(t, "CPT", "jabu@example.org")
	begin := func(who commands.Call) string {
		t.Helper()
		me, err := w.BeginEmailVerification(t.Context(), w.again(t, who), commands.BeginEmailVerification{})
		ok(t, err)
		if !me.Value.EmailVerifiedAt.IsZero() {
			t.Error("verified without a code")
		}
		return box.last(t).Code.String()
	}
	verify := func(who commands.Call, code string) (commands.Answer[domain.User], error) {
		return w.VerifyEmail(t.Context(), w.again(t, who), commands.VerifyEmail{Code: code})
	}

	code := begin(thandi)
	w.unchanged(t, func() {
		_, err := verify(jabu, code)
		refused(t, err, domain.CodeCodeInvalid)
		refused(t, w.redeem(t, code), domain.CodeCodeInvalid) // it is good for nothing else
	})
	_, err := verify(thandi, wrongly(code))
	refused(t, err, domain.CodeCodeInvalid)
	me, err := verify(thandi, code)
	ok(t, err)
	if me.Value.EmailVerifiedAt.IsZero() {
		t.Error("not verified")
	}
	w.unchanged(t, func() { // there is nothing more to prove
		again, err := w.BeginEmailVerification(t.Context(), w.again(t, thandi), commands.BeginEmailVerification{})
		ok(t, err)
		if !again.Stood {
			t.Errorf("answered %+v", again)
		}
		box.none(t)
	})

	// A new address is not verified, nor by a code that went to the former.
	former := begin(jabu)
	_, err = w.ChangeProfile(t.Context(), w.again(t, jabu), commands.ChangeProfile{
		Email: new("new@example.org"), CurrentPassword: password,
	})
	ok(t, err)
	_, err = verify(jabu, former)
	refused(t, err, domain.CodeCodeInvalid)
	code = begin(jabu)
	_, err = verify(jabu, code)
	ok(t, err)
	changed, err := w.ChangeProfile(t.Context(), w.again(t, jabu), commands.ChangeProfile{
		Email: new("newer@example.org"), CurrentPassword: password,
	})
	ok(t, err)
	if !changed.Value.EmailVerifiedAt.IsZero() {
		t.Error("a new address counts as verified")
	}

	// A code to sign in with is none to verify with.
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.org")
	handed := w.resetCode(t, clerk, jabu.User)
	_, err = verify(jabu, handed)
	refused(t, err, domain.CodeCodeInvalid)
	ok(t, w.redeem(t, handed))
	if types := w.typesOf(t, thandi); !slices.Contains(types, "user.email_verified.v1") {
		t.Errorf("recorded %v", types)
	}
}

func (w *world) typesOf(t *testing.T, who commands.Call) (types []string) {
	t.Helper()
	for _, e := range w.events(t, who.Tenant, domain.UserOf(who.User)) {
		types = append(types, e.Event.EventType())
	}
	return types
}
