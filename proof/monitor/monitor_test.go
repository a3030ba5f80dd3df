package monitor_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/logtest"
	"github.com/salga-trust/engine/proof/monitor"
	"github.com/salga-trust/engine/proof/witness"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shown is what a log shows at the moment.
type shown struct {
	tree       logtest.Tree
	checkpoint []byte
	spoil      func(rw http.ResponseWriter, r *http.Request) bool
}

// site is a log on a port.
type site struct {
	t      *testing.T
	url    string
	now    atomic.Pointer[shown]
	policy *proof.Policy
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, policy: proof.LogPolicy(logtest.Signer(t, logtest.Origin).LogKeys()...)}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		now := s.now.Load()
		if now.spoil == nil || !now.spoil(rw, r) {
			now.tree.Serve(rw, r, "/log", now.checkpoint)
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// show shows a tree, with the log's signatures and the given lines.
func (s *site) show(tree logtest.Tree, lines ...string) *site {
	s.t.Helper()
	s.now.Store(&shown{tree: tree, checkpoint: append(tree.Signed(s.t), strings.Join(lines, "")...)})
	return s
}

func (s *site) look(before []byte, change ...func(*monitor.Config)) (monitor.Seen, error) {
	s.t.Helper()
	config := monitor.Config{
		URL: s.url, Policy: s.policy, MaxAge: time.Hour,
		Now: func() time.Time { return logtest.Noon().Add(time.Minute) },
	}
	for _, c := range change {
		c(&config)
	}
	m, err := monitor.New(config)
	must(s.t, err)
	return m.Look(s.t.Context(), before)
}

// fault expects one.
func fault(t *testing.T, what string, err error, want string) {
	t.Helper()
	f, is := errors.AsType[*monitor.FaultError](err)
	if want == "" && err != nil || want != "" && (!is || !strings.Contains(f.Text, want)) {
		t.Errorf("%s: %v, not %q", what, err, want)
	}
}

func TestALogThatGrowsIsFollowed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var before []byte
	for _, size := range []int{0, 1, 1, 255, 256, 257, 600, 66_000} {
		seen, err := s.show(logtest.Grown(size, size, "")).look(before)
		fault(t, fmt.Sprint(size), err, "")
		if !seen.Consistent || seen.Size != uint64(size) || !seen.SignedAt.Equal(logtest.Noon()) {
			t.Errorf("size %d: %+v", size, seen)
		}
		before = seen.Signed
	}
}

func TestWhateverALogDoesToWhatItShowedIsNoticed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	honest := logtest.Grown(300, 300, "")
	seen, err := s.show(honest).look(nil)
	must(t, err)
	before := seen.Signed
	more := logtest.Grown(400, 400, "")
	other, err := logtest.Signer(t, "salga.example/2").Sign(proof.Checkpoint{
		Origin: "salga.example/2", Size: 400, Root: more.Checkpoint(t).Root,
	}, logtest.Noon())
	must(t, err)

	for name, c := range map[string]struct {
		tree logtest.Tree
		want string
	}{
		"the last event deleted":    {honest[:299], "went back"},
		"the last event changed":    {logtest.Grown(300, 299, "x"), "two trees of 300 events"},
		"one changed, others added": {logtest.Grown(400, 17, "x"), "was changed"},
		"one inserted in the past":  {append(logtest.Grown(1, 0, "x"), honest...), "was changed"},
		"deleted and renumbered":    {slices.Concat(honest[1:], logtest.Grown(9, 0, "x")), "was changed"},
		"two swapped":               {slices.Concat(logtest.Tree{honest[1], honest[0]}, more[2:]), "was changed"},
		"more added":                {more, ""},
	} {
		_, err := s.show(c.tree).look(before)
		fault(t, name, err, c.want)
	}

	longer := more
	tile := func(answer string, status int) func(http.ResponseWriter, *http.Request) bool {
		return func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/tile/") {
				return false
			}
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(answer))
			return true
		}
	}
	changed := strings.Replace(string(longer.Signed(t)), "\n400\n", "\n401\n", 1)
	for name, c := range map[string]struct {
		checkpoint []byte
		spoil      func(http.ResponseWriter, *http.Request) bool
		want       string
	}{
		"another's checkpoint":    {other, nil, "none of the keys"},
		"a changed checkpoint":    {[]byte(changed), nil, "is wrong"},
		"a tile that is not":      {longer.Signed(t), tile("", 404), "does not show tile/"},
		"a tile that is cut":      {longer.Signed(t), tile("short", 200), "bytes"},
		"a tile that was changed": {longer.Signed(t), tile(strings.Repeat("x", 8192), 200), "was changed"},
	} {
		s.now.Store(&shown{tree: longer, checkpoint: c.checkpoint, spoil: c.spoil})
		_, err := s.look(before)
		fault(t, name, err, c.want)
	}
	s.now.Store(&shown{tree: logtest.Grown(400, 3, "x"), checkpoint: longer.Signed(t)})
	_, err = s.look(nil)
	fault(t, "tiles of another tree, at first sight", err, "the tiles of")
}

func TestWhatCannotBeFoundOutIsNoFault(t *testing.T) {
	t.Parallel()
	s := newSite(t).show(logtest.Grown(300, 300, ""))
	answer := func(status int, text string) func(http.ResponseWriter, *http.Request) bool {
		return func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(text))
			return true
		}
	}
	for name, spoil := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"no log":   answer(404, "not found"),
		"a page":   answer(200, "<html>"),
		"an error": answer(503, ""),
		"too much": answer(200, strings.Repeat("x", 200<<10)),
		"cut off": func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("Content-Length", "9")
			return true
		},
		"tile fails": func(rw http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/tile/") && answer(500, "")(rw, r)
		},
	} {
		s.now.Store(&shown{tree: s.now.Load().tree, checkpoint: s.now.Load().tree.Signed(t), spoil: spoil})
		seen, err := s.look(nil)
		if _, is := errors.AsType[*monitor.FaultError](err); err == nil || is || seen.Consistent {
			t.Errorf("%s: %v", name, err)
		}
	}

	there := s.url
	s.now.Store(&shown{spoil: answer(200, "<html>")})
	for _, at := range []string{"127.0.0.1:1", strings.TrimPrefix(there, "http://")} {
		s.url = "http://user:hunter2@" + at
		if _, err := s.look(nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := monitor.New(monitor.Config{URL: "trust.example"}); err == nil {
		t.Error("a URL without a scheme is accepted")
	}
}

func TestAnOldCheckpointIsAFaultAndStillConsistent(t *testing.T) {
	t.Parallel()
	s := newSite(t).show(logtest.Grown(9, 9, ""))
	at := func(d time.Duration) func(*monitor.Config) {
		return func(c *monitor.Config) { c.Now = func() time.Time { return logtest.Noon().Add(d) } }
	}
	for d, want := range map[time.Duration]string{
		time.Hour: "", time.Hour + time.Second: "older than 1h0m0s", -time.Minute: "", -time.Hour: "not yet",
	} {
		seen, err := s.look(nil, at(d))
		fault(t, d.String(), err, want)
		if !seen.Consistent {
			t.Errorf("%s: age makes it inconsistent", d)
		}
	}

	s.policy = proof.LogPolicy(logtest.Signer(t, logtest.Origin).LogKeys()[0])
	_, err := s.look(nil)
	fault(t, "without a time", err, "not known")
	_, err = s.look(nil, func(c *monitor.Config) { c.MaxAge = 0 })
	fault(t, "without a time, if nobody asks for one", err, "")
}

// aWitness is one on a port, and the lines that it gives for a tree.
func aWitness(t *testing.T, name string, knows logtest.Tree) (w *witness.Witness, url string, lines string) {
	t.Helper()
	w, err := witness.Open(witness.Config{
		Folder: t.TempDir(), Name: name, Logs: logtest.Signer(t, logtest.Origin).LogKeys(), Now: logtest.Noon,
		Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	server := httptest.NewServer(w)
	t.Cleanup(func() { server.Close(); must(t, w.Close()) })

	to := witness.Endpoint{Name: name, URL: server.URL, Keys: w.Keys()}
	given, err := witness.NewClient(nil).AddCheckpoint(t.Context(), to, knows.Signed(t), 0, nil)
	must(t, err)
	for _, c := range given {
		lines += c.Line
	}
	return w, server.URL, lines
}

// A log shows one tree to us and to one witness, and another tree to a second witness.
func TestASplitViewIsFoundByAskingTheWitnesses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	honest := logtest.Grown(300, 300, "")
	one, atOne, byOne := aWitness(t, "one.example/w", honest)
	policy := func(other *witness.Witness, url string) {
		var err error
		s.policy, err = proof.ParsePolicy([]byte("log " + logtest.Signer(t, logtest.Origin).LogKeys()[1].Vkey() +
			"\nwitness A " + one.Keys()[0].Vkey() + " " + atOne + "\nwitness B " + other.Keys()[0].Vkey() + " " + url +
			"\ngroup either any A B\nquorum either\n"))
		must(t, err)
	}

	for name, c := range map[string]struct {
		knows logtest.Tree
		want  string
	}{
		"the same":              {honest, ""},
		"an earlier one":        {honest[:7], ""},
		"another of that size":  {logtest.Grown(300, 9, "x"), `"B" knows the root`},
		"an earlier other one":  {logtest.Grown(50, 9, "x"), `"B" knows the root`},
		"a later one, not ours": {logtest.Grown(400, 9, "x"), "does not show tile"},
	} {
		other, atOther, _ := aWitness(t, "other.example/w", c.knows)
		policy(other, atOther)
		seen, err := s.show(honest, byOne).look(nil)
		fault(t, name, err, c.want)
		f, is := errors.AsType[*monitor.FaultError](err)
		if is && (bytes.Equal(f.Shown, f.Beside) || !signedByTheLog(t, f.Shown) || !signedByTheLog(t, f.Beside)) {
			t.Errorf("%s: not both trees are kept: %q and %q", name, f.Shown, f.Beside)
		}
		if seen.Consistent != (c.want == "") || len(seen.Cosigned) != 1 || seen.Cosigned[0] != "A" {
			t.Errorf("%s: %+v", name, seen)
		}
	}
}

func signedByTheLog(t *testing.T, note []byte) bool {
	t.Helper()
	_, err := proof.Open(note, logtest.Signer(t, logtest.Origin).LogKeys()...)
	return err == nil
}

func TestTooFewCosignaturesAreAFaultOnceTheyHadTheirTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tree := logtest.Grown(9, 9, "")
	w, _, lines := aWitness(t, "one.example/w", tree)
	var err error
	s.policy, err = proof.ParsePolicy([]byte("log " + logtest.Signer(t, logtest.Origin).LogKeys()[0].Vkey() +
		"\nwitness A " + w.Keys()[0].Vkey() + " http://127.0.0.1:1\nquorum A\n"))
	must(t, err)

	seen, err := s.show(tree).look(nil)
	fault(t, "none", err, "quorum")
	if !seen.Consistent || len(seen.Silent) != 1 {
		t.Errorf("%+v", seen)
	}
	seen, err = s.show(tree, lines).look(nil)
	fault(t, "one", err, "")
	if len(seen.Cosigned) != 1 {
		t.Errorf("%+v", seen)
	}

	// They come while the monitor waits.
	asked := 0
	s.now.Store(&shown{tree: tree, spoil: func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/checkpoint") {
			return false
		}
		if asked++; asked == 1 {
			_, _ = rw.Write(tree.Signed(t))
		} else {
			_, _ = rw.Write(append(tree.Signed(t), lines...))
		}
		return true
	}})
	_, err = s.look(nil, func(c *monitor.Config) { c.Wait = time.Minute })
	fault(t, "one, a little later", err, "")
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}
