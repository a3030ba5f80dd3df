package http

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// The examples in the document. Those of bodies and answers are made from the tags
// `example:"…"` of their fields, so that a type has its example wherever it is used;
// those of problems from the codes that a route may answer with. New refuses a route
// without an example.

const (
	exampleInstant = "2026-03-01T12:00:00.000000Z"
	exampleID      = "01890a5d-ac96-774b-bcce-b302099a8057"
)

// exemplify adds examples to an operation: of its body, of its success, and of a problem
// for each code.
func exemplify(schemas huma.Registry, op *huma.Operation, r *route) error {
	var faults []error
	if op.RequestBody != nil {
		faults = append(faults, exemplifyContent(schemas, r.id+": body", op.RequestBody.Content))
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if status[0] == '2' {
			faults = append(faults, exemplifyContent(schemas, r.id+": answer", op.Responses[status].Content))
		}
	}

	for _, code := range refusals(r) {
		p := exampleProblem(schemas, op, r, code)
		content := op.Responses[strconv.Itoa(p.Status)].Content[problemType]
		if content.Examples == nil {
			content.Examples = map[string]*huma.Example{}
		}
		content.Examples[string(code)] = &huma.Example{Value: p}
	}
	return errors.Join(faults...)
}

// exemplifyContent adds an example to JSON content that has none.
func exemplifyContent(schemas huma.Registry, where string, content map[string]*huma.MediaType) (err error) {
	media := content["application/json"]
	if media == nil || media.Schema == nil || media.Example != nil || media.Examples != nil {
		return nil
	}
	media.Example, err = exampleOf(schemas, where, media.Schema)
	return err
}

// exampleOf makes an example from a schema: from its tag, its fields or its type. Ids,
// instants, enumerations and nullable values need no tag.
func exampleOf(schemas huma.Registry, where string, s *huma.Schema) (any, error) {
	switch {
	case s == nil:
		return nil, fmt.Errorf("%s: it refers to a schema that the document lacks", where)
	case len(s.Examples) > 0:
		return s.Examples[0], nil
	case s.Ref != "":
		return exampleOf(schemas, where, schemas.SchemaFromRef(s.Ref))
	case len(s.AnyOf) > 0:
		return exampleOf(schemas, where, s.AnyOf[0])

	case s.Nullable, s.Type == "":
		return nil, nil //nolint:nilnil // the example is null
	case len(s.Enum) > 0:
		return s.Enum[0], nil
	case s.Format == "date-time":
		return exampleInstant, nil
	case s.Format == "uuid":
		return exampleID, nil

	case s.Type == huma.TypeArray:
		item, err := exampleOf(schemas, where+"[]", s.Items)
		return []any{item}, err
	case s.Type == huma.TypeObject && s.Properties != nil:
		return exampleObject(schemas, where, s)
	}

	return nil, fmt.Errorf(`%s: give it a tag example:"…"`, where)
}

// exampleObject makes an object of the required fields and of those that have a tag.
func exampleObject(schemas huma.Registry, where string, s *huma.Schema) (any, error) {
	object := map[string]any{}
	var faults []error

	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := s.Properties[name]
		if !slices.Contains(s.Required, name) && len(field.Examples) == 0 {
			continue
		}

		value, err := exampleOf(schemas, where+"."+name, field)
		object[name] = value
		faults = append(faults, err)
	}

	return object, errors.Join(faults...)
}

// exampleProblem makes a problem the way real ones are made.
func exampleProblem(schemas huma.Registry, op *huma.Operation, r *route, code domain.Code) *problem {
	described, _ := refusalOf(code)
	e := domain.Refuse(code, "%s", described.example)

	switch {
	case code == domain.CodeForbidden && r.who == scraper:
		e = domain.Refuse(code, "This address may not read metrics.")
	case code == domain.CodeForbidden && r.who != selfOrStaff && r.who != selfOrOverseers:
		e = domain.Refuse(code, "This is for: %s.", r.who)
	case code == domain.CodeInsufficientScope:
		e = domain.Refuse(code, "This needs the scope %s, which this token does not have.", r.scope)
	case code == domain.CodeInvalid:
		e.Fields = []domain.FieldError{exampleFault(schemas, op, r)}
	case code == domain.CodeAlreadyGranted || code == domain.CodeInForce:
		e.ConsentID = domain.ConsentID{UUID: uuid.MustParse(exampleID)}
	}

	return newProblem(e, r.statuses)
}

// exampleFault is a fault in something that the operation takes.
func exampleFault(schemas huma.Registry, op *huma.Operation, r *route) domain.FieldError {
	if op.RequestBody != nil {
		if body := op.RequestBody.Content["application/json"]; body != nil && body.Schema.Ref != "" {
			if required := schemas.SchemaFromRef(body.Schema.Ref).Required; len(required) > 0 {
				return domain.FieldError{Field: required[0], Code: "required", Message: "This must be given."}
			}
		}
	}

	for _, p := range op.Parameters {
		switch {
		case p.In == "query" && p.Required:
			return domain.FieldError{Field: p.Name, Code: "required", Message: "This must be given."}
		case p.In == "query":
			return domain.FieldError{Field: p.Name, Code: "invalid", Message: "This value is not valid."}
		}
	}

	if r.command() {
		return domain.FieldError{
			Field: headerKey, Code: "too_long",
			Message: "An idempotency key has at most 128 characters.",
		}
	}
	return domain.FieldError{
		Field: headerMinPosition, Code: "invalid",
		Message: "Give the Event-Position of an earlier answer.",
	}
}
