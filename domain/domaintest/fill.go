package domaintest

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Filled returns an event of a registered type with every field filled in. A text is the
// name of its field; a value with a form of its own is one of samples. Golden files are
// made from it, so what it fills in never changes.
func Filled(eventType string) domain.Event {
	event, err := domain.Decode(eventType, []byte("{}"), nil)
	if err != nil {
		panic(err)
	}
	fill(reflect.ValueOf(event).Elem(), eventType)
	return event
}

// samples are values of types for which not every value will do. A type that is missing
// here is filled by its kind.
func samples() map[reflect.Type]any {
	return map[reflect.Type]any{
		reflect.TypeFor[uuid.UUID]():       ID(0xe, 1),
		reflect.TypeFor[time.Time]():       Clock("2026-03-06 08:00"),
		reflect.TypeFor[domain.Date]():     domain.Date("2026-03-06"),
		reflect.TypeFor[domain.Role]():     domain.Citizen,
		reflect.TypeFor[domain.Language](): domain.English,
		reflect.TypeFor[domain.Channel]():  domain.Paper,
		reflect.TypeFor[domain.Basis]():    domain.ConsentBasis,
	}
}

// fill fills in the value of the field with this name.
func fill(v reflect.Value, name string) {
	if sample, ok := samples()[v.Type()]; ok {
		v.Set(reflect.ValueOf(sample))
		return
	}
	if part, ok := v.Addr().Interface().(domain.Part); ok {
		fillPart(part, v.Type())
		return
	}

	switch v.Kind() {
	case reflect.String:
		v.SetString(name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)

	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), name)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, name)
		fill(value, name)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)

	case reflect.Struct:
		for field, of := range v.Fields() {
			wire, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			fill(of, wire)
		}
	default:
		panic("cannot fill in " + name + ", a " + v.Type().String() + ": add a sample, or an example of the event")
	}
}

// fillPart makes a personal part readable, with every field filled in.
func fillPart(part domain.Part, of reflect.Type) {
	known, _ := of.FieldByName("value")
	value := reflect.New(known.Type)
	fill(value.Elem(), "")

	plain, err := json.Marshal(value.Interface())
	if err != nil {
		panic(err)
	}
	if err := part.SetBytes(plain); err != nil {
		panic(err)
	}
}
