package console

import (
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// misread refuses fields whose values could not be read.
func misread(fields ...string) *client.Error {
	e := refusal(http.StatusUnprocessableEntity, client.ProblemCodeValidationFailed)
	for _, field := range fields {
		e.Errors = append(e.Errors, client.FieldError{Field: field, Code: "invalid"})
	}
	return e
}

// fieldReader reads the fields of a form that are more than text, and remembers what is
// wrong with them.
type fieldReader struct {
	v      *Visit
	faults []client.FieldError
}

func (r *fieldReader) fault(field, code string) {
	r.faults = append(r.faults, client.FieldError{Field: field, Code: code})
}

// instant returns the instant in a field; nil: the field is empty or faulty.
func (r *fieldReader) instant(field string) *time.Time {
	text := r.v.Value(field)
	if text == "" {
		return nil
	}
	at, is := instantIn(text)
	if !is {
		r.fault(field, "invalid")
		return nil
	}
	return &at
}

// id returns the id in a field, which must be filled in.
func (r *fieldReader) id(field string) uuid.UUID {
	text := r.v.Value(field)
	id, err := uuid.Parse(text)
	switch {
	case text == "":
		r.fault(field, "required")
	case err != nil:
		r.fault(field, "invalid")
	}
	return id
}

// yes reports whether the answer to a question is yes; it must be yes or no.
func (r *fieldReader) yes(field string) bool {
	switch r.v.Value(field) {
	case "yes":
		return true
	case "no":
	case "":
		r.fault(field, "required")
	default:
		r.fault(field, "invalid")
	}
	return false
}

// refused returns why the form cannot be sent on; nil: it can.
func (r *fieldReader) refused() error {
	if len(r.faults) == 0 {
		return nil
	}
	e := misread()
	e.Errors = r.faults
	return e
}

// evidence returns the evidence that a form names; nil: none.
func (v *Visit) evidence() *client.EvidenceBody {
	e := client.EvidenceBody{SHA256: v.Value("evidence.sha256"), Reference: v.Value("evidence.reference")}
	if e == (client.EvidenceBody{}) {
		return nil
	}
	return &e
}

// givenBy returns the competent person whom a form names; nil: none.
func (v *Visit) givenBy() *client.GivenByBody {
	g := client.GivenByBody{
		Name: v.Value("given_by.name"), Relation: v.Value("given_by.relation"),
		Authority: v.Value("given_by.authority"),
	}
	if g == (client.GivenByBody{}) {
		return nil
	}
	return &g
}

// chosen returns a field of a fixed vocabulary, or nil if nothing was chosen. The API
// knows the vocabulary.
func chosen[T ~string](v *Visit, field string) *T {
	value := v.Value(field)
	if value == "" {
		return nil
	}
	return new(T(value))
}

// optionalID returns the id in a field; nil: the field is empty or faulty.
func (r *fieldReader) optionalID(field string) *uuid.UUID {
	if r.v.Value(field) == "" {
		return nil
	}
	return new(r.id(field))
}

// number returns the number in a field; nil: the field is empty or faulty.
func (r *fieldReader) number(field string) *int64 {
	text := r.v.Value(field)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.fault(field, "invalid")
		return nil
	}
	return &n
}
