package proof_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/salga-trust/engine/proof"
)

// logProof proves a leaf in a log of 300.
func logProof(t testing.TB, index uint64) (proof.LogProof, *tree) {
	t.Helper()
	tr := newTree(t, 300)
	path, err := proof.InclusionProof(index, 300, tr.tile)
	if err != nil {
		t.Fatal(err)
	}
	root, err := proof.Root(300, tr.tile)
	if err != nil {
		t.Fatal(err)
	}
	signed := sign(t, signer(t, origin, 1), proof.Checkpoint{Origin: origin, Size: 300, Root: root})
	return proof.LogProof{Index: index, Path: path, Checkpoint: signed}, tr
}

func TestALogProofProvesItsLeafAndNoOther(t *testing.T) {
	t.Parallel()
	p, tr := logProof(t, 257)
	ours := proof.LogPolicy(signer(t, origin, 1).LogKeys()...)

	read, err := proof.ParseLogProof(p.Text())
	if err != nil {
		t.Fatal(err)
	}
	if believed, err := read.Verify(tr.leaves[257], ours); err != nil || believed.Size != 300 {
		t.Errorf("%+v (%v)", believed, err)
	}
	if _, err := read.Verify(tr.leaves[256], ours); err == nil || !strings.Contains(err.Error(),
		"257 is not in the log") {
		t.Errorf("another leaf: %v", err)
	}
	if _, err := read.Verify(tr.leaves[257], proof.LogPolicy(signer(t, origin, 2).LogKeys()...)); err == nil {
		t.Error("believed on a stranger's word")
	}
}

func TestALogProofIsReadStrictly(t *testing.T) {
	t.Parallel()
	p, _ := logProof(t, 257)
	good := string(p.Text())
	p.Extra = []byte("extra")
	if read, err := proof.ParseLogProof(p.Text()); err != nil || string(read.Extra) != "extra" {
		t.Errorf("extra data is read as %q (%v)", read.Extra, err)
	}

	for name, bad := range map[string]string{
		"nothing":           "",
		"another version":   strings.Replace(good, "@v1", "@v2", 1),
		"no index":          strings.Replace(good, "index 257\n", "", 1),
		"zeros":             strings.Replace(good, "index 257", "index 0257", 1),
		"beyond all trees":  strings.Replace(good, "index 257", "index 9223372036854775807", 1),
		"an empty extra":    strings.Replace(good, "index", "extra  \nindex", 1),
		"line ends of DOS":  strings.ReplaceAll(good, "\n", "\r\n"),
		"one DOS line end":  strings.Replace(good, "257\n", "257\r\n", 1),
		"no end":            strings.TrimSuffix(good, "\n"),
		"padding gone":      strings.Replace(good, "=\n", "\n", 1),
		"a line too long":   strings.Replace(good, "index", "extra "+strings.Repeat("A", 70_000)+"\nindex", 1),
		"large":             good + strings.Repeat("x", proof.MaxLogProof),
		"no path, no blank": "c2sp.org/tlog-proof@v1\nindex 0\n",
	} {
		if _, err := proof.ParseLogProof([]byte(bad)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// One bit changed: refused, or what is proven is the same.
func TestABitChangedInALogProofProvesNothingElse(t *testing.T) {
	t.Parallel()
	p, tr := logProof(t, 257)
	text := p.Text()
	ours := proof.LogPolicy(signer(t, origin, 1).LogKeys()...)

	rapid.Check(t, func(t *rapid.T) {
		changed := bytes.Clone(text)
		i := rapid.IntRange(0, len(text)*8-1).Draw(t, "bit")
		changed[i/8] ^= 1 << (i % 8)

		read, err := proof.ParseLogProof(changed)
		if err != nil {
			return
		}
		believed, err := read.Verify(tr.leaves[257], ours)
		if err == nil && (read.Index != 257 || believed.Size != 300 || believed.Origin != origin) {
			t.Errorf("bit %d: proves %d in %s", i, read.Index, believed.Text())
		}
	})
}

func FuzzParseLogProof(f *testing.F) {
	p, _ := logProof(f, 3)
	f.Add(p.Text())
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := proof.ParseLogProof(data)
		if err == nil && !bytes.Equal(read.Text(), data) {
			t.Errorf("%q is printed as %q", data, read.Text())
		}
	})
}
