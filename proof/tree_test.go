package proof_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/proof"
)

// The public vectors that the Merkle library carries: each is a proof, and whether it
// must be refused. They are read where the module is, so that they are those of the
// version we use.
func TestEveryPublicVectorIsJudgedAsItSays(t *testing.T) {
	t.Parallel()
	dir := moduleDir(t, "github.com/transparency-dev/merkle")

	inclusion := vectors(t, filepath.Join(dir, "testdata", "inclusion"), func(v vector) error {
		return proof.VerifyInclusion(hashOf("leaf", v.LeafHash), v.LeafIdx, v.TreeSize, v.path(), hashOf("root",
			v.Root))
	})
	consistency := vectors(t, filepath.Join(dir, "testdata", "consistency"), func(v vector) error {
		return proof.VerifyConsistency(v.Size1, v.Size2, v.path(), hashOf("root", v.Root1), hashOf("root", v.Root2))
	})

	if inclusion != 98 || consistency != 98 {
		t.Errorf("%d vectors of inclusion and %d of consistency, not 98 and 98", inclusion, consistency)
	}
}

// vector is a file of either kind.
type vector struct {
	LeafIdx  uint64   `json:"leafIdx"`
	TreeSize uint64   `json:"treeSize"`
	Root     []byte   `json:"root"`
	LeafHash []byte   `json:"leafHash"`
	Size1    uint64   `json:"size1"`
	Size2    uint64   `json:"size2"`
	Root1    []byte   `json:"root1"`
	Root2    []byte   `json:"root2"`
	Proof    [][]byte `json:"proof"`
	Desc     string   `json:"desc"`
	WantErr  bool     `json:"wantErr"`
}

// hashOf returns a hash as our functions take it. In a few vectors it has another length,
// which cannot be passed at all. The hash of its role and its bytes stands for it, so
// that of two roots what is equal stays equal, and what is wrong stays wrong.
func hashOf(role string, data []byte) proof.Hash {
	if len(data) != len(proof.Hash{}) {
		return proof.Sum(append([]byte(role), data...))
	}
	return proof.Hash(data)
}

func (v vector) path() (path []proof.Hash) {
	for _, h := range v.Proof {
		path = append(path, hashOf("path", h))
	}
	return path
}

func vectors(t *testing.T, dir string, judge func(vector) error) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}

		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var v vector
		if err := json.Unmarshal(data, &v); err != nil {
			return err
		}

		n++
		if got := judge(v); (got != nil) != v.WantErr {
			t.Errorf("%s (%s): got %v, refused must be %v", strings.TrimPrefix(path, dir), v.Desc, got, v.WantErr)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func moduleDir(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		t.Fatalf("where is %s? %v", path, err)
	}
	return strings.TrimSpace(string(out))
}

// tree is a log of leaves in memory, with the second opinion beside it.
type tree struct {
	leaves []proof.Hash
	stored []tlog.Hash
	full   map[string]proof.Hash // roots of tiles that were computed before
}

func newTree(t interface{ Fatal(...any) }, n int) *tree {
	tr := &tree{}
	for i := range n {
		leaf := proof.LeafHash([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		tr.leaves = append(tr.leaves, leaf)
		hashes, err := tlog.StoredHashesForRecordHash(int64(i), tlog.Hash(leaf), tr.second())
		if err != nil {
			t.Fatal(err)
		}
		tr.stored = append(tr.stored, hashes...)
	}
	return tr
}

func (tr *tree) second() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		for _, i := range indexes {
			hashes = append(hashes, tr.stored[i])
		}
		return hashes, nil
	})
}

// tile computes every tile from the leaves, as its definition says.
func (tr *tree) tile(level int, index uint64, width int) (hashes []proof.Hash, err error) {
	if level == 0 {
		first := index * proof.TileWidth
		return tr.leaves[first : first+uint64(width)], nil
	}
	for i := range uint64(width) {
		hash, err := tr.tileRoot(level-1, index*proof.TileWidth+i)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

func (tr *tree) tileRoot(level int, index uint64) (proof.Hash, error) {
	path := proof.TilePath(level, index, proof.TileWidth)
	if hash, known := tr.full[path]; known {
		return hash, nil
	}

	tile, err := tr.tile(level, index, proof.TileWidth)
	if err != nil {
		return proof.Hash{}, err
	}
	hash, err := proof.TileRoot(tile)
	if tr.full == nil {
		tr.full = map[string]proof.Hash{}
	}
	tr.full[path] = hash
	return hash, err
}

// Go's checksum database has its own code for the same tree: roots and proofs are the
// same, and each accepts what the other made.
func TestASecondImplementationAgreesOnRootsAndProofs(t *testing.T) {
	t.Parallel()
	tr := newTree(t, 70_000) // three levels of tiles

	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, int64(len(tr.leaves))).Draw(t, "size")
		if rapid.Bool().Draw(t, "at the edge of a tile") {
			size = max(1, min(size/256*256+rapid.Int64Range(-1, 1).Draw(t, "beside"), int64(len(tr.leaves))))
		}
		older := rapid.Int64Range(1, size).Draw(t, "older")
		index := rapid.Int64Range(0, size-1).Draw(t, "index")

		root := tr.root(t, size)
		ours, err := proof.InclusionProof(uint64(index), uint64(size), tr.tile)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := tlog.ProveRecord(size, index, tr.second())
		if err != nil {
			t.Fatal(err)
		}
		same(t, "inclusion", ours, theirs)
		if err := proof.VerifyInclusion(tr.leaves[index], uint64(index), uint64(size), ours, root); err != nil {
			t.Error(err)
		}

		ours, err = proof.ConsistencyProof(uint64(older), uint64(size), tr.tile)
		if err != nil {
			t.Fatal(err)
		}
		second, err := tlog.ProveTree(size, older, tr.second())
		if err != nil {
			t.Fatal(err)
		}
		same(t, "consistency", ours, second)
		if err := proof.VerifyConsistency(uint64(older), uint64(size), ours, tr.root(t, older), root); err != nil {
			t.Error(err)
		}
	})
}

func (tr *tree) root(t *rapid.T, size int64) proof.Hash {
	ours, err := proof.Root(uint64(size), tr.tile)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := tlog.TreeHash(size, tr.second())
	if err != nil {
		t.Fatal(err)
	}
	if ours != proof.Hash(theirs) {
		t.Fatalf("the root of %d leaves is %x here, and %x there", size, ours, theirs)
	}
	return ours
}

func same(t *rapid.T, what string, ours []proof.Hash, theirs []tlog.Hash) {
	if len(ours) != len(theirs) {
		t.Fatalf("%s: %d hashes here, %d there", what, len(ours), len(theirs))
	}
	for i := range ours {
		if ours[i] != proof.Hash(theirs[i]) {
			t.Fatalf("%s: hash %d differs", what, i)
		}
	}
}

// Whatever else is shown than the leaf at its index is refused, and so is a proof with a
// hash too many or too few, or one bit changed.
func TestAProofOfAnythingElseIsRefused(t *testing.T) {
	t.Parallel()
	tr := newTree(t, 1000)

	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint64Range(2, 1000).Draw(t, "size")
		index := rapid.Uint64Range(0, size-1).Draw(t, "index")
		root := tr.root(t, int64(size))
		path, err := proof.InclusionProof(index, size, tr.tile)
		if err != nil {
			t.Fatal(err)
		}

		leaf, at := tr.leaves[index], index
		switch rapid.IntRange(0, 4).Draw(t, "what") {
		case 0:
			leaf[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 1:
			at = (index + rapid.Uint64Range(1, size-1).Draw(t, "other")) % size
		case 2:
			path = path[:len(path)-1]
		case 3:
			path = append(path, proof.Hash{})
		case 4:
			path[rapid.IntRange(0, len(path)-1).Draw(t, "hash")][7] ^= 16
		}
		if proof.VerifyInclusion(leaf, at, size, path, root) == nil {
			t.Error("another leaf, index or path was accepted")
		}
	})
}

// The examples are those of the specification (C2SP tlog-tiles).
func TestTilesHaveTheWidthsAndPathsOfTheSpecification(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		level       int
		index, size uint64
		want        int
	}{
		{0, 272, 70_000, 256},
		{0, 273, 70_000, 112},
		{0, 274, 70_000, 0},
		{1, 0, 70_000, 256},
		{1, 1, 70_000, 17},
		{2, 0, 70_000, 1},
		{3, 0, 70_000, 0},
		{0, 0, 256, 256},
		{1, 0, 256, 1},
		{0, 1, 256, 0},
		{0, 1 << 56, 70_000, 0},
		{63, 0, 70_000, 0},
		{7, 0, proof.MaxSize, 127},
	} {
		if got := proof.Width(c.level, c.index, c.size); got != c.want {
			t.Errorf("tile %d/%d of %d leaves: width %d, not %d", c.level, c.index, c.size, got, c.want)
		}
	}

	for path, want := range map[string]struct {
		level int
		index uint64
		width int
	}{
		"tile/0/x001/x234/067":    {0, 1234067, 256},
		"tile/0/000.p/1":          {0, 0, 1},
		"tile/63/x001/000.p/255":  {63, 1000, 255},
		"tile/2/999":              {2, 999, 256},
		"tile/0/x001/x000/000":    {0, 1_000_000, 256},
		"tile/1/x001/x000/x000/5": {-1, 0, 0}, "tile/0/0": {-1, 0, 0}, "tile/00/000": {-1, 0, 0},
		"tile/64/000": {-1, 0, 0}, "tile/-1/000": {-1, 0, 0}, "tile/0/x000/001": {-1, 0, 0},
		"tile/0/001/001": {-1, 0, 0}, "tile/0/x001": {-1, 0, 0}, "tile/0/000.p/256": {-1, 0, 0},
		"tile/0/000.p/0": {-1, 0, 0}, "tile/0/000.p/01": {-1, 0, 0}, "tile/0/+01": {-1, 0, 0},
		"tile/0/": {-1, 0, 0}, "tile/0": {-1, 0, 0}, "": {-1, 0, 0}, "tile/0/1000": {-1, 0, 0},
		"tile/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/999": {-1, 0, 0},
		"file/0/000": {-1, 0, 0}, "tile/0/000.p/5.p/5": {-1, 0, 0}, "tile/0/000/": {-1, 0, 0},
	} {
		level, index, width, err := proof.ParseTilePath(path)
		if (err == nil) != (want.level >= 0) || err == nil && (level != want.level || index != want.index ||
			width != want.width) {
			t.Errorf("%q was read as %d, %d, %d (%v)", path, level, index, width, err)
		}
		if err == nil && proof.TilePath(level, index, width) != path {
			t.Errorf("%q is printed as %q", path, proof.TilePath(level, index, width))
		}
	}
}

func TestATreeCannotBeReadThatIsNotThere(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	fails := func(int, uint64, int) ([]proof.Hash, error) { return nil, broken }
	short := func(int, uint64, int) ([]proof.Hash, error) { return make([]proof.Hash, 1), nil }

	if _, err := proof.Root(5, fails); !errors.Is(err, broken) {
		t.Errorf("a root without tiles: %v", err)
	}
	if _, err := proof.InclusionProof(0, 5, short); err == nil {
		t.Error("a proof was built from a tile that is cut")
	}
	for name, err := range map[string]error{
		"a leaf beyond the tree":        second(proof.InclusionProof(5, 5, short)),
		"a tree too large":              second(proof.InclusionProof(5, proof.MaxSize+1, short)),
		"a root too large":              second(proof.Root(proof.MaxSize+1, short)),
		"a newer tree too large":        second(proof.ConsistencyProof(1, proof.MaxSize+1, short)),
		"a tree older than the newer":   second(proof.ConsistencyProof(6, 5, short)),
		"the empty tree":                second(proof.ConsistencyProof(0, 5, short)),
		"the hash of a tile of 255":     second(proof.TileRoot(make([]proof.Hash, 255))),
		"the empty tree as a beginning": proof.VerifyConsistency(0, 5, nil, proof.EmptyRoot(), proof.Hash{1}),
		"two roots of one size":         proof.VerifyConsistency(5, 5, nil, proof.Hash{1}, proof.Hash{2}),
		"a proof between one and itself": proof.VerifyConsistency(5, 5, make([]proof.Hash, 1), proof.Hash{},
			proof.Hash{}),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if root, err := proof.Root(0, fails); err != nil || root != proof.EmptyRoot() {
		t.Errorf("the root of nothing is %x (%v)", root, err)
	}
}

func second[T any](_ T, err error) error { return err }
