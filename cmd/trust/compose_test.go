package main

import (
	"os"
	"strings"
	"testing"

	"github.com/salga-trust/engine/projections"
)

// compose.yaml cannot be run where there is no container engine, so what it must agree on with the program is compared as text.
func TestComposeRunsEveryProjectorAndKeepsPersonalDataOutOfTheServersLog(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	compose := string(text)
	for _, p := range projections.All() {
		for _, line := range []string{"\n  project-" + p.Name() + ":\n", "\n    command: [project, " + p.Name() + "]\n"} {
			if strings.Count(compose, line) != 1 {
				t.Errorf("compose.yaml has not once %q", line)
			}
		}
	}
	if n, want := strings.Count(compose, "command: [project, "), len(projections.All()); n != want {
		t.Errorf("compose.yaml has %d projectors, the program %d", n, want)
	}
	for _, setting := range []string{
		"log_parameter_max_length=0", "log_parameter_max_length_on_error=0", "log_error_verbosity=terse", "log_min_error_statement=panic",
	} {
		if !strings.Contains(compose, "- "+setting+"\n") {
			t.Errorf("compose.yaml does not set %s", setting)
		}
	}
}
