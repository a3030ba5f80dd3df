package http

import (
	"context"
	"net/http"
	"strings"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/proof"
)

// Tree is what the server needs of the tree over the log. Package eventstore/seal
// implements it. It holds hashes alone, so it is open to everybody: witnesses and
// monitors are programs that anybody can run.
type Tree interface {
	// Checkpoint returns the newest signed checkpoint, with its cosignatures; not_found
	// before the first.
	Checkpoint(ctx context.Context) (note []byte, err error)
	// Tile returns the first hashes of a tile; not_found unless the newest checkpoint
	// covers all of them.
	Tile(ctx context.Context, level int, index uint64, width int) ([]proof.Hash, error)
}

const tilePrefix = "/log/tile/"

// logCheckpoint serves the newest checkpoint by C2SP tlog-checkpoint.
func (s *server) logCheckpoint() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note, err := s.config.Tree.Checkpoint(r.Context())
		if err != nil {
			s.problemOf(r.Context(), err, nil).write(w)
			return
		}

		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=1") // a new one follows within seconds
		_, _ = w.Write(note)
	})
}

// logTile serves a tile of hashes by C2SP tlog-tiles. A tile never changes, and neither
// does a part of one. But a log that lost its end grows another one at the same address,
// so caches forget within a day.
func (s *server) logTile() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		level, index, width, err := proof.ParseTilePath(strings.TrimPrefix(r.URL.Path, "/log/"))
		if err != nil {
			err = domain.Refuse(domain.CodeNotFound, "No tile has this address; see C2SP tlog-tiles.").Because(err)
			s.problemOf(r.Context(), err, nil).write(w)
			return
		}
		hashes, err := s.config.Tree.Tile(r.Context(), level, index, width)
		if err != nil {
			s.problemOf(r.Context(), err, nil).write(w)
			return
		}

		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Cache-Control", "public, max-age=86400, immutable")
		for _, hash := range hashes {
			_, _ = w.Write(hash[:]) //nolint:gosec // hashes, which no browser takes for a page
		}
	})
}
