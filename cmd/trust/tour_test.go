package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The README's tour works as it is written: its blocks, in their order, in one shell, against a fresh system.
func TestTheTourOfTheReadmeWorksAsWritten(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh tour\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) < 5 {
		t.Fatalf("the tour has %d blocks", len(blocks))
	}
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	for _, b := range blocks {
		script.WriteString(b[1])
	}
	s := newSite(t)
	s.start("up")
	eventually(t, "the system is ready", s.ready)
	tour := exec.CommandContext(t.Context(), "bash", "-x")
	tour.Stdin, tour.Dir = strings.NewReader(script.String()), s.dir
	tour.Env = append(s.env, "BASE=http://"+s.addr, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	if said, err := tour.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
