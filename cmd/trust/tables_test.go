package main

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tableReaders are the packages that may name a table besides the one that owns it.
func tableReaders() map[string][]string {
	return map[string][]string{
		// For the head: one index probe in the statement that also reads the
		// checkpoint, so that both come from one snapshot.
		"events": {"eventstore/follow", "projections", "cmd/bench"},
		// cmd/bench counts the rows that each run wrote.
		"consents": {"cmd/bench"},
	}
}

// A table belongs to one package: no statement of another names it.
func TestEachTableIsNamedInOnePackage(t *testing.T) {
	t.Parallel()
	tables := tablesOfSchema(t)
	users := map[string]map[string]bool{} // by table

	eachGoFile(t, func(path string, file *ast.File) {
		if strings.HasPrefix(path, "migrations/") {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			for _, table := range namedTables(text, tables) {
				if users[table] == nil {
					users[table] = map[string]bool{}
				}
				users[table][filepath.Dir(path)] = true
			}
			return true
		})
	})

	for table, packages := range users {
		owners := slices.DeleteFunc(slices.Sorted(maps.Keys(packages)), func(p string) bool {
			return slices.Contains(tableReaders()[table], p)
		})
		if len(owners) != 1 {
			t.Errorf("trust.%s is named in %v; want one package", table, owners)
		}
	}

	if !users["events"]["eventstore"] || !users["checkpoints"]["eventstore/follow"] {
		t.Errorf("the events or the checkpoints are named nowhere: this test looks in the wrong place (%v)", users)
	}
	for table, readers := range tableReaders() {
		for _, reader := range readers {
			if !users[table][reader] {
				t.Errorf("%s is allowed to name trust.%s and does not: remove the exception", reader, table)
			}
		}
	}
}

func TestNamedTables(t *testing.T) {
	t.Parallel()
	const sql = "select 1 from trust.users u, trust.events where trust.users_v2 and mistrust.keys and trust.keyset"
	got := namedTables(sql, map[string]bool{"users": true, "events": true, "keys": true})
	if want := []string{"users", "events", "users"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// namedTables finds qualified names of tables in a text. A read table's versions
// (users_v1, users_v2) count as the table.
func namedTables(text string, tables map[string]bool) []string {
	var found []string
	for _, match := range regexp.MustCompile(`\btrust\.([a-z_0-9]+)`).FindAllStringSubmatch(text, -1) {
		if name := unversioned(match[1]); tables[name] {
			found = append(found, name)
		}
	}
	return found
}

func unversioned(name string) string {
	return regexp.MustCompile(`_v[0-9]+$`).ReplaceAllString(name, "")
}

// tablesOfSchema reads the tables' names out of the migrations.
func tablesOfSchema(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "migrations", "*.sql"))
	if err != nil {
		t.Fatal(err)
	}

	tables := map[string]bool{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?i)create (?:table|view) trust\.([a-z_0-9]+)`).
			FindAllStringSubmatch(string(text), -1) {
			tables[unversioned(match[1])] = true
		}
	}
	if len(tables) < 8 {
		t.Fatalf("found only %v", tables)
	}
	return tables
}
