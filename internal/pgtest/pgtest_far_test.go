//go:build far

package pgtest_test

import (
	"os/exec"
	"testing"

	"github.com/salga-trust/engine/internal/pgtest"
)

func TestFarURLWorksForLibpq(t *testing.T) {
	t.Parallel()
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), psql, "-XAt", pgtest.New(t).URL(pgtest.Owner),
		"-c", "select current_user, current_setting('search_path')")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "trust_owner|\n" {
		t.Errorf("got %q, %v", out, err)
	}
}
