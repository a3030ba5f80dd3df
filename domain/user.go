package domain

import (
	"cmp"
	"slices"
	"time"
)

// Events of a user's stream.
type (
	// UserRegistered creates an account: a citizen's by registration, staff's by an
	// admin.
	UserRegistered struct {
		MunicipalityCode  string                `json:"municipality_code"`
		Role              Role                  `json:"role"`
		PreferredLanguage Language              `json:"preferred_language"`
		Person            Personal[PersonFacts] `json:"-"`
	}
	// PersonFacts identify a person.
	PersonFacts struct {
		Email    string `json:"email"`
		FullName string `json:"full_name"`
		Phone    string `json:"phone,omitempty"` // E.164
	}
	// UserProfileChanged holds the old and new value of each field that changed, and no
	// other. Fields names them all, because the personal ones are sealed.
	UserProfileChanged struct {
		Fields            []string                 `json:"fields"`
		PreferredLanguage *Change[Language]        `json:"preferred_language,omitempty"`
		Person            Personal[ProfileChanges] `json:"-"`
	}
	// ProfileChanges are the personal fields that changed.
	ProfileChanges struct {
		FullName *Change[string] `json:"full_name,omitempty"`
		Phone    *Change[string] `json:"phone,omitempty"`
	}
	// UserEmailChanged replaces the address a person signs in with.
	UserEmailChanged struct {
		Email Personal[Change[string]] `json:"-"`
	}
	// UserRoleChanged gives an account another role.
	UserRoleChanged struct {
		Role Change[Role] `json:"role"`
	}
	// UserPasswordChanged says that the password was replaced. It holds no hash:
	// credentials are not history.
	UserPasswordChanged struct{}
	// UserPasswordRehashed says that the hash was replaced but not the password: the
	// former hash had been made from another spelling of it.
	UserPasswordRehashed struct{}
	// UserDeactivated closes an account.
	UserDeactivated struct {
		Cause string `json:"cause"` // CauseAdmin or CauseConsentWithdrawn
	}
	// UserReactivated reopens it.
	UserReactivated struct{}
)

// Why an account was deactivated.
const (
	CauseAdmin            = "admin"
	CauseConsentWithdrawn = "consent_withdrawn"
)

// EventType implements Event.
func (*UserRegistered) EventType() string { return "user.registered.v1" }

// EventType implements Event.
func (*UserProfileChanged) EventType() string { return "user.profile_changed.v1" }

// EventType implements Event.
func (*UserEmailChanged) EventType() string { return "user.email_changed.v1" }

// EventType implements Event.
func (*UserRoleChanged) EventType() string { return "user.role_changed.v1" }

// EventType implements Event.
func (*UserPasswordChanged) EventType() string { return "user.password_changed.v1" }

// EventType implements Event.
func (*UserPasswordRehashed) EventType() string { return "user.password_rehashed.v1" }

// EventType implements Event.
func (*UserDeactivated) EventType() string { return "user.deactivated.v1" }

// EventType implements Event.
func (*UserReactivated) EventType() string { return "user.reactivated.v1" }

func (e *UserRegistered) personal() Part     { return &e.Person }
func (e *UserProfileChanged) personal() Part { return &e.Person }
func (e *UserEmailChanged) personal() Part   { return &e.Email }

func (e *UserProfileChanged) changes() []FieldChange {
	sealed := slices.DeleteFunc(slices.Clone(e.Fields), func(field string) bool {
		return field == "preferred_language"
	})
	return append(payloadFields(e, "fields"), e.Person.fieldsNamed(sealed...)...)
}

func (e *UserEmailChanged) changes() []FieldChange {
	c := FieldChange{Field: "email", Personal: e.Email.State()}
	if email, open := e.Email.Get(); open {
		c.Old, c.New = email.Old, email.New
	}
	return []FieldChange{c}
}

// changes reports that the password changed, without any value.
func (*UserPasswordChanged) changes() []FieldChange { return []FieldChange{{Field: "password"}} }

// changes reports that the hash was replaced, without any value.
func (*UserPasswordRehashed) changes() []FieldChange { return []FieldChange{{Field: "password_hash"}} }

func (e *UserDeactivated) changes() []FieldChange {
	return append(fieldsOf(e), turned("is_active", false))
}

func (*UserReactivated) changes() []FieldChange { return []FieldChange{turned("is_active", true)} }

// User is the state its events fold into. The personal fields of an erased user are
// empty, and Erased is true.
type User struct {
	ID                UserID
	Tenant            TenantID
	MunicipalityCode  string
	Role              Role
	PreferredLanguage Language
	Email             string // as people read it: ShownEmail
	FullName          string
	Phone             string
	Account           bool // can sign in, or could until it was closed; the rest are residents whom staff recorded
	Active            bool
	Erased            bool
	CreatedAt         time.Time
	UpdatedAt         time.Time
	Version           int
}

// Exists reports whether the user was ever registered.
func (u User) Exists() bool { return !u.ID.IsZero() }

// Evolve returns the state after one more event.
func (u User) Evolve(r Recorded) User {
	switch e := r.Event.(type) {
	case *Void:
		u.Version = r.Version
		return u

	case *UserRegistered:
		person, _ := e.Person.Get()
		u = User{
			ID: UserID{r.Stream.ID}, Tenant: r.Tenant, MunicipalityCode: e.MunicipalityCode, Role: e.Role,
			PreferredLanguage: e.PreferredLanguage, Email: ShownEmail(person.Email), FullName: person.FullName,
			Phone: person.Phone, Account: true, Active: true, Erased: e.Person.State() == Erased,
			CreatedAt: r.RecordedAt,
		}
	case *ResidentRecorded:
		person, _ := e.Person.Get()
		u = User{
			ID: UserID{r.Stream.ID}, Tenant: r.Tenant, MunicipalityCode: e.MunicipalityCode, Role: Citizen,
			PreferredLanguage: e.PreferredLanguage, Email: ShownEmail(person.Email), FullName: person.FullName,
			Phone: person.Phone, Active: true, Erased: e.Person.State() == Erased, CreatedAt: r.RecordedAt,
		}
	case *ResidentDetailsChanged:
		u = u.withDetails(e)
	case *UserProfileChanged:
		u = u.withProfile(e)
	case *UserEmailChanged:
		if change, ok := e.Email.Get(); ok {
			u.Email = ShownEmail(change.New)
		}
	case *UserRoleChanged:
		u.Role = e.Role.New
	case *UserDeactivated:
		u.Active = false
	case *UserReactivated:
		u.Active = true
	case *UserErased:
		u.Active, u.Erased = false, true
		u.Email, u.FullName, u.Phone = "", "", ""
	}

	u.Version, u.UpdatedAt = r.Version, r.RecordedAt
	return u
}

// storedEmail returns the address as the log holds it: in canonical form, or as it was
// given before there was one.
func (u User) storedEmail() string {
	if canonical := CanonicalEmail(u.Email); ShownEmail(canonical) == u.Email {
		return canonical
	}
	return u.Email
}

func (u User) withProfile(e *UserProfileChanged) User {
	if e.PreferredLanguage != nil {
		u.PreferredLanguage = e.PreferredLanguage.New
	}

	person, _ := e.Person.Get()
	if person.FullName != nil {
		u.FullName = person.FullName.New
	}
	if person.Phone != nil {
		u.Phone = person.Phone.New
	}

	return u
}

func (u User) withDetails(e *ResidentDetailsChanged) User {
	person, _ := e.Person.Get()
	u = u.withProfile(&UserProfileChanged{
		PreferredLanguage: e.PreferredLanguage,
		Person:            Known(ProfileChanges{FullName: person.FullName, Phone: person.Phone}),
	})
	if person.Email != nil {
		u.Email = ShownEmail(person.Email.New)
	}
	return u
}

// RegisterUser asks to register a person.
type RegisterUser struct {
	MunicipalityCode       string
	Role                   Role
	Email, FullName, Phone string
	Password               string
	PreferredLanguage      Language // empty: English
	Consented              bool     // to platform_registration in the same append; a citizen must
}

// Validate returns every fault of the input.
func (c RegisterUser) Validate() error {
	c = c.tidy()
	c.PreferredLanguage = cmp.Or(c.PreferredLanguage, English)

	var f Faults
	f.Email("email", c.Email)
	f.Password("password", c.Password)
	f.Name("full_name", c.FullName, MinName)
	f.Phone("phone", c.Phone)
	OneOf(&f, "role", c.Role, Roles())
	OneOf(&f, "preferred_language", c.PreferredLanguage, Languages())
	return f.Err()
}

// Decide returns the event. Errors: validation_failed; consent_required, for a citizen.
func (c RegisterUser) Decide() ([]Event, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Role == Citizen && !c.Consented {
		return nil, Refuse(CodeConsentRequired,
			"Only staff are registered without consent; residents register themselves, with it.")
	}

	c = c.tidy()
	return []Event{&UserRegistered{
		MunicipalityCode: c.MunicipalityCode, Role: c.Role, PreferredLanguage: cmp.Or(c.PreferredLanguage, English),
		Person: Known(PersonFacts{Email: c.Email, FullName: c.FullName, Phone: c.Phone}),
	}}, nil
}

// tidy returns the command with each text in its canonical form.
func (c RegisterUser) tidy() RegisterUser {
	c.Email, c.FullName, c.Phone = CanonicalEmail(c.Email), TidyName(c.FullName), CanonicalPhone(c.Phone)
	return c
}

// ChangeProfile asks to change one's own details; a nil field stays as it is, an empty
// phone removes it.
type ChangeProfile struct {
	FullName, Phone, Email *string
	PreferredLanguage      *Language
}

// Decide returns one event for the profile and one for the e-mail address, each only if
// something differs.
func (c ChangeProfile) Decide(u User) ([]Event, error) {
	c = c.tidy()
	if err := c.validate(); err != nil {
		return nil, err
	}
	if u.Erased {
		return nil, Refuse(CodeSubjectErased, "This person's data was erased.")
	}

	var events []Event
	if e := c.profile(u); len(e.Fields) > 0 {
		events = append(events, e)
	}
	if c.Email != nil && *c.Email != CanonicalEmail(u.Email) {
		events = append(events, &UserEmailChanged{Email: Known(Change[string]{u.storedEmail(), *c.Email})})
	}

	return events, nil
}

// tidy returns the command with each text in its canonical form.
func (c ChangeProfile) tidy() ChangeProfile {
	if c.FullName != nil {
		c.FullName = new(TidyName(*c.FullName))
	}
	if c.Phone != nil {
		c.Phone = new(CanonicalPhone(*c.Phone))
	}
	if c.Email != nil {
		c.Email = new(CanonicalEmail(*c.Email))
	}
	return c
}

func (c ChangeProfile) profile(u User) *UserProfileChanged {
	e := &UserProfileChanged{}
	var person ProfileChanges

	if c.FullName != nil && *c.FullName != u.FullName {
		e.Fields = append(e.Fields, "full_name")
		person.FullName = &Change[string]{u.FullName, *c.FullName}
	}
	if c.Phone != nil && *c.Phone != u.Phone {
		e.Fields = append(e.Fields, "phone")
		person.Phone = &Change[string]{u.Phone, *c.Phone}
	}
	if c.PreferredLanguage != nil && *c.PreferredLanguage != u.PreferredLanguage {
		e.Fields = append(e.Fields, "preferred_language")
		e.PreferredLanguage = &Change[Language]{u.PreferredLanguage, *c.PreferredLanguage}
	}

	if person != (ProfileChanges{}) {
		e.Person = Known(person)
	}

	return e
}

func (c ChangeProfile) validate() error {
	var f Faults
	if c.FullName != nil {
		f.Name("full_name", *c.FullName, MinName)
	}
	if c.Phone != nil {
		f.Phone("phone", *c.Phone)
	}
	if c.Email != nil {
		f.Email("email", *c.Email)
	}
	if c.PreferredLanguage != nil {
		OneOf(&f, "preferred_language", *c.PreferredLanguage, Languages())
	}

	return f.Err()
}

// NoAccount is the refusal of a command about an account that does not exist.
func NoAccount() *Error {
	return Refuse(CodeNoAccount, "This person has no account: staff recorded them.")
}

// Deactivate returns the event that closes the account, or nothing if it is closed.
func (u User) Deactivate(cause string) []Event {
	if !u.Active {
		return nil
	}
	return []Event{&UserDeactivated{Cause: cause}}
}

// Reactivate returns the event that reopens the account, or nothing if it is open. A
// citizen's account needs the consent it rests on, whatever closed it; a staff account
// needs it only if it was closed because its owner withdrew that consent. cause is why
// the account was closed, consents what the owner has decided by now.
func (u User) Reactivate(cause string, consents Consents) ([]Event, error) {
	_, inForce := consents.InForce(PlatformRegistrationCode)
	switch {
	case u.Erased:
		return nil, Refuse(CodeSubjectErased, "This person's data was erased.")
	case u.Active:
		return nil, nil
	case !u.Account:
		return nil, NoAccount()
	case !inForce && (u.Role == Citizen || cause == CauseConsentWithdrawn):
		return nil, Refuse(CodeConsentRequired,
			"The consent that this account rests on is not in force; it must be given again.")
	default:
		return []Event{&UserReactivated{}}, nil
	}
}

// DeactivationCause returns why an account was last closed, from its history.
func DeactivationCause(history []Recorded) (cause string) {
	for _, r := range history {
		if e, ok := r.Event.(*UserDeactivated); ok {
			cause = e.Cause
		}
	}
	return cause
}

// ChangeRole returns the event that changes the account's role, or nothing if it has that
// role already. A staff account rests on the owner's work, a citizen's on consent:
// consents is what the owner has decided by now.
func (u User) ChangeRole(role Role, consents Consents) ([]Event, error) {
	var f Faults
	OneOf(&f, "role", role, Roles())
	if err := f.Err(); err != nil {
		return nil, err
	}

	if u.Erased {
		return nil, Refuse(CodeSubjectErased, "This person's data was erased.")
	}
	if u.Role == role {
		return nil, nil
	}
	if !u.Account {
		return nil, NoAccount()
	}
	if _, inForce := consents.InForce(PlatformRegistrationCode); role == Citizen && !inForce {
		return nil, Refuse(CodeConsentRequired,
			"A citizen's account rests on consent, which this person has not given.")
	}

	return []Event{&UserRoleChanged{Role: Change[Role]{u.Role, role}}}, nil
}
