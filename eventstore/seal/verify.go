package seal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/proof"
)

// Beginner begins transactions: a connection or a pool in the role trust_projector.
type Beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// Verified counts what Verify checked.
type Verified struct {
	Events      int64
	Checkpoints int64 // of the database that the log begins with
	// Lost are those of all others: what they cover was lost, as the log itself says.
	Lost int64
}

// page is how many events Verify reads at once.
const page = 5000

// Verify hashes the whole log anew, on one snapshot, and compares it with every stored
// hash, with every checkpoint that was signed, and with those that are held elsewhere. It
// returns the first *Difference: without the events' codes it finds what has changed
// since it was sealed, and names the smallest range of events that it knows.
//
// progress, which may be nil, is called with how many of how many events are done.
func Verify(
	ctx context.Context, db Beginner, r *eventstore.Reader, progress func(done, total int64), held ...proof.Checkpoint,
) (Verified, error) {
	tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Verified{}, fmt.Errorf("verify: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()

	v := verifier{
		tx: tx, reader: r, held: held, lost: map[string]bool{},
		factory: compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren},
	}
	v.tree = v.factory.NewEmptyRange(0)
	if err := v.begin(ctx); err != nil {
		return Verified{}, err
	}

	for v.Events < v.head {
		if err := v.read(ctx, min(v.Events+page, v.head)); err != nil {
			return Verified{}, err
		}
		if progress != nil {
			progress(v.Events, v.head)
		}
	}
	return v.Verified, v.end(ctx)
}

// verifier holds the tree so far.
type verifier struct {
	Verified

	tx      pgx.Tx
	reader  *eventstore.Reader
	held    []proof.Checkpoint
	keys    map[string][]proof.Key // by origin
	forks   []eventstore.Forked
	factory compact.RangeFactory
	tree    *compact.Range

	head, sealed int64
	good         int64   // events up to here are those that were sealed or signed
	strays       []stray // checkpoints that an event may yet excuse
	lost         map[string]bool
	wrong        *Difference // a stored hash that does not fit; whose fault it is, a checkpoint tells
}

func (v *verifier) begin(ctx context.Context) (err error) {
	if v.head, err = eventstore.Head(ctx, v.tx); err != nil {
		return err
	}
	v.sealed, err = follow.Position(ctx, v.tx, Name)
	if backwards, is := errors.AsType[*follow.BackwardsError](err); is {
		return &Difference{What: backwards.Error()}
	}
	if err != nil {
		return err
	}

	if v.forks, err = v.reader.Forks(ctx, v.tx); err != nil {
		return err
	}
	all, err := AllKeys(ctx, v.tx)
	if err != nil {
		return err
	}
	v.keys = map[string][]proof.Key{}
	for _, of := range all {
		for _, verifier := range of.Verifiers {
			key, err := proof.ParseKey(verifier)
			if err != nil {
				return &Difference{What: "the keys of " + of.Origin + " were changed: " + err.Error()}
			}
			v.keys[of.Origin] = append(v.keys[of.Origin], key)
		}
	}
	return nil
}

// read checks the events up to a position.
func (v *verifier) read(ctx context.Context, upTo int64) error {
	signed, err := v.signedIn(ctx, v.Events, upTo)
	if err != nil {
		return err
	}
	hashes, err := v.storedIn(ctx, v.Events, upTo)
	if err != nil {
		return err
	}

	err = eventstore.EachStored(ctx, v.tx, v.Events, upTo, func(e eventstore.Stored) error {
		leaf, err := leafOf(e)
		if err != nil {
			return err
		}
		if err := v.add(leaf, hashes); err != nil {
			return err
		}
		for len(signed) > 0 && int64(signed[0].Size) == v.Events {
			if err := v.compare(signed[0]); err != nil {
				return err
			}
			signed = signed[1:]
		}
		return nil
	})
	if gap, is := errors.AsType[*eventstore.GapError](err); is {
		return &Difference{Position: gap.Want, What: "is missing from the log"}
	}
	if err != nil {
		return err
	}

	for _, s := range v.strays {
		if err := v.unlessLost(s.of, s.what); err != nil {
			return err
		}
	}
	v.strays = nil
	return nil
}

// place is where a stored hash is.
type place struct {
	level int
	index uint64
}

// storedIn returns the stored hashes that are complete with the events of a range.
func (v *verifier) storedIn(ctx context.Context, after, upTo int64) (map[place]proof.Hash, error) {
	const sql = `select level, index, hash from trust.log_hashes
		where ((index + 1) << (level * 8)) > $1 and index >= ($1 >> (level * 8)) and index < ($2 >> (level * 8))
			and level = any(array[1, 2, 3, 4, 5, 6, 7])`

	rows, err := v.tx.Query(ctx, sql, after, upTo)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	found := map[place]proof.Hash{}
	var level int
	var index int64
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&level, &index, &hash}, func() error {
		if len(hash) != len(proof.Hash{}) {
			return missing(level, index)
		}
		found[place{level, uint64(index)}] = proof.Hash(hash)
		return nil
	})
	return found, eventstore.Unavailable(err)
}

// add adds the next event's leaf, and compares the hashes that it completes.
func (v *verifier) add(leaf proof.Hash, hashes map[place]proof.Hash) (err error) {
	v.Events++
	grow := v.tree.Append(leaf[:], func(id compact.NodeID, hash []byte) {
		level := int(id.Level / proof.TileHeight)
		if level == 0 || id.Level%proof.TileHeight != 0 || v.Events > v.sealed || err != nil {
			return
		}

		have, there := hashes[place{level, id.Index}]
		switch {
		case !there:
			err = missing(level, int64(id.Index))
		case have == proof.Hash(hash):
			if v.wrong == nil {
				v.good = v.Events
			}
		case v.wrong == nil:
			v.wrong = &Difference{What: fmt.Sprintf(
				"hash %d of level %d of the tree is not that of the events", id.Index, level)}
		}
	})
	return errors.Join(err, grow)
}

// signed is a checkpoint that is compared with the log.
type signed struct {
	proof.Checkpoint

	here bool // in this database, not elsewhere
}

// signedIn returns the checkpoints that end in a range, smallest first: those that were
// signed here, once their signatures are proven, and those that are held elsewhere.
func (v *verifier) signedIn(ctx context.Context, after, upTo int64) ([]signed, error) {
	rows, err := v.tx.Query(ctx, selectSigned+"where size > $1 and size <= $2 order by size", after, upTo)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	stored, err := pgx.CollectRows(rows, scanSigned)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}

	var all []signed
	for _, s := range stored {
		opened, err := proof.Open([]byte(s.Note), v.keys[s.Origin]...)
		if err != nil || opened.Text() != s.Text() || len(opened.By) < 2 {
			return nil, &Difference{What: fmt.Sprintf(
				"checkpoint %d, of %d events, is not as it was signed", s.Number, s.Size)}
		}
		all = append(all, signed{s.Checkpoint, true})
	}
	for _, c := range v.held {
		if int64(c.Size) > after && int64(c.Size) <= upTo {
			all = append(all, signed{c, false})
		}
	}
	slices.SortStableFunc(all, func(a, b signed) int { return cmp.Compare(a.Size, b.Size) })
	return all, nil
}

// compare compares the tree so far with a checkpoint of as many events.
func (v *verifier) compare(c signed) error {
	root, err := v.tree.GetRootHash(nil)
	if err != nil {
		return err
	}
	if proof.Hash(root) == c.Root {
		if v.wrong != nil {
			v.wrong.What += ": it was changed, for the events are those that were signed"
			return v.wrong
		}
		v.good = v.Events
		if c.here {
			v.Checkpoints++
		}
		return v.afterLoss(c.Checkpoint)
	}

	what := fmt.Sprintf("the log does not fit the checkpoint of %d events: %s", c.Size, v.stray(v.Events))
	v.strays = append(v.strays, stray{c.Checkpoint, what})
	return nil
}

// afterLoss refuses a checkpoint that was signed under an origin after an event had said
// that events were lost under it. Otherwise that event would excuse any change: under one
// name there would be two logs.
func (v *verifier) afterLoss(c proof.Checkpoint) error {
	for _, f := range v.forks {
		if f.Origin == c.Origin && f.Position <= int64(c.Size) {
			return &Difference{Position: f.Position, What: fmt.Sprintf("says that events were lost under the origin "+
				"%s, and a checkpoint of %d events was signed under it all the same", c.Origin, c.Size)}
		}
	}
	return nil
}

// stray is a checkpoint that the log does not fit.
type stray struct {
	of   proof.Checkpoint
	what string
}

// unlessLost returns a difference from a checkpoint, unless an event says that what the
// checkpoint covers was lost.
func (v *verifier) unlessLost(c proof.Checkpoint, what string) error {
	if !names(v.forks, c) {
		return &Difference{What: what}
	}
	v.lost[c.Text()] = true
	v.Lost = int64(len(v.lost))
	return nil
}

func (v *verifier) stray(upTo int64) string {
	if upTo == v.good+1 {
		return fmt.Sprintf("event %d was changed, added or moved, or one before it removed", upTo)
	}
	return fmt.Sprintf("one of the events %d to %d was changed, added or moved, or one before them removed",
		v.good+1, upTo)
}

// end checks what is left when all events were read.
func (v *verifier) end(ctx context.Context) error {
	if v.wrong != nil {
		v.wrong.What += ": it was changed, or " + v.stray(v.Events)
		return v.wrong
	}

	for _, c := range v.held {
		if int64(c.Size) > v.head {
			what := fmt.Sprintf("the log ends at %d, and a checkpoint of %d events was published", v.head, c.Size)
			if err := v.unlessLost(c, what); err != nil {
				return err
			}
		}
	}

	beyond, err := v.signedIn(ctx, v.head, math.MaxInt64)
	if err != nil {
		return err
	}
	for _, c := range beyond {
		what := fmt.Sprintf("the log ends at %d, and a checkpoint of %d events was signed", v.head, c.Size)
		if err := v.unlessLost(c.Checkpoint, what); err != nil {
			return err
		}
	}
	return v.counts(ctx)
}

// counts finds checkpoints that are missing, and hashes of what was not sealed.
func (v *verifier) counts(ctx context.Context) error {
	const sql = `select coalesce((select max(number) - count(*) from trust.log_checkpoints), 0),
		exists (select from trust.log_hashes where ((index + 1) << (level * 8)) > $1)`

	var removed int64
	var beyond bool
	if err := v.tx.QueryRow(ctx, sql, v.sealed).Scan(&removed, &beyond); err != nil {
		return eventstore.Unavailable(err)
	}
	switch {
	case removed != 0:
		return &Difference{What: fmt.Sprintf("%d checkpoints were removed", removed)}
	case beyond:
		what := fmt.Sprintf("the tree holds hashes of events after %d, the last that was sealed", v.sealed)
		return &Difference{What: what}
	}
	return nil
}
