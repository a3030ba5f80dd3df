package domain_test

import (
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

func thandi() domain.RegisterUser {
	return domain.RegisterUser{
		MunicipalityCode: "KZN225", Role: domain.Citizen, Email: "Thandi@example.co.za", FullName: "Thandi Nkosi",
		Phone: "+27821234567", Password: "umuthi omkhulu", PreferredLanguage: domain.Zulu, Consented: true,
	}
}

func thandiRegistered() *domain.UserRegistered {
	return &domain.UserRegistered{
		MunicipalityCode: "KZN225", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
		Person: domain.Known(domain.PersonFacts{
			Email: "thandi@example.co.za", FullName: "Thandi Nkosi", Phone: "+27821234567",
		}),
	}
}

func user(facts ...domaintest.Fact) domain.User {
	return domain.Fold[domain.User](domaintest.History(domain.UserOf(domaintest.Thandi()), facts...))
}

func TestRegisteringAUser(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		command func(*domain.RegisterUser)
		then    func(*domain.UserRegistered)
	}{
		"the e-mail address is put in lower case": {func(*domain.RegisterUser) {}, func(*domain.UserRegistered) {}},
		"a phone is not needed": {
			func(c *domain.RegisterUser) { c.Phone = "" },
			func(e *domain.UserRegistered) {
				e.Person = domain.Known(domain.PersonFacts{Email: "thandi@example.co.za", FullName: "Thandi Nkosi"})
			},
		},
		"without a language it is English": {
			func(c *domain.RegisterUser) { c.PreferredLanguage = "" },
			func(e *domain.UserRegistered) { e.PreferredLanguage = domain.English },
		},
		"staff get their role": {
			func(c *domain.RegisterUser) { c.Role, c.Consented = domain.SAPSLiaison, false },
			func(e *domain.UserRegistered) { e.Role = domain.SAPSLiaison },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command, want := thandi(), thandiRegistered()
			c.command(&command)
			c.then(want)

			domaintest.Given(domain.UserOf(domaintest.Thandi())).
				When(func([]domain.Recorded) ([]domain.Event, error) { return command.Decide() }).
				Then(t, want)
		})
	}
}

func TestAUsersFaultsAreReportedAtOnceAndEchoNoInput(t *testing.T) {
	t.Parallel()
	command := domain.RegisterUser{
		Role: "zq-role", Email: "zq-email", FullName: "<zq>", Phone: "zq-phone", Password: "zq",
		PreferredLanguage: "zq",
	}

	domaintest.Given(domain.UserOf(domaintest.Thandi())).
		When(func([]domain.Recorded) ([]domain.Event, error) { return command.Decide() }).
		ThenFaulty(t, "email invalid", "password too_short", "full_name invalid", "phone invalid", "role invalid",
			"preferred_language invalid")
	demandNoEcho(t, command.Validate(), "zq")
}

func TestThePasswordEntersNoEvent(t *testing.T) {
	t.Parallel()
	events, err := thandi().Decide()
	if err != nil {
		t.Fatal(err)
	}
	payload, personal := mustEncode(t, events[0])
	if strings.Contains(string(payload)+string(personal), thandi().Password) {
		t.Error("the password is in the event")
	}
}

func TestPasswordsAreMeasuredInCharacters(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ password, fault string }{
		"seven characters":                          {"1234567", "too_short"},
		"eight characters":                          {"12345678", ""},
		"eight characters of more than one byte":    {"ṰṰṰṰṰṰṰṰ", ""},
		"seven characters of more than eight bytes": {"ṰṰṰṰṰṰṰ", "too_short"},
		"blanks count":                              {"        ", ""},
		"128 characters":                            {strings.Repeat("ǃ", 128), ""},
		"129 characters":                            {strings.Repeat("a", 129), "too_long"},
		"none":                                      {"", "too_short"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f domain.Faults
			f.Password("password", c.password)
			demandFault(t, f.Err(), "password", c.fault)
		})
	}
}

func TestChangingAProfile(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		command domain.ChangeProfile
		then    []domain.Event
	}{
		"nothing is asked": {},
		"everything stays as it is": {command: domain.ChangeProfile{
			FullName: new("Thandi Nkosi"), Phone: new("+27821234567"), Email: new("Thandi@example.co.za"),
			PreferredLanguage: new(domain.Zulu),
		}},
		"the name alone": {
			domain.ChangeProfile{FullName: new("Thandi Nkosi-Naidoo")},
			[]domain.Event{&domain.UserProfileChanged{
				Fields: []string{"full_name"},
				Person: domain.Known(domain.ProfileChanges{
					FullName: &domain.Change[string]{Old: "Thandi Nkosi", New: "Thandi Nkosi-Naidoo"},
				}),
			}},
		},
		"the phone is removed": {
			domain.ChangeProfile{Phone: new("")},
			[]domain.Event{&domain.UserProfileChanged{
				Fields: []string{"phone"},
				Person: domain.Known(domain.ProfileChanges{Phone: &domain.Change[string]{Old: "+27821234567"}}),
			}},
		},
		"the language is not personal": {
			domain.ChangeProfile{PreferredLanguage: new(domain.Afrikaans)},
			[]domain.Event{&domain.UserProfileChanged{
				Fields:            []string{"preferred_language"},
				PreferredLanguage: &domain.Change[domain.Language]{Old: domain.Zulu, New: domain.Afrikaans},
			}},
		},
		"the letter case of the e-mail address is no change": {
			command: domain.ChangeProfile{Email: new("THANDI@example.co.za")},
		},
		"another spelling of everything is no change": {command: domain.ChangeProfile{
			FullName: new(" Thandi  Nkosi"), Phone: new("082 123 4567"), Email: new(" Thandi@EXAMPLE.co.za"),
		}},
		"profile and address are two facts": {
			domain.ChangeProfile{FullName: new("T. Nkosi"), Email: new("t@example.co.za")},
			[]domain.Event{
				&domain.UserProfileChanged{
					Fields: []string{"full_name"},
					Person: domain.Known(domain.ProfileChanges{
						FullName: &domain.Change[string]{Old: "Thandi Nkosi", New: "T. Nkosi"},
					}),
				},
				&domain.UserEmailChanged{
					Email: domain.Known(domain.Change[string]{Old: "thandi@example.co.za", New: "t@example.co.za"}),
				},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			domaintest.Given(domain.UserOf(domaintest.Thandi()), domaintest.At("2026-01-05", thandiRegistered())).
				When(func(h []domain.Recorded) ([]domain.Event, error) {
					return c.command.Decide(domain.Fold[domain.User](h))
				}).
				Then(t, c.then...)
		})
	}
}

func TestAnInvalidProfileReportsAllFaultsAndEchoesNoInput(t *testing.T) {
	t.Parallel()
	command := domain.ChangeProfile{
		FullName: new("\x00zq"), Phone: new("zq"), Email: new("zq@"), PreferredLanguage: new(domain.Language("zq")),
	}

	story := domaintest.Given(domain.UserOf(domaintest.Thandi()), domaintest.At("2026-01-05", thandiRegistered())).
		When(func(h []domain.Recorded) ([]domain.Event, error) { return command.Decide(domain.Fold[domain.User](h)) })
	story.ThenFaulty(t, "full_name invalid", "phone invalid", "email invalid", "preferred_language invalid")
	demandNoEcho(t, story.ThenRefused(t, domain.CodeInvalid), "zq")
}

func TestAnErasedPersonHasNoProfileToChange(t *testing.T) {
	t.Parallel()
	domaintest.Given(domain.UserOf(domaintest.Thandi()),
		domaintest.At("2026-01-05", thandiRegistered()), domaintest.At("2026-02-01", &domain.UserErased{})).
		When(func(h []domain.Recorded) ([]domain.Event, error) {
			return domain.ChangeProfile{FullName: new("Thandi Nkosi")}.Decide(domain.Fold[domain.User](h))
		}).
		ThenRefused(t, domain.CodeSubjectErased)
}

func TestDeactivatingAUser(t *testing.T) {
	t.Parallel()
	open := user(domaintest.At("2026-01-05", thandiRegistered()))
	want := []domain.Event{&domain.UserDeactivated{Cause: domain.CauseAdmin}}
	if diff := domaintest.Diff(want, open.Deactivate(domain.CauseAdmin)); diff != "" {
		t.Errorf("an open account (-want +got):\n%s", diff)
	}

	closed := user(domaintest.At("2026-01-05", thandiRegistered()), domaintest.At("2026-01-06", want...))
	if events := closed.Deactivate(domain.CauseConsentWithdrawn); events != nil {
		t.Errorf("a closed account is closed again: %v", events)
	}
}

func TestAUserIsWhatItsEventsSay(t *testing.T) {
	t.Parallel()
	if user().Exists() {
		t.Error("a user without events exists")
	}

	facts := []domaintest.Fact{
		domaintest.At("2026-01-05", thandiRegistered()),
		domaintest.At("2026-01-06", &domain.UserProfileChanged{
			Fields:            []string{"full_name", "phone", "preferred_language"},
			PreferredLanguage: &domain.Change[domain.Language]{Old: domain.Zulu, New: domain.English},
			Person: domain.Known(domain.ProfileChanges{
				FullName: &domain.Change[string]{Old: "Thandi Nkosi", New: "Thandi Naidoo"},
				Phone:    &domain.Change[string]{Old: "+27821234567"},
			}),
		}),
		domaintest.At("2026-01-07", &domain.UserEmailChanged{
			Email: domain.Known(domain.Change[string]{New: "naidoo@example.co.za"}),
		}),
		domaintest.At("2026-01-08", &domain.UserRoleChanged{Role: domain.Change[domain.Role]{New: domain.Manager}}),
		domaintest.At("2026-01-09", &domain.UserDeactivated{Cause: domain.CauseAdmin}),
		domaintest.At("2026-01-10", &domain.UserReactivated{}),
		domaintest.At("2026-01-11", &domain.UserPasswordChanged{}),
	}

	want := domain.User{
		ID: domaintest.Thandi(), Tenant: domaintest.Msunduzi(), MunicipalityCode: "KZN225", Role: domain.Manager,
		PreferredLanguage: domain.English, Email: "naidoo@example.co.za", FullName: "Thandi Naidoo", Account: true,
		Active: true, CreatedAt: domaintest.Clock("2026-01-05"), UpdatedAt: domaintest.Clock("2026-01-11"), Version: 7,
	}
	if diff := domaintest.Diff(want, user(facts...)); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}

	want.Active, want.Erased, want.Email, want.FullName, want.Version = false, true, "", "", 8
	want.UpdatedAt = domaintest.Clock("2026-01-12")
	facts = append(facts, domaintest.At("2026-01-12", &domain.UserErased{}))
	if diff := domaintest.Diff(want, user(facts...)); diff != "" {
		t.Errorf("after erasure (-want +got):\n%s", diff)
	}
}

func TestAUserWhoseKeyIsGoneHasNoPersonalDetails(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]domain.PersonalState{"erased": domain.Erased, "withheld": domain.Withheld} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registered, changed := thandiRegistered(), &domain.UserProfileChanged{Fields: []string{"full_name"}}
			moved := &domain.UserEmailChanged{}
			registered.Person.SetState(state)
			changed.Person.SetState(state)
			moved.Email.SetState(state)

			got := user(domaintest.At("2026-01-05", registered, changed, moved))
			if got.Email+got.FullName+got.Phone != "" || got.Erased != (state == domain.Erased) ||
				got.Role != domain.Citizen {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestAnAddressIsStoredInALabelsAndReadInUnicode(t *testing.T) {
	t.Parallel()
	command := thandi()
	command.Email = " Thandi@MÜNCHEN.example"
	events, err := command.Decide()
	if err != nil {
		t.Fatal(err)
	}

	registered := events[0].(*domain.UserRegistered)
	if person, _ := registered.Person.Get(); person.Email != "thandi@xn--mnchen-3ya.example" {
		t.Errorf("the log holds %q", person.Email)
	}
	user := domain.User{}.Evolve(domain.Recorded{Event: registered})
	if user.Email != "thandi@münchen.example" {
		t.Errorf("people read %q", user.Email)
	}
	for _, c := range domain.ChangesOf(registered) {
		if c.Field == "email" && c.New != "thandi@münchen.example" {
			t.Errorf("an auditor reads %q", c.New)
		}
	}

	changed, err := domain.ChangeProfile{Email: new("thandi@example.org")}.Decide(user)
	if err != nil {
		t.Fatal(err)
	}
	if change, _ := changed[0].(*domain.UserEmailChanged).Email.Get(); change.Old != "thandi@xn--mnchen-3ya.example" {
		t.Errorf("the log names the former address %q", change.Old)
	}
}

func TestAnAddressOlderThanItsCanonicalFormIsReadAsGiven(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]string{
		"Thandi@Example.org":           "Thandi@Example.org",
		"Thandi@MÜNCHEN.example":       "Thandi@MÜNCHEN.example",
		"thandi@xn--mnchen-3ya.co.za":  "thandi@münchen.co.za",
		"thandi@xn--mnchen-3ya.ü.test": "thandi@xn--mnchen-3ya.ü.test",
	} {
		user := domain.User{}.Evolve(domain.Recorded{
			Event: &domain.UserRegistered{Person: domain.Known(domain.PersonFacts{Email: stored})},
		})
		if user.Email != want {
			t.Errorf("%q is read as %q, want %q", stored, user.Email, want)
		}
	}
}
