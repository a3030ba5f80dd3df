package seal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/proof"
)

// View shows what was sealed to anybody: the newest checkpoint, tiles, proofs. It is safe
// for concurrent use. Every answer is of one snapshot.
type View struct {
	pool *pgxpool.Pool
	role string
}

// NewView returns a view on a pool that connects as trust_query. It reads the events of
// all tenants, as trust_audit, and nothing of them leaves it but hashes.
func NewView(pool *pgxpool.Pool) *View { return &View{pool: pool, role: "trust_audit"} }

// read runs a function on a snapshot of the database.
func (v *View) read(ctx context.Context, do func(tx pgx.Tx) error) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return eventstore.Unavailable(pgx.BeginTxFunc(ctx, v.pool, options, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local role "+v.role); err != nil {
			return err
		}
		return do(tx)
	}))
}

// Checkpoint returns the newest checkpoint, with its cosignatures. Error: ErrNone.
func (v *View) Checkpoint(ctx context.Context) (note []byte, err error) {
	err = v.read(ctx, func(tx pgx.Tx) error {
		newest, err := Newest(ctx, tx)
		if err != nil {
			return err
		}
		lines, err := Cosignatures(ctx, tx, newest.Number)
		note = []byte(newest.Note + strings.Join(lines, ""))
		return err
	})
	return note, err
}

// ErrNoTile says that the newest checkpoint covers no such tile.
var ErrNoTile = domain.Refuse(domain.CodeNotFound, "The newest checkpoint covers no such tile.")

// Tile returns the hashes of a tile as C2SP tlog-tiles does, if the newest checkpoint
// covers all of them. Error: ErrNoTile.
func (v *View) Tile(ctx context.Context, level int, index uint64, width int) (hashes []proof.Hash, err error) {
	err = v.read(ctx, func(tx pgx.Tx) error {
		newest, err := Newest(ctx, tx)
		if errors.Is(err, ErrNone) || err == nil && width > proof.Width(level, index, newest.Size) {
			return ErrNoTile
		}
		if err != nil {
			return err
		}

		hashes, err = tilesOf(ctx, tx)(level, index, width)
		return err
	})
	return hashes, err
}

// Inclusion returns the newest checkpoint and, for each of some positions, the proof that
// it covers the event there. Error: ErrNone, if it does not cover all of them.
func (v *View) Inclusion(ctx context.Context, positions ...int64) (signed Signed, paths [][]proof.Hash, err error) {
	err = v.read(ctx, func(tx pgx.Tx) error {
		if signed, err = Newest(ctx, tx); err != nil {
			return err
		}
		paths, err = Inclusion(ctx, tx, signed.Checkpoint, positions...)
		return err
	})
	return signed, paths, err
}

// Inclusion returns, for each of some positions, the proof that a checkpoint covers the
// event there. The role of the transaction sees all events. Errors: ErrNone for a
// position beyond it; *Difference if the log does not fit the checkpoint any more.
func Inclusion(ctx context.Context, tx pgx.Tx, c proof.Checkpoint, positions ...int64) ([][]proof.Hash, error) {
	tiles := once(tilesOf(ctx, tx))
	paths := make([][]proof.Hash, len(positions))
	for i, position := range positions {
		if position < 1 || uint64(position) > c.Size {
			return nil, ErrNone
		}

		index := uint64(position) - 1
		path, err := proof.InclusionProof(index, c.Size, tiles)
		if err != nil {
			return nil, err
		}
		leaf, err := tiles(0, index/proof.TileWidth, proof.Width(0, index/proof.TileWidth, c.Size))
		if err != nil {
			return nil, err
		}
		// So that nobody is handed a proof that proves nothing.
		err = proof.VerifyInclusion(leaf[index%proof.TileWidth], index, c.Size, path, c.Root)
		if err != nil {
			return nil, &Difference{Position: position, What: "is not what was sealed: " + err.Error()}
		}
		paths[i] = path
	}
	return paths, nil
}

// Consistency returns the proof that the tree of a size begins the one of a checkpoint.
func Consistency(ctx context.Context, tx pgx.Tx, older uint64, newer proof.Checkpoint) ([]proof.Hash, error) {
	path, err := proof.ConsistencyProof(older, newer.Size, tilesOf(ctx, tx))
	if err != nil {
		return nil, fmt.Errorf("prove that the log of %d events begins the one of %d: %w", older, newer.Size, err)
	}
	return path, nil
}

// Consistency returns the proof that the tree of a size begins the one of a checkpoint.
func (v *View) Consistency(
	ctx context.Context, older uint64, newer proof.Checkpoint,
) (path []proof.Hash, err error) {
	err = v.read(ctx, func(tx pgx.Tx) error {
		path, err = Consistency(ctx, tx, older, newer)
		return err
	})
	return path, err
}

// once reads each tile at most once.
func once(read proof.TileReader) proof.TileReader {
	type place struct {
		level int
		index uint64
		width int
	}
	known := map[place][]proof.Hash{}
	return func(level int, index uint64, width int) ([]proof.Hash, error) {
		at := place{level, index, width}
		if tile, is := known[at]; is {
			return tile, nil
		}
		tile, err := read(level, index, width)
		if err == nil {
			known[at] = tile
		}
		return tile, err
	}
}
