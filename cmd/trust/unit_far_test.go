//go:build far

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestFarTheUnitThatThePageShowsIsOneThatSystemdTakes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "operator.md"))
	must(t, err)
	block := regexp.MustCompile("(?s)```ini\n(.*?)```").FindStringSubmatch(string(page))
	if block == nil {
		t.Fatal("the page shows no unit")
	}

	// systemd looks whether the program and the user are there.
	text := strings.ReplaceAll(block[1], "/usr/local/bin/trust", binary)
	text = strings.ReplaceAll(text, "User=trust", "User=root")
	unit := filepath.Join(t.TempDir(), "trust.service")
	must(t, os.WriteFile(unit, []byte(text), 0o600))
	said, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", unit).CombinedOutput()
	if err != nil || strings.Contains(string(said), unit) {
		t.Errorf("%v: %s", err, said)
	}
}
