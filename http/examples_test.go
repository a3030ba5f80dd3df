package http_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

func TestEveryBodyHasAnExampleThatIsAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := openapi(t, w)

	tried := 0
	for _, l := range apphttp.Lines() {
		media := doc.bodyOf(l)
		if media == nil {
			continue
		}
		example, ok := media["example"]
		if !ok {
			t.Errorf("%s: its body has no example", l.ID)
			continue
		}

		doc.conforms(t, l.ID, media["schema"].(map[string]any), example)

		path, body := w.sample(l)
		if a := w.adminFor(l).send(l.Method, path, body); a.status >= 500 || a.status == 400 || len(a.faults()) > 0 {
			t.Errorf("%s: its example is refused: %s", l.ID, a.raw)
		}
		tried++
	}

	if tried < 10 {
		t.Errorf("only %d bodies", tried)
	}
}

// An answer that is not JSON, or that is served raw, needs none.
func TestEverySuccessHasAnExample(t *testing.T) {
	t.Parallel()
	doc := openapi(t, newWorld(t))
	for _, l := range apphttp.Lines() {
		responses, _ := doc.operation(l)["responses"].(map[string]any)
		for status, response := range responses {
			if status[0] != '2' || status == "202" || status == "204" {
				continue
			}

			content, _ := response.(map[string]any)["content"].(map[string]any)
			if content == nil && !l.Raw {
				t.Errorf("%s: %s has no content", l.ID, status)
			}
			if media, ok := content["application/json"].(map[string]any); ok {
				schema, _ := media["schema"].(map[string]any)
				for _, example := range examplesOf(t, l.ID, media) {
					doc.conforms(t, l.ID, schema, example)
				}
			}
		}
	}
}

// examplesOf returns the examples of a content by name; a single one has no name.
func examplesOf(t *testing.T, where string, media map[string]any) map[string]any {
	t.Helper()
	if one, ok := media["example"]; ok {
		return map[string]any{"": one}
	}

	named, _ := media["examples"].(map[string]any)
	if len(named) == 0 {
		t.Errorf("%s: no example", where)
	}
	values := map[string]any{}
	for name, example := range named {
		values[name] = example.(map[string]any)["value"]
	}
	return values
}

func TestEveryCodeHasAnExample(t *testing.T) {
	t.Parallel()
	doc := openapi(t, newWorld(t))
	said := sayings(t)
	for _, l := range apphttp.Lines() {
		responses, _ := doc.operation(l)["responses"].(map[string]any)
		for status, response := range responses {
			if status[0] == '2' {
				continue
			}

			documented := response.(map[string]any)
			content := documented["content"].(map[string]any)
			if l.Form && content["application/problem+json"] == nil {
				continue // RFC 6749 has its own form
			}
			examples := examplesOf(t, l.ID+" "+status, content["application/problem+json"].(map[string]any))

			title, listed, _ := strings.Cut(documented["description"].(string), ": ")
			if codes := slices.Sorted(maps.Keys(examples)); strings.Join(codes, ", ") != listed {
				t.Errorf("%s: %s lists %s and has examples of %s", l.ID, status, listed, codes)
			}

			for code, example := range examples {
				checkProblem(t, said, l.ID, code, status, title, example.(map[string]any))
				doc.conforms(t, l.ID+" "+code, map[string]any{"$ref": "#/components/schemas/Problem"}, example)
			}
		}
	}
}

func checkProblem(t *testing.T, said func(string) bool, where, code, status, title string, p map[string]any) {
	t.Helper()
	if p["code"] != code || fmt.Sprint(p["status"]) != status || p["title"] != title || p["type"] != "about:blank" {
		t.Errorf("%s: the example of %s in %s is %v", where, code, status, p)
	}

	number, _ := strconv.Atoi(status)
	if title != http.StatusText(number) {
		t.Errorf("%s: %s is titled %q", where, status, title)
	}

	if !said(p["detail"].(string)) {
		t.Errorf("%s: the program never says %q of %s", where, p["detail"], code)
	}

	faults := p["errors"].([]any)
	if (len(faults) > 0) != (code == string(domain.CodeInvalid)) {
		t.Errorf("%s: the example of %s has %d faults", where, code, len(faults))
	}
	for _, f := range faults {
		if message := f.(map[string]any)["message"].(string); !said(message) {
			t.Errorf("%s: the program never says %q", where, message)
		}
	}
}

// sayings returns a function that tells whether the program says a sentence. The
// descriptions of refusals do not count, because they are there for the document only.
func sayings(t *testing.T) func(string) bool {
	t.Helper()
	var said []string
	sentence := regexp.MustCompile(`^[A-Z].* `)
	for _, pkg := range []string{
		"domain", "commands", "eventstore", "eventstore/follow", "eventstore/seal",
		"projections", "projections/reports", "http",
	} {
		files, err := fs.Glob(os.DirFS("../"+pkg), "*.go")
		must(t, err)

		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}

			file, err := parser.ParseFile(token.NewFileSet(), "../"+pkg+"/"+name, nil, 0)
			must(t, err)

			ast.Inspect(file, func(n ast.Node) bool {
				if f, ok := n.(*ast.FuncDecl); ok && (f.Name.Name == "Refusals" || f.Name.Name == "edgeRefusals") {
					return false
				}
				words, ok := sentenceOf(n)
				if ok && sentence.MatchString(words) {
					pattern := strings.NewReplacer("%s", ".+", "%d", "[0-9]+").Replace(regexp.QuoteMeta(words))
					said = append(said, pattern)
				}
				return !ok
			})
		}
	}

	return regexp.MustCompile("^(" + strings.Join(said, "|") + ")$").MatchString
}

// sentenceOf returns the text of a string literal, or of several joined by +.
func sentenceOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(n.Value)
		return text, err == nil && strings.HasPrefix(n.Value, `"`)
	case *ast.BinaryExpr:
		left, ok := sentenceOf(n.X)
		right, too := sentenceOf(n.Y)
		return left + right, ok && too && n.Op == token.ADD
	default:
		return "", false
	}
}

func TestACodeWithoutADescriptionIsNoticed(t *testing.T) {
	t.Parallel()
	declared := codes(t)
	for code := range domain.Refusals() {
		if !slices.Contains(declared, code) {
			t.Errorf("%s is described but not declared", code)
		}
	}

	for _, code := range append(declared, apphttp.EdgeCodes()...) {
		if status, example := apphttp.RefusalOf(code); http.StatusText(status) == "" || example == "" {
			t.Errorf("%s: status %d, example %q: see domain.Refusals", code, status, example)
		}
	}
}

func TestAnExampleFollowsFromTheTags(t *testing.T) {
	t.Parallel()
	type inner struct {
		Count int `json:"count" example:"3"`
	}
	example, err := apphttp.FromTags(struct {
		Name     string         `json:"name" example:"Nomsa"`
		Kind     string         `json:"kind" enum:"first,second"`
		Nothing  *string        `json:"nothing"`
		Anything any            `json:"anything"`
		LeftOut  string         `json:"left_out,omitempty"`
		Chosen   bool           `json:"chosen,omitempty" example:"true"`
		Inner    inner          `json:"inner"`
		Many     []inner        `json:"many" nullable:"false"`
		ByName   map[string]int `json:"by_name" example:"{\"a\":1}"`
	}{})

	got, _ := json.Marshal(example)
	want := `{"anything":null,"by_name":{"a":1},"chosen":true,"inner":{"count":3},"kind":"first",` +
		`"many":[{"count":3}],"name":"Nomsa","nothing":null}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}

	_, err = apphttp.FromTags(struct {
		Items []struct {
			Said bool `json:"said"`
		} `json:"items" nullable:"false"`
		ByName map[string]int `json:"by_name"`
	}{})
	if err == nil || !strings.Contains(err.Error(), "items[].said: give it a tag") ||
		!strings.Contains(err.Error(), "by_name: give it a tag") {
		t.Errorf("missing tags are not named: %v", err)
	}
}
