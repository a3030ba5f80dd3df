package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/salga-trust/engine/internal/wholefile"
	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/logtest"
)

// Each status of the specification. The witness knows the tree of size 5.
func TestEveryStatus(t *testing.T) {
	t.Parallel()
	w := open(t, t.TempDir(), "witness.example/w")
	expect(t, post(w, since(t, logtest.Grown(5, 5, ""), 0)), http.StatusOK, "\u2014 witness.example/w ")

	known, next, fork := logtest.Grown(5, 5, ""), logtest.Grown(9, 9, ""), logtest.Grown(9, 3, "x")
	sign := func(s *proof.Signer, c proof.Checkpoint) string {
		signed, err := s.Sign(c, logtest.Noon())
		must(t, err)
		return string(signed)
	}
	body := func(head, checkpoint string) string { return head + "\n\n" + checkpoint }
	stranger := sign(logtest.Signer(t, "stranger.example"), proof.Checkpoint{Origin: "stranger.example", Size: 1})
	impostor := strings.ReplaceAll(sign(logtest.Signer(t, "salga.example/other"), proof.Checkpoint{
		Origin: "salga.example/other", Size: 9, Root: next.Checkpoint(t).Root,
	}), "salga.example/other", logtest.Origin)
	honest := string(since(t, next, 5))
	ends := strings.Index(honest, "=\n\u2014 ") - 4 // within the first signature
	flipped := honest[:ends] + map[bool]string{true: "B", false: "A"}[honest[ends] == 'A'] + honest[ends+1:]
	hash := strings.Split(honest, "\n")[1] + "\n"

	for name, c := range map[string]struct {
		body   string
		status int
		text   string
	}{
		"nothing":                       {"", 400, "no request"},
		"no empty line":                 {"old 5\n", 400, "no request"},
		"no old size":                   {body("new 5", string(next.Signed(t))), 400, "no request"},
		"an old size with a zero":       {body("old 05", string(next.Signed(t))), 400, "no request"},
		"an old size with a sign":       {body("old +5", string(next.Signed(t))), 400, "no request"},
		"an old size out of bounds":     {body("old 18446744073709551616", string(next.Signed(t))), 400, "no request"},
		"a line that is no hash":        {body("old 5\nAAAA", string(next.Signed(t))), 400, "no request"},
		"a return in a hash":            {strings.Replace(honest, hash, hash[:9]+"\r"+hash[9:], 1), 400, "no request"},
		"64 hashes":                     {body("old 5\n"+strings.Repeat(hash, 63)+hash[:44], ""), 400, "no request"},
		"no checkpoint":                 {body("old 5", "hello\n"), 400, "no signed checkpoint"},
		"a note, but no checkpoint":     {body("old 5", "a\nmany\n\n\u2014 a AAAAAAA=\n"), 400, "no checkpoint"},
		"an old size beyond":            {string(request{old: 10, checkpoint: next.Signed(t)}.encode()), 400, "larger"},
		"too much":                      {honest + strings.Repeat("x", maxRequest), 413, "not read"},
		"an unknown log":                {body("old 0", stranger), 404, "does not know the log"},
		"a key that is not the log's":   {body("old 5", impostor), 403, "none of the keys"},
		"a signature that is wrong":     {flipped, 403, "is wrong"},
		"an old size that is not known": {string(since(t, next, 4)), 409, "5\n"},
		"an old size of nothing":        {string(since(t, next, 0)), 409, "5\n"},
		"an older tree":                 {string(since(t, logtest.Grown(4, 4, ""), 4)), 409, "5\n"},
		"a proof of nothing":            {body("old 5", string(next.Signed(t))), 422, "does not hold"},
		"another tree":                  {string(since(t, fork, 5)), 422, "does not hold"},
		"a proof of what is known": {
			string(request{old: 5, path: next.From(t, 5), checkpoint: known.Signed(t)}.encode()),
			422, "nothing is to be proven",
		},
		"another tree of that size": {string(since(t, logtest.Grown(5, 4, "x"), 5)), 422, "another tree of this size"},
		"the same once more":        {string(since(t, known, 5)), 200, "\u2014 witness.example/w "},
	} {
		t.Run(name, func(t *testing.T) {
			answer := post(w, []byte(c.body))
			expect(t, answer, c.status, c.text)
			if conflict := answer.Header().Get("Content-Type") == "text/x.tlog.size"; conflict != (c.status == 409) {
				t.Errorf("the type of the answer is %q", answer.Header().Get("Content-Type"))
			}
		})
	}
	expect(t, post(w, []byte(honest)), http.StatusOK, "\u2014 witness.example/w ")
}

func TestTheEmptyTree(t *testing.T) {
	t.Parallel()
	w := open(t, t.TempDir(), "witness.example/w")
	empty := proof.Checkpoint{Origin: logtest.Origin, Root: proof.EmptyRoot()}
	sign := func(c proof.Checkpoint) []byte {
		signed, err := logtest.Signer(t, logtest.Origin).Sign(c, logtest.Noon())
		must(t, err)
		return request{checkpoint: signed}.encode()
	}

	expect(t, post(w, sign(proof.Checkpoint{Origin: logtest.Origin, Root: proof.Sum(nil)})), http.StatusOK, "\u2014 ")
	expect(t, post(w, sign(empty)), http.StatusOK, "\u2014 ")
	expect(t, post(w, sign(proof.Checkpoint{Origin: logtest.Origin})), http.StatusUnprocessableEntity, "another root")
	padded := request{path: []proof.Hash{{}}, checkpoint: logtest.Grown(2, 2, "").Signed(t)}
	expect(t, post(w, padded.encode()), http.StatusUnprocessableEntity, "nothing is to be proven")
	expect(t, post(w, since(t, logtest.Grown(2, 2, ""), 0)), http.StatusOK, "\u2014 ")
}

func TestCosignaturesVerifyAndMonitorsGetThem(t *testing.T) {
	t.Parallel()
	w := open(t, t.TempDir(), "witness.example/w")
	get := func(path string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		return answer
	}
	served := "/" + hashOf(logtest.Origin) + "/checkpoint"
	expect(t, get(served), http.StatusNotFound, "cosigned no checkpoint")
	expect(t, get("/"+hashOf("stranger.example")+"/checkpoint"), http.StatusNotFound, "cosigned no checkpoint")

	stranger := "\u2014 stranger.example AAAAAAAAAAA=\n"
	lines := post(w, append(since(t, logtest.Grown(7, 7, ""), 0), stranger...)).Body.String()

	keys := append(w.Keys(), logtest.Signer(t, logtest.Origin).LogKeys()...)
	text := logtest.Grown(7, 7, "").Checkpoint(t).Text()
	for _, signed := range []string{text + "\n" + lines, get(served).Body.String()} {
		opened, err := proof.Open([]byte(signed), keys...)
		must(t, err)
		for _, key := range w.Keys() {
			if by, is := opened.SignedBy(key); !is || !by.At.Equal(logtest.Noon()) || opened.Size != 7 {
				t.Errorf("%s has not cosigned it at noon: %+v", key.Algorithm(), by)
			}
		}
		if strings.Contains(signed, "stranger") {
			t.Error("it vouches for a stranger's line")
		}
	}
	opened, err := proof.Open(get(served).Body.Bytes(), keys...)
	must(t, err)
	if len(opened.By) != 4 {
		t.Errorf("monitors see %d signatures, not both of log and witness", len(opened.By))
	}

	expect(t, get("/"), http.StatusOK, w.Keys()[0].Vkey())
	expect(t, get("/"), http.StatusOK, logtest.Origin+": cosigned up to size 7")
	expect(t, get("/add-checkpoint"), http.StatusMethodNotAllowed, "")
}

// The requests of litewitness's own tests (filippo.io/torchwood v0.6.1,
// cmd/litewitness/testdata/litewitness.txt), and its answers. Of the third, which is
// about an unknown log, litewitness says 403 and the specification 404.
func TestTheVectorsOfTorchwood(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "litewitness.txt"))
	must(t, err)
	key, err := proof.ParseKey(strings.Fields(string(text))[0])
	must(t, err)
	w, err := Open(Config{
		Folder: t.TempDir(), Name: "example.com/witness", Logs: []proof.Key{key}, Now: logtest.Noon,
		Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	defer w.Close()

	statuses := []int{200, 403, 404, 422, 422, 200, 409, 200, 409}
	requests := strings.Split(string(text), "==\n")[1:]
	if len(requests) != len(statuses) {
		t.Fatalf("%d requests", len(requests))
	}
	for i, body := range requests {
		answer := post(w, []byte(body))
		if answer.Code != statuses[i] {
			t.Errorf("request %d: %d %s, not %d", i+1, answer.Code, answer.Body, statuses[i])
		}
		if known := answer.Body.String(); answer.Code == 409 && known != map[int]string{6: "3\n", 8: "5\n"}[i] {
			t.Errorf("request %d: the known size is %q", i+1, known)
		}
	}
}

func TestAFolderIsHeldByOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, "witness.example/w")
	if _, err := Open(Config{Folder: dir}); !errors.Is(err, ErrHeld) {
		t.Errorf("a second one: %v", err)
	}
	must(t, w.Close())
	again := open(t, dir, "")
	if again.Keys()[0].Vkey() != w.Keys()[0].Vkey() || again.Keys()[1].Vkey() != w.Keys()[1].Vkey() {
		t.Error("it has other keys at its second start")
	}
	info, err := os.Stat(filepath.Join(dir, "key"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the key: %s", info.Mode())
	}
}

func TestAHalfSetFolderIsRefused(t *testing.T) {
	t.Parallel()
	change := func(name, old, next string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			path := filepath.Join(dir, name)
			text, err := os.ReadFile(path)
			must(t, err)
			changed := strings.Replace(string(text), old, next, 1)
			if changed == string(text) {
				t.Fatalf("%s has no %q", name, old)
			}
			must(t, os.WriteFile(path, []byte(changed), 0o600))
		}
	}
	remove := func(t *testing.T, dir string) {
		t.Helper()
		must(t, os.Remove(filepath.Join(dir, "key")))
	}
	kept := hashOf(logtest.Origin) + checkpointEnding
	const notOurs = "not a checkpoint that this witness cosigned"

	for name, c := range map[string]struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"another name":                 {"witness.example/2", nil, "is called"},
		"a key was lost":               {"", remove, "no key that cosigned"},
		"one of two keys":              {"", change("key", "ed25519 ", "#"), "no whole line ed25519"},
		"half a key":                   {"", change("key", "ml-dsa-44 ", "ml-dsa-44 AA"), "no whole line ml-dsa-44"},
		"no name":                      {"", change("key", "name ", "# "), "no line name"},
		"two names":                    {"", change("key", "name ", "name a\nname "), "two lines"},
		"a line of another":            {"", change("key", "name ", "p-256 AAAA\nname "), "foreign lines"},
		"another key":                  {"", change("key", "example/w", "example/2"), notOurs},
		"a changed checkpoint":         {"", change(kept, "\n5\n", "\n4\n"), notOurs},
		"a checkpoint that is no note": {"", change(kept, "\n\n", "\n"), "is not a checkpoint"},
		"another log's": {"", func(t *testing.T, dir string) {
			t.Helper()
			must(t, os.Rename(filepath.Join(dir, kept), filepath.Join(dir, hashOf("a")+checkpointEnding)))
		}, "not of the log that its name says"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := open(t, dir, "witness.example/w")
			expect(t, post(w, since(t, logtest.Grown(5, 5, ""), 0)), http.StatusOK, "")
			must(t, w.Close())
			if c.spoil != nil {
				c.spoil(t, dir)
			}

			_, err := Open(Config{Folder: dir, Name: c.name})
			if refused, is := errors.AsType[*KeyError](err); !is || !strings.Contains(refused.Error(), c.want) {
				t.Errorf("%v, not %q", err, c.want)
			}
		})
	}

	if _, err := Open(Config{Folder: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "needs a name") {
		t.Errorf("a new one without a name: %v", err)
	}
	if _, err := Open(Config{Folder: t.TempDir(), Name: "two words"}); err == nil {
		t.Error("a name of two words is accepted")
	}
}

// A write that failed may have happened all the same: what is on disk counts, whoever
// else was told of it.
func TestAFailedWriteIsNotCosignedAndMayHaveHappened(t *testing.T) {
	t.Parallel()
	w := open(t, t.TempDir(), "witness.example/w")
	expect(t, post(w, since(t, logtest.Grown(5, 5, ""), 0)), http.StatusOK, "")
	full := errors.New("no space left")

	w.folder.write = func(string, string) error { return full }
	expect(t, post(w, since(t, logtest.Grown(9, 9, ""), 5)), http.StatusInternalServerError, "cannot keep")
	expect(t, post(w, since(t, logtest.Grown(9, 9, ""), 4)), http.StatusConflict, "5\n")

	w.folder.write = func(path, text string) error { return errors.Join(wholefile.Write(path, text), full) }
	expect(t, post(w, since(t, logtest.Grown(9, 9, ""), 5)), http.StatusInternalServerError, "cannot keep")

	w.folder.write = wholefile.Write
	expect(t, post(w, since(t, logtest.Grown(8, 5, "x"), 5)), http.StatusConflict, "9\n")
	expect(t, post(w, since(t, logtest.Grown(9, 9, ""), 9)), http.StatusOK, "\u2014 ")
}

// serveAndDie serves a witness whose process is killed once a checkpoint is on disk.
func serveAndDie(dir string) {
	w, err := Open(Config{Folder: dir, Logs: keysFromFile(dir), Now: logtest.Noon, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	w.folder.write = func(path, text string) error {
		if err := wholefile.Write(path, text); err != nil {
			return err
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}

	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	panic(http.Serve(listener, w))
}

func keysFromFile(dir string) []proof.Key {
	text, err := os.ReadFile(filepath.Join(dir, "logs"))
	if err != nil {
		panic(err)
	}
	var keys []proof.Key
	for vkey := range strings.FieldsSeq(string(text)) {
		key, err := proof.ParseKey(vkey)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func TestAWitnessKilledBeforeItAnswersKnowsWhatItWasAboutToSay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, "witness.example/w")
	expect(t, post(w, since(t, logtest.Grown(5, 5, ""), 0)), http.StatusOK, "")
	must(t, w.Close())
	vkeys := logtest.Signer(t, logtest.Origin).LogKeys()
	must(t, os.WriteFile(filepath.Join(dir, "logs"), []byte(vkeys[0].Vkey()+"\n"+vkeys[1].Vkey()), 0o600))

	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), dying+"="+dir)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	var address string
	_, err = fmt.Fscanln(out, &address)
	must(t, err)

	to := Endpoint{Name: "W", URL: "http://" + address, Keys: w.Keys()}
	prove := func(context.Context, uint64, uint64) ([]proof.Hash, error) {
		return logtest.Grown(9, 9, "").From(t, 5), nil
	}
	_, err = NewClient(nil).AddCheckpoint(t.Context(), to, logtest.Grown(9, 9, "").Signed(t), 5, prove)
	if err == nil {
		t.Error("a killed witness answered")
	}
	_ = child.Wait()
	if status, is := child.ProcessState.Sys().(syscall.WaitStatus); !is || status.Signal() != syscall.SIGKILL {
		t.Errorf("it was not killed: %v", child.ProcessState)
	}

	again := open(t, dir, "")
	expect(t, post(again, since(t, logtest.Grown(8, 5, "x"), 5)), http.StatusConflict, "9\n")
	expect(t, post(again, since(t, logtest.Grown(9, 5, "x"), 9)), http.StatusUnprocessableEntity, "another tree")
	expect(t, post(again, since(t, logtest.Grown(9, 9, ""), 9)), http.StatusOK, "\u2014 ")
}

// cosigned are the trees that a witness vouched for.
type cosigned struct {
	mu    sync.Mutex
	trees []logtest.Tree
}

// check adds a tree, and fails if it is not in one line with all others.
func (c *cosigned) check(t rapid.TB, next logtest.Tree) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.trees {
		if !other.Begins(next) && !next.Begins(other) {
			t.Fatalf("it cosigned trees of sizes %d and %d, of which neither begins the other", len(other), len(next))
		}
	}
	c.trees = append(c.trees, next)
}

// Whatever is asked in whatever order, with writes that fail, or seem to, and restarts
// in between.
func TestNoTwoTreesAreEverCosigned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rounds, vouched := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		rounds++
		home := filepath.Join(dir, fmt.Sprint(rounds))
		w := open(t, home, "witness.example/w")
		defer func() { must(t, w.Close()) }()
		var seen cosigned

		for range rapid.IntRange(1, 12).Draw(rt, "requests") {
			switch rapid.IntRange(0, 9).Draw(rt, "fault") {
			case 0:
				w.folder.write = func(string, string) error { return errors.New("full") }
			case 1:
				w.folder.write = func(path, text string) error {
					return errors.Join(os.WriteFile(path, []byte(text), 0o600), errors.New("perhaps full"))
				}
			case 2:
				must(t, w.Close())
				w = open(t, home, "")
				fallthrough
			default:
				w.folder.write = func(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
			}

			size := rapid.IntRange(0, 9).Draw(rt, "size")
			branch := rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "branch")
			next := logtest.Grown(size, rapid.IntRange(0, 9).Draw(rt, "fork"), branch)
			older := min(size, rapid.IntRange(0, 9).Draw(rt, "old"))
			if states, err := w.States(); err == nil && rapid.Bool().Draw(rt, "knows") {
				older = min(size, int(states[0].Size))
			}
			body := since(t, next, older)
			if post(w, body).Code == http.StatusOK {
				seen.check(rt, next)
				vouched++
			}
		}
	})
	if vouched < rounds {
		t.Errorf("it cosigned only %d times in %d rounds: that proves nothing", vouched, rounds)
	}
}

func TestManyAtOnceAreCosignedInOneLine(t *testing.T) {
	t.Parallel()
	w := open(t, t.TempDir(), "witness.example/w")
	var seen cosigned

	var asking sync.WaitGroup
	for i := range 8 {
		asking.Go(func() {
			known := 0
			for size := 1 + i; size < 40; size += 5 {
				next := logtest.Grown(size, 5+i, fmt.Sprint(i%3))
				known = min(known, size)
				for range 4 {
					answer := post(w, since(t, next, known))
					if answer.Code == http.StatusOK {
						seen.check(t, next)
						break
					}
					if _, err := fmt.Sscan(answer.Body.String(), &known); err != nil || known > size {
						break
					}
				}
			}
		})
	}
	asking.Wait()

	if len(seen.trees) < 2 {
		t.Errorf("only %d were cosigned: that proves nothing", len(seen.trees))
	}
}
