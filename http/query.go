package http

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/salga-trust/engine/domain"
)

// questions holds the query parameters of a route by name, as the document lists them.
type questions map[string]*huma.Param

// questionsOf returns a route's parameters. Outside the API it returns nil, and
// everything in a query is ignored: probes append what they like.
func questionsOf(rt *route, op *huma.Operation) questions {
	if !strings.HasPrefix(rt.path, apiBase+"/") {
		return nil
	}

	known := questions{}
	for _, p := range op.Parameters {
		if p.In == "query" {
			known[p.Name] = p
		}
	}
	return known
}

// check refuses a query that would otherwise be answered as if it were another: with a
// name that the route does not know, a repeated name, or a name without a value.
func (q questions) check(r *http.Request) error {
	if q == nil {
		return nil
	}

	asked, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return malformedQuery()
	}

	unknown := domain.Refuse(codeUnknownParameter, "This route has no such parameter; see errors.")
	var f domain.Faults
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		p, known := q[name]
		switch values := asked[name]; {
		case !known:
			unknown.Fields = append(unknown.Fields, domain.FieldError{
				Field: nameable(name), Code: "unknown_parameter", Message: "There is no such parameter here.",
			})
		case len(values) > 1:
			f.Add(name, "repeated", "Give this only once.")
		case domain.IsBlank(values[0]) && !p.AllowEmptyValue:
			f.Add(name, "empty", "Give a value, or leave the parameter out.")
		}
	}

	if len(unknown.Fields) > 0 {
		return unknown
	}
	return f.Err()
}

// nameable returns a name from the client if it looks like one of ours, otherwise
// "query": no answer repeats anything else.
func nameable(name string) string {
	if fieldName.MatchString(name) {
		return name
	}
	return "query"
}

func malformedQuery() *domain.Error {
	return domain.Refuse(codeMalformed, "Path and query must be percent-encoded UTF-8 without NUL.")
}
