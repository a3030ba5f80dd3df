package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	modulePath = "github.com/salga-trust/engine"
	root       = "../.."
)

const jwtPath = "github.com/golang-jwt/jwt/v5"

// listed holds the fields of `go list -json` that are read.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestDependencyRule(t *testing.T) {
	t.Parallel()
	modules := requiredModules(t)
	rules := dependencyRule(t, modules)

	for _, fault := range faultsOf(rules, modules, listPackages(t)) {
		t.Error(fault)
	}
}

// A checker that checks nothing must be noticed.
func TestDependencyRuleReportsPlantedViolations(t *testing.T) {
	t.Parallel()
	modules, honest := requiredModules(t), listPackages(t)
	rules := dependencyRule(t, modules)

	plant := func(name string, change func(*listed)) []listed {
		packages := slices.Clone(honest)
		for i := range packages {
			if packages[i].ImportPath == modulePath+"/"+name {
				change(&packages[i])
				return packages
			}
		}
		t.Fatalf("no package %s", name)
		return nil
	}
	add := func(path string) func(*listed) {
		return func(p *listed) { p.Imports = append(slices.Clone(p.Imports), path) }
	}
	drop := func(prefix string) func(*listed) {
		return func(p *listed) {
			p.Imports = slices.DeleteFunc(slices.Clone(p.Imports), func(path string) bool {
				return within(path, []string{prefix})
			})
		}
	}
	inTest := func(path string) func(*listed) { return func(p *listed) { p.TestImports = []string{path} } }
	inXTest := func(path string) func(*listed) { return func(p *listed) { p.XTestImports = []string{path} } }
	without := func(name string) []listed {
		return slices.DeleteFunc(slices.Clone(honest), func(p listed) bool {
			return p.ImportPath == modulePath+"/"+name
		})
	}

	const uuid, pgx = "github.com/google/uuid", "github.com/jackc/pgx/v5"
	cases := map[string]struct {
		packages []listed
		want     string
	}{
		"own package": {
			plant("domain", add(modulePath+"/eventstore")),
			"domain imports " + modulePath + "/eventstore",
		},
		"sideways": {
			plant("commands", add(modulePath+"/eventstore")),
			"commands imports " + modulePath + "/eventstore",
		},
		"third party":                {plant("commands", add(pgx+"/pgxpool")), "commands imports " + pgx + "/pgxpool"},
		"third party, alike":         {plant("domain", add(uuid+"x")), "domain imports " + uuid + "x"},
		"third party, not in go.mod": {plant("domain", add("example.org/x")), "domain imports example.org/x"},
		"standard library":           {plant("commands", add("net/http")), "commands imports net/http"},
		"testing in a program":       {plant("http", add("testing")), "http imports testing"},
		"testing, by a part of it":   {plant("http", add("testing/fstest")), "http imports testing/fstest"},
		"test helper": {
			plant("projections", add(modulePath+"/internal/pgtest")),
			"projections imports " + modulePath + "/internal/pgtest",
		},
		"command": {
			plant("http", add(modulePath+"/cmd/trust")),
			"http imports " + modulePath + "/cmd/trust",
		},
		"third party in a test": {plant("domain", inTest(pgx)), "a test of domain imports " + pgx},
		"own package in an xtest": {
			plant("domain", inXTest(modulePath+"/http")),
			"a test of domain imports " + modulePath + "/http",
		},
		"package without a rule": {
			append(slices.Clone(honest), listed{ImportPath: modulePath + "/util"}),
			"util has no rule",
		},
		"rule without a package":  {without("commands"), "commands has a rule and does not exist"},
		"module that is not used": {plant("domain", drop(uuid)), "domain may import " + uuid + " and does not"},
		"package that is not used": {
			plant("http", drop(modulePath+"/commands")),
			"http may import commands and does not",
		},
		"module that no test uses": {
			plant("domain", inXTest("testing")),
			"a test of domain may import pgregory.net/rapid and none does",
		},
		"package that no test uses": {
			plant("domain", inXTest("testing")),
			"a test of domain may import domain/domaintest and none does",
		},
	}

	for name, c := range cases {
		if faults := faultsOf(rules, modules, c.packages); !slices.Contains(faults, c.want) {
			t.Errorf("%s: got %q, want %q", name, faults, c.want)
		}
	}
}

// faultsOf compares packages with their rules. Everything that a rule allows must be
// used; otherwise the rule is untrue.
func faultsOf(rules map[string]rule, modules []string, packages []listed) []string {
	var faults []string
	seen := map[string]bool{}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, modulePath+"/")
		r, known := rules[name]
		if seen[name] = true; !known {
			faults = append(faults, name+" has no rule")
			continue
		}

		used, usedByTests := map[string]bool{}, map[string]bool{}
		for _, path := range p.Imports {
			owner := ownerOf(path, modules)
			used[owner] = true
			forTests := rules[owner].testsOnly || within(path, []string{"testing"})
			if !r.allows(path, owner) || forTests && !r.testsOnly {
				faults = append(faults, name+" imports "+path)
			}
		}
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			owner := ownerOf(path, modules)
			usedByTests[owner] = true
			if owner != "" && owner != name && !slices.Contains(slices.Concat(r.allowed, r.testsBesides), owner) {
				faults = append(faults, "a test of "+name+" imports "+path)
			}
		}

		for _, allowed := range r.allowed {
			if !used[allowed] {
				faults = append(faults, name+" may import "+allowed+" and does not")
			}
		}
		for _, allowed := range r.testsBesides {
			if !usedByTests[allowed] {
				faults = append(faults, "a test of "+name+" may import "+allowed+" and none does")
			}
		}
	}

	for name := range rules {
		if !seen[name] {
			faults = append(faults, name+" has a rule and does not exist")
		}
	}
	slices.Sort(faults)
	return faults
}

// allows reports whether a package may import a path that belongs to owner.
func (r rule) allows(path, owner string) bool {
	if owner == "" {
		return !within(path, r.never)
	}
	return slices.Contains(r.allowed, owner)
}

// ownerOf returns the name of an import in a rule: the package of this module, the
// other module, or nothing for the standard library. The longest module wins, as it
// does for the go command. A path that go.mod does not know is its own owner, which no
// rule allows.
func ownerOf(path string, modules []string) string {
	if name, own := strings.CutPrefix(path, modulePath+"/"); own {
		return name
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return ""
	}

	owner := ""
	for _, module := range modules {
		if len(module) > len(owner) && within(path, []string{module}) {
			owner = module
		}
	}
	return cmp.Or(owner, path)
}

// within reports whether path is one of the prefixes, or below one.
func within(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	})
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	out := runGo(t, "list", "-tags=far", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")

	var packages []listed
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

// runGo returns the output of the go command about this module.
func runGo(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = root
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go %v: %v: %s", args, err, complaint.String())
	}
	return string(out)
}

// Tokens are made and read in one place.
func TestOnlyOneFileKnowsTokens(t *testing.T) {
	t.Parallel()
	var files []string
	eachGoFile(t, func(path string, file *ast.File) {
		for _, spec := range file.Imports {
			if strings.Trim(spec.Path.Value, `"`) == jwtPath {
				files = append(files, path)
			}
		}
	})
	if len(files) > 1 || len(files) == 1 && filepath.Dir(files[0]) != "http" {
		t.Errorf("%s is imported by %v; want one file of http", jwtPath, files)
	}
}

// The domain takes time and ids as arguments; time and uuid are imported for their types
// only.
func TestDomainIsPure(t *testing.T) {
	t.Parallel()
	impure := map[string][]string{
		"time": {
			"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep", "Local",
			"LoadLocation",
		},
		"uuid": {"New", "NewString", "NewRandom", "NewUUID", "NewV6", "NewV7", "NewRandomFromReader"},
	}

	used := 0
	eachGoFile(t, func(path string, file *ast.File) {
		if filepath.Dir(path) != "domain" {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if of, ok := selector.X.(*ast.Ident); ok {
				if of.Name == "time" || of.Name == "uuid" {
					used++
				}
				if slices.Contains(impure[of.Name], selector.Sel.Name) {
					t.Errorf("%s uses %s.%s", path, of.Name, selector.Sel.Name)
				}
			}
			return true
		})
	})

	if used == 0 {
		t.Error("found no use of time or uuid at all: this test looks in the wrong place")
	}
}

// eachGoFile parses every Go file of the module that is no test; paths are relative to
// its root.
func eachGoFile(t *testing.T, do func(path string, file *ast.File)) {
	t.Helper()
	files := token.NewFileSet()
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir(), !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"):
			return nil
		}

		file, err := parser.ParseFile(files, filepath.Join(root, path), nil, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		do(path, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
