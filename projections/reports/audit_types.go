package reports

import (
	"reflect"
	"slices"
	"strings"

	"github.com/salga-trust/engine/domain"
)

// Operation is what an event does to a record.
type Operation string

// The four operations.
const (
	Create Operation = "CREATE"
	Read   Operation = "READ"
	Update Operation = "UPDATE"
	Delete Operation = "DELETE"
)

// Operations lists the four.
func Operations() []Operation { return []Operation{Create, Read, Update, Delete} }

// FieldChange is what an event says of one field. Old is nil for what was created or read, and where there was no value.
type FieldChange struct {
	Field    string
	Old, New any // as they encode to JSON
	// Personal is Absent for a field that identifies nobody, and Open for a personal one that is shown. Erased or Withheld: neither
	// value is here.
	Personal domain.PersonalState
}

// entry is how an event reads in the audit.
type entry struct {
	operation Operation
	table     string
	changes   []FieldChange
}

// entryOf is the one place that says how each event type reads. Operation and table depend on the type alone. Passwords are in no
// event, so they are in no entry.
func entryOf(event domain.Event) (entry, error) {
	switch e := event.(type) {
	case *domain.MunicipalityRegistered:
		return entry{Create, "municipalities", payload(e)}, nil
	case *domain.MunicipalityDetailsChanged:
		return entry{Update, "municipalities", payload(e)}, nil
	case *domain.MunicipalityDeactivated:
		return entry{Update, "municipalities", turned("is_active", false)}, nil
	case *domain.MunicipalityReactivated:
		return entry{Update, "municipalities", turned("is_active", true)}, nil
	case *domain.UserRegistered, *domain.UserProfileChanged, *domain.UserEmailChanged, *domain.UserRoleChanged,
		*domain.UserPasswordChanged, *domain.UserDeactivated, *domain.UserReactivated, *domain.UserErased:
		return userEntry(e), nil
	case *domain.AdminAdded:
		return entry{Create, "admins", payload(e)}, nil
	case *domain.AdminRemoved:
		return entry{Delete, "admins", []FieldChange{{Field: "user_id", Old: e.User}}}, nil
	case *domain.ConsentGranted:
		return entry{Create, "consents", decided(true, e.Decision)}, nil
	case *domain.ConsentRefused:
		return entry{Create, "consents", decided(false, e.Decision)}, nil
	case *domain.ConsentWithdrawn:
		return entry{Update, "consents", slices.Concat(turned("withdrawn", true), payload(e, "consent_id", "purpose"), personal(e.Private, "reason"))}, nil
	case *domain.PurposeDefined:
		return entry{Create, "purposes", payload(e)}, nil
	case *domain.PurposeNoticePublished:
		return entry{Create, "notices", payload(e)}, nil
	case *domain.PurposeRetired:
		return entry{Update, "purposes", turned("retired", true)}, nil
	case *domain.SessionStarted:
		return entry{Create, "sessions", payload(e)}, nil
	case *domain.SessionEnded:
		return entry{Delete, "sessions", payload(e)}, nil
	case *domain.SessionReuseDetected:
		return entry{Update, "sessions", turned("reuse_detected", true)}, nil
	case *domain.SignInFailed:
		return entry{Create, "sign_in_failures", payload(e)}, nil
	case *domain.RequestLodged:
		return entry{Create, "data_rights_requests", append(payload(e), personal(e.Private, "text")...)}, nil
	case *domain.RequestFulfilled:
		return entry{Update, "data_rights_requests", slices.Concat(payload(e), changed("status", domain.RequestOpen, domain.RequestDone), personal(e.Private, "text"))}, nil
	case *domain.RequestRefused:
		return entry{Update, "data_rights_requests", slices.Concat(payload(e), changed("status", domain.RequestOpen, domain.RequestDeclined), personal(e.Private, "text"))}, nil
	case *domain.HoldPlaced:
		return entry{Create, "retention_holds", append(payload(e), personal(e.Private, "text")...)}, nil
	case *domain.HoldLifted:
		return entry{Update, "retention_holds", slices.Concat(payload(e), turned("lifted", true), personal(e.Private, "text"))}, nil
	case *domain.PersonalDataRead:
		return entry{Read, "personal_data", append(payload(e), personal(e.Private, "reason")...)}, nil
	case *domain.TenantMismatch:
		return entry{Create, "tenant_mismatches", payload(e)}, nil
	}
	return entry{}, &domain.UnknownEventError{Type: event.EventType()}
}

func userEntry(event domain.Event) entry {
	const table = "users"
	switch e := event.(type) {
	case *domain.UserRegistered:
		return entry{Create, table, append(payload(e), personal(e.Person, "email", "full_name", "phone")...)}
	case *domain.UserProfileChanged:
		sealed := slices.DeleteFunc(slices.Clone(e.Fields), func(field string) bool { return field == "preferred_language" })
		return entry{Update, table, append(payload(e, "fields"), personal(e.Person, sealed...)...)}
	case *domain.UserEmailChanged:
		change, _ := e.Email.Get()
		c := FieldChange{Field: "email", Personal: e.Email.State()}
		if c.Personal == domain.Open {
			c.Old, c.New = change.Old, change.New
		}
		return entry{Update, table, []FieldChange{c}}
	case *domain.UserPasswordChanged:
		return entry{Update, table, []FieldChange{{Field: "password"}}} // that it changed, and nothing of it
	case *domain.UserDeactivated:
		return entry{Update, table, append(turned("is_active", false), payload(e)...)}
	case *domain.UserReactivated:
		return entry{Update, table, turned("is_active", true)}
	case *domain.UserErased:
		return entry{Delete, table, payload(e)}
	default:
		return entry{Update, table, payload(e)}
	}
}

func turned(field string, to bool) []FieldChange { return changed(field, !to, to) }

func changed(field string, from, to any) []FieldChange {
	return []FieldChange{{Field: field, Old: from, New: to}}
}

func decided(consented bool, d domain.Decision) []FieldChange {
	var sealed []string // which of both there are
	if d.EvidenceSHA256 != "" {
		sealed = append(sealed, "evidence_reference")
	}
	if d.GivenBy == domain.ByCompetentPerson {
		sealed = append(sealed, "competent_person")
	}
	first := []FieldChange{{Field: "consented", New: consented}}
	return slices.Concat(first, payload(&d), personal(d.Private, sealed...))
}

// personal gives the fields of a personal part; of one that cannot be read, the names given.
func personal[T any](p domain.Personal[T], names ...string) []FieldChange {
	value, readable := p.Get()
	if !readable {
		var changes []FieldChange
		for _, name := range names {
			if p.State() != domain.Absent {
				changes = append(changes, FieldChange{Field: name, Personal: p.State()})
			}
		}
		return changes
	}
	changes := payload(&value)
	for i := range changes {
		changes[i].Personal = domain.Open
	}
	return changes
}

// payload gives every field of a struct that its JSON has, under the name it has there: new values, or for a domain.Change both.
func payload(of any, except ...string) (changes []FieldChange) {
	v := reflect.ValueOf(of).Elem()
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous:
			changes = append(changes, payload(value.Addr().Interface(), except...)...)
		case name == "-", slices.Contains(except, name), option != "" && value.IsZero():
		default:
			changes = append(changes, change(name, value))
		}
	}
	return changes
}

// change tells a domain.Change, whatever it is of, by its fields.
func change(name string, value reflect.Value) FieldChange {
	if value.Kind() == reflect.Pointer && !value.IsNil() {
		value = value.Elem()
	}
	if t := value.Type(); t.Kind() == reflect.Struct && t.NumField() == 2 && t.Field(0).Name == "Old" && t.Field(1).Name == "New" {
		return FieldChange{Field: name, Old: plain(value.Field(0)), New: plain(value.Field(1))}
	}
	return FieldChange{Field: name, New: plain(value)}
}

// plain gives a value; a nil pointer is nil, not a typed one.
func plain(value reflect.Value) any {
	if value.Kind() != reflect.Pointer {
		return value.Interface()
	}
	if value.IsNil() {
		return nil
	}
	return value.Elem().Interface()
}
