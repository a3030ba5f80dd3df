package http_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/logtest"
)

// fakeTree is a log in memory of 70 000 events, which has three levels of tiles. It fails
// with the store.
type fakeTree struct {
	store *fakeStore
	shown *atomic.Pointer[[]byte] // the newest checkpoint, empty: none; nil: that of the tree
}

func treeOfTests() logtest.Tree { return logtest.Grown(70_000, 70_000, "") }

func (f fakeTree) Checkpoint(context.Context) ([]byte, error) {
	if f.store != nil && f.store.failure() != nil {
		return nil, f.store.failure()
	}
	if f.shown != nil && f.shown.Load() != nil {
		if len(*f.shown.Load()) == 0 {
			return nil, domain.Refuse(domain.CodeNotFound, "No checkpoint has been signed yet.")
		}
		return *f.shown.Load(), nil
	}
	root := proof.Sum(nil) // nobody looks at it
	return fmt.Appendf(nil, "salga.example/log\n70000\n%s\n\n\u2014 salga.example/log AAAAAAA=\n",
		base64.StdEncoding.EncodeToString(root[:])), nil
}

func (f fakeTree) Tile(_ context.Context, level int, index uint64, width int) ([]proof.Hash, error) {
	if f.store != nil && f.store.failure() != nil {
		return nil, f.store.failure()
	}
	tree := treeOfTests()
	if width > proof.Width(level, index, uint64(len(tree))) {
		return nil, domain.Refuse(domain.CodeNotFound, "The newest checkpoint covers no such tile.")
	}
	return tree.Tile(level, index, width)
}

// tilesOverHTTP lets the client of Go's own checksum database read our tiles.
type tilesOverHTTP struct{ w *world }

func (tilesOverHTTP) Height() int { return proof.TileHeight }

func (o tilesOverHTTP) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range tiles {
		// Its addresses name the height of a tile, which is always the same here.
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", proof.TileHeight), "tile/", 1)
		read = append(read, []byte(o.w.send("GET", "/log/"+path, "").want(200).raw))
	}
	return read, nil
}

func (tilesOverHTTP) SaveTiles([]tlog.Tile, [][]byte) {}

func TestAPublishedClientReadsTheTilesAndFindsEveryLeaf(t *testing.T) {
	t.Parallel()
	w, tree := newWorld(t), treeOfTests()
	root := tlog.Hash(tree.Checkpoint(t).Root)
	size := int64(len(tree))
	hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tilesOverHTTP{w})

	for _, index := range []int64{0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, size - 1} {
		path, err := tlog.ProveRecord(size, index, hashes)
		must(t, err)
		must(t, tlog.CheckRecord(path, size, root, index, tlog.Hash(tree[index])))
	}

	for _, older := range []int64{1, 256, 65_536, size - 1} {
		path, err := tlog.ProveTree(size, older, hashes)
		must(t, err)
		must(t, tlog.CheckTree(path, size, root, older, tlog.Hash(tree[:older].Checkpoint(t).Root)))
	}
}

func TestTilesAreServedAsC2SPSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	checkpoint := w.send("GET", "/log/checkpoint", "").want(200)
	if got := checkpoint.header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("a checkpoint is %q", got)
	}
	if got := checkpoint.header.Get("Cache-Control"); got != "public, max-age=1" {
		t.Errorf("a checkpoint is cached: %q", got)
	}

	for path, hashes := range map[string]int{
		"0/000": 256, "0/273.p/112": 112, "0/273.p/1": 1, "1/000": 256, "2/000.p/1": 1,
	} {
		tile := w.send("GET", "/log/tile/"+path, "").want(200)
		if len(tile.raw) != hashes*32 || tile.header.Get("Content-Type") != "application/octet-stream" ||
			!strings.Contains(tile.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d bytes, %v", path, len(tile.raw), tile.header)
		}
	}

	for _, path := range []string{
		"", "0", "0/", "0/0", "0/00", "0/0000", "0/x000", "0/x000/000", "0/-01", "0/+01", "00/000", "64/000", "-1/000",
		"0/000.p", "0/000.p/", "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/000.p/1/", "0/000/", "x/000", "entries/000",
		"0/273", "0/273.p/113", "0/274", "3/000", "0/x999/x999/x999/x999/x999/x999/999",
		"0/000%2Ep/1x", "../checkpoint",
	} {
		w.send("GET", "/log/tile/"+path, "").wantProblem(404, domain.CodeNotFound)
	}
	w.send("POST", "/log/checkpoint", "").wantProblem(405, "method_not_allowed")
}
