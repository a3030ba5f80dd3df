// Package logtest is a small log in memory, honest or not, for tests.
//
// Owns: nothing.
//
// Guarantees: the same arguments make the same log with the same keys.
//
// Fails how: it fails the test.
//
// Not here: the log of this program (eventstore/seal).
package logtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/proof"
)

// Origin is the name of the log.
const Origin = "salga.example/log"

// Noon is when it signs.
func Noon() time.Time { return time.Date(2024, 11, 28, 12, 0, 0, 0, time.UTC) }

// Signer is a log or a witness whose keys follow from its name.
func Signer(t testing.TB, name string) *proof.Signer {
	t.Helper()
	s, err := proof.NewSigner(name, proof.Seeds{
		Ed25519: proof.Sum([]byte("1" + name)), MLDSA44: proof.Sum([]byte("2" + name)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Tree is the leaves of a log.
type Tree []proof.Hash

// Grown returns a tree of so many leaves, whose leaves from fork on are those of another
// branch.
func Grown(size, fork int, branch string) Tree {
	leaves := make(Tree, size)
	for i := range leaves {
		text := fmt.Sprint(i)
		if i >= fork {
			text += branch
		}
		leaves[i] = proof.LeafHash([]byte(text))
	}
	return leaves
}

// Tile is a proof.TileReader.
func (l Tree) Tile(level int, index uint64, width int) ([]proof.Hash, error) {
	if width > proof.Width(level, index, uint64(len(l))) {
		return nil, fmt.Errorf("a tree of %d leaves has no such tile", len(l))
	}
	if level == 0 {
		return l[index*proof.TileWidth:][:width], nil
	}

	hashes := make([]proof.Hash, width)
	for i := range hashes {
		below, err := l.Tile(level-1, index*proof.TileWidth+uint64(i), proof.TileWidth)
		if err == nil {
			hashes[i], err = proof.TileRoot(below)
		}
		if err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// Checkpoint returns the checkpoint of the whole tree.
func (l Tree) Checkpoint(t testing.TB) proof.Checkpoint {
	t.Helper()
	root, err := proof.Root(uint64(len(l)), l.Tile)
	if err != nil {
		t.Fatal(err)
	}
	return proof.Checkpoint{Origin: Origin, Size: uint64(len(l)), Root: root}
}

// Signed returns that checkpoint with both of the log's signatures.
func (l Tree) Signed(t testing.TB) []byte {
	t.Helper()
	signed, err := Signer(t, Origin).Sign(l.Checkpoint(t), Noon())
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// From is the proof that the first leaves begin the tree; none where none is to be sent.
func (l Tree) From(t testing.TB, older int) []proof.Hash {
	t.Helper()
	if older == 0 || older >= len(l) {
		return nil
	}
	path, err := proof.ConsistencyProof(uint64(older), uint64(len(l)), l.Tile)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Begins reports whether a tree begins another one.
func (l Tree) Begins(longer Tree) bool {
	return len(l) <= len(longer) && slices.Equal(l, longer[:len(l)])
}

// Serve answers by C2SP tlog-tiles below a prefix, with a checkpoint that may be one of
// another tree.
func (l Tree) Serve(rw http.ResponseWriter, r *http.Request, prefix string, checkpoint []byte) {
	path := strings.TrimPrefix(r.URL.Path, prefix+"/")
	if path == "checkpoint" {
		_, _ = rw.Write(checkpoint)
		return
	}

	level, index, width, err := proof.ParseTilePath(path)
	if err == nil {
		var hashes []proof.Hash
		if hashes, err = l.Tile(level, index, width); err == nil {
			for _, hash := range hashes {
				_, _ = rw.Write(hash[:]) //nolint:gosec // hashes, and in tests alone
			}
			return
		}
	}
	http.NotFound(rw, r)
}
