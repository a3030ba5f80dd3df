package domain_test

import (
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

func kheis() domain.RegisterMunicipality {
	return domain.RegisterMunicipality{
		Code: "NC084", Name: "!Kheis Local Municipality", Province: "Northern Cape", Category: "B", DistrictCode: "DC8",
		Population: new(16637), ContactEmail: "info@kheis.example.org.za",
	}
}

func municipality(facts ...domaintest.Fact) domain.Municipality {
	return domain.Fold[domain.Municipality](domaintest.History(domain.MunicipalityOf(domaintest.Msunduzi()), facts...))
}

func registered(c domain.RegisterMunicipality) *domain.MunicipalityRegistered {
	return &domain.MunicipalityRegistered{
		Code: c.Code, Name: c.Name, Province: c.Province, Category: c.Category, DistrictCode: c.DistrictCode,
		Population: c.Population, ContactEmail: c.ContactEmail,
	}
}

func TestRegisteringAMunicipality(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		command func(*domain.RegisterMunicipality)
		then    func(*domain.MunicipalityRegistered)
	}{
		"as given": {},
		"the code is upper-cased and trimmed": {
			command: func(c *domain.RegisterMunicipality) { c.Code = " nc084\t" },
		},
		"blanks in the name are tidied": {
			command: func(c *domain.RegisterMunicipality) { c.Name = "  !Kheis  Local\u00a0 Municipality " },
		},
		"what may be missing is missing": {
			command: func(c *domain.RegisterMunicipality) {
				*c = domain.RegisterMunicipality{Code: "CPT", Name: "City of Cape Town", Province: "Western Cape"}
			},
			then: func(e *domain.MunicipalityRegistered) {
				*e = domain.MunicipalityRegistered{Code: "CPT", Name: "City of Cape Town", Province: "Western Cape"}
			},
		},
		"nobody lives there yet": {
			command: func(c *domain.RegisterMunicipality) { c.Population = new(0) },
			then:    func(e *domain.MunicipalityRegistered) { e.Population = new(0) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command, want := kheis(), registered(kheis())
			if c.command != nil {
				c.command(&command)
			}
			if c.then != nil {
				c.then(want)
			}

			domaintest.Given(domain.MunicipalityOf(domaintest.Msunduzi())).
				When(func([]domain.Recorded) ([]domain.Event, error) { return command.Decide() }).
				Then(t, want)
		})
	}
}

func TestRealMunicipalitiesCanBeRegistered(t *testing.T) {
	t.Parallel()
	for _, m := range []domain.RegisterMunicipality{
		{Code: "CPT", Name: "City of Cape Town", Province: "Western Cape", Category: "A"},
		{Code: "JHB", Name: "City of Johannesburg", Province: "Gauteng", Category: "A"},
		{Code: "ETH", Name: "eThekwini", Province: "KwaZulu-Natal", Category: "A"},
		{Code: "KZN225", Name: "Msunduzi", Province: "KwaZulu-Natal", Category: "B", DistrictCode: "DC22"},
		{Code: "WC023", Name: "Drakenstein", Province: "Western Cape", Category: "B", DistrictCode: "DC2"},
		{Code: "DC2", Name: "Cape Winelands", Province: "Western Cape", Category: "C", DistrictCode: "DC2"},
		{Code: "NC082", Name: "Kai !Garib", Province: "Northern Cape", Category: "B"},
		{Code: "NC083", Name: "ǁKhara Hais", Province: "Northern Cape", Category: "B"},
		{Code: "NC067", Name: "Khâi-Ma", Province: "Northern Cape", Category: "B"},
		{Code: "EC101", Name: "Dr Beyers Naudé", Province: "Eastern Cape", Category: "B"},
		{Code: "KZN276", Name: "Big 5 Hlabisa", Province: "KwaZulu-Natal", Category: "B"},
		{Code: "LIM343", Name: "Thulamela", Province: "Limpopo", Category: "B", DistrictCode: "DC34"},
		{Code: "MP326", Name: "City of Mbombela", Province: "Mpumalanga", Category: "B"},
		{Code: "NW394", Name: "Greater Taung", Province: "North West", Category: "B"},
		{Code: "MAN", Name: "Mangaung", Province: "Free State", Category: "A"},
	} {
		if events, err := m.Decide(); err != nil || len(events) != 1 {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
}

func TestAMunicipalityWithFaultsIsRefused(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		command func(*domain.RegisterMunicipality)
		fault   string
	}{
		"no code":                 {func(c *domain.RegisterMunicipality) { c.Code = "" }, "code invalid"},
		"a code of one character": {func(c *domain.RegisterMunicipality) { c.Code = "X" }, "code invalid"},
		"a code of eleven characters": {func(c *domain.RegisterMunicipality) {
			c.Code = "ABCDEFGHIJK"
		}, "code invalid"},
		"a code with a dash": {func(c *domain.RegisterMunicipality) {
			c.Code = "NC-84"
		}, "code invalid"},
		"a code with a letter beyond A to Z": {func(c *domain.RegisterMunicipality) {
			c.Code = "ṰSH"
		}, "code invalid"},
		"a name of two characters": {func(c *domain.RegisterMunicipality) {
			c.Name = "Ky"
		}, "name too_short"},
		"a name of blanks": {func(c *domain.RegisterMunicipality) {
			c.Name = "     "
		}, "name too_short"},
		"a name of 101 characters": {func(c *domain.RegisterMunicipality) {
			c.Name = strings.Repeat("Ṱ", 101)
		}, "name too_long"},
		"a name with markup": {func(c *domain.RegisterMunicipality) {
			c.Name = "<b>Kheis</b>"
		}, "name invalid"},
		"a province that is none": {func(c *domain.RegisterMunicipality) {
			c.Province = "Transvaal"
		}, "province invalid"},
		"a province in small letters": {func(c *domain.RegisterMunicipality) {
			c.Province = "gauteng"
		}, "province invalid"},
		"a category that is none": {func(c *domain.RegisterMunicipality) {
			c.Category = "b"
		}, "category invalid"},
		"a district without DC": {func(c *domain.RegisterMunicipality) {
			c.DistrictCode = "8"
		}, "district_code invalid"},
		"fewer people than none": {func(c *domain.RegisterMunicipality) {
			c.Population = new(-1)
		}, "population invalid"},
		"more people than the country": {func(c *domain.RegisterMunicipality) {
			c.Population = new(100_000_001)
		}, "population invalid"},
		"a contact address that is no e-mail": {func(c *domain.RegisterMunicipality) {
			c.ContactEmail = "info at kheis"
		}, "contact_email invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := kheis()
			c.command(&command)
			domaintest.Given(domain.MunicipalityOf(domaintest.Msunduzi())).
				When(func([]domain.Recorded) ([]domain.Event, error) { return command.Decide() }).
				ThenFaulty(t, c.fault)
		})
	}
}

func TestAMunicipalitysFaultsAreReportedAtOnceAndEchoNoInput(t *testing.T) {
	t.Parallel()
	command := domain.RegisterMunicipality{
		Code: "zq-code", Name: "zq<", Province: "zq-province", Category: "zq-category", DistrictCode: "zq-district",
		Population: new(-987654), ContactEmail: "zq-email",
	}

	events, err := command.Decide()
	domaintest.Refusal(t, events, err, domain.CodeInvalid)
	want := []string{
		"code invalid", "name invalid", "province invalid", "category invalid", "district_code invalid",
		"population invalid", "contact_email invalid",
	}
	if diff := domaintest.Diff(want, domaintest.FaultsOf(err)); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	demandNoEcho(t, err, "zq", "987654")
}

// demandNoEcho fails when a refusal repeats what was refused.
func demandNoEcho(t *testing.T, err error, values ...string) {
	t.Helper()
	for _, v := range values {
		if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(v)) {
			t.Errorf("the refusal repeats %q: %v", v, err)
		}
	}
}

func TestThePlatformsCodeIsTakenForEver(t *testing.T) {
	t.Parallel()
	command := kheis()
	command.Code = "salga"
	events, err := command.Decide()
	domaintest.Refusal(t, events, err, domain.CodeCodeTaken)
}

func TestChangingAMunicipality(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		command domain.ChangeMunicipality
		then    *domain.MunicipalityDetailsChanged // nil: nothing
	}{
		"nothing is asked": {},
		"everything stays as it is": {command: domain.ChangeMunicipality{
			Name: new(" !Kheis  Local Municipality"), ContactEmail: new("info@kheis.example.org.za"),
			Population: new(16637),
		}},
		"the name alone": {
			command: domain.ChangeMunicipality{Name: new("!Kheis Munisipaliteit")},
			then: &domain.MunicipalityDetailsChanged{
				Name: &domain.Change[string]{Old: "!Kheis Local Municipality", New: "!Kheis Munisipaliteit"},
			},
		},
		"the letter case of the name": {
			command: domain.ChangeMunicipality{Name: new("!KHEIS Local Municipality")},
			then: &domain.MunicipalityDetailsChanged{
				Name: &domain.Change[string]{Old: "!Kheis Local Municipality", New: "!KHEIS Local Municipality"},
			},
		},
		"the contact address is removed, the population counted": {
			command: domain.ChangeMunicipality{ContactEmail: new(""), Population: new(0)},
			then: &domain.MunicipalityDetailsChanged{
				ContactEmail: &domain.Change[string]{Old: "info@kheis.example.org.za"},
				Population:   &domain.Change[*int]{Old: new(16637), New: new(0)},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story := domaintest.Given(domain.MunicipalityOf(domaintest.Msunduzi()),
				domaintest.At("2026-01-05", registered(kheis()))).
				When(func(h []domain.Recorded) ([]domain.Event, error) {
					return c.command.Decide(domain.Fold[domain.Municipality](h))
				})

			if c.then == nil {
				story.ThenNothing(t)
				return
			}
			story.Then(t, c.then)
		})
	}
}

func TestAFirstPopulationHasNoOldOne(t *testing.T) {
	t.Parallel()
	command := kheis()
	command.Population = nil
	domaintest.Given(domain.MunicipalityOf(domaintest.Msunduzi()), domaintest.At("2026-01-05", registered(command))).
		When(func(h []domain.Recorded) ([]domain.Event, error) {
			return domain.ChangeMunicipality{Population: new(7)}.Decide(domain.Fold[domain.Municipality](h))
		}).
		Then(t, &domain.MunicipalityDetailsChanged{Population: &domain.Change[*int]{New: new(7)}})
}

func TestAnInvalidChangeOfAMunicipalityReportsAllFaults(t *testing.T) {
	t.Parallel()
	domaintest.Given(domain.MunicipalityOf(domaintest.Msunduzi()), domaintest.At("2026-01-05", registered(kheis()))).
		When(func(h []domain.Recorded) ([]domain.Event, error) {
			return domain.ChangeMunicipality{Name: new(""), ContactEmail: new("zq"), Population: new(-1)}.
				Decide(domain.Fold[domain.Municipality](h))
		}).
		ThenFaulty(t, "name too_short", "contact_email invalid", "population invalid")
}

func TestOpeningAndClosingAMunicipality(t *testing.T) {
	t.Parallel()
	open := domaintest.At("2026-01-05", registered(kheis()))
	closed := domaintest.At("2026-02-01", &domain.MunicipalityDeactivated{})

	for name, c := range map[string]struct {
		given  []domaintest.Fact
		active bool
		then   []domain.Event
	}{
		"an open one is closed": {
			[]domaintest.Fact{open},
			false,
			[]domain.Event{&domain.MunicipalityDeactivated{}},
		},
		"a closed one stays closed": {[]domaintest.Fact{open, closed}, false, nil},
		"a closed one is opened again": {
			[]domaintest.Fact{open, closed},
			true,
			[]domain.Event{&domain.MunicipalityReactivated{}},
		},
		"an open one stays open": {[]domaintest.Fact{open}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := domaintest.Diff(c.then, municipality(c.given...).SetActive(c.active)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMunicipalityIsWhatItsEventsSay(t *testing.T) {
	t.Parallel()
	if municipality().Exists() {
		t.Error("a municipality without events exists")
	}

	got := municipality(
		domaintest.At("2026-01-05", registered(kheis())),
		domaintest.At("2026-01-06", &domain.MunicipalityDetailsChanged{
			Name:         &domain.Change[string]{New: "!Kheis Munisipaliteit"},
			ContactEmail: &domain.Change[string]{New: "amptenaar@kheis.example.org.za"},
			Population:   &domain.Change[*int]{New: new(16700)},
		}),
		domaintest.At("2026-01-07", &domain.MunicipalityDeactivated{}),
		domaintest.At("2026-01-08", &domain.MunicipalityReactivated{}),
		domaintest.At("2026-01-09", &domain.MunicipalityDeactivated{}),
	)

	want := domain.Municipality{
		ID: domaintest.Msunduzi(), Code: "NC084", Name: "!Kheis Munisipaliteit", Province: "Northern Cape",
		Category: "B", DistrictCode: "DC8", Population: new(16700), ContactEmail: "amptenaar@kheis.example.org.za",
		CreatedAt: domaintest.Clock("2026-01-05"), UpdatedAt: domaintest.Clock("2026-01-09"), Version: 5,
	}
	if diff := domaintest.Diff(want, got); diff != "" || !got.Exists() {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}
