package domain

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Events of the stream of a person whom staff recorded, or found again.
type (
	// ResidentRecorded says that staff recorded a person who has no account: somebody at
	// a counter or on the phone. It rests on the municipality's own ground, not on
	// consent, and lets nobody sign in.
	ResidentRecorded struct {
		MunicipalityCode  string                  `json:"municipality_code"`
		PreferredLanguage Language                `json:"preferred_language"`
		Person            Personal[ResidentFacts] `json:"-"`
	}
	// ResidentFacts identify a person. At least one of phone, e-mail and external ids is
	// there. The e-mail address is one to write to: it claims nothing.
	ResidentFacts struct {
		FullName    string       `json:"full_name"`
		Phone       string       `json:"phone,omitempty"` // E.164
		Email       string       `json:"email,omitempty"`
		ExternalIDs []ExternalID `json:"external_ids,omitempty"`
	}
	// ResidentDetailsChanged says what staff corrected about a person. Fields names every
	// field that changed, because the personal ones are sealed.
	ResidentDetailsChanged struct {
		Fields            []string                  `json:"fields"`
		PreferredLanguage *Change[Language]         `json:"preferred_language,omitempty"`
		Person            Personal[ResidentChanges] `json:"-"`
	}
	// ResidentChanges are the personal fields that changed.
	ResidentChanges struct {
		FullName           *Change[string] `json:"full_name,omitempty"`
		Phone              *Change[string] `json:"phone,omitempty"`
		Email              *Change[string] `json:"email,omitempty"`
		AddedExternalIDs   []ExternalID    `json:"added_external_ids,omitempty"`
		RemovedExternalIDs []ExternalID    `json:"removed_external_ids,omitempty"`
	}
)

// ExternalID is a number by which the municipality's other systems know a person.
type ExternalID struct {
	Type  ExternalIDType `json:"type"`
	Value string         `json:"value"` // in canonical form
}

// ExternalIDType says which system knows the number.
type ExternalIDType string

// The types of external ids.
const (
	MunicipalAccount ExternalIDType = "municipal_account"
	Meter            ExternalIDType = "meter"
	OtherExternalID  ExternalIDType = "other"
)

// ExternalIDTypes lists every type.
func ExternalIDTypes() []ExternalIDType {
	return []ExternalIDType{MunicipalAccount, Meter, OtherExternalID}
}

// Limits of external ids: the length of a value, in characters, and how many one person
// has.
const (
	MaxExternalID  = 64
	MaxExternalIDs = 20
)

// EventType implements Event.
func (*ResidentRecorded) EventType() string { return "resident.recorded.v1" }

// EventType implements Event.
func (*ResidentDetailsChanged) EventType() string { return "resident.details_changed.v1" }

func (e *ResidentRecorded) personal() Part       { return &e.Person }
func (e *ResidentDetailsChanged) personal() Part { return &e.Person }

func (e *ResidentDetailsChanged) changes() []FieldChange {
	sealed := slices.DeleteFunc(slices.Clone(e.Fields), func(field string) bool {
		return field == "preferred_language"
	})
	return append(payloadFields(e, "fields"), e.Person.fieldsNamed(sealed...)...)
}

// Claim returns the claim that keeps two people of a tenant from having one external id.
func (x ExternalID) Claim(tenant TenantID) Claim {
	return Claim{Tenant: tenant, Kind: ExternalIDClaim, Value: string(x.Type) + ":" + x.Value}
}

// tidy returns the external id in canonical form.
func (x ExternalID) tidy() ExternalID {
	return ExternalID{Type: x.Type, Value: CanonicalExternalID(x.Value)}
}

// CanonicalExternalID returns the form in which an external id is stored, claimed and
// looked for: Unicode form KC, upper case, no blanks and no hyphens, since people read
// these numbers aloud and copy them from bills.
func CanonicalExternalID(value string) string {
	if Oversize(value, MaxExternalID) {
		return value
	}

	drop := func(r rune) rune {
		// A soft hyphen and a minus sign are hyphens to whoever types them.
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == '\u00ad' || r == '\u2212' {
			return -1
		}
		return r
	}
	upper := strings.ToUpper(strings.Map(drop, norm.NFKC.String(value)))
	return norm.NFKC.String(strings.Map(drop, norm.NFKC.String(upper)))
}

// ExternalID checks an external id in canonical form.
func (f *Faults) ExternalID(field string, x ExternalID) {
	OneOf(f, field+".type", x.Type, ExternalIDTypes())

	switch n := utf8.RuneCountInString(x.Value); {
	case n == 0:
		f.Add(field+".value", "required", "Give the number.")
	case n > MaxExternalID:
		f.Add(field+".value", "too_long", "Give at most "+strconv.Itoa(MaxExternalID)+" characters.")
	case !visible(x.Value), strings.ContainsAny(x.Value, "<>"), !strings.ContainsFunc(x.Value, letterOrDigit):
		f.Add(field+".value", "invalid", "An external id has letters or digits, and no invisible characters.")
	}
}

// externalIDs checks a list of external ids in canonical form.
func (f *Faults) externalIDs(field string, list []ExternalID) {
	if len(list) > MaxExternalIDs {
		f.Add(field, "too_many", "A person has at most "+strconv.Itoa(MaxExternalIDs)+" external ids.")
		return
	}
	for i, x := range list {
		f.ExternalID(field+"["+strconv.Itoa(i)+"]", x)
	}
}

// tidyExternalIDs returns the list in canonical form, each once, in order.
func tidyExternalIDs(list []ExternalID) []ExternalID {
	tidy := make([]ExternalID, 0, len(list))
	for _, x := range list {
		tidy = append(tidy, x.tidy())
	}

	slices.SortFunc(tidy, func(a, b ExternalID) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
	})
	return slices.Compact(tidy)
}

// Resident is a person as staff look after them. It is a state of its own because a read
// table of users holds nothing of what it adds.
type Resident struct {
	User

	ExternalIDs []ExternalID // unordered; empty for somebody who was erased
}

// Evolve returns the state after one more event.
func (r Resident) Evolve(e Recorded) Resident {
	r.User = r.User.Evolve(e)

	switch event := e.Event.(type) {
	case *ResidentRecorded:
		person, _ := event.Person.Get()
		r.ExternalIDs = person.ExternalIDs
	case *ResidentDetailsChanged:
		person, _ := event.Person.Get()
		r.ExternalIDs = with(without(r.ExternalIDs, person.RemovedExternalIDs), person.AddedExternalIDs)
	case *UserErased:
		r.ExternalIDs = nil
	}
	return r
}

func without[T comparable](list, removed []T) (rest []T) {
	for _, x := range list {
		if !slices.Contains(removed, x) {
			rest = append(rest, x)
		}
	}
	return rest
}

func with[T comparable](list, added []T) []T {
	return append(without(list, added), added...)
}

// RecordResident asks to record a person who has no account.
type RecordResident struct {
	MunicipalityCode       string
	FullName, Phone, Email string
	PreferredLanguage      Language // empty: English
	ExternalIDs            []ExternalID
}

// Decide returns the event. Error: validation_failed.
func (c RecordResident) Decide() ([]Event, error) {
	c.FullName, c.Phone, c.Email = TidyName(c.FullName), CanonicalPhone(c.Phone), CanonicalEmail(c.Email)
	c.PreferredLanguage = cmp.Or(c.PreferredLanguage, English)

	var f Faults
	f.Name("full_name", c.FullName, MinName)
	f.Phone("phone", c.Phone)
	if c.Email != "" {
		f.Email("email", c.Email)
	}
	OneOf(&f, "preferred_language", c.PreferredLanguage, Languages())
	f.externalIDs("external_ids", tidied(c.ExternalIDs))
	f.findable(c.Phone, c.Email, c.ExternalIDs)
	if err := f.Err(); err != nil {
		return nil, err
	}

	return []Event{&ResidentRecorded{
		MunicipalityCode: c.MunicipalityCode, PreferredLanguage: c.PreferredLanguage,
		Person: Known(ResidentFacts{
			FullName: c.FullName, Phone: c.Phone, Email: c.Email, ExternalIDs: tidyExternalIDs(c.ExternalIDs),
		}),
	}}, nil
}

// tidied returns each external id in canonical form, at its own place in the list, which
// faults name.
func tidied(list []ExternalID) []ExternalID {
	tidy := make([]ExternalID, len(list))
	for i, x := range list {
		tidy[i] = x.tidy()
	}
	return tidy
}

// findable demands something by which a person without an account is found again.
func (f *Faults) findable(phone, email string, ids []ExternalID) {
	if phone == "" && email == "" && len(ids) == 0 {
		f.Add("external_ids", "required", "Give at least one of phone, email and external_ids.")
	}
}

// ChangeResident asks to correct what is recorded about a person. Nil fields stay as they
// are; an empty phone or e-mail address is removed. The details of somebody with an
// account are theirs to change; their external ids are not.
type ChangeResident struct {
	FullName, Phone, Email *string
	PreferredLanguage      *Language
	Add, Remove            []ExternalID
}

// Decide returns the event, or nothing if it would change nothing. Errors:
// validation_failed, subject_erased, has_account.
func (c ChangeResident) Decide(r Resident) ([]Event, error) {
	details := c.details()
	if err := c.validate(details); err != nil {
		return nil, err
	}

	switch {
	case r.Erased:
		return nil, Refuse(CodeSubjectErased, "This person's data was erased.")
	case r.Account && details != (ChangeProfile{}):
		return nil, Refuse(CodeHasAccount,
			"This person has an account, and changes their own details; staff change only their external ids.")
	}

	e, person := &ResidentDetailsChanged{}, ResidentChanges{}
	profile := details.profile(r.User)
	e.Fields, e.PreferredLanguage = profile.Fields, profile.PreferredLanguage
	if changed, is := profile.Person.Get(); is {
		person.FullName, person.Phone = changed.FullName, changed.Phone
	}
	if details.Email != nil && *details.Email != CanonicalEmail(r.Email) {
		e.Fields = append(e.Fields, "email")
		person.Email = &Change[string]{r.storedEmail(), *details.Email}
	}

	add, remove := tidyExternalIDs(c.Add), tidyExternalIDs(c.Remove)
	person.AddedExternalIDs = without(add, r.ExternalIDs)
	person.RemovedExternalIDs = without(remove, without(remove, r.ExternalIDs))
	if len(person.AddedExternalIDs) > 0 {
		e.Fields = append(e.Fields, "added_external_ids")
	}
	if len(person.RemovedExternalIDs) > 0 {
		e.Fields = append(e.Fields, "removed_external_ids")
	}

	if len(e.Fields) == 0 {
		return nil, nil
	}
	if !slices.Equal(e.Fields, []string{"preferred_language"}) {
		e.Person = Known(person)
	}
	return []Event{e}, c.leaves(r, e)
}

// leaves checks the person that a change leaves behind.
func (c ChangeResident) leaves(r Resident, e *ResidentDetailsChanged) error {
	after := r.Evolve(Recorded{Event: e})

	var f Faults
	if len(after.ExternalIDs) > MaxExternalIDs {
		f.Add("add_external_ids", "too_many",
			"A person has at most "+strconv.Itoa(MaxExternalIDs)+" external ids.")
	}
	if !r.Account {
		f.findable(after.Phone, after.Email, after.ExternalIDs)
	}
	return f.Err()
}

// details returns the wish for other details, tidied.
func (c ChangeResident) details() ChangeProfile {
	return ChangeProfile{
		FullName: c.FullName, Phone: c.Phone, Email: c.Email, PreferredLanguage: c.PreferredLanguage,
	}.tidy()
}

func (c ChangeResident) validate(details ChangeProfile) error {
	var f Faults
	if details.FullName != nil {
		f.Name("full_name", *details.FullName, MinName)
	}
	if details.Phone != nil {
		f.Phone("phone", *details.Phone)
	}
	if details.Email != nil && *details.Email != "" {
		f.Email("email", *details.Email)
	}
	if details.PreferredLanguage != nil {
		OneOf(&f, "preferred_language", *details.PreferredLanguage, Languages())
	}

	add, remove := tidied(c.Add), tidied(c.Remove)
	f.externalIDs("add_external_ids", add)
	f.externalIDs("remove_external_ids", remove)
	if slices.ContainsFunc(add, func(x ExternalID) bool { return slices.Contains(remove, x) }) {
		f.Add("remove_external_ids", "invalid", "An external id cannot be added and removed at once.")
	}
	return f.Err()
}
