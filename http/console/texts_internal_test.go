package console

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sources parses the Go files of a directory, without its tests.
func sources(t *testing.T, directory string) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(directory, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s has no Go files: %v", directory, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// literal returns the text of a string literal; empty: it is none.
func literal(e ast.Expr) string {
	basic, is := e.(*ast.BasicLit)
	if !is || basic.Kind != token.STRING {
		return ""
	}
	text, _ := strconv.Unquote(basic.Value) // the parser has seen it
	return text
}

// problemCodes lists the codes of the API's refusals, as its client knows them.
func problemCodes(t *testing.T) (codes []string) {
	t.Helper()
	for _, file := range sources(t, "../client") {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, is := n.(*ast.ValueSpec)
			if !is || len(spec.Values) != 1 {
				return true
			}
			if kind, named := spec.Type.(*ast.Ident); named && kind.Name == "ProblemCode" {
				codes = append(codes, literal(spec.Values[0]))
			}
			return true
		})
	}
	return codes
}

// faultCodes lists the codes of faulty fields: the second of what Faults.Add takes, and
// the code of a FieldError.
func faultCodes(t *testing.T) (codes []string) {
	t.Helper()
	for _, directory := range []string{"../../domain", "../../commands", "..", "."} {
		for _, file := range sources(t, directory) {
			ast.Inspect(file, func(n ast.Node) bool {
				codes = append(codes, faultCode(n))
				return true
			})
		}
	}
	slices.Sort(codes)
	codes = slices.Compact(codes)
	return slices.DeleteFunc(codes, func(code string) bool {
		return code == "" || code == "not_ready" // of a part of the system, which is no field
	})
}

func faultCode(n ast.Node) string {
	switch n := n.(type) {
	case *ast.CallExpr:
		called, is := n.Fun.(*ast.SelectorExpr)
		if is && called.Sel.Name == "Add" && len(n.Args) == 3 {
			return literal(n.Args[1])
		}
	case *ast.CompositeLit: // also one whose type is left out, in a list
		code, isFault := "", false
		for _, element := range n.Elts {
			pair, is := element.(*ast.KeyValueExpr)
			if !is {
				continue
			}
			if name, is := pair.Key.(*ast.Ident); is && name.Name == "Code" {
				code = literal(pair.Value)
			} else if is && name.Name == "Field" {
				isFault = true
			}
		}

		if isFault {
			return code
		}
	}
	return ""
}

func TestEveryRefusalIsSaidInEveryLanguage(t *testing.T) {
	t.Parallel()
	all, err := vocabulary()
	if err != nil {
		t.Fatal(err)
	}

	problems, faults := problemCodes(t), faultCodes(t)
	if len(problems) < 70 || len(faults) < 6 {
		t.Fatalf("only %d problems and %d faults were found", len(problems), len(faults))
	}
	for _, lang := range Langs() {
		for _, code := range problems {
			if all[lang]["problem_"+code] == "" {
				t.Errorf("%s: the refusal %s has no text", lang, code)
			}
		}
		for _, code := range faults {
			if all[lang]["fault_"+code] == "" {
				t.Errorf("%s: the fault %s has no text", lang, code)
			}
		}
	}
}

var (
	quoted   = regexp.MustCompile(`"([a-z0-9_:]+)"`)
	named    = regexp.MustCompile(`\bt "([a-z0-9_]+)"`)
	grouped  = regexp.MustCompile(`(?:\bword|"group") "([a-z0-9_]+)"`)
	composed = regexp.MustCompile(`\bprint "([a-z0-9_]+_)"`)
)

// Pages are read at their first use, so a mistake in one would show only there.
func TestEveryPageIsReadInEveryLanguage(t *testing.T) {
	t.Parallel()
	all, err := templates()
	if err != nil {
		t.Fatal(err)
	}

	for lang, pages := range all {
		if len(pages) < 50 {
			t.Errorf("%s has %d pages", lang, len(pages))
		}
		for name := range pages {
			if _, err := page(lang, name); err != nil {
				t.Errorf("%s in %s: %v", name, lang, err)
			}
		}
	}
}

// said is which texts the templates and the code of the pages name: in full, and by the
// beginning of their keys.
type said struct {
	keys   map[string]bool
	groups []string
}

func whatIsSaid(t *testing.T) said {
	t.Helper()
	s := said{keys: map[string]bool{}, groups: []string{"month_", "purpose_name_"}}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	code, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}

	for _, name := range append(names, code...) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range quoted.FindAllSubmatch(content, -1) {
			s.keys[string(found[1])] = true
		}
		for _, found := range grouped.FindAllSubmatch(content, -1) {
			s.groups = append(s.groups, string(found[1])+"_")
		}
		for _, found := range composed.FindAllSubmatch(content, -1) {
			s.groups = append(s.groups, string(found[1]))
		}
	}
	return s
}

func TestEveryTextThatAPageNamesExists(t *testing.T) {
	t.Parallel()
	all, err := vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}

	for _, name := range names {
		content, err := fs.ReadFile(templateFiles, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range named.FindAllSubmatch(content, -1) {
			if key := string(found[1]); all[English][key] == "" {
				t.Errorf("%s: there is no text %s", name, key)
			}
		}
	}
}

// A text that takes something takes as much in every language, and every text is shown
// somewhere.
func TestEveryTextIsShownAndTakesTheSameInEveryLanguage(t *testing.T) {
	t.Parallel()
	all, err := vocabulary()
	if err != nil {
		t.Fatal(err)
	}

	s := whatIsSaid(t)
	for key, text := range all[English] {
		inGroup := slices.ContainsFunc(s.groups, func(group string) bool { return strings.HasPrefix(key, group) })
		if !s.keys[key] && !inGroup {
			t.Errorf("no page shows the text %s", key)
		}
		for _, lang := range Langs() {
			if strings.Count(all[lang][key], "%s") != strings.Count(text, "%s") {
				t.Errorf("%s, %s: it takes something else than in English", key, lang)
			}
		}
	}
}
