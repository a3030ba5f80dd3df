package http_test

import (
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// promise compares answers with the served document. Every answer that a test of this
// package receives is compared, see world.do: its status and headers must be as
// documented, and its body must be what the schema says and nothing more.
type promise struct {
	tree map[string]any

	compiling sync.Mutex
	compiler  *jsonschema.Compiler
	// schemas are kept by pointer.
	schemas map[string]*jsonschema.Schema
}

const documentName = "openapi.json"

// All worlds serve the same document, so the first that needs the promise reads it for
// all.
var promised struct {
	sync.Mutex
	promise *promise
}

func promiseOf(t testing.TB, w *world) *promise {
	t.Helper()
	promised.Lock()
	defer promised.Unlock()
	if promised.promise == nil {
		promised.promise = newPromise(t, w)
	}
	return promised.promise
}

func newPromise(t testing.TB, w *world) *promise {
	t.Helper()
	c := &promise{
		tree:     w.send("GET", "/openapi.json", "").want(200).json,
		compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{},
	}

	// OpenAPI 3.1 takes its schemas from this draft.
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	must(t, c.compiler.AddResource(documentName, c.tree))

	return c
}

// keeps returns where an answer differs from the document.
func (c *promise) keeps(r *http.Request, a *answer) (faults []string) {
	problem := "/components/schemas/Problem"
	path, op := c.operation(r.Method, r.URL.Path)
	// The document has no such path or no such method: the answer is a problem all the
	// same, or a page for people.
	if op == nil {
		if a.json == nil || a.status < 400 || r.Method == http.MethodOptions {
			return nil
		}
		return c.conforms(problem, a.json)
	}

	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	status := fmt.Sprint(a.status)
	response, documented := op["responses"].(map[string]any)[status].(map[string]any)
	if !documented {
		return []string{"this status is not documented"}
	}

	headers, _ := response["headers"].(map[string]any)
	for _, name := range []string{
		"Event-Position", "Event-Log", "ETag", "Retry-After", "X-Request-ID", "Content-Disposition",
		"WWW-Authenticate",
	} {
		_, said := headers[name]
		if sent := a.header.Get(name) != ""; sent != said {
			fault("%s: sent %v, documented %v", name, sent, said)
		}
	}

	content, _ := response["content"].(map[string]any)
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if r.Method == http.MethodHead || len(content) == 0 && a.raw == "" {
		return faults
	}
	described := ""
	for name := range content {
		if bare, _, _ := mime.ParseMediaType(name); bare == media {
			described = name
		}
	}

	switch {
	case len(content) == 0 && !strings.HasPrefix(path, "/api/"):
		// The bodies of routes for operations are not described.
	case described == "":
		fault("%q is not documented", media)
	case a.json != nil:
		at := strings.Join([]string{
			"", "paths", escaped(path), methodOf(r), "responses", status, "content", escaped(described), "schema",
		}, "/")
		faults = append(faults, c.conforms(at, a.json)...)
	}

	return faults
}

func methodOf(r *http.Request) string {
	if r.Method == http.MethodHead {
		return "get"
	}
	return strings.ToLower(r.Method)
}

// escaped returns a name as a JSON pointer writes it.
func escaped(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// operation finds the documented operation of a path. The path with the fewest parameters
// that fits is meant.
func (c *promise) operation(method, asked string) (path string, op map[string]any) {
	parts := strings.Split(asked, "/")
	fewest := len(parts)

	for candidate, item := range c.tree["paths"].(map[string]any) {
		wanted, parameters := strings.Split(candidate, "/"), 0
		fits := len(wanted) == len(parts)
		for i := 0; fits && i < len(wanted); i++ {
			if strings.HasPrefix(wanted[i], "{") {
				parameters++
				fits = parts[i] != ""
			} else {
				fits = wanted[i] == parts[i]
			}
		}

		if !fits || parameters >= fewest {
			continue
		}
		fewest, path = parameters, candidate
		if method == http.MethodHead {
			method = http.MethodGet
		}
		op, _ = item.(map[string]any)[strings.ToLower(method)].(map[string]any)
	}

	return path, op
}

func (c *promise) conforms(pointer string, value any) []string {
	schema, err := c.schema(pointer)
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		return []string{err.Error()}
	}
	return nil
}

func (c *promise) schema(pointer string) (*jsonschema.Schema, error) {
	c.compiling.Lock()
	defer c.compiling.Unlock()
	if schema := c.schemas[pointer]; schema != nil {
		return schema, nil
	}

	schema, err := c.compiler.Compile(documentName + "#" + pointer)
	if err != nil {
		return nil, err
	}
	c.schemas[pointer] = schema
	return schema, nil
}

func TestAnAnswerThatDiffersFromTheDocumentIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/users/me", nil)
	must(t, err)

	for name, spoil := range map[string]func(*answer){
		"a status":              func(a *answer) { a.status = 418 },
		"a missing header":      func(a *answer) { a.header.Del("ETag") },
		"another header":        func(a *answer) { a.header.Set("Event-Position", "1") },
		"a media type":          func(a *answer) { a.header.Set("Content-Type", "text/plain") },
		"a missing field":       func(a *answer) { delete(a.json, "email") },
		"another field":         func(a *answer) { a.json["password"] = "x" },
		"an unexpected null":    func(a *answer) { a.json["full_name"] = nil },
		"an unlisted value":     func(a *answer) { a.json["role"] = "king" },
		"a text in a bad shape": func(a *answer) { a.json["id"] = "1" },
	} {
		a := p.send("GET", "/api/v1/users/me", "").want(200)
		if faults := promiseOf(t, w).keeps(r, a); len(faults) > 0 {
			t.Fatal(faults)
		}
		spoil(a)
		if faults := promiseOf(t, w).keeps(r, a); len(faults) != 1 {
			t.Errorf("%s: %q", name, slices.Clip(faults))
		}
	}
}
