package http

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// instant is a time in answers: RFC 3339, UTC, always six digits of a second.
type instant time.Time

const instantForm = "2006-01-02T15:04:05.000000Z"

func (t instant) MarshalJSON() ([]byte, error) {
	return []byte(strconv.Quote(t.String())), nil
}

func (t instant) String() string { return time.Time(t).UTC().Format(instantForm) }

// Schema implements huma.SchemaProvider.
func (instant) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

// moment is an instant in a query or a body. The zero moment was not given: a parsed one
// is never zero, see domain.ParseInstant.
type moment struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) (err error) {
	m.Time, err = domain.ParseInstant(string(text))
	return err
}

// UnmarshalJSON implements json.Unmarshaler, in place of time.Time's, which takes
// instants that cannot be written again.
func (m *moment) UnmarshalJSON(b []byte) error {
	var text *string
	if err := strictJSON(b, &text); err != nil || text == nil {
		return err
	}
	if m.UnmarshalText([]byte(*text)) != nil {
		return &json.UnmarshalTypeError{}
	}
	return nil
}

// Schema implements huma.SchemaProvider.
func (moment) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

// orZero returns an instant of a body; zero: it was not given.
func (m *moment) orZero() time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.Time
}

// pointer returns an instant of a body; nil: it was not given.
func (m *moment) pointer() *time.Time {
	if m == nil {
		return nil
	}
	return &m.Time
}

// instantOrNull returns an instant, nil for the zero time.
func instantOrNull(t time.Time) *instant {
	if t.IsZero() {
		return nil
	}
	return new(instant(t))
}

// orNull returns a text, nil for an empty one.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// idOrNull returns an id, nil for the zero id.
func idOrNull(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// clearable is a text field of a change: if absent, the value stays; null or empty
// removes it.
type clearable struct {
	given bool
	text  string
}

func (c *clearable) UnmarshalJSON(b []byte) error {
	c.given = true
	if string(b) == "null" {
		return nil
	}
	return strictJSON(b, &c.text)
}

// Schema implements huma.SchemaProvider.
func (clearable) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Nullable: true}
}

func (c clearable) pointer() *string {
	if !c.given {
		return nil
	}
	return &c.text
}

// listBody is one page of a list.
type listBody[T any] struct {
	Items []T     `json:"items" nullable:"false"`
	Next  *string `json:"next" doc:"Pass as after for the next page; null: this is the last."`
}

func listOf[R, T any](l projections.Listing[R], item func(R) T) listBody[T] {
	return listBody[T]{Items: each(l.Items, item), Next: orNull(l.Next)}
}

// each converts the items of a list. The result is never nil, so JSON never shows null.
func each[T, B any](items []T, item func(T) B) []B {
	all := make([]B, len(items))
	for i, t := range items {
		all[i] = item(t)
	}
	return all
}

// cursorParameter is the only parameter that may be empty: the list then begins at its
// start.
const cursorParameter = "after"

// Paging holds the parameters of every list. It is exported for huma, which skips
// embedded structs that are not.
type Paging struct {
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"50" doc:"Maximum number of items."`
	After string `query:"after" doc:"next of the previous page; empty: from the start."`
}

func (p Paging) page() projections.Page { return projections.Page{Limit: p.Limit, After: p.After} }

// etag names a version of a resource; ifMatch is the reverse.
func etag(version int) string { return strconv.Quote(strconv.Itoa(version)) }

func position(p int64) string { return strconv.FormatInt(p, 10) }

// optionalBool reads a boolean that the schema has checked; empty: nil.
func optionalBool(text string) *bool {
	if text == "" {
		return nil
	}
	return new(text == "true")
}

// tidied returns a filter in the form in which it is compared. A filter that was given
// but is empty once tidied is a fault: ignoring it would find everything.
func tidied(f *domain.Faults, field, text string, tidy func(string) string) string {
	form := tidy(text)
	if text != "" && domain.IsBlank(form) {
		f.Add(field, "empty", "Give a value, or leave the parameter out.")
	}
	return form
}

// namedID reads an id in a path. A text that is not an id names nothing: not found.
func namedID(text string) (uuid.UUID, error) {
	id, ok := parseID(text)
	if !ok {
		return uuid.Nil, domain.Refuse(domain.CodeNotFound, "There is nothing with this id.")
	}
	return id, nil
}

// optionalID reads an id in a field or parameter. An absent id is zero; the zero id
// itself is a fault.
func optionalID(f *domain.Faults, field, text string) uuid.UUID {
	if text == "" {
		return uuid.Nil
	}

	id, ok := parseID(text)
	if !ok || id == uuid.Nil {
		f.Add(field, "invalid", "Give an id: hexadecimal digits in the form 8-4-4-4-12.")
	}
	return id
}

// parseID accepts only the canonical form of an id.
func parseID(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && len(text) == len(uuid.UUID{}.String())
}
