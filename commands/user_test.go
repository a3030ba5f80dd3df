package commands_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

func TestRegistrationIsOneAppendOfUserAndConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.head(t)
	answer, err := w.Register(t.Context(), commands.Call{}, registration("cpt", "Thili@Example.co.za"))
	ok(t, err)

	u := answer.Value
	if u.Email != "thili@example.co.za" || u.FullName != "Ṱhilivhali Mudau" || u.Phone != "+27821234567" ||
		u.Role != domain.Citizen || u.PreferredLanguage != domain.Zulu || u.MunicipalityCode != "CPT" ||
		u.Tenant != w.cpt || !u.Active {
		t.Errorf("registered %+v", u)
	}
	if answer.Position != before+2 {
		t.Errorf("position %d, want %d", answer.Position, before+2)
	}

	events, err := w.store.Load(t.Context(), w.cpt, domain.UserOf(u.ID), domain.ConsentsOf(u.ID))
	ok(t, err)
	if len(events) != 2 || events[0].AppendID != events[1].AppendID {
		t.Fatalf("%d events, want user.registered and consent.granted of one append", len(events))
	}

	granted := events[1].Event.(*domain.ConsentGranted)
	if granted.Purpose != domain.PlatformRegistrationCode || granted.Language != domain.Zulu ||
		granted.Wording != domain.PlatformRegistration().Current().Texts[domain.Zulu] ||
		granted.SHA256 != domain.WordingHash(granted.Wording) {
		t.Errorf("granted %+v", granted)
	}
	if events[1].Actor != u.ID || events[1].Subject != u.ID {
		t.Error("actor and subject are not the person")
	}
}

func TestRegistrationIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	closed := w.municipality(t, "JHB", "City of Johannesburg")
	_, err := w.SetMunicipalityActive(t.Context(), commands.System(domain.PlatformTenant()),
		commands.SetMunicipalityActive{Municipality: closed, Active: false})
	ok(t, err)
	w.citizen(t, "CPT", "taken@example.co.za")

	for name, c := range map[string]struct {
		change func(*commands.Register)
		want   domain.Code
	}{
		"without consent": {func(c *commands.Register) {
			c.Consent = nil
		}, domain.CodeConsentRequired},
		"with consent not given": {func(c *commands.Register) {
			c.Consent.Consented = false
		}, domain.CodeConsentRequired},
		"with consent to something else": {func(c *commands.Register) {
			c.Consent.Purpose = "newsletter"
		}, domain.CodeConsentRequired},
		"with false wording": {func(c *commands.Register) {
			c.Consent.Description = "Anything goes."
		}, domain.CodeWordingMismatch},
		"in an unknown consent language": {func(c *commands.Register) {
			c.Consent.Language = "xh"
		}, domain.CodeInvalid},
		"in an unknown municipality": {func(c *commands.Register) {
			c.MunicipalityCode = "NOPE"
		}, domain.CodeUnknownMunicipality},
		"in no municipality": {func(c *commands.Register) {
			c.MunicipalityCode = ""
		}, domain.CodeUnknownMunicipality},
		"in SALGA itself": {func(c *commands.Register) {
			c.MunicipalityCode = "salga"
		}, domain.CodeUnknownMunicipality},
		"in a closed municipality": {func(c *commands.Register) {
			c.MunicipalityCode = "JHB"
		}, domain.CodeMunicipalityInactive},
		"with an address taken in other case": {func(c *commands.Register) {
			c.Email = "TAKEN@Example.CO.ZA"
		}, domain.CodeEmailTaken},
		"with a bad address":    {func(c *commands.Register) { c.Email = "nobody" }, domain.CodeInvalid},
		"with a bad phone":      {func(c *commands.Register) { c.Phone = "12" }, domain.CodeInvalid},
		"with a short password": {func(c *commands.Register) { c.Password = "short" }, domain.CodeInvalid},
		"with a long name": {func(c *commands.Register) {
			c.FullName = strings.Repeat("n", 101)
		}, domain.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			command := registration("CPT", "new@example.co.za")
			c.change(&command)
			w.unchanged(t, func() {
				_, err := w.Register(t.Context(), commands.Call{}, command)
				refused(t, err, c.want)
			})
		})
	}
}

func TestTheSameAddressCanRegisterOnceInEachMunicipality(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.municipality(t, "JHB", "City of Johannesburg")
	w.citizen(t, "CPT", "one@example.co.za")
	w.citizen(t, "JHB", "one@example.co.za")
	_, err := w.Register(t.Context(), commands.Call{}, registration("CPT", "One@example.co.za"))
	refused(t, err, domain.CodeEmailTaken)
}

func TestOfManyRegistrationsOfOneAddressAtOnceOneWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	results := make(chan error, 8)

	for range cap(results) {
		wg.Go(func() {
			_, err := w.Register(t.Context(), commands.Call{}, registration("CPT", "race@example.co.za"))
			results <- err
		})
	}

	wg.Wait()
	close(results)

	won := 0
	for err := range results {
		if err == nil {
			won++
		} else {
			refused(t, err, domain.CodeEmailTaken)
		}
	}
	if won != 1 {
		t.Errorf("%d registrations succeeded", won)
	}
}

func TestARetriedRegistrationGivesTheFirstAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := commands.Call{Key: newKey()}

	first, err := w.Register(t.Context(), call, registration("CPT", "retry@example.co.za"))
	ok(t, err)
	w.unchanged(t, func() {
		again, err := w.Register(t.Context(), call, registration("CPT", "retry@example.co.za"))
		ok(t, err)
		if again != first {
			t.Errorf("again %+v, first %+v", again, first)
		}

		other := registration("CPT", "retry@example.co.za")
		other.FullName = "Somebody Else"
		_, err = w.Register(t.Context(), call, other)
		refused(t, err, domain.CodeIdempotencyKeyReused)
	})
}

// No fingerprint covers a password, so the password of a repeat is compared with the
// account's.
func TestARepeatWithAnotherPasswordIsAnotherRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const another = "another password"
	admin := w.staff(t, domain.Admin, "admin@example.co.za")

	register := func(key, password string) (domain.User, error) {
		c := registration("CPT", key+"@example.co.za")
		c.Password = password
		a, err := w.Register(t.Context(), commands.Call{Key: key}, c)
		return a.Value, err
	}
	create := func(key, password string) (domain.User, error) {
		keyed := admin
		keyed.Key = key
		a, err := w.CreateUser(t.Context(), keyed, commands.CreateUser{
			Email: key + "@example.co.za", Password: password, FullName: "Sipho Zulu", Role: domain.Manager,
		})
		return a.Value, err
	}

	for name, send := range map[string]func(key, password string) (domain.User, error){
		"a registration": register, "an account of staff": create,
	} {
		t.Run(name, func(t *testing.T) {
			key := newKey()
			first, err := send(key, password)
			ok(t, err)

			w.onlyFailures(t, func() {
				_, err := send(key, another)
				refused(t, err, domain.CodeIdempotencyKeyReused)
				again, err := send(key, password)
				ok(t, err)
				if again != first {
					t.Errorf("first %+v, again %+v", first, again)
				}
			})

			mine := w.signedIn(t, "CPT", key+"@example.co.za")
			_, err = w.ChangePassword(t.Context(), mine, commands.ChangePassword{Current: password, New: another})
			ok(t, err)
			w.onlyFailures(t, func() {
				_, err := send(key, password)
				refused(t, err, domain.CodeIdempotencyKeyReused)
			})
		})
	}
}

func TestARepeatOfANewAddressWithAnotherPasswordIsAnotherRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine := w.citizen(t, "CPT", "old@example.co.za")
	mine.Key = newKey()
	change := func(current string) error {
		_, err := w.ChangeProfile(t.Context(), mine,
			commands.ChangeProfile{Email: new("new@example.co.za"), CurrentPassword: current})
		return err
	}

	ok(t, change(password))
	w.onlyFailures(t, func() {
		refused(t, change("another password"), domain.CodeIdempotencyKeyReused)
		refused(t, change(""), domain.CodeIdempotencyKeyReused)
		ok(t, change(password))
	})
}

func TestARepeatAboutAnErasedPersonSaysThatTheyWereErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	keyed := func() commands.Call {
		c := admin
		c.Key = newKey()
		return c
	}

	registered, created, changed, lodged, held := commands.Call{Key: newKey()}, keyed(), keyed(), keyed(), keyed()
	closed := keyed()

	person, err := w.Register(t.Context(), registered, registration("CPT", "one@example.co.za"))
	ok(t, err)
	clerk := commands.CreateUser{
		Email: "two@example.co.za", Password: password, FullName: "Sipho Zulu", Role: domain.Manager,
	}
	staff, err := w.CreateUser(t.Context(), created, clerk)
	ok(t, err)

	repeats := map[string]func() error{
		"a registration": func() error {
			_, err := w.Register(t.Context(), registered, registration("CPT", "one@example.co.za"))
			return err
		},
		"an account of staff": func() error {
			_, err := w.CreateUser(t.Context(), created, clerk)
			return err
		},
		"another role": func() error {
			_, err := w.ChangeRole(t.Context(), changed,
				commands.ChangeRole{User: staff.Value.ID, Role: domain.FieldWorker})
			return err
		},
		"a request": func() error {
			_, err := w.LodgeRequest(t.Context(), lodged, commands.LodgeRequest{
				Subject: person.Value.ID, Kind: domain.CorrectionRequest, Details: "my name",
			})
			return err
		},
		"a hold": func() error {
			_, err := w.PlaceHold(t.Context(), held, commands.PlaceHold{Subject: person.Value.ID, Reason: "an inquiry"})
			return err
		},
		"the closing of an account": func() error {
			_, err := w.DeactivateUser(t.Context(), closed, commands.DeactivateUser{User: staff.Value.ID})
			return err
		},
	}
	for name, send := range repeats {
		if err := send(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}

	rights, err := w.Rights(t.Context(), w.cpt, person.Value.ID)
	ok(t, err)
	_, err = w.LiftHold(t.Context(), admin, commands.LiftHold{Hold: rights.Holds[0].ID, Reason: "it is over"})
	ok(t, err)

	for _, id := range []domain.UserID{person.Value.ID, staff.Value.ID} {
		request, err := w.LodgeRequest(t.Context(), admin,
			commands.LodgeRequest{Subject: id, Kind: domain.ErasureRequest})
		ok(t, err)

		fulfil := keyed()
		first, err := w.FulfilRequest(t.Context(), fulfil, commands.FulfilRequest{Request: request.Value.ID})
		ok(t, err)
		again, err := w.FulfilRequest(t.Context(), fulfil, commands.FulfilRequest{Request: request.Value.ID})
		ok(t, err)
		if again.Position != first.Position {
			t.Errorf("the erasure itself: first %+v, again %+v", first, again)
		}
	}

	w.unchanged(t, func() {
		for name, send := range repeats {
			t.Run(name, func(t *testing.T) { refused(t, send(), domain.CodeSubjectErased) })
		}
		t.Run("the closing of an account that is gone", func(t *testing.T) {
			_, err := w.DeactivateUser(t.Context(), admin, commands.DeactivateUser{User: staff.Value.ID})
			refused(t, err, domain.CodeSubjectErased)
		})
	})
}

func TestARetriedRegistrationIsAnsweredAfterTheMunicipalityClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := commands.Call{Key: newKey()}
	first, err := w.Register(t.Context(), call, registration(" cpt", "one@example.co.za"))
	ok(t, err)
	_, err = w.SetMunicipalityActive(t.Context(), commands.System(domain.PlatformTenant()),
		commands.SetMunicipalityActive{Municipality: w.cpt})
	ok(t, err)

	w.unchanged(t, func() {
		again, err := w.Register(t.Context(), call, registration(" cpt", "one@example.co.za"))
		ok(t, err)
		if again != first || first.Value.MunicipalityCode != "CPT" {
			t.Errorf("first %+v, again %+v", first, again)
		}

		_, err = w.Register(t.Context(), commands.Call{Key: newKey()}, registration("CPT", "two@example.co.za"))
		refused(t, err, domain.CodeMunicipalityInactive)
	})
}
