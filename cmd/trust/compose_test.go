package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// compose.yaml cannot be run without a container engine, so the points on which it must
// agree with the program are compared as text.
func TestComposeRunsEveryFollowerAndKeepsPersonalDataOutOfTheServersLog(t *testing.T) {
	t.Parallel()
	compose := read(t, "compose.yaml")
	if strings.Count(compose, "\n    command: [project, all]\n") != 1 {
		t.Error("compose.yaml does not run once what follows the log")
	}

	for _, setting := range []string{
		"log_parameter_max_length=0", "log_parameter_max_length_on_error=0", "log_error_verbosity=terse",
		"log_min_error_statement=panic",
	} {
		if !strings.Contains(compose, "- "+setting+"\n") {
			t.Errorf("compose.yaml does not set %s", setting)
		}
	}
}

func TestComposeAsksForNothingThatItsExampleDoesNotName(t *testing.T) {
	t.Parallel()
	compose, example := read(t, "compose.yaml"), read(t, "compose.env.example")
	for _, variable := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(compose, -1) {
		if !regexp.MustCompile(`(?m)^#?` + variable[1] + "=").MatchString(example) {
			t.Errorf("compose.env.example does not name %s", variable[1])
		}
	}
}

// In production every command checks all settings, so each service there needs those
// settings whose default is refused.
func TestComposeGivesEachServiceInProductionWhatProductionChecks(t *testing.T) {
	t.Parallel()
	services := regexp.MustCompile(`(?m)^  [a-z]+:$`).Split(read(t, "compose.yaml"), -1)
	told := 0
	for _, service := range services {
		if strings.Contains(service, "      ENVIRONMENT: ") {
			told++
			if !strings.Contains(service, "      ALLOWED_ORIGINS: ") {
				t.Errorf("this service would not start in production:%s", service)
			}
		}
	}

	if told < 3 {
		t.Errorf("%d services are told of production: this test looks in the wrong place", told)
	}
	if !strings.Contains(read(t, "compose.yaml"), "      METRICS_FROM: ") {
		t.Error("nobody but the container itself can read the metrics")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	must(t, err)
	return string(text)
}
