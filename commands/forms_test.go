package commands_test

import (
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

const (
	unicodeAddress = "nomsa@münchen.example"
	asciiAddress   = "nomsa@xn--mnchen-3ya.example"

	composed = "wagwoord van Zo\u00eb"
	loose    = "wagwoord van Zoe\u0308"
)

// older creates an account as releases before the canonical forms did: claimed and found
// by the spelling that was given, with its password hashed as it was sent.
func (w *world) older(t *testing.T, email, spelling, password string) domain.UserID {
	t.Helper()
	id := domain.UserID{UUID: uuid.Must(uuid.NewV7())}
	verifier, err := argon2id.CreateHash(password,
		&argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	ok(t, err)

	_, err = w.store.Append(t.Context(), domain.Append{
		ID: uuid.New(), Tenant: w.cpt, Actor: id,
		Writes: []domain.Write{{Stream: domain.UserOf(id), Events: []domain.Event{&domain.UserRegistered{
			MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.English,
			Person: domain.Known(domain.PersonFacts{Email: email, FullName: "Nomsa Zulu"}),
		}}}},
		Side: []domain.SideWrite{
			domain.CreateSubjectKey{Subject: id},
			domain.TakeClaim{
				Claim: domain.Claim{Tenant: w.cpt, Kind: domain.EmailClaim, Value: spelling}, Holder: id.UUID,
			},
			domain.SetCredential{User: id, Email: spelling, Verifier: verifier},
		},
	})
	ok(t, err)
	return id
}

// opens returns the account that an address and a password open.
func (w *world) opens(t *testing.T, email, password string) domain.UserID {
	t.Helper()
	a, err := w.SignIn(t.Context(), commands.Call{},
		commands.SignIn{Email: email, Password: password, MunicipalityCode: "CPT"})
	ok(t, err)
	return a.Value.User
}

func TestTwoSpellingsOfADomainAreOneAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	registered, err := w.Register(t.Context(), commands.Call{}, registration("CPT", " Nomsa@MÜNCHEN.example"))
	ok(t, err)
	if registered.Value.Email != unicodeAddress {
		t.Errorf("she reads %s", registered.Value.Email)
	}

	for _, spelling := range []string{
		unicodeAddress, asciiAddress, "NOMSA@MU\u0308NCHEN.EXAMPLE", "nomsa@ｍünchen。example\n",
	} {
		_, err := w.Register(t.Context(), commands.Call{}, registration("CPT", spelling))
		refused(t, err, domain.CodeEmailTaken)
		if got := w.opens(t, spelling, password); got != registered.Value.ID {
			t.Errorf("%q opens %s", spelling, got)
		}
	}
}

func TestAnAddressOfADomainThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, email := range []string{"a@xn--a.example", "a@exa\u3164mple.org", "a\u00adb@example.org"} {
		_, err := w.Register(t.Context(), commands.Call{}, registration("CPT", email))
		refused(t, err, domain.CodeInvalid)
	}
}

func TestAnOlderAccountOpensByTheSpellingItWasMadeWith(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.older(t, "Nomsa@München.example", unicodeAddress, password)

	for _, spelling := range []string{unicodeAddress, "NOMSA@MÜNCHEN.example", asciiAddress} {
		if got := w.opens(t, spelling, password); got != id {
			t.Errorf("%q opens %s", spelling, got)
		}
	}

	for _, spelling := range []string{unicodeAddress, asciiAddress} {
		_, err := w.Register(t.Context(), commands.Call{}, registration("CPT", spelling))
		refused(t, err, domain.CodeEmailTaken)
	}
}

func TestAnOlderAccountThatGivesUpItsAddressFreesEverySpelling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.older(t, unicodeAddress, unicodeAddress, password)
	call := w.signedIn(t, "CPT", unicodeAddress)
	_, err := w.ChangeProfile(t.Context(), call,
		commands.ChangeProfile{Email: new("nomsa@example.org"), CurrentPassword: password})
	ok(t, err)
	w.citizen(t, "CPT", unicodeAddress)

	other := w.older(t, "zoë@bücher.example", "zoë@bücher.example", password)
	call = w.signedIn(t, "CPT", "zoë@bücher.example")
	_, err = w.EraseMe(t.Context(), call, erasureOf(password))
	ok(t, err)
	if again := w.citizen(t, "CPT", "zoë@xn--bcher-kva.example"); again.User == other {
		t.Error("she is the person who was erased")
	}
}

func TestTwoAccountsWhoseAddressesBecameOneEachOpenByTheirSpelling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.older(t, unicodeAddress, unicodeAddress, "the password of one")
	two := w.older(t, asciiAddress, asciiAddress, "the password of two")

	if got := w.opens(t, unicodeAddress, "the password of one"); got != one {
		t.Errorf("the spelling of one opens %s", got)
	}
	if got := w.opens(t, asciiAddress, "the password of two"); got != two {
		t.Errorf("the spelling of two opens %s", got)
	}

	_, err := w.SignIn(t.Context(), commands.Call{},
		commands.SignIn{Email: unicodeAddress, Password: "the password of two"})
	refused(t, err, domain.CodeInvalidCredentials)
}

func TestAPasswordOpensHoweverItsLettersAreComposed(t *testing.T) {
	t.Parallel()
	for _, given := range []string{composed, loose} {
		w := newWorld(t)
		r := registration("CPT", "zoe@example.org")
		r.Password = given
		registered, err := w.Register(t.Context(), commands.Call{}, r)
		ok(t, err)

		for _, sent := range []string{composed, loose} {
			if got := w.opens(t, "zoe@example.org", sent); got != registered.Value.ID {
				t.Errorf("%q opens %s", sent, got)
			}
		}
	}
}

func TestEveryPlaceThatChecksAPasswordTakesEachSpelling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := registration("CPT", "zoe@example.org")
	r.Password = composed
	_, err := w.Register(t.Context(), commands.Call{}, r)
	ok(t, err)
	a, err := w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: "zoe@example.org", Password: loose})
	ok(t, err)

	call := commands.Call{Tenant: a.Value.Tenant, User: a.Value.User, Session: a.Value.ID}
	call, err = w.Authenticate(t.Context(), call)
	ok(t, err)
	_, err = w.ChangeProfile(t.Context(), call,
		commands.ChangeProfile{Email: new("zoe@example.net"), CurrentPassword: loose})
	ok(t, err)

	call, err = w.Authenticate(t.Context(), call)
	ok(t, err)
	_, err = w.ChangePassword(t.Context(), call, commands.ChangePassword{Current: loose, New: "nuwe " + loose})
	ok(t, err)
	call, err = w.Authenticate(t.Context(), call)
	ok(t, err)
	w.opens(t, "zoe@example.net", "nuwe "+composed)
	_, err = w.EraseMe(t.Context(), call, erasureOf("nuwe "+composed))
	ok(t, err)
}

func TestAPasswordThatWasHashedAsItWasSentStillOpensAndIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.older(t, "zoe@example.org", "zoe@example.org", loose)
	before, err := w.store.Verifier(t.Context(), w.cpt, id)
	ok(t, err)

	_, err = w.SignIn(t.Context(), commands.Call{}, commands.SignIn{Email: "zoe@example.org", Password: composed})
	refused(t, err, domain.CodeInvalidCredentials) // the other form cannot be guessed from it
	w.opens(t, "zoe@example.org", loose)

	after, err := w.store.Verifier(t.Context(), w.cpt, id)
	ok(t, err)
	if after == before {
		t.Error("the hash is still the old one")
	}

	w.opens(t, "zoe@example.org", composed)
	w.opens(t, "zoe@example.org", loose)
	if again, err := w.store.Verifier(t.Context(), w.cpt, id); err != nil || again != after {
		t.Error("a hash of the canonical form is replaced too", err)
	}
}

func TestCodesInAnyLetterCaseAreOnePurpose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := w.citizen(t, "cpt ", "one@example.org")
	_, err := w.RecordConsent(t.Context(), call, commands.RecordConsent{
		Purpose: " SMS_Alert", Language: domain.English, Consented: true,
	})
	ok(t, err)

	check, err := w.CheckConsent(t.Context(), call, commands.CheckConsent{Purpose: "sms_ALERT "})
	ok(t, err)
	if !check.Allowed {
		t.Error("it is not found")
	}

	_, err = w.Register(t.Context(), commands.Call{}, registration("\u0441pt", "two@example.org")) // a Cyrillic letter
	refused(t, err, domain.CodeUnknownMunicipality)
}
