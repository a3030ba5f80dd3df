package pgtest

import (
	"testing"
	"testing/fstest"
)

// A template is reused by its hash, so every schema needs a hash of its own.
func TestEachSchemaHasAHashOfItsOwn(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	schemas := map[string]fstest.MapFS{
		"nothing":       {},
		"one file":      {"001_a.sql": file("select 1")},
		"other text":    {"001_a.sql": file("select 2")},
		"other name":    {"001_b.sql": file("select 1")},
		"two files":     {"001_a.sql": file("select 1"), "002_b.sql": file("")},
		"parted others": {"001_a.sql": file("select "), "002_b.sql": file("1")},
	}

	seen := map[string]string{}
	for name, schema := range schemas {
		one, err := hashOf(schema)
		if err != nil || len(one) != 64 {
			t.Fatalf("%s: %q, %v", name, one, err)
		}
		if two, err := hashOf(schema); err != nil || two != one {
			t.Errorf("%s: %q, then %q, %v", name, one, two, err)
		}
		if other, taken := seen[one]; taken {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[one] = name
	}
}
