package cloudevent

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// The only way to write the table: go test ./eventstore/cloudevent -run Document -update.
var update = flag.Bool("update", false, "write the table of docs/relay.md")

// stays lists the fields of payloads that were decided to stay, wherever leaves does not
// name them.
func stays() []string {
	return []string{
		// Texts that somebody typed.
		"contact_email", "url", "reason", "retention", "texts", "wording", "name", "claim.source", "filter",
		// By these a person could be recognised by whoever holds the document.
		"evidence_sha256", "claim.file_sha256", "claim.line",
		// Of use to this system alone.
		"keys", "code_id", "factor_id", "secret_id", "session_id",
	}
}

// fieldsOf lists the fields of an event's payload; those within an object of which only
// some leave are listed with a point.
func fieldsOf(t *testing.T, e domain.Event) (fields []string) {
	t.Helper()
	payload, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(payload, &object); err != nil {
		t.Fatal(err)
	}

	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !strings.Contains(" "+leave[e.EventType()], " "+name+".") {
			fields = append(fields, name)
			continue
		}
		var inner map[string]json.RawMessage
		if err := json.Unmarshal(object[name], &inner); err != nil {
			t.Fatal(err)
		}
		for _, field := range slices.Sorted(maps.Keys(inner)) {
			fields = append(fields, name+"."+field)
		}
	}
	return fields
}

// examples returns one event of each type, with every field filled in.
func examples() map[string]domain.Event {
	all := map[string]domain.Event{}
	for _, e := range domaintest.Examples() {
		if old := all[e.EventType()]; old == nil || size(e) > size(old) {
			all[e.EventType()] = e
		}
	}
	return all
}

func size(e domain.Event) int {
	payload, _ := json.Marshal(e)
	return len(payload)
}

func TestOfEachFieldOfEachEventItIsDecidedWhetherItLeaves(t *testing.T) {
	t.Parallel()
	all := examples()
	for _, eventType := range domain.EventTypes() {
		listed, decided := leave[eventType]
		if !decided {
			t.Errorf("decide in leaves.go which fields of %s leave", eventType)
			continue
		}

		fields := fieldsOf(t, all[eventType])
		leaving := strings.Fields(listed)
		for _, field := range fields {
			if !slices.Contains(leaving, field) && !slices.Contains(stays(), field) {
				t.Errorf("decide whether %s of %s leaves", field, eventType)
			}
		}
		for _, field := range leaving {
			if !slices.Contains(fields, field) {
				t.Errorf("%s has no field %s", eventType, field)
			}
		}
	}
	if len(leave) != len(domain.EventTypes()) {
		t.Errorf("%d types are listed of %d", len(leave), len(domain.EventTypes()))
	}
}

func TestTheDocumentShowsWhatLeaves(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../../docs/relay.md", "| event | leaves | stays |\n|---|---|---|\n", "\n\n"
	all := examples()

	var table strings.Builder
	table.WriteString(begin)
	for _, eventType := range domain.EventTypes() {
		leaving := strings.Fields(leave[eventType])
		staying := slices.DeleteFunc(fieldsOf(t, all[eventType]), func(field string) bool {
			return slices.Contains(leaving, field)
		})
		if domain.HasPersonal(all[eventType]) {
			staying = append(staying, "*all that is sealed*")
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", eventType, inDocument(leaving), inDocument(staying))
	}

	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(document), begin)
	if !found {
		t.Fatal("docs/relay.md has no table of what leaves")
	}
	_, after, _ := strings.Cut(rest, end)
	want := before + strings.TrimSuffix(table.String(), "\n") + end + after

	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(document) != want {
		t.Error("docs/relay.md shows another table; write it by go test ./eventstore/cloudevent -run Document -update")
	}
}

func inDocument(fields []string) string {
	if len(fields) == 0 {
		return "–"
	}
	shown := make([]string, len(fields))
	for i, field := range fields {
		shown[i] = field
		if !strings.HasPrefix(field, "*") {
			shown[i] = "`" + field + "`"
		}
	}
	return strings.Join(shown, ", ")
}
