package localpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// oldest is the first major version with security_invoker views and a schema public that
// is closed to others; the schema needs both.
const oldest = 15

// ErrNotFound says that there is no Postgres here, in one sentence that says what to do.
var ErrNotFound = fmt.Errorf(
	"no Postgres >= %d found: install it (Debian: apt-get install postgresql) or set DATABASE_URL", oldest)

// Binaries is a folder with postgres and initdb of one version.
type Binaries struct {
	Dir   string // absolute, symbolic links resolved
	Major int    // 15, 16 …
}

// Find looks on PATH, then in the folders that distributions use, the newest version
// first, then for a fetched Postgres. If it finds none, it returns ErrNotFound.
func Find() (Binaries, error) { return FindIn(installedDirs()...) }

// FindMajor is Find for one major version: only that version can serve a cluster it made.
func FindMajor(major int) (Binaries, error) { return FindMajorIn(major, installedDirs()...) }

// FindMajorIn is FindIn for one major version.
func FindMajorIn(major int, dirs ...string) (Binaries, error) {
	for _, dir := range dirs {
		if found, err := inspect(dir); err == nil && found.Major == major {
			return found, nil
		}
	}
	return Binaries{}, ErrNotFound
}

// installedDirs lists the folders that may hold a Postgres, the preferred one first.
func installedDirs() []string {
	var dirs []string
	if onPath, err := exec.LookPath("postgres"); err == nil {
		// initdb is beside the real file, not beside a link.
		if file, err := filepath.EvalSymlinks(onPath); err == nil {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return slices.Concat(dirs, packagedDirs(), fetchedDirs())
}

// FindIn returns the first of dirs that holds a complete Postgres of a supported version.
func FindIn(dirs ...string) (Binaries, error) {
	for _, dir := range dirs {
		if found, err := inspect(dir); err == nil {
			return found, nil
		}
	}
	return Binaries{}, ErrNotFound
}

// packagedDirs lists the folders of packaged servers, which distributions keep off PATH,
// the newest version first.
func packagedDirs() []string {
	var dirs []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu, Gentoo
		"/usr/pgsql-*/bin",                                   // PGDG on Red Hat and SUSE
		"/usr/lib/postgresql*/bin",                           // SUSE
		"/usr/libexec/postgresql*",                           // Alpine
		"/usr/local/pgsql/bin",                               // built from source
		"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
		"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
	} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			continue // only for a malformed pattern, and the tests run them all
		}
		slices.SortFunc(matches, func(a, b string) int { return cmp.Compare(lastNumber(b), lastNumber(a)) })
		dirs = append(dirs, matches...)
	}
	return dirs
}

// lastNumber returns the major version in a folder's name as a number: 9.6 is older than
// 15.
func lastNumber(dir string) int {
	digits := regexp.MustCompile(`(\d+)[^/\d]*(\.\d+)?(/bin)?$`).FindStringSubmatch(dir)
	if digits == nil {
		return 0
	}
	n, err := strconv.Atoi(digits[1])
	if err != nil {
		return 0
	}
	return n
}

// inspect asks the binary itself for its version; a folder's name proves nothing.
func inspect(dir string) (Binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Binaries{}, err
	}
	if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err != nil {
		return Binaries{}, err
	}

	background := context.Background() //nolint:forbidigo // asks a program for its version
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return Binaries{}, err
	}

	major, err := parseMajor(string(out))
	if err != nil {
		return Binaries{}, err
	}
	if major < oldest {
		return Binaries{}, fmt.Errorf("postgres %d is too old", major)
	}
	return Binaries{Dir: dir, Major: major}, nil
}

// parseMajor reads "postgres (PostgreSQL) 15.18 (Debian …)" and "postgres (PostgreSQL)
// 19devel".
func parseMajor(version string) (int, error) {
	match := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindStringSubmatch(version)
	if match == nil {
		return 0, errors.New("not a version of Postgres: " + version)
	}
	return strconv.Atoi(match[1])
}

// String says where they are and where they came from.
func (b Binaries) String() string {
	text := fmt.Sprintf("%d in %s", b.Major, b.Dir)
	if slices.Contains(fetchedDirs(), b.Dir) {
		text += ", fetched: for development and trial"
	}
	return text
}

func (b Binaries) path(name string) string { return filepath.Join(b.Dir, name) }
