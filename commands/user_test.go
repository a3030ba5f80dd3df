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
		u.Role != domain.Citizen || u.PreferredLanguage != domain.Zulu || u.MunicipalityCode != "CPT" || u.Tenant != w.cpt || !u.Active {
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
	_, err := w.SetMunicipalityActive(t.Context(), commands.System(domain.PlatformTenant()), commands.SetMunicipalityActive{Municipality: closed, Active: false})
	ok(t, err)
	w.citizen(t, "CPT", "taken@example.co.za")
	for name, c := range map[string]struct {
		change func(*commands.Register)
		want   domain.Code
	}{
		"without consent":                     {func(c *commands.Register) { c.Consent = nil }, domain.CodeConsentRequired},
		"with consent not given":              {func(c *commands.Register) { c.Consent.Consented = false }, domain.CodeConsentRequired},
		"with consent to something else":      {func(c *commands.Register) { c.Consent.Purpose = "newsletter" }, domain.CodeConsentRequired},
		"with false wording":                  {func(c *commands.Register) { c.Consent.Description = "Anything goes." }, domain.CodeWordingMismatch},
		"in an unknown consent language":      {func(c *commands.Register) { c.Consent.Language = "xh" }, domain.CodeInvalid},
		"in an unknown municipality":          {func(c *commands.Register) { c.MunicipalityCode = "NOPE" }, domain.CodeUnknownMunicipality},
		"in no municipality":                  {func(c *commands.Register) { c.MunicipalityCode = "" }, domain.CodeUnknownMunicipality},
		"in SALGA itself":                     {func(c *commands.Register) { c.MunicipalityCode = "salga" }, domain.CodeUnknownMunicipality},
		"in a closed municipality":            {func(c *commands.Register) { c.MunicipalityCode = "JHB" }, domain.CodeMunicipalityInactive},
		"with an address taken in other case": {func(c *commands.Register) { c.Email = "TAKEN@Example.CO.ZA" }, domain.CodeEmailTaken},
		"with a bad address":                  {func(c *commands.Register) { c.Email = "nobody" }, domain.CodeInvalid},
		"with a bad phone":                    {func(c *commands.Register) { c.Phone = "12" }, domain.CodeInvalid},
		"with a short password":               {func(c *commands.Register) { c.Password = "short" }, domain.CodeInvalid},
		"with a long name":                    {func(c *commands.Register) { c.FullName = strings.Repeat("n", 101) }, domain.CodeInvalid},
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
