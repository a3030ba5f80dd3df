package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/logtest"
	"github.com/salga-trust/engine/proof/monitor"
	"github.com/salga-trust/engine/proof/witness"
)

// witnessOf starts trust witness, and returns it as a log knows it.
func (s *site) witnessOf(name string, args ...string) (*running, witness.Endpoint) {
	s.t.Helper()
	r := s.start(append([]string{"witness", "--listen", "127.0.0.1:0", "--state", s.data(name)}, args...)...)
	said := regexp.MustCompile(`listens on (\S+);.*\n(\S+)\n(\S+)\n`)
	pgtest.Eventually(s.t, "the witness listens", func() bool { return said.MatchString(r.said.String()) || r.ended() })

	found := said.FindStringSubmatch(r.said.String())
	if found == nil {
		s.t.Fatalf("it says %s", r.said)
	}
	to := witness.Endpoint{Name: name, URL: "http://" + found[1]}
	for _, vkey := range found[2:] {
		key, err := proof.ParseKey(vkey)
		must(s.t, err)
		to.Keys = append(to.Keys, key)
	}
	return r, to
}

func TestWitnessNeedsNoDatabaseAndKeepsItsWord(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	must(t, os.Mkdir(s.data(""), 0o700))
	ask := func(to witness.Endpoint, log logtest.Tree) ([]witness.Cosignature, error) {
		prove := func(_ context.Context, older, _ uint64) ([]proof.Hash, error) { return log.From(t, int(older)), nil }
		return witness.NewClient(nil).AddCheckpoint(t.Context(), to, log.Signed(t), 0, prove)
	}
	logKeys := logtest.Signer(t, logtest.Origin).LogKeys()

	first, to := s.witnessOf("w", "--name", "witness.example/1", "--log", logKeys[0].Vkey(), "--log", logKeys[1].Vkey())
	given, err := ask(to, logtest.Grown(5, 5, ""))
	must(t, err)
	if len(given) != 2 {
		t.Errorf("%d cosignatures", len(given))
	}
	s.run("witness", "--state", s.data("w"), "--log", logKeys[0].Vkey()).
		expect(t, exit.CodeUnreachable, "another trust witness runs on")
	if code := first.stop(t, syscall.SIGKILL); code == 0 {
		t.Error("it was not killed")
	}

	policy := s.file("policy", "log "+logKeys[0].Vkey()+"\nquorum none\n")
	second, again := s.witnessOf("w", "--policy", policy)
	if again.Keys[0].Vkey() != to.Keys[0].Vkey() || again.Keys[1].Vkey() != to.Keys[1].Vkey() {
		t.Error("it has other keys at its second start")
	}
	_, err = ask(again, logtest.Grown(9, 2, "x"))
	if err == nil || !strings.Contains(err.Error(), "knows another tree") {
		t.Errorf("another tree: %v", err)
	}
	_, err = ask(again, logtest.Grown(9, 9, ""))
	must(t, err)
	if code := second.stop(t, syscall.SIGTERM); code != exit.CodeDone {
		t.Errorf("it ends with %d", code)
	}

	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no log":          {nil, "no log is named"},
		"no key":          {[]string{"--log", "salga"}, "--log: this is no verifier key"},
		"no policy":       {[]string{"--policy", s.file("broken", "log salga\n")}, "line 1"},
		"another name":    {[]string{"--name", "witness.example/2", "--policy", policy}, "is called"},
		"no name at all":  {[]string{"--state", s.data("new"), "--policy", policy}, "needs a name"},
		"an unfit name":   {[]string{"--state", s.data("new"), "--policy", policy, "--name", "a+b"}, "cannot name"},
		"an unknown flag": {[]string{"--database", "x"}, "--database"},
	} {
		t.Run(name, func(t *testing.T) {
			s.run(append([]string{"witness", "--state", s.data("w")}, c.args...)...).expect(t, exit.CodeUsage, c.want)
		})
	}
}

// A log that is watched: an honest one, then one that changed an event.
func TestLogWatch(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var shown atomic.Pointer[logtest.Tree]
	show := func(log logtest.Tree) { shown.Store(&log) }
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		log := *shown.Load()
		log.Serve(rw, r, "/log", log.Signed(t))
	}))
	t.Cleanup(server.Close)
	key := logtest.Signer(t, logtest.Origin).LogKeys()
	state, metrics := filepath.Join(s.dir, "state"), filepath.Join(s.dir, "log.prom")
	watch := func(args ...string) outcome {
		return s.run(append([]string{"log", "watch", server.URL, "--state", state, "--metrics", metrics}, args...)...)
	}
	metric := func(line string) {
		t.Helper()
		text, err := os.ReadFile(metrics)
		must(t, err)
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the metrics do not say %s:\n%s", line, text)
		}
	}

	show(logtest.Grown(300, 300, ""))
	watch().expect(t, exit.CodeUsage, "say whom to believe")
	watch("--key", "x").expect(t, exit.CodeUsage, "--key: this is no verifier key")
	stranger := logtest.Signer(t, "stranger.example").LogKeys()[0].Vkey()
	watch("--key", stranger).expect(t, exit.CodeNotSo, "none of the keys")
	watch("--key", key[0].Vkey(), "--key", key[1].Vkey()).
		expect(t, exit.CodeDone, "300 events, seen for the first time")

	show(logtest.Grown(400, 400, ""))
	watch().expect(t, exit.CodeDone, "400 events, which begin with the 300")
	watch("--max-age", "1h").expect(t, exit.CodeNotSo, "older than 1h")
	metric("trust_log_watch_consistent 1")
	metric("trust_log_watch_ok 0")
	metric("trust_log_watch_size 400")

	show(logtest.Grown(500, 123, "x"))
	for range 2 { // what did not pass is not what was seen
		watch().expect(t, exit.CodeNotSo, "the log was changed: it was seen with the root")
	}
	metric("trust_log_watch_consistent 0")
	text, err := os.ReadFile(state + ".fault")
	must(t, err)
	if signed, err := proof.Open(text, key...); err != nil || signed.Size != 500 {
		t.Errorf("the proof is not kept: %v", err)
	}
	watch("--metrics", filepath.Join(state, "none.prom")).expect(t, exit.CodeNotSo, "the log was changed")
	var said struct {
		Consistent bool
		Fault      string
		Size       uint64
		SeenBefore uint64 `json:"seen_before"`
	}
	must(t, json.Unmarshal([]byte(watch("--json").stdout), &said))
	if said.Consistent || said.Size != 500 || said.SeenBefore != 400 || !strings.Contains(said.Fault, "was changed") {
		t.Errorf("as JSON: %+v", said)
	}

	show(logtest.Grown(400, 400, ""))
	watch().expect(t, exit.CodeDone, "400 events")
	good, err := os.ReadFile(state)
	must(t, err)
	for name, bad := range map[string]string{
		"no checkpoint":  `{"policy": "quorum none\n"}`,
		"another size":   strings.Replace(string(good), `\n400\n`, `\n401\n`, 1),
		"another policy": strings.Replace(string(good), `quorum none`, `quorum some`, 1),
	} {
		must(t, os.WriteFile(state, []byte(bad), 0o600))
		if o := watch(); o.code != exit.CodeUsage || !strings.Contains(o.stderr, "put the right file back") {
			t.Errorf("%s: exit %d, %s", name, o.code, o.stderr)
		}
	}
	server.Close()
	must(t, os.Remove(state))
	watch("--key", key[0].Vkey()).expect(t, exit.CodeUnreachable, "does not answer")
	s.run("log", "watch", "trust.example", "--state", state, "--key", key[0].Vkey()).expect(t, exit.CodeUsage, "no URL")
}

// Two trees that the log signed prove what it did only together.
func TestBothTreesOfASplitViewAreKept(t *testing.T) {
	t.Parallel()
	watch := logWatchCmd{State: filepath.Join(t.TempDir(), "state")}
	shown, beside := logtest.Grown(9, 2, "x").Signed(t), logtest.Grown(9, 9, "").Signed(t)
	must(t, watch.keepFault(&monitor.FaultError{Shown: shown, Beside: beside}))
	for ending, want := range map[string][]byte{".fault": shown, ".fault.here": beside} {
		if text, err := os.ReadFile(watch.State + ending); err != nil || string(text) != string(want) {
			t.Errorf("%s: %q (%v)", ending, text, err)
		}
	}
}
