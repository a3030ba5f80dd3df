package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/proof"
)

// bundleOfOne is the bundle of a log with one decision, a grant, and the log's policy.
func bundleOfOne(t *testing.T, wording string) (bundle, policy string) {
	t.Helper()
	payload := []byte(`{"consent_id":"019c0000-0000-7000-8000-0000000c0001","purpose":"newsletter","language":"en",` +
		`"notice_version":1,"wording":"To send you news."}`)
	sum := proof.Sum([]byte("To send you news."))
	payload = append(payload[:len(payload)-1], `,"sha256":"`+hexadecimal(sum[:])+`"}`...)

	end := []byte(`{"receipt_id":"019c0000-0000-7000-8000-000000001234",` +
		`"consent_id":"019c0000-0000-7000-8000-0000000c0001","stream_type":"consent",` +
		`"stream_id":"00000000-0000-0000-0000-000000000000","stream_version":1}`)

	at := time.Date(2026, 4, 1, 8, 0, 0, 0, time.UTC)
	h := proof.Header{
		Position: 1, StreamType: "consent", Version: 1, Ordinal: 1, EventType: "consent.granted.v1",
		EffectiveAt: at, RecordedAt: at, Payload: proof.Sum(payload),
	}
	stated := h
	stated.Position, stated.StreamType, stated.EventType, stated.Payload = 2, "proof", "proof.issued.v1", proof.Sum(end)
	leaf, err := h.Leaf()
	must(t, err)
	beside, err := stated.Leaf()
	must(t, err)
	leaves := []proof.Hash{leaf, beside}
	root, err := proof.Root(2, func(int, uint64, int) ([]proof.Hash, error) { return leaves, nil })
	must(t, err)

	signer, err := proof.NewSigner("trust.example.org/log", proof.Seeds{Ed25519: [32]byte{1}, MLDSA44: [32]byte{2}})
	must(t, err)
	signed, err := signer.Sign(proof.Checkpoint{Origin: signer.Name(), Size: 2, Root: root}, at)
	must(t, err)

	b := proof.Bundle{
		Stream:     []proof.Evidence{{Header: h, Payload: payload, Path: []proof.Hash{beside}}},
		StreamEnd:  proof.Evidence{Header: stated, Payload: end, Path: []proof.Hash{leaf}},
		Checkpoint: signed, Policy: proof.LogPolicy(signer.LogKeys()...),
	}
	b.Receipt, err = proof.NewReceipt(uuid.MustParse("019c0000-0000-7000-8000-000000001234"), at,
		uuid.MustParse("019c0000-0000-7000-8000-0000000c0001"), b.Stream, proof.Declared{})
	must(t, err)
	b.Stream[0].Payload = []byte(strings.Replace(string(payload), "To send you news.", wording, 1))

	file, err := signer.SignBundle(b)
	must(t, err)
	return string(file), b.Policy.Text()
}

func hexadecimal(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteByte("0123456789abcdef"[c>>4])
		s.WriteByte("0123456789abcdef"[c&15])
	}
	return s.String()
}

// On a machine with nothing but the binary and two files, and one of settings that is
// none of its business.
func TestAProofIsCheckedWithTheBinaryAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file(".env", "not a setting\n")
	good, policy := bundleOfOne(t, "To send you news.")
	changed, _ := bundleOfOne(t, "To sell you news.")
	file, by := s.file("bundle.json", good), s.file("policy", policy)

	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"proven":       {[]string{file, "--policy", by}, exit.CodeDone, "Proven.", ""},
		"in sentences": {[]string{file, "--policy", by}, exit.CodeDone, `agreed to the purpose "newsletter"`, ""},
		"honestly":     {[]string{file, "--policy", by}, exit.CodeDone, "no more events is not proven", ""},
		"by its own policy": {
			[]string{file},
			exit.CodeNotSo, "Not proven: the file agrees with itself",
			"its signer wrote the policy",
		},
		"one letter of the wording": {
			[]string{s.file("changed.json", changed), "--policy", by},
			exit.CodeNotSo, "",
			"not proven: the event at position 1 is not in the log",
		},
		"a byte of the file": {
			[]string{s.file("byte.json", strings.Replace(good, "purpose", "purpese", 1)), "--policy", by},
			exit.CodeUsage, "",
			"unreadable: this is no decision bundle",
		},
		"cut": {[]string{s.file("cut.json", good[:999]), "--policy", by}, exit.CodeUsage, "", "unreadable"},
		"100 MB": {
			[]string{s.file("large.json", strings.Repeat(" ", 100<<20))},
			exit.CodeUsage, "",
			"more than 16 MB",
		},
		"no file":      {[]string{"nowhere.json"}, exit.CodeUsage, "", "read the bundle"},
		"no policy":    {[]string{file, "--policy", "nowhere"}, exit.CodeUsage, "", "read the policy"},
		"a bad policy": {[]string{file, "--policy", file}, exit.CodeUsage, "", "the policy ends within a line"},
		"JSON":         {[]string{file, "--policy", by, "--json"}, exit.CodeDone, `"proven": true`, ""},
		"JSON, refused": {
			[]string{s.file("cut2.json", good[:99]), "--json"},
			exit.CodeUsage, `"unreadable": true`,
			"unreadable",
		},
	} {
		o := s.run(append([]string{"proof", "check"}, c.args...)...)
		if o.code != c.code || !strings.Contains(o.stdout, c.stdout) || !strings.Contains(o.stderr, c.stderr) {
			t.Errorf("%s: exit %d\n%s%s", name, o.code, o.stdout, o.stderr)
		}
		if strings.HasPrefix(name, "JSON") && !json.Valid([]byte(o.stdout)) {
			t.Errorf("%s: no JSON:\n%s", name, o.stdout)
		}
	}
}

// A stranger's text must not command the terminal of whoever checks it.
func TestWhatAStrangerWroteDoesNotReachTheTerminalRaw(t *testing.T) {
	t.Parallel()
	if got := printable("a\x1b[2J\u009bb\nä"); got != "a\ufffd[2J\ufffdb\nä" {
		t.Errorf("printed as %q", got)
	}
}
