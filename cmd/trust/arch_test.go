package main

import (
	"bytes"
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

// rule says what one package may import. Paths are prefixes that end where a path element ends.
type rule struct {
	ours   []string // packages of this module
	others []string // packages of other modules
	never  []string // of the standard library

	testOurs, testOthers []string // what its tests may import besides
	testsOnly            bool     // may itself be imported by tests only
}

// rules is the dependency rule of ARCHITECTURE.md: arrows go downwards only. A package that is missing here fails the test, and so
// does a row without a package.
func rules() map[string]rule {
	const (
		uuid, pgx      = "github.com/google/uuid", "github.com/jackc/pgx/v5"
		cmp, rapid     = "github.com/google/go-cmp", "pgregory.net/rapid"
		pgtest, schema = "internal/pgtest", "migrations"
		given          = "domain/domaintest"
		argon          = "github.com/alexedwards/argon2id"
	)
	testing := []string{uuid, cmp, rapid}
	withDatabase := append([]string{pgx}, testing...)
	return map[string]rule{
		// Pure: no clock, no chance, no machine. What packages cannot tell, TestDomainIsPure does.
		"domain": {
			others:   []string{uuid},
			never:    []string{"os", "net", "database", "log", "math/rand", "crypto/rand", "runtime", "syscall", "context", "io"},
			testOurs: []string{given}, testOthers: testing,
		},
		"domain/domaintest": {ours: []string{"domain"}, others: []string{uuid, cmp}, testsOnly: true},
		"commands": {
			ours:     []string{"domain"},
			others:   []string{uuid, argon, "github.com/nyaruka/phonenumbers", "golang.org/x/text"},
			never:    []string{"os", "net", "database", "syscall"},
			testOurs: []string{given, "eventstore", pgtest}, testOthers: withDatabase,
		},
		"eventstore": {
			ours:     []string{"domain"},
			others:   []string{pgx, uuid},
			never:    []string{"os", "net/http", "database", "syscall"},
			testOurs: []string{given, "commands", pgtest, schema}, testOthers: withDatabase,
		},
		"projections": {
			ours:     []string{"domain", "eventstore"},
			others:   []string{pgx, uuid, "github.com/ThreeDotsLabs/watermill", "github.com/ThreeDotsLabs/watermill-sql/v3"},
			never:    []string{"os", "net/http", "syscall"},
			testOurs: []string{given, "commands", pgtest, schema}, testOthers: withDatabase,
		},
		"http": {
			ours: []string{"domain", "commands", "projections"},
			others: []string{
				uuid, "github.com/go-chi/chi/v5", "github.com/danielgtaylor/huma/v2", "github.com/go-chi/cors",
				"github.com/go-chi/httprate", "github.com/redis/go-redis/v9", "github.com/swaggest/swgui",
				"github.com/prometheus/client_golang", jwtPath, "golang.org/x/text",
			},
			never:    []string{"os", "database", "syscall"},
			testOurs: []string{given, "eventstore", pgtest, schema}, testOthers: append([]string{argon}, withDatabase...),
		},
		// For programs of others: it must not bring the server along.
		"http/client": {others: []string{uuid}, never: []string{"os", "database", "syscall"}},
		"migrations": {
			others:   []string{pgx, "github.com/jackc/tern/v2"},
			never:    []string{"os", "net", "database", "syscall"},
			testOurs: []string{pgtest}, testOthers: withDatabase,
		},
		"internal/localpg": {never: []string{"net/http", "database"}, testOurs: []string{pgtest}, testOthers: withDatabase},
		"internal/pgtest": {
			ours: []string{"migrations", "internal/localpg"}, others: []string{pgx}, testOthers: withDatabase, testsOnly: true,
		},
		"cmd/trust": {
			ours: []string{
				"domain", "commands", "eventstore", "projections", "http", "migrations",
				"cmd/trust/data", "cmd/trust/internal/exit", "cmd/trust/internal/importer", "cmd/trust/internal/retry",
				"cmd/trust/internal/seed", "cmd/trust/internal/settings", "cmd/trust/internal/supervise",
				"cmd/trust/internal/wholefile",
			},
			others: []string{
				pgx, "github.com/alecthomas/kong", "github.com/schollz/progressbar/v3",
				"golang.org/x/term", "github.com/redis/go-redis/v9", "github.com/prometheus/client_golang",
				uuid,
			},
			testOurs: []string{pgtest, "http/client", "internal/localpg"}, testOthers: withDatabase,
		},
		"cmd/trust/data":          {testOthers: testing},
		"cmd/trust/internal/exit": {ours: []string{"domain", "eventstore"}, others: []string{pgx}, testOthers: testing},
		"cmd/trust/internal/importer": {
			ours:       []string{"domain", "commands", "cmd/trust/data", "cmd/trust/internal/exit", "cmd/trust/internal/retry"},
			testOthers: testing,
		},
		"cmd/trust/internal/retry": {ours: []string{"cmd/trust/internal/exit"}, testOthers: testing},
		"cmd/trust/internal/seed": {
			ours: []string{
				"domain", "commands", "cmd/trust/internal/exit", "cmd/trust/internal/importer", "cmd/trust/internal/retry",
			},
			others: []string{argon}, testOthers: testing,
		},
		"cmd/trust/internal/settings": {
			ours:   []string{"domain", "cmd/trust/internal/exit", "cmd/trust/internal/wholefile"},
			others: []string{"github.com/joho/godotenv"}, testOthers: append([]string{"github.com/alecthomas/kong"}, testing...),
		},
		"cmd/trust/internal/supervise": {
			ours:       []string{"cmd/trust/internal/exit", "cmd/trust/internal/retry", "internal/localpg"},
			testOthers: testing,
		},
		"cmd/trust/internal/wholefile": {testOthers: testing},
	}
}

const jwtPath = "github.com/golang-jwt/jwt/v5"

// listed is what we read of `go list -json`.
type listed struct {
	ImportPath                         string
	Dir                                string
	Imports, TestImports, XTestImports []string
}

func TestDependencyRule(t *testing.T) {
	t.Parallel()
	for _, fault := range faultsOf(rules(), listPackages(t)) {
		t.Error(fault)
	}
}

// A checker that checks nothing must be noticed.
func TestDependencyRuleReportsPlantedViolations(t *testing.T) {
	t.Parallel()
	honest := listPackages(t)
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
	cases := map[string]struct {
		packages []listed
		want     string
	}{
		"own package":             {plant("domain", add(modulePath+"/eventstore")), "domain imports " + modulePath + "/eventstore"},
		"sideways":                {plant("commands", add(modulePath+"/eventstore")), "commands imports " + modulePath + "/eventstore"},
		"third party":             {plant("commands", add("github.com/jackc/pgx/v5/pgxpool")), "commands imports github.com/jackc/pgx/v5/pgxpool"},
		"third party, alike":      {plant("domain", add("github.com/google/uuidx")), "domain imports github.com/google/uuidx"},
		"standard library":        {plant("commands", add("net/http")), "commands imports net/http"},
		"test helper":             {plant("projections", add(modulePath+"/internal/pgtest")), "projections imports " + modulePath + "/internal/pgtest"},
		"command":                 {plant("http", add(modulePath+"/cmd/trust")), "http imports " + modulePath + "/cmd/trust"},
		"third party in a test":   {plant("domain", func(p *listed) { p.TestImports = []string{"github.com/jackc/pgx/v5"} }), "a test of domain imports github.com/jackc/pgx/v5"},
		"own package in an xtest": {plant("domain", func(p *listed) { p.XTestImports = []string{modulePath + "/http"} }), "a test of domain imports " + modulePath + "/http"},
		"package without a rule":  {append(slices.Clone(honest), listed{ImportPath: modulePath + "/util"}), "util has no rule"},
		"rule without a package":  {slices.DeleteFunc(slices.Clone(honest), func(p listed) bool { return p.ImportPath == modulePath+"/commands" }), "commands has a rule and does not exist"},
	}
	for name, c := range cases {
		if faults := faultsOf(rules(), c.packages); !slices.Contains(faults, c.want) {
			t.Errorf("%s: got %q, want %q", name, faults, c.want)
		}
	}
}

// faultsOf compares packages with their rules.
func faultsOf(rules map[string]rule, packages []listed) []string {
	var faults []string
	seen := map[string]bool{}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, modulePath+"/")
		r, known := rules[name]
		if seen[name] = true; !known {
			faults = append(faults, name+" has no rule")
			continue
		}
		for _, path := range p.Imports {
			if !allowed(path, r.ours, r.others, r.never) || rules[strings.TrimPrefix(path, modulePath+"/")].testsOnly && !r.testsOnly {
				faults = append(faults, name+" imports "+path)
			}
		}
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			ours := slices.Concat(r.ours, r.testOurs, []string{name})
			if !allowed(path, ours, slices.Concat(r.others, r.testOthers), nil) {
				faults = append(faults, "a test of "+name+" imports "+path)
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

func allowed(path string, ours, others, never []string) bool {
	if name, own := strings.CutPrefix(path, modulePath+"/"); own {
		return slices.Contains(ours, name)
	}
	if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
		return within(path, others)
	}
	return !within(path, never)
}

// within tells whether path is one of the prefixes, or below one.
func within(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	})
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports", "./...")
	command.Dir = root
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, complaint.String())
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
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

// The domain takes time and ids as arguments; time and uuid are imported for their types only.
func TestDomainIsPure(t *testing.T) {
	t.Parallel()
	impure := map[string][]string{
		"time": {"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep", "Local", "LoadLocation"},
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

// eachGoFile parses every Go file of the module that is no test; paths are relative to its root.
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
