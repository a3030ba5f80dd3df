package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rule is a row of the table of packages in ARCHITECTURE.md.
type rule struct {
	allowed      []string // packages of this module by folder, other modules by path
	never        []string // packages of the standard library, with everything below
	testsBesides []string // what its tests may import besides
	testsOnly    bool     // only tests may import it
}

const packageTable = "| package | is | imports of ours | imports of others | never | its tests besides |"

// dependencyRule reads the rules, by package, out of ARCHITECTURE.md.
func dependencyRule(t *testing.T, modules []string) map[string]rule {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := readPackageTable(string(page), modules, strings.Fields(runGo(t, "list", "std")))
	if err != nil {
		t.Fatal("ARCHITECTURE.md: ", err)
	}
	return rules
}

// requiredModules returns the modules that go.mod requires for our own imports.
func requiredModules(t *testing.T) []string {
	t.Helper()
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal([]byte(runGo(t, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}

	var modules []string
	for _, m := range mod.Require {
		if !m.Indirect {
			modules = append(modules, m.Path)
		}
	}
	return modules
}

// readPackageTable refuses everything that it does not understand: a rule that is misread
// is not enforced.
func readPackageTable(page string, modules, standard []string) (map[string]rule, error) {
	parts := strings.Split(page, packageTable+"\n")
	if len(parts) != 2 {
		return nil, fmt.Errorf("want one table of packages, found %d with the head %q", len(parts)-1, packageTable)
	}

	var rows [][]string
	for i, line := range strings.Split(parts[1], "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(line, "|")
		if len(cells) != 8 || strings.TrimSpace(cells[7]) != "" {
			return nil, fmt.Errorf("not a row of six cells: %s", line)
		}
		if i > 0 { // below the line of dashes
			rows = append(rows, cells[1:7])
		}
	}
	if len(rows) == 0 {
		return nil, errors.New("the table of packages has no rows")
	}

	packages := make([]string, len(rows))
	for i, cells := range rows {
		names := list(cells[0])
		if len(names) != 1 || slices.Contains(packages, names[0]) {
			return nil, fmt.Errorf("not the name of one package, or a second row for it: %q", cells[0])
		}
		packages[i] = names[0]
	}

	rules := map[string]rule{}
	for i, cells := range rows {
		r, err := readRule(cells, packages, modules, standard)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", packages[i], err)
		}
		rules[packages[i]] = r
	}
	return rules, nil
}

func readRule(cells, packages, modules, standard []string) (rule, error) {
	r := rule{testsOnly: strings.HasSuffix(strings.TrimSpace(cells[1]), "(tests only)")}
	for _, name := range list(cells[2]) {
		if !slices.Contains(packages, name) {
			return rule{}, fmt.Errorf("%q is none of the packages", name)
		}
		r.allowed = append(r.allowed, name)
	}
	for _, name := range list(cells[3]) {
		module, err := moduleCalled(name, modules)
		if err != nil {
			return rule{}, err
		}
		r.allowed = append(r.allowed, module)
	}

	for _, name := range list(cells[4]) {
		if !slices.ContainsFunc(standard, func(path string) bool { return within(path, []string{name}) }) {
			return rule{}, fmt.Errorf("%q is not in the standard library", name)
		}
		r.never = append(r.never, name)
	}

	for _, name := range list(cells[5]) {
		if slices.Contains(packages, name) {
			r.testsBesides = append(r.testsBesides, name)
			continue
		}
		module, err := moduleCalled(name, modules)
		if err != nil {
			return rule{}, err
		}
		r.testsBesides = append(r.testsBesides, module)
	}
	return r, nil
}

// list reads a cell: names separated by commas, with or without backticks, or a dash for
// none.
func list(cell string) []string {
	var names []string
	for name := range strings.SplitSeq(strings.ReplaceAll(cell, "`", ""), ",") {
		if name = strings.TrimSpace(name); name != "" && name != "–" {
			names = append(names, name)
		}
	}
	return names
}

// moduleCalled returns the module whose path, without its major version, ends with a
// name.
func moduleCalled(name string, modules []string) (string, error) {
	var found []string
	for _, module := range modules {
		path := regexp.MustCompile(`/v[0-9]+$`).ReplaceAllString(module, "")
		if path == name || strings.HasSuffix(path, "/"+name) {
			found = append(found, module)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%q is not one module of go.mod but %d: %v", name, len(found), found)
	}
	return found[0], nil
}

func TestReadPackageTable(t *testing.T) {
	t.Parallel()
	modules := []string{"github.com/jackc/pgx/v5", "github.com/google/uuid", "example.org/uuid", "example.org/xpgx"}
	read := func(page string) (map[string]rule, error) {
		return readPackageTable(page, modules, []string{"os", "net/http", "math/rand/v2"})
	}
	table := func(rows ...string) string {
		return "# Page\n\n" + packageTable + "\n|---|---|---|---|---|---|\n" + strings.Join(rows, "\n") +
			"\n\nmore | of | it\n"
	}

	rules, err := read(table(
		"| `a` | the first | – | pgx, google/uuid | os, net | `a/b` |",
		"| `a/b` | the second (tests only) | a | | | – |",
	))
	if err != nil {
		t.Fatal(err)
	}
	a, b := rules["a"], rules["a/b"]
	if !slices.Equal(a.allowed, []string{"github.com/jackc/pgx/v5", "github.com/google/uuid"}) || a.testsOnly ||
		!slices.Equal(a.never, []string{"os", "net"}) || !slices.Equal(a.testsBesides, []string{"a/b"}) {
		t.Errorf("a: %+v", a)
	}
	if !slices.Equal(b.allowed, []string{"a"}) || !b.testsOnly || b.never != nil || b.testsBesides != nil ||
		len(rules) != 2 {
		t.Errorf("a/b: %+v", b)
	}

	for page, want := range map[string]string{
		"# Page\n": "found 0",
		table("| `a` | | | | | |") + table("| `b` | | | | | |"): "found 2",
		table():                              "no rows",
		table("| `a` | | | | |"):             "not a row of six cells",
		table("| `a` | | | | | | |"):         "not a row of six cells",
		table("| `a` | | | | | | more"):      "not a row of six cells",
		table("| | | | | | |"):               "not the name of one package",
		table("| `a`, `b` | | | | | |"):      "not the name of one package",
		table("| a | | | | | |", "|a||||||"): "a second row",
		table("| a | | b | | | |"):           `a: "b" is none of the packages`,
		table("| a | | all | | | |"):         `a: "all" is none of the packages`,
		table("| a | | | httprate | | |"):    `a: "httprate" is not one module of go.mod but 0`,
		table("| a | | | uuid | | |"):        `a: "uuid" is not one module of go.mod but 2`,
		table("| a | | | | clock | |"):       `a: "clock" is not in the standard library`,
		table("| a | | | | | redis |"):       `a: "redis" is not one module of go.mod but 0`,
	} {
		if rules, err := read(page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v; want an error with %q for\n%s", rules, err, want, page)
		}
	}
}
