package domain

import (
	"reflect"
	"slices"
	"strings"
)

// Operation is what an event does to a record, as an auditor reads it.
type Operation string

// The four operations.
const (
	OpCreate Operation = "CREATE"
	OpRead   Operation = "READ"
	OpUpdate Operation = "UPDATE"
	OpDelete Operation = "DELETE"
)

// Operations lists the four.
func Operations() []Operation { return []Operation{OpCreate, OpRead, OpUpdate, OpDelete} }

// FieldChange is what an event says about one field. Old is nil for what was created or
// read, and where there was no value.
type FieldChange struct {
	Field    string
	Old, New any // as they encode to JSON

	// Personal is Absent for a field that identifies nobody, and Open for a personal one
	// that is shown. If it is Erased or Withheld, neither value is here.
	Personal PersonalState
}

// ChangesOf returns what an event says about the fields of its record: its own account of
// it, or else every field that it holds, personal ones included. E-mail addresses are in
// the form that people read.
func ChangesOf(e Event) []FieldChange {
	var changes []FieldChange
	if own, ok := e.(tellsChanges); ok {
		changes = own.changes()
	} else {
		changes = fieldsOf(e)
	}

	for i, c := range changes {
		if c.Field == "email" || c.Field == "contact_email" {
			changes[i].Old, changes[i].New = shown(c.Old), shown(c.New)
		}
	}
	return changes
}

// shown returns an address as people read it, and anything else as it is.
func shown(value any) any {
	if email, ok := value.(string); ok {
		return ShownEmail(email)
	}
	return value
}

// turned returns the change of a field that an event turns on or off.
func turned(field string, to bool) FieldChange { return FieldChange{Field: field, Old: !to, New: to} }

// fieldsOf returns every field of an event: first those of the payload, then the personal
// ones.
func fieldsOf(e Event) []FieldChange {
	changes := payloadFields(e)
	if h, ok := e.(holdsPersonal); ok {
		changes = append(changes, h.personal().fields()...)
	}
	return changes
}

// payloadFields returns every field of a struct under its JSON name: the new value or,
// for a Change, both values.
func payloadFields(of any, except ...string) (changes []FieldChange) {
	v := reflect.ValueOf(of).Elem()
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("json"), ",")

		switch {
		case field.Anonymous:
			changes = append(changes, payloadFields(value.Addr().Interface(), except...)...)
		case name == "-", slices.Contains(except, name), option != "" && value.IsZero():
		default:
			changes = append(changes, fieldChange(name, value))
		}
	}
	return changes
}

func fieldChange(name string, value reflect.Value) FieldChange {
	if value.Kind() == reflect.Pointer && !value.IsNil() {
		value = value.Elem()
	}

	if c, ok := value.Interface().(oldAndNew); ok {
		before, after := c.values()
		return FieldChange{Field: name, Old: plain(before), New: plain(after)}
	}
	return FieldChange{Field: name, New: plain(value.Interface())}
}

// oldAndNew is a Change of any type.
type oldAndNew interface{ values() (before, after any) }

func (c Change[T]) values() (before, after any) { return c.Old, c.New }

// plain returns the value that a pointer points to, nil for a nil pointer, and any other
// value as it is.
func plain(value any) any {
	v := reflect.ValueOf(value)
	switch {
	case v.Kind() != reflect.Pointer:
		return value
	case v.IsNil():
		return nil
	default:
		return v.Elem().Interface()
	}
}

// fields implements Part.
func (p *Personal[T]) fields() []FieldChange { return p.fieldsNamed(fieldNames[T]()...) }

// fieldsNamed returns the fields of the part; if it cannot be read, fields with the given
// names.
func (p *Personal[T]) fieldsNamed(sealed ...string) (changes []FieldChange) {
	switch p.state {
	case Absent:
		return nil

	case Open:
		changes = payloadFields(&p.value)
		for i := range changes {
			changes[i].Personal = Open
		}

	case Erased, Withheld:
		for _, name := range sealed {
			changes = append(changes, FieldChange{Field: name, Personal: p.state})
		}
	}
	return changes
}

// fieldNames lists the JSON names of the fields of a struct.
func fieldNames[T any]() (names []string) {
	for field := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
