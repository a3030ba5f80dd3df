//go:build far

package witness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/logtest"
)

// torchwoods builds the programs of filippo.io/torchwood that are tested against: a
// witness that is not ours, and what it needs.
func torchwoods(t *testing.T) (helper, litewitness string) {
	t.Helper()
	dir := t.TempDir()
	helper, litewitness = filepath.Join(dir, "helper"), filepath.Join(dir, "litewitness")
	for program, source := range map[string]string{helper: ".", litewitness: "filippo.io/torchwood/cmd/litewitness"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
		build.Dir = filepath.Join("testdata", "torchwood")
		if said, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", source, err, said)
		}
	}
	return helper, litewitness
}

// begin starts a program that ends with the test, and returns what it says on one of its
// outputs up to a match.
func begin(t *testing.T, cmd *exec.Cmd, out func(*exec.Cmd) (io.ReadCloser, error), until *regexp.Regexp) []string {
	t.Helper()
	said, err := out(cmd)
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})

	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if found := until.FindStringSubmatch(lines.Text()); found != nil {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return found
		}
	}
	t.Fatalf("%v ended", cmd.Args)
	return nil
}

// liteWitness starts torchwood's witness of our test log.
func liteWitness(t *testing.T) Endpoint {
	t.Helper()
	helper, program := torchwoods(t)
	dir, err := os.MkdirTemp("", "lite") // the path of a socket is short
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	socket, database := filepath.Join(dir, "agent"), filepath.Join(dir, "db")
	vkey := logtest.Signer(t, logtest.Origin).LogKeys()[0].Vkey()
	agent := exec.CommandContext(t.Context(), helper, "agent", socket, database, logtest.Origin, vkey)
	key := begin(t, agent, (*exec.Cmd).StdoutPipe, regexp.MustCompile(`^SHA256:\S+`))[0]

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	witness := exec.CommandContext(t.Context(), program, "-name", "lite.example/w", "-db", database,
		"-ssh-agent", socket, "-listen", address, "-key", key)
	found := begin(t, witness, (*exec.Cmd).StderrPipe, regexp.MustCompile(`vkey=(\S+)`))[1]

	public, err := proof.ParseKey(strings.Trim(found, `"`))
	must(t, err)
	to := Endpoint{Name: "lite", URL: "http://" + address, Keys: []proof.Key{public}}
	for { // it says that it listens a moment before it does
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			must(t, conn.Close())
			return to
		}
	}
}

func TestFarOurClientAndTorchwoodsWitness(t *testing.T) {
	t.Parallel()
	to := liteWitness(t)
	client := NewClient(nil)

	for _, size := range []int{5, 300, 300, 301, 70_000} {
		for _, old := range []uint64{0, 5, 299, 1 << 40} {
			log := logtest.Grown(size, size, "")
			given, err := client.AddCheckpoint(t.Context(), to, log.Signed(t), old, prover(t, log))
			if err != nil || len(given) != 1 {
				t.Fatalf("size %d, old %d: %d cosignatures, %v", size, old, len(given), err)
			}
		}
	}

	for name, log := range map[string]logtest.Tree{
		"another tree of that size": logtest.Grown(70_000, 17, "x"),
		"a later one":               logtest.Grown(70_001, 17, "x"),
		"one that went back":        logtest.Grown(300, 300, ""),
	} {
		_, err := client.AddCheckpoint(t.Context(), to, log.Signed(t), 0, prover(t, log))
		if split, is := errors.AsType[*SplitViewError](err); !is || split.Size != 70_000 {
			t.Errorf("%s: %v", name, err)
		}
	}

	stranger, err := logtest.Signer(t, "stranger.example").Sign(proof.Checkpoint{
		Origin: "stranger.example", Size: 1, Root: proof.Sum(nil),
	}, logtest.Noon())
	must(t, err)
	_, err = client.AddCheckpoint(t.Context(), to, stranger, 0, nil)
	if refused, is := errors.AsType[*StatusError](err); !is || refused.Status != http.StatusForbidden {
		t.Errorf("a log that it does not know: %v", err)
	}
}

func TestFarTorchwoodVerifiesWhatOurWitnessGives(t *testing.T) {
	t.Parallel()
	helper, _ := torchwoods(t)
	dir := t.TempDir()
	w := open(t, dir, "witness.example/w")
	log := logtest.Grown(300, 300, "")
	answer := post(w, since(t, log, 0))
	expect(t, answer, http.StatusOK, "")
	text, err := os.ReadFile(filepath.Join(dir, "key"))
	must(t, err)
	seed := regexp.MustCompile(`(?m)^ed25519 (\S+)$`).FindStringSubmatch(string(text))[1]

	verify := exec.CommandContext(t.Context(), helper, "verify", "witness.example/w", seed)
	verify.Stdin = strings.NewReader(string(log.Signed(t)) + answer.Body.String())
	said, err := verify.CombinedOutput()
	want := fmt.Sprintf("%s 300 %d\n", w.Keys()[0].Vkey(), logtest.Noon().Unix())
	if err != nil || string(said) != want {
		t.Errorf("torchwood says %q (%v), not %q", said, err, want)
	}
}
