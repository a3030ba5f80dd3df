package seal

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/proof"
)

// Name is the sealer's name as a follower.
const Name = "seal"

// Sealer follows the log and stores the hashes of whole subtrees.
type Sealer struct {
	// refused says why the signer of this process signs nothing; nil: it does sign.
	refused atomic.Pointer[Refusal]
}

// Name implements follow.Follower.
func (*Sealer) Name() string { return Name }

// Kinds implements follow.Follower: every event has its leaf.
func (*Sealer) Kinds() []domain.StreamType { return nil }

// Unread implements follow.Unread: forged and disowned events are sealed as they are, and
// none needs to be opened for that.
func (*Sealer) Unread() {}

// Apply implements follow.Follower.
func (s *Sealer) Apply(ctx context.Context, tx follow.Tx, _ []domain.Recorded, upTo int64) error {
	if refusal := s.refused.Load(); refusal != nil {
		return &follow.PlainError{Text: refusal.Error(), Err: refusal}
	}

	after, err := follow.Position(ctx, tx, Name)
	if err == nil {
		err = grow(ctx, tx, after, upTo)
	}
	if d, is := errors.AsType[*Difference](err); is {
		return &follow.PlainError{Text: d.Error(), Err: d}
	}
	return err
}

// Restart makes the tree anew if the log went back behind what was sealed, in a
// transaction of the role trust_owner. What was signed stays.
func Restart(ctx context.Context, tx pgx.Tx) error {
	_, err := follow.Hold(ctx, tx, Name)
	if _, backwards := errors.AsType[*follow.BackwardsError](err); !backwards {
		return err
	}
	if _, err := tx.Exec(ctx, "delete from trust.log_hashes"); err != nil {
		return fmt.Errorf("make the tree anew: %w", err)
	}
	return follow.Advance(ctx, tx, Name, 0)
}

// grow stores the hashes that are complete with the events at the positions
// after < p ≤ upTo. Whatever is below was stored before.
func grow(ctx context.Context, tx pgx.Tx, after, upTo int64) error {
	tiles := tilesOf(ctx, tx)
	for level := 1; ; level++ {
		shift := proof.TileHeight * level
		from, to := after>>shift, upTo>>shift
		if from == to {
			return nil
		}

		hashes := make([][]byte, 0, to-from)
		for index := from; index < to; index++ {
			tile, err := tiles(level-1, uint64(index), proof.TileWidth)
			if err != nil {
				return err
			}
			hash, err := proof.TileRoot(tile)
			if err != nil {
				return err
			}
			hashes = append(hashes, hash[:])
		}

		const add = `insert into trust.log_hashes (level, index, hash)
			select $1, $2 + h.n - 1, h.hash from unnest($3::bytea[]) with ordinality h (hash, n)`
		if _, err := tx.Exec(ctx, add, level, from, hashes); err != nil {
			return fmt.Errorf("store hashes of the tree: %w", eventstore.Unavailable(err))
		}
	}
}
