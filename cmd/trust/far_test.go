package main

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A far test that lacks one of its three marks would run in the wrong one of make test
// and make test-far, or in neither.
func TestATestIsFarInFileTagAndNameOrInNone(t *testing.T) {
	t.Parallel()
	looked := 0
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}

		source, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		looked++
		for _, fault := range farFaults(t, path, string(source)) {
			t.Error(fault)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked < 50 {
		t.Errorf("looked at %d files: this test looks in the wrong place", looked)
	}
}

func TestAHalfFarTestIsNoticed(t *testing.T) {
	t.Parallel()
	const tag, far, near = "//go:build far\n\n", "func TestFarAway(t *testing.T) {}\n",
		"func TestAway(t *testing.T) {}\n"
	cases := map[string]struct {
		path, source string
		want         []string
	}{
		"far":           {"a/b_far_test.go", tag + "package a\n" + far, nil},
		"near":          {"a/b_test.go", "package a\n" + near, nil},
		"without a tag": {"a/b_far_test.go", "package a\n" + far, []string{"a/b_far_test.go lacks //go:build far"}},
		"more than the tag": {
			"a/b_far_test.go", "//go:build far && linux\n\npackage a\n" + far,
			[]string{"a/b_far_test.go lacks //go:build far"},
		},
		"a near name": {
			"a/b_far_test.go", tag + "package a\n" + near,
			[]string{"a/b_far_test.go: TestAway does not begin with TestFar"},
		},
		"a far name": {
			"a/b_test.go", "package a\n" + far,
			[]string{"a/b_test.go: TestFarAway is in no file _far_test.go"},
		},
		"a near file": {"a/b_test.go", tag + "package a\n" + near, []string{"a/b_test.go has a build tag far"}},
		"not far": {
			"a/b_test.go", "//go:build !far\n\npackage a\n" + near,
			[]string{"a/b_test.go has a build tag far"},
		},
		"a benchmark": {
			"a/b_far_test.go", tag + "package a\nfunc BenchmarkAway(b *testing.B) {}\n",
			[]string{"a/b_far_test.go: BenchmarkAway does not begin with TestFar"},
		},
	}

	for name, c := range cases {
		if got := farFaults(t, c.path, c.source); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// farFaults returns what is wrong with the marks of one test file.
func farFaults(t *testing.T, path, source string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}

	var faults []string
	far := strings.HasSuffix(path, "_far_test.go")
	tag := buildTag(file)
	switch {
	case far && tag != "far":
		faults = append(faults, path+" lacks //go:build far")
	case !far && strings.Contains(tag, "far"):
		faults = append(faults, path+" has a build tag far")
	}

	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || function.Recv != nil || !runByGoTest(function.Name.Name) {
			continue
		}
		named := strings.HasPrefix(function.Name.Name, "TestFar")
		switch {
		case far && !named:
			faults = append(faults, path+": "+function.Name.Name+" does not begin with TestFar")
		case !far && named:
			faults = append(faults, path+": "+function.Name.Name+" is in no file _far_test.go")
		}
	}
	return faults
}

func runByGoTest(name string) bool {
	kinds := []string{"Test", "Benchmark", "Fuzz", "Example"}
	return name != "TestMain" &&
		slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(name, kind) })
}

// buildTag returns the expression of a file's //go:build line, or nothing.
func buildTag(file *ast.File) string {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if comment.Pos() < file.Package && constraint.IsGoBuild(comment.Text) {
				return strings.TrimSpace(strings.TrimPrefix(comment.Text, "//go:build"))
			}
		}
	}
	return ""
}
