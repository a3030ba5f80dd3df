package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/proof"
)

// namedLog is a site whose log has two events and is named, and signed without delay.
func namedLog(t *testing.T) *site {
	t.Helper()
	s, _ := onDatabase(t)
	s = s.with("LOG_ORIGIN=log.example/1", "CHECKPOINT_EVERY=100ms")
	s.registers("A1", "A2")
	return s
}

// registers imports municipalities, one event for each.
func (s *site) registers(codes ...string) {
	s.t.Helper()
	text := "code,name,province\n"
	for _, code := range codes {
		text += code + ",Town " + code + ",Gauteng\n"
	}
	s.run("import", "municipalities", s.file(codes[0]+".csv", text)).expect(s.t, exit.CodeDone, "registered")
}

// signs runs the sealer until it has signed a checkpoint of an origin and a size, and
// returns that.
func (s *site) signs(origin string, size uint64) (note []byte) {
	s.t.Helper()
	conn, sealer := connect(s.t, s), s.start("project", "seal")
	pgtest.Eventually(s.t, "a checkpoint is signed", func() bool {
		newest, err := seal.Newest(s.t.Context(), conn)
		note = []byte(newest.Note)
		return err == nil && newest.Origin == origin && newest.Size == size || sealer.ended()
	})
	if code := sealer.stop(s.t, syscall.SIGTERM); code != exit.CodeDone {
		s.t.Fatalf("the sealer ends with %d", code)
	}

	if kept, err := os.ReadFile(s.data("checkpoint")); err != nil || string(kept) != string(note) {
		s.t.Errorf("kept outside is %s, %v", kept, err)
	}
	return note
}

// shownKeys returns the public keys that trust keys show prints, oldest first.
func (s *site) shownKeys() (keys []proof.Key) {
	s.t.Helper()
	o := s.run("keys", "show")
	o.expect(s.t, exit.CodeDone, "+")
	for line := range strings.Lines(o.stdout) {
		_, vkey, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		key, err := proof.ParseKey(vkey)
		must(s.t, err)
		keys = append(keys, key)
	}
	return keys
}

// A key that trust up keeps is replaced by a new one. What the old one signed is believed
// by those who hold its public keys, and by trust verify.
func TestKeysSignRotatesTheKeyAndOldCheckpointsStayBelieved(t *testing.T) {
	t.Parallel()
	s := namedLog(t)
	must(t, os.MkdirAll(s.data(""), 0o700))
	_, key, _ := strings.Cut(testSigning, "=")
	must(t, settings.Keep(s.data("env"), settings.Pair{Name: "LOG_SIGNING_KEY", Value: key}))
	s = s.with("LOG_SIGNING_KEY=")

	s.run("keys", "show").expect(t, exit.CodeNotSo, "nothing was signed yet")
	before := s.signs("log.example/1", 2)
	old := s.shownKeys()
	if _, err := proof.LogPolicy(old...).Open(before); err != nil || len(old) != 2 {
		t.Fatalf("%d keys: %v", len(old), err)
	}

	conn, running := connect(t, s), s.start("project", "seal")
	s.registers("A3")
	pgtest.Eventually(t, "it signs with the old key", func() bool {
		newest, err := seal.Newest(t.Context(), conn)
		return err == nil && newest.Size == 3
	})
	o := s.run("keys", "sign")
	o.expect(t, exit.CodeDone, "publish its public keys")
	changed := s.kept()["LOG_SIGNING_KEY"]
	if changed == key || strings.Contains(o.stdout+o.stderr, changed) {
		t.Error("it is the old key, or is shown")
	}
	s.registers("A4")
	pgtest.Receive(t, running.exited)
	if code := running.cmd.ProcessState.ExitCode(); code != exit.CodeUnreachable {
		t.Errorf("the process with the old key ends with %d", code)
	}

	after := s.signs("log.example/1", 4)
	all := s.shownKeys()
	if len(all) != 4 || all[0].Vkey() != old[0].Vkey() || all[1].Vkey() != old[1].Vkey() {
		t.Fatalf("%d keys", len(all))
	}
	for name, c := range map[string]struct {
		keys  []proof.Key
		note  []byte
		holds bool
	}{
		"the old checkpoint, old keys": {all[:2], before, true},
		"the old checkpoint, new keys": {all[2:], before, false},
		"the new checkpoint, new keys": {all[2:], after, true},
		"the new checkpoint, old keys": {all[:2], after, false},
	} {
		if _, err := proof.LogPolicy(c.keys...).Open(c.note); (err == nil) != c.holds {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.run("verify").expect(t, exit.CodeDone, "3 checkpoints equal to the log")
}

// Elsewhere the key comes from outside: the one that is set is made known, and no other
// signs.
func TestKeysSignMakesTheKeyKnownThatIsSet(t *testing.T) {
	t.Parallel()
	s := namedLog(t)
	s.run("keys", "sign").expect(t, exit.CodeDone, "nothing was signed yet")
	s.with("LOG_SIGNING_KEY=").run("keys", "sign").expect(t, exit.CodeUsage, "LOG_SIGNING_KEY is not set")
	s.signs("log.example/1", 2)

	seed := strings.Repeat("0123456789abcdef", 4)
	other := s.with("LOG_SIGNING_KEY=" + seed + "." + strings.Repeat("fedcba9876543210", 4))
	halted := other.start("project", "seal")
	pgtest.Eventually(t, "the sealer refuses another key", func() bool {
		return strings.Contains(halted.said.String(), "LOG_SIGNING_KEY is not the key that signed before")
	})
	halted.stop(t, syscall.SIGTERM)
	other.run("status").expect(t, exit.CodeNotSo, "make this one known with trust keys sign")

	for range 2 { // the second time there is nothing to do
		other.run("keys", "sign").expect(t, exit.CodeDone, "checkpoints are signed with LOG_SIGNING_KEY now")
	}
	if all := s.shownKeys(); len(all) != 4 {
		t.Errorf("%d keys", len(all))
	}
	s.registers("A3")
	other.signs("log.example/1", 3)
	if strings.Contains(halted.said.String(), seed) {
		t.Error("the log shows a seed")
	}
}
