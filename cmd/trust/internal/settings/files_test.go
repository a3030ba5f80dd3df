package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
)

// keyFile writes a file with a mode.
func keyFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// read reads settings given as flags, with DATA_DIR in a folder of the test.
func read(t *testing.T, given map[string]string, environment ...string) (Settings, error) {
	t.Helper()
	given["DATA_DIR"] = t.TempDir()
	return Read(given, environment)
}

func TestAKeyInAFileIsWhatItsLineSays(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("m4ster", 8)
	for _, text := range []string{key, key + "\n", key + "\r\n"} {
		for _, mode := range []os.FileMode{0o400, 0o600, 0o440} {
			s, err := read(t, map[string]string{}, "MASTER_KEY_FILE="+keyFile(t, text, mode), "MASTER_KEY=")
			if err != nil || s.Get("MASTER_KEY") != key {
				t.Errorf("%q with %s: %q, %v", text, mode, s.Get("MASTER_KEY"), err)
			}

			if c, err := Check(s); err != nil || c.MasterKey != key || c.KeepsMasterKey() {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

func TestAFileOfAKeyThatCannotBeRightIsRefused(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("m4ster", 8)
	for name, c := range map[string]struct {
		path string
		want string
	}{
		"none":             {filepath.Join(t.TempDir(), "none"), "cannot use the file that MASTER_KEY_FILE names"},
		"a folder":         {t.TempDir(), "not a file"},
		"empty":            {keyFile(t, "", 0o600), "is empty"},
		"an empty line":    {keyFile(t, "\n", 0o600), "is empty"},
		"two lines":        {keyFile(t, key+"\n"+key+"\n", 0o600), "is not one line of text"},
		"raw bytes":        {keyFile(t, "\xff\xfe"+key, 0o600), "is not one line of text"},
		"open to all":      {keyFile(t, key, 0o604), "chmod o-rw"},
		"open to a change": {keyFile(t, key, 0o620), "chmod o-rw"},
	} {
		_, err := read(t, map[string]string{"MASTER_KEY_FILE": c.path})
		if exit.CodeOf(err) != exit.CodeUsage || !strings.Contains(err.Error(), c.want) ||
			strings.Contains(err.Error(), "m4ster") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Which key counts must not depend on where each is set.
func TestAKeyInAFileAndElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	for _, name := range inFiles() {
		path := keyFile(t, strings.Repeat("m4ster", 8), 0o600)
		given := map[string]string{name + "_FILE": path, "DATA_DIR": t.TempDir()}
		kept := filepath.Join(given["DATA_DIR"], "env")
		if err := Keep(kept, Pair{name, strings.Repeat("k3pt", 10)}); err != nil {
			t.Fatal(err)
		}

		_, err := Read(given, nil)
		want := name + " and " + name + "_FILE are both set, the first in the file env in DATA_DIR"
		if exit.CodeOf(err) != exit.CodeUsage || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "k3pt") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A short key is refused wherever it is kept.
func TestAKeyInAFileIsCheckedAsAnyOther(t *testing.T) {
	t.Parallel()
	s, err := read(t, map[string]string{"SECRET_KEY_FILE": keyFile(t, "short\n", 0o600)})
	if err == nil {
		_, err = Check(s)
	}
	if err == nil || !strings.Contains(err.Error(), "SECRET_KEY has 5 characters") {
		t.Errorf("%v", err)
	}
}
