package main

import (
	"os"
	"strings"
	"testing"
)

// compose.yaml cannot be run where there is no container engine, so what it must agree on with the program is compared as text.
func TestComposeRunsEveryFollowerAndKeepsPersonalDataOutOfTheServersLog(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	compose := string(text)
	if strings.Count(compose, "\n    command: [project, all]\n") != 1 {
		t.Error("compose.yaml does not run once what follows the log")
	}
	for _, setting := range []string{
		"log_parameter_max_length=0", "log_parameter_max_length_on_error=0", "log_error_verbosity=terse", "log_min_error_statement=panic",
	} {
		if !strings.Contains(compose, "- "+setting+"\n") {
			t.Errorf("compose.yaml does not set %s", setting)
		}
	}
}
