package domain

import (
	"regexp"
	"time"
)

// Events of a municipality's stream.
type (
	// MunicipalityRegistered creates a tenant.
	MunicipalityRegistered struct {
		Code         string `json:"code"`
		Name         string `json:"name"`
		Province     string `json:"province"`
		Category     string `json:"category,omitempty"`      // A metropolitan, B local, C district
		DistrictCode string `json:"district_code,omitempty"` // the district a local municipality lies in
		Population   *int   `json:"population,omitempty"`
		ContactEmail string `json:"contact_email,omitempty"` // a published role mailbox: not personal
	}
	// MunicipalityDetailsChanged holds the old and new value of each field that changed,
	// and no other.
	MunicipalityDetailsChanged struct {
		Name         *Change[string] `json:"name,omitempty"`
		ContactEmail *Change[string] `json:"contact_email,omitempty"`
		Population   *Change[*int]   `json:"population,omitempty"`
	}
	// MunicipalityDeactivated closes a tenant: no registrations, no sign-ins.
	MunicipalityDeactivated struct{}
	// MunicipalityReactivated reopens it.
	MunicipalityReactivated struct{}
)

// EventType implements Event.
func (*MunicipalityRegistered) EventType() string { return "municipality.registered.v1" }

// EventType implements Event.
func (*MunicipalityDetailsChanged) EventType() string { return "municipality.details_changed.v1" }

// EventType implements Event.
func (*MunicipalityDeactivated) EventType() string { return "municipality.deactivated.v1" }

// EventType implements Event.
func (*MunicipalityReactivated) EventType() string { return "municipality.reactivated.v1" }

func (*MunicipalityDeactivated) changes() []FieldChange {
	return []FieldChange{turned("is_active", false)}
}

func (*MunicipalityReactivated) changes() []FieldChange {
	return []FieldChange{turned("is_active", true)}
}

// Municipality is the state its events fold into.
type Municipality struct {
	ID           TenantID
	Code         string
	Name         string
	Province     string
	Category     string
	DistrictCode string
	Population   *int
	ContactEmail string
	Active       bool
	CreatedAt    time.Time
	UpdatedAt    time.Time
	Version      int
}

// Exists reports whether the municipality was ever registered.
func (m Municipality) Exists() bool { return !m.ID.IsZero() }

// Evolve returns the state after one more event.
func (m Municipality) Evolve(r Recorded) Municipality {
	switch e := r.Event.(type) {
	case *Void:
		m.Version = r.Version
		return m

	case *MunicipalityRegistered:
		m = Municipality{
			ID: TenantID{r.Stream.ID}, Code: e.Code, Name: e.Name, Province: e.Province, Category: e.Category,
			DistrictCode: e.DistrictCode, Population: e.Population, ContactEmail: e.ContactEmail, Active: true,
			CreatedAt: r.RecordedAt,
		}

	case *MunicipalityDetailsChanged:
		if e.Name != nil {
			m.Name = e.Name.New
		}
		if e.ContactEmail != nil {
			m.ContactEmail = e.ContactEmail.New
		}
		if e.Population != nil {
			m.Population = e.Population.New
		}

	case *MunicipalityDeactivated:
		m.Active = false
	case *MunicipalityReactivated:
		m.Active = true
	}

	m.Version, m.UpdatedAt = r.Version, r.RecordedAt
	return m
}

// RegisterMunicipality asks to register a municipality.
type RegisterMunicipality struct {
	Code, Name, Province, Category, DistrictCode string
	Population                                   *int
	ContactEmail                                 string
}

var districtPattern = regexp.MustCompile(`^DC[0-9]{1,3}$`)

// Decide returns the event, or every fault of the input. The code is put in upper case.
// Code and name are kept unique by the claims taken in the same append.
func (c RegisterMunicipality) Decide() ([]Event, error) {
	c = c.tidy()
	code, name := c.Code, c.Name

	var f Faults
	if !codePattern.MatchString(code) {
		f.Add("code", "invalid", "A code has 2 to 10 letters and digits.")
	}
	f.Name("name", name, 3)
	OneOf(&f, "province", c.Province, Provinces())
	if c.Category != "" {
		OneOf(&f, "category", c.Category, []string{"A", "B", "C"})
	}
	if c.DistrictCode != "" && !districtPattern.MatchString(c.DistrictCode) {
		f.Add("district_code", "invalid", "A district code is DC followed by a number.")
	}
	f.population(c.Population)
	if c.ContactEmail != "" {
		f.Email("contact_email", c.ContactEmail)
	}

	if err := f.Err(); err != nil {
		return nil, err
	}

	if code == PlatformCode {
		return nil, Refuse(CodeCodeTaken, "Another municipality has this code.")
	}

	return []Event{&MunicipalityRegistered{
		Code: code, Name: name, Province: c.Province, Category: c.Category, DistrictCode: c.DistrictCode,
		Population: c.Population, ContactEmail: c.ContactEmail,
	}}, nil
}

// tidy returns the command with each text in its canonical form.
func (c RegisterMunicipality) tidy() RegisterMunicipality {
	c.Code, c.DistrictCode = CanonicalMunicipalityCode(c.Code), CanonicalMunicipalityCode(c.DistrictCode)
	c.Name, c.ContactEmail = TidyName(c.Name), CanonicalEmail(c.ContactEmail)
	return c
}

// ChangeMunicipality asks to change details; a nil field stays as it is. Code and
// province never change.
type ChangeMunicipality struct {
	Name, ContactEmail *string
	Population         *int
}

// Decide returns one event with what differs, or nothing if nothing does.
func (c ChangeMunicipality) Decide(m Municipality) ([]Event, error) {
	var f Faults
	var e MunicipalityDetailsChanged

	if c.Name != nil {
		name := TidyName(*c.Name)
		f.Name("name", name, 3)
		if name != m.Name {
			e.Name = &Change[string]{m.Name, name}
		}
	}

	if c.ContactEmail != nil {
		email := CanonicalEmail(*c.ContactEmail)
		if email != "" {
			f.Email("contact_email", email)
		}
		if email != m.ContactEmail {
			e.ContactEmail = &Change[string]{m.ContactEmail, email}
		}
	}

	if c.Population != nil {
		f.population(c.Population)
		if m.Population == nil || *m.Population != *c.Population {
			e.Population = &Change[*int]{m.Population, c.Population}
		}
	}

	if err := f.Err(); err != nil {
		return nil, err
	}

	if e == (MunicipalityDetailsChanged{}) {
		return nil, nil
	}
	return []Event{&e}, nil
}

// SetActive returns the event that opens or closes the municipality, or nothing if it
// already is.
func (m Municipality) SetActive(active bool) []Event {
	switch {
	case m.Active == active:
		return nil
	case active:
		return []Event{&MunicipalityReactivated{}}
	default:
		return []Event{&MunicipalityDeactivated{}}
	}
}

func (f *Faults) population(p *int) {
	if p != nil && (*p < 0 || *p > MaxMunicipalPeople) {
		f.Add("population", "invalid", "Give a number of people from 0 to 100 000 000.")
	}
}

// Fold returns the state after all of a stream's events.
func Fold[S interface{ Evolve(Recorded) S }](events []Recorded) S {
	var state S
	if whole, is := any(state).(interface{ EvolveAll([]Recorded) S }); is {
		return whole.EvolveAll(events)
	}

	for _, e := range events {
		state = state.Evolve(e)
	}
	return state
}
