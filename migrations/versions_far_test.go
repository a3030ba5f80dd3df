//go:build far

package migrations_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/salga-trust/engine/internal/pgtest"
)

func TestFarTheSchemaIsMadeOnEverySupportedPostgres(t *testing.T) {
	t.Parallel()
	for _, major := range []string{"15", "16", "17", "18"} {
		t.Run(major, func(t *testing.T) {
			t.Parallel()
			binaries := pgtest.Binaries(t, major)
			ownerMigrates(t, pgtest.Server(t, binaries))

			// The other tests of this package, on a server of this version.
			again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^Test", "-test.skip=^TestFar",
				"-test.count=1", "-test.v")
			again.Env = append(os.Environ(), "TEST_DATABASE_URL="+pgtest.Server(t, binaries))
			said, err := again.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			if passed := strings.Count(string(said), "--- PASS: "); passed < 10 {
				t.Errorf("%d tests passed, which is not all of them:\n%s", passed, said)
			}
		})
	}
}
