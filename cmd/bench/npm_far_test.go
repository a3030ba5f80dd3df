//go:build far

package main

import "testing"

func TestFarEachContenderFromNpmWritesReadsAndProjectsWhatItClaims(t *testing.T) {
	t.Parallel()
	e := testEnv(t)
	if e.modules, e.noModules = installModules(t.Context(), t.TempDir()); e.noModules != "" {
		t.Fatal(e.noModules)
	}
	contend(t, e, func(c contender) bool { return c.npm })
}
