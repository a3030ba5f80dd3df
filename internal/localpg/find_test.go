package localpg_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/salga-trust/engine/internal/localpg"
)

func TestFindReturnsASupportedVersion(t *testing.T) {
	t.Parallel()
	found, err := localpg.Find()
	if err != nil {
		t.Fatal(err)
	}
	if found.Major < 15 || !filepath.IsAbs(found.Dir) {
		t.Errorf("got %+v", found)
	}
}

func TestFindInTakesTheFirstCompleteSupportedVersion(t *testing.T) {
	t.Parallel()
	old := fakePostgres(t, "14.9 (Debian 14.9-1)", true)
	half := fakePostgres(t, "17.1", false)
	devel := fakePostgres(t, "19devel", true)
	newer := fakePostgres(t, "18.0", true)

	found, err := localpg.FindIn(old, half, "/does/not/exist", devel, newer)
	if want := (localpg.Binaries{Dir: devel, Major: 19}); err != nil || found != want {
		t.Errorf("got %+v, %v; want %+v", found, err, want)
	}
}

func TestFindInSaysInOneSentenceWhatToInstall(t *testing.T) {
	t.Parallel()
	_, err := localpg.FindIn(fakePostgres(t, "14.9", true))
	const want = "no Postgres >= 15 found: install it (Debian: apt-get install postgresql) or set DATABASE_URL"
	if !errors.Is(err, localpg.ErrNotFound) || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestAClusterIsServedByTheVersionThatMadeIt(t *testing.T) {
	t.Parallel()
	newer, same := fakePostgres(t, "17.1", true), fakePostgres(t, "15.4", true)
	found, err := localpg.FindMajorIn(15, newer, same)
	if want := (localpg.Binaries{Dir: same, Major: 15}); err != nil || found != want {
		t.Errorf("got %+v, %v; want %+v", found, err, want)
	}
	if _, err := localpg.FindMajorIn(16, newer, same); !errors.Is(err, localpg.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// fakePostgres makes a folder with a postgres that reports a version and, if complete, an
// initdb.
func fakePostgres(t *testing.T, version string, complete bool) string {
	t.Helper()
	dir := t.TempDir()
	scripts := map[string]string{"postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"}
	if complete {
		scripts["initdb"] = "#!/bin/sh\n"
	}

	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
