package commands_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/salga-trust/engine/commands"
)

// All commands look alike, so that a reader of one knows them all; the methods that
// append nothing are apart, in queries.go.
func TestEveryCommandHasOneShape(t *testing.T) {
	t.Parallel()
	files := filesOfMethods(t)
	handler := reflect.TypeFor[*commands.Handler]()
	background, call := reflect.TypeFor[context.Context](), reflect.TypeFor[commands.Call]()
	failure := reflect.TypeFor[error]()

	for i := range handler.NumMethod() {
		name, m := handler.Method(i).Name, handler.Method(i).Type
		if file := files[name]; file == "queries.go" || name == "Authenticate" {
			continue
		}

		takes := m.NumIn() == 4 && m.In(1) == background && m.In(2) == call &&
			m.In(3).Kind() == reflect.Struct && m.In(3).Name() == name
		returns := m.NumOut() == 2 && strings.HasPrefix(m.Out(0).Name(), "Answer[") && m.Out(1) == failure
		if !takes || !returns {
			t.Errorf("%s, in %s: %v, want (context.Context, Call, %s) (Answer[T], error)", name, files[name], m, name)
		}
	}
}

// filesOfMethods finds the file of each exported method of Handler.
func filesOfMethods(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(".")
	ok(t, err)

	found := map[string]string{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		ok(t, err)

		for _, d := range file.Decls {
			f, is := d.(*ast.FuncDecl)
			if is && f.Recv != nil && f.Name.IsExported() {
				found[f.Name.Name] = e.Name()
			}
		}
	}

	if !slices.Contains(slices.Collect(maps.Values(found)), "queries.go") {
		t.Fatal("there is no queries.go")
	}
	return found
}
