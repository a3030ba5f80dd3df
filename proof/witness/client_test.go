package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/logtest"
)

// prover is an honest log's.
func prover(t testing.TB, l logtest.Tree) Prover {
	t.Helper()
	return func(_ context.Context, older, newer uint64) ([]proof.Hash, error) {
		if newer != uint64(len(l)) {
			return nil, fmt.Errorf("asked for a proof to %d", newer)
		}
		return l.From(t, int(older)), nil
	}
}

func TestAClientGetsCosignaturesWhateverSizeItBelievesTheWitnessToKnow(t *testing.T) {
	t.Parallel()
	to := serving(t, open(t, t.TempDir(), "witness.example/w"))
	client := NewClient(nil)

	for _, size := range []int{5, 300, 300, 301} {
		for _, old := range []uint64{0, 4, 5, 300, 999} {
			log := logtest.Grown(size, size, "")
			given, err := client.AddCheckpoint(t.Context(), to, log.Signed(t), old, prover(t, log))
			must(t, err)

			signed := log.Signed(t)
			for _, c := range given {
				signed = append(signed, c.Line...)
			}
			opened, err := proof.Open(signed, to.Keys...)
			must(t, err)
			if len(given) != 2 || len(opened.By) != 2 || !given[0].At.Equal(logtest.Noon()) {
				t.Errorf("size %d, old %d: %d cosignatures, of which %d verify", size, old, len(given), len(opened.By))
			}
		}
	}
}

// A log shows one tree to one witness and another to another: neither has a quorum, each
// witness refuses the other tree, and says what it knows.
func TestTwoTreesForTwoWitnessesAreRefusedAndShown(t *testing.T) {
	t.Parallel()
	one, other := open(t, t.TempDir(), "one.example/w"), open(t, t.TempDir(), "other.example/w")
	atOne, atOther := serving(t, one), serving(t, other)
	client := NewClient(nil)
	honest, forged := logtest.Grown(9, 9, ""), logtest.Grown(9, 4, "x")

	add := func(to Endpoint, log logtest.Tree, old uint64) ([]byte, error) {
		given, err := client.AddCheckpoint(t.Context(), to, log.Signed(t), old, prover(t, log))
		signed := log.Signed(t)
		for _, c := range given {
			signed = append(signed, c.Line...)
		}
		return signed, err
	}
	byOne, err := add(atOne, honest, 0)
	must(t, err)
	byOther, err := add(atOther, forged, 0)
	must(t, err)

	const both = "log %s\nwitness A %s\nwitness B %s\ngroup both all A B\nquorum both\n"
	policy, err := proof.ParsePolicy([]byte(fmt.Sprintf(both,
		logtest.Signer(t, logtest.Origin).LogKeys()[0].Vkey(), one.Keys()[0].Vkey(), other.Keys()[0].Vkey())))
	must(t, err)
	for _, signed := range [][]byte{byOne, byOther} {
		if _, err := policy.Open(signed); err == nil || !strings.Contains(err.Error(), "quorum") {
			t.Errorf("one of two trees is believed: %v", err)
		}
	}

	for name, c := range map[string]struct {
		to    Endpoint
		log   logtest.Tree
		knows logtest.Tree
	}{
		"the forged tree for the honest one": {atOne, forged, honest},
		"the honest tree for the forged one": {atOther, honest, forged},
		"a later forged tree":                {atOne, logtest.Grown(12, 4, "x"), honest},
		"an older forged tree":               {atOne, logtest.Grown(7, 4, "x"), honest},
	} {
		_, err := add(c.to, c.log, 0)
		split, is := errors.AsType[*SplitViewError](err)
		if !is {
			t.Errorf("%s: %v", name, err)
			continue
		}
		keys := append(logtest.Signer(t, logtest.Origin).LogKeys(), c.to.Keys...)
		theirs, err := proof.Open(split.Theirs, keys...)
		if err != nil || theirs.Root != c.knows.Checkpoint(t).Root || len(theirs.By) != 4 {
			t.Errorf("%s: the witness does not show what it knows: %v", name, err)
		}
		if want := fmt.Sprintf("its root is %x", theirs.Root); !strings.Contains(split.Error(), want) {
			t.Errorf("%s: %q does not say %q", name, split, want)
		}
	}

	// Both checkpoints of size 9 have the log's signature: whoever has them needs no
	// more.
	splits, err := one.folder.splits(logtest.Origin)
	must(t, err)
	if len(splits) != 1 {
		t.Fatalf("%d proofs are kept", len(splits))
	}
	text, err := os.ReadFile(splits[0])
	must(t, err)
	shown, err := proof.Open(text, logtest.Signer(t, logtest.Origin).LogKeys()...)
	must(t, err)
	if shown.Size != 9 || shown.Root != forged.Checkpoint(t).Root {
		t.Errorf("the proof is about another tree: %+v", shown.Checkpoint)
	}
	answer := httptest.NewRecorder()
	one.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
	expect(t, answer, http.StatusOK, "TWO TREES OF ONE SIZE (1 proofs")
}

func TestAWitnessThatMisbehavesIsNamedAndNotBelieved(t *testing.T) {
	t.Parallel()
	log := logtest.Grown(9, 9, "")
	other, none := logtest.Grown(9, 8, "x"), "no cosignature of it"
	cosign := func(name string, at time.Time, of logtest.Tree) string {
		lines, err := logtest.Signer(t, name).Cosign(of.Checkpoint(t), at)
		must(t, err)
		return string(lines)
	}
	say := func(status int, text string) func(http.ResponseWriter, *http.Request, string) {
		return func(rw http.ResponseWriter, r *http.Request, _ string) {
			if r.Method == http.MethodGet {
				status = http.StatusNotFound
			}
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(text))
		}
	}

	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, string)
		want   string
	}{
		"nothing":                   {say(200, ""), none},
		"a page":                    {say(200, "<html>\n"), none},
		"a stranger's cosignature":  {say(200, cosign("stranger.example", logtest.Noon(), log)), none},
		"that of another tree":      {say(200, cosign("witness.example/w", logtest.Noon(), other)), "is wrong"},
		"one without a time":        {say(200, cosign("witness.example/w", time.Unix(0, 0), log)), "does not say when"},
		"too much":                  {say(200, strings.Repeat("x", maxAnswer+1)), "more than"},
		"an error":                  {say(500, "out of order\nsecret"), `answered 500: "out of order"`},
		"it does not know the log":  {say(404, "unknown"), "answered 404"},
		"another key":               {say(403, "unknown key"), "answered 403"},
		"a conflict about nothing":  {say(409, "0\n"), "answered 409"},
		"a conflict without a size": {say(409, "more\n"), "answered 409"},
		"a refusal of no proof":     {say(422, "no"), "answered 422"},
		"a redirect": {func(rw http.ResponseWriter, r *http.Request, _ string) {
			http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "answered 307"},
		"always another size": {func(rw http.ResponseWriter, _ *http.Request, body string) {
			var old int
			_, _ = fmt.Sscanf(body, "old %d", &old)
			rw.WriteHeader(409)
			_, _ = fmt.Fprintf(rw, "%d\n", old%3+1)
		}, "another size each time"},
	} {
		to := answering(t, c.answer)
		given, err := NewClient(nil).AddCheckpoint(t.Context(), to, log.Signed(t), 0, prover(t, log))
		if err == nil || !strings.Contains(err.Error(), c.want) || given != nil {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
	}

	down := Endpoint{Name: "W", URL: "http://user:hunter2@127.0.0.1:1"}
	_, err := NewClient(nil).AddCheckpoint(t.Context(), down, log.Signed(t), 0, prover(t, log))
	if err == nil || !strings.Contains(err.Error(), "does not answer") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("one that is down: %v", err)
	}
}

func TestEndpointsOfAPolicy(t *testing.T) {
	t.Parallel()
	one, two := logtest.Signer(t, "one.example").WitnessKeys(), logtest.Signer(t, "two.example").WitnessKeys()
	policy, err := proof.ParsePolicy([]byte("witness A " + one[0].Vkey() + " https://one.example/w/\nwitness A2 " +
		one[1].Vkey() + " https://one.example/w\nwitness B " + two[0].Vkey() + "\nquorum none\n"))
	must(t, err)
	all, err := Endpoints(policy)
	must(t, err)
	if len(all) != 1 || all[0].URL != "https://one.example/w" || all[0].Name != "A" || len(all[0].Keys) != 2 {
		t.Errorf("%+v", all)
	}

	policy.Witnesses[2].URL = "ftp://two.example"
	if _, err := Endpoints(policy); err == nil || !strings.Contains(err.Error(), `"B"`) {
		t.Errorf("an address that is none: %v", err)
	}
}

// memory is a log that keeps its cosignatures in memory.
type memory struct {
	mu    sync.Mutex
	t     testing.TB
	trees []logtest.Tree // by number, from 1
	kept  map[string]uint64
	grew  chan struct{}
}

func (m *memory) grow(log logtest.Tree) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trees = append(m.trees, log)
}

func (m *memory) Newest(context.Context) (Published, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.trees) == 0 {
		return Published{}, false, nil
	}
	return Published{Number: int64(len(m.trees)), Signed: m.trees[len(m.trees)-1].Signed(m.t)}, true, nil
}

func (m *memory) Cosigned(_ context.Context, _ string, key proof.Key) (uint64, error) {
	return m.cosigned(key), nil
}

func (m *memory) cosigned(key proof.Key) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[key.Vkey()]
}

func (m *memory) Prove(_ context.Context, older uint64, newer proof.Checkpoint) ([]proof.Hash, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trees[len(m.trees)-1][:newer.Size].From(m.t, int(older)), nil
}

func (m *memory) Keep(_ context.Context, published Published, c Cosignature) error {
	opened, err := proof.Open(append(published.Signed[:len(published.Signed):len(published.Signed)], c.Line...), c.Key)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.kept[c.Key.Vkey()] = opened.Size
	m.mu.Unlock()
	m.grew <- struct{}{}
	return nil
}

func TestEveryWitnessIsAskedWhoeverIsDown(t *testing.T) {
	t.Parallel()
	log := &memory{t: t, kept: map[string]uint64{}, grew: make(chan struct{}, 100)}
	up := serving(t, open(t, t.TempDir(), "up.example/w"))
	down := Endpoint{Name: "down", URL: "http://127.0.0.1:1", Keys: logtest.Signer(t, "down.example").WitnessKeys()}
	var logged strings.Builder
	asker := &Asker{
		Log: log, Client: NewClient(nil), Every: time.Millisecond, Longest: time.Millisecond,
		Endpoints: []Endpoint{down, up},
		Logger:    slog.New(slog.NewTextHandler(&logged, nil)),
	}

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { asker.Run(ctx) })
	for _, size := range []int{3, 7, 260} {
		log.grow(logtest.Grown(size, size, ""))
		for log.cosigned(up.Keys[0]) != uint64(size) || log.cosigned(up.Keys[1]) != uint64(size) {
			<-log.grew
		}
	}
	stop()
	running.Wait()

	said := logged.String()
	if n := strings.Count(said, "witness=down"); n != 1 || !strings.Contains(said, "does not answer") {
		t.Errorf("that one is down is said %d times:\n%s", n, said)
	}
}

// A checkpoint that was cosigned for another process meanwhile is no split view.
func TestACheckpointThatBecameOldMeanwhileIsNoSplitView(t *testing.T) {
	t.Parallel()
	w := open(t, t.TempDir(), "witness.example/w")
	log := &memory{t: t, kept: map[string]uint64{}, grew: make(chan struct{}, 100)}
	log.grow(logtest.Grown(5, 5, ""))
	var once sync.Once
	to := answering(t, func(rw http.ResponseWriter, r *http.Request, body string) {
		once.Do(func() {
			log.grow(logtest.Grown(9, 9, ""))
			expect(t, post(w, since(t, logtest.Grown(9, 9, ""), 0)), http.StatusOK, "")
		})
		if r.Method == http.MethodPost {
			answer := post(w, []byte(body))
			rw.WriteHeader(answer.Code)
			_, _ = rw.Write(answer.Body.Bytes())
		}
	})
	to.Keys = w.Keys()

	asker := &Asker{Log: log, Client: NewClient(nil)}
	must(t, asker.Ask(t.Context(), to))
	if log.kept[w.Keys()[0].Vkey()] != 9 {
		t.Errorf("the newest is not cosigned: %v", log.kept)
	}

	log.trees = log.trees[:1] // the log went back
	log.kept = map[string]uint64{}
	if _, is := errors.AsType[*SplitViewError](asker.Ask(t.Context(), to)); !is {
		t.Error("a log that went back is not noticed")
	}
}
