package proof

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// Tiles are stacks of 8 levels of the tree, 256 hashes wide (C2SP tlog-tiles).
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
)

// TileReader returns the hashes of a tile, `width` or more of them. Level 0 are the
// leaves; index counts the tiles of a level.
type TileReader func(level int, index uint64, width int) ([]Hash, error)

// Width returns how many hashes a tile has in a tree of a size; 0: there is none.
func Width(level int, index, size uint64) int {
	hashes := uint64(0)
	if shift := TileHeight * level; shift < 64 {
		hashes = size >> shift
	}

	first := index * TileWidth
	if index >= 1<<(64-TileHeight) || first >= hashes {
		return 0
	}
	return int(min(hashes-first, TileWidth))
}

// EmptyRoot returns the root of the tree of no leaves.
func EmptyRoot() Hash { return Hash(rfc6962.DefaultHasher.EmptyRoot()) }

// TileRoot returns the hash of a full tile, which is one hash of the level above.
func TileRoot(tile []Hash) (Hash, error) {
	if len(tile) != TileWidth {
		return Hash{}, fmt.Errorf("a full tile has %d hashes, not %d", TileWidth, len(tile))
	}
	return fold(tile), nil
}

// fold returns the root of a whole subtree over 1, 2, 4 … hashes.
func fold(hashes []Hash) Hash {
	level := make([]Hash, len(hashes))
	copy(level, hashes)
	for len(level) > 1 {
		for i := range len(level) / 2 {
			level[i] = node(level[2*i], level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}

func node(left, right Hash) Hash { return Hash(rfc6962.DefaultHasher.HashChildren(left[:], right[:])) }

// Root returns the root of the tree of a size.
func Root(size uint64, tiles TileReader) (Hash, error) {
	if size == 0 {
		return EmptyRoot(), nil
	}
	if size > MaxSize {
		return Hash{}, errors.New("no tree is that large")
	}

	hashes, err := nodes(compact.RangeNodes(0, size, nil), size, tiles)
	if err != nil {
		return Hash{}, err
	}

	root := Hash(hashes[len(hashes)-1])
	for i := len(hashes) - 2; i >= 0; i-- {
		root = node(Hash(hashes[i]), root)
	}
	return root, nil
}

// InclusionProof proves that a leaf is in the tree of a size.
func InclusionProof(index, size uint64, tiles TileReader) ([]Hash, error) {
	if size > MaxSize {
		return nil, errors.New("no tree is that large")
	}
	wanted, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, err
	}
	return build(wanted, size, tiles)
}

// ConsistencyProof proves that the tree of the older size begins the tree of the newer
// one. Nothing is to be proven of the empty tree.
func ConsistencyProof(older, newer uint64, tiles TileReader) ([]Hash, error) {
	if newer > MaxSize {
		return nil, errors.New("no tree is that large")
	}
	wanted, err := proof.Consistency(older, newer)
	if err != nil {
		return nil, err
	}
	return build(wanted, newer, tiles)
}

func build(wanted proof.Nodes, size uint64, tiles TileReader) ([]Hash, error) {
	hashes, err := nodes(wanted.IDs, size, tiles)
	if err != nil {
		return nil, err
	}
	hashes, err = wanted.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		return nil, err
	}

	built := make([]Hash, len(hashes))
	for i, h := range hashes {
		built[i] = Hash(h)
	}
	return built, nil
}

// nodes reads the hashes of whole subtrees, each tile once.
func nodes(ids []compact.NodeID, size uint64, tiles TileReader) ([][]byte, error) {
	type place struct {
		level int
		index uint64
	}

	read := map[place][]Hash{}
	hashes := make([][]byte, len(ids))
	for i, id := range ids {
		height := id.Level % TileHeight // above the hashes of the tile
		first := id.Index << height
		at := place{int(id.Level / TileHeight), first / TileWidth}

		tile, known := read[at]
		if !known {
			width := Width(at.level, at.index, size)
			var err error
			if tile, err = tiles(at.level, at.index, width); err != nil {
				return nil, fmt.Errorf("read tile %s: %w", TilePath(at.level, at.index, width), err)
			}
			if len(tile) < width {
				return nil, fmt.Errorf("tile %s has only %d hashes", TilePath(at.level, at.index, width), len(tile))
			}
			read[at] = tile
		}

		in := first % TileWidth
		hash := fold(tile[in : in+1<<height])
		hashes[i] = hash[:]
	}
	return hashes, nil
}

// VerifyInclusion returns nil if the proof shows that the leaf has that index in the tree
// with that root.
func VerifyInclusion(leaf Hash, index, size uint64, path []Hash, root Hash) error {
	return sentence(proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], bytesOf(path), root[:]))
}

// VerifyConsistency returns nil if the proof shows that the older tree begins the newer
// one. Of the empty tree nothing can be shown.
func VerifyConsistency(older, newer uint64, path []Hash, olderRoot, newerRoot Hash) error {
	return sentence(proof.VerifyConsistency(rfc6962.DefaultHasher, older, newer, bytesOf(path),
		olderRoot[:], newerRoot[:]))
}

// sentence says on one line what the library prints as lists of numbers.
func sentence(err error) error {
	if mismatch, is := errors.AsType[proof.RootMismatchError](err); is {
		return fmt.Errorf("the proof leads to the root %x, not to %x", mismatch.CalculatedRoot, mismatch.ExpectedRoot)
	}
	return err
}

func bytesOf(path []Hash) [][]byte {
	all := make([][]byte, len(path))
	for i := range path {
		all[i] = path[i][:]
	}
	return all
}

// TilePath returns the path of a tile below the prefix of the log, such as
// "tile/1/x001/067.p/12".
func TilePath(level int, index uint64, width int) string {
	path := fmt.Sprintf("%03d", index%1000)
	for index /= 1000; index > 0; index /= 1000 {
		path = fmt.Sprintf("x%03d/%s", index%1000, path)
	}
	if width < TileWidth {
		path += ".p/" + strconv.Itoa(width)
	}
	return fmt.Sprintf("tile/%d/%s", level, path)
}

var errNoTile = errors.New("no path of a tile")

// ParseTilePath reads what TilePath returns, and nothing else.
func ParseTilePath(path string) (level int, index uint64, width int, err error) {
	rest, isTile := strings.CutPrefix(path, "tile/")
	first, rest, _ := strings.Cut(rest, "/")
	level, err = strconv.Atoi(first)
	if err != nil || !isTile || level < 0 || level > 63 {
		return 0, 0, 0, errNoTile
	}

	number, partial, isPartial := strings.Cut(rest, ".p/")
	width = TileWidth
	if isPartial {
		if width, err = strconv.Atoi(partial); err != nil || width < 1 || width >= TileWidth {
			return 0, 0, 0, errNoTile
		}
	}

	for digits := range strings.SplitSeq(number, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(digits, "x"), 10, 10)
		high, low := bits.Mul64(index, 1000)
		if err != nil || high > 0 || low+n < low {
			return 0, 0, 0, errNoTile
		}
		index = low + n
	}

	// One tile has one path: without superfluous zeros, signs or an x in the wrong place.
	if TilePath(level, index, width) != path {
		return 0, 0, 0, errNoTile
	}
	return level, index, width, nil
}
