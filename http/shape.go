package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/salga-trust/engine/domain"
)

// jsonFormat is JSON as this API reads and writes it.
func jsonFormat() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			encoder := json.NewEncoder(w)
			encoder.SetEscapeHTML(false)
			return encoder.Encode(v)
		},
		Unmarshal: strictJSON,
	}
}

// unfit begins the message of a value that passed the schema but does not fit its Go
// type; the field's name follows.
const unfit = "unfit:"

// strictJSON is json.Unmarshal without its leniences, see oneMeaning; and a name in
// another letter case than the field's is another name. Its errors hold nothing of the
// input.
func strictJSON(data []byte, v any) error {
	if !oneMeaning(data) {
		return errMalformed
	}

	err := json.Unmarshal(data, v)
	if fault, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return errors.New(unfit + fault.Field)
	}
	if err != nil {
		return errMalformed
	}

	if tree, ok := v.(*any); ok {
		markUnknown(*tree)
	}
	return nil
}

var errMalformed = errors.New("malformed")

// maxDepth is how deep a body may be nested; no body of this API is half as deep.
const maxDepth = 16

// oneMeaning reports whether every reader would read a text the same way: it is one JSON
// document in UTF-8 with nothing after it, no object has a name twice, and no text has a
// NUL or half a character (a lone surrogate, which encoding/json replaces). Otherwise the
// schema might be checked on one reading and the command made from another.
func oneMeaning(data []byte) bool {
	// By default it refuses repeated names and invalid UTF-8.
	d := jsontext.NewDecoder(bytes.NewReader(data))

	for whole := false; ; {
		token, err := d.ReadToken()
		if err != nil {
			return whole && errors.Is(err, io.EOF)
		}
		if whole || d.StackDepth() > maxDepth || (token.Kind() == '"' && strings.ContainsRune(token.String(), 0)) {
			return false
		}
		whole = d.StackDepth() == 0
	}
}

// unknownMark is put before names that cannot be a field's, so that the schema does not
// take one for a field in another letter case.
const unknownMark = "\x00"

// fieldName matches the names of this API's fields, but hardly any secret that was put in
// the wrong place.
var fieldName = regexp.MustCompile(`^([a-z][a-z_]{0,39}|sha256)$`)

// markUnknown marks the names that cannot be a field's, see unknownMark.
func markUnknown(tree any) {
	switch v := tree.(type) {
	case []any:
		for _, item := range v {
			markUnknown(item)
		}
	case map[string]any:
		var strange []string
		for name, item := range v {
			markUnknown(item)
			if !fieldName.MatchString(name) {
				strange = append(strange, name)
			}
		}
		for _, name := range strange {
			v[unknownMark+name] = v[name]
			delete(v, name)
		}
	}
}

// maxFaults is how many faulty fields an answer lists: several times what any body of
// this API has. A body of made-up names could have a hundred thousand.
const maxFaults = 100

// translate replaces huma's error model, which repeats offending values and whole bodies,
// by our problem. It is a huma.Transformer.
func translate(_ huma.Context, _ string, body any) (any, error) {
	m, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}

	switch m.Status {
	case http.StatusBadRequest:
		return newProblem(malformedBody(), nil), nil
	case http.StatusUnsupportedMediaType:
		return newProblem(unsupportedMedia(), nil), nil
	case http.StatusRequestEntityTooLarge:
		return newProblem(tooLarge(), nil), nil
	case http.StatusUnprocessableEntity:
		var f domain.Faults
		seen := map[string]bool{}
		for _, d := range m.Errors {
			if len(seen) == maxFaults {
				break
			}
			field, code, message := fault(d)
			if !seen[field] {
				f.Add(field, code, message)
			}
			seen[field] = true
		}
		if e, ok := errors.AsType[*domain.Error](f.Err()); ok {
			return newProblem(e, nil), nil
		}
	}

	// huma sends no other status today; if it did, the body must not contradict it.
	p := internalProblem()
	p.Status, p.Title = m.Status, http.StatusText(m.Status)
	return p, nil
}

// fault names the field of one of huma's details and says in our words what is wrong with
// it. Nothing of the input gets through.
func fault(d *huma.ErrorDetail) (field, code, message string) {
	field = safeField(d.Location)
	switch {
	case d.Message == validation.MsgUnexpectedProperty:
		return field, "unknown_field", "There is no such field here."
	case strings.HasPrefix(d.Message, requiredPrefix):
		name := strings.TrimSuffix(strings.TrimPrefix(d.Message, requiredPrefix), " to be present")
		if field != "body" {
			name = field + "." + name
		}
		return name, "required", "This must be given."
	case strings.HasSuffix(d.Message, "parameter is missing"):
		return field, "required", "This must be given."
	case strings.HasPrefix(d.Message, unfit):
		if name := strings.TrimPrefix(d.Message, unfit); name != "" {
			field = name
		}
		return field, "invalid", "This value is out of range or of the wrong type."
	}

	if words, ok := wrongTypes()[d.Message]; ok {
		return field, "wrong_type", words
	}
	for _, bound := range bounds() {
		// These messages are made from the schema alone.
		if limit, ok := strings.CutPrefix(d.Message, bound.told); ok {
			return field, "invalid", fmt.Sprintf(bound.words, strings.Trim(limit, `"`))
		}
	}
	if strings.Contains(d.Message, "date") {
		return field, "invalid", "Give an instant in RFC 3339, such as 2026-03-01T12:00:00Z; in a query write + as %2B."
	}
	return field, "invalid", "This value is not valid."
}

const requiredPrefix = "expected required property "

func wrongTypes() map[string]string {
	return map[string]string{
		validation.MsgExpectedString:  "Give a text.",
		validation.MsgExpectedBoolean: "Give true or false.",
		validation.MsgExpectedNumber:  "Give a number.",
		validation.MsgExpectedInteger: "Give a whole number.",
		validation.MsgExpectedObject:  "Give an object.",
		validation.MsgExpectedArray:   "Give a list.",
		"invalid integer":             "Give a whole number.",
		"invalid boolean":             "Give true or false.",
	}
}

// bounds are how huma's messages begin that name a limit, and our words for each.
func bounds() []struct{ told, words string } {
	return []struct{ told, words string }{
		{"expected value to be one of ", "Give one of: %s."},
		{"expected number >= ", "Give %s or more."},
		{"expected number <= ", "Give %s or less."},
		{"expected length >= 1", "This must not be empty.%.0s"},
		{"expected array length >= 1", "Give at least one.%.0s"},
		{"expected array length <= ", "Give at most %s."},
	}
}

// safeField returns the name of the field at one of huma's locations. A name that the
// client made up is repeated only if it looks like a field's.
func safeField(location string) string {
	where, name, _ := strings.Cut(location, ".")
	if where != "body" {
		name, _, _ = strings.Cut(name, "[") // one of our own parameters, or an item of it
		return name
	}
	for part := range strings.SplitSeq(name, ".") {
		part, _, _ = strings.Cut(part, "[")
		if !fieldName.MatchString(part) {
			return "body"
		}
	}
	return name
}

func malformedBody() *domain.Error {
	return domain.Refuse(codeMalformed, "The body must be one JSON document in UTF-8, without repeated names.")
}

func unsupportedMedia() *domain.Error {
	return domain.Refuse(codeUnsupportedMedia, "Send the body as application/json.")
}

func tooLarge() *domain.Error {
	return domain.Refuse(codeTooLarge, "A body may have at most 1 MiB.")
}
