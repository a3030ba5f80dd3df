package seal

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/proof"
)

// tilesOf reads tiles out of a database: those of level 0 are hashed from the events, so
// that an event that was changed shows itself, and the others are stored.
func tilesOf(ctx context.Context, db eventstore.Querier) proof.TileReader {
	return func(level int, index uint64, width int) ([]proof.Hash, error) {
		first := index * proof.TileWidth
		if level == 0 {
			return leaves(ctx, db, int64(first), int64(first)+int64(width))
		}
		return stored(ctx, db, level, int64(first), int64(first)+int64(width))
	}
}

// leaves returns the hashes of the events at the positions after < p ≤ upTo.
func leaves(ctx context.Context, db eventstore.Querier, after, upTo int64) ([]proof.Hash, error) {
	hashes := make([]proof.Hash, 0, upTo-after)
	err := eventstore.EachStored(ctx, db, after, upTo, func(e eventstore.Stored) error {
		hash, err := leafOf(e)
		hashes = append(hashes, hash)
		return err
	})
	if err != nil {
		return nil, err
	}
	return hashes, nil
}

// leafOf returns the hash of an event's leaf.
func leafOf(e eventstore.Stored) (proof.Hash, error) {
	hash, err := HeaderOf(e).Leaf()
	if err != nil {
		return hash, &Difference{Position: e.Position, What: "cannot be an event: " + err.Error()}
	}
	return hash, nil
}

// HeaderOf returns what the tree says of an event.
func HeaderOf(e eventstore.Stored) proof.Header {
	header := proof.Header{
		Position: e.Position, Tenant: e.Tenant, StreamType: e.StreamType, StreamID: e.StreamID, Version: e.Version,
		EventID: e.EventID, AppendID: e.AppendID, Ordinal: e.Ordinal, EventType: e.EventType,
		Subject: e.Subject, Record: e.Record, Actor: e.Actor, EffectiveAt: e.EffectiveAt, RecordedAt: e.RecordedAt,
		Payload: proof.Sum(e.Payload), Metadata: proof.Sum(e.Metadata),
	}
	if e.Sealed != nil {
		sealed := proof.Sum(e.Sealed)
		header.Sealed = &sealed
	}
	return header
}

// stored returns the stored hashes of a level with from ≤ index < to.
func stored(ctx context.Context, db eventstore.Querier, level int, from, to int64) ([]proof.Hash, error) {
	const sql = `select index, hash from trust.log_hashes where level = $1 and index >= $2 and index < $3
		order by index`

	rows, err := db.Query(ctx, sql, level, from, to)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}

	hashes := make([]proof.Hash, 0, to-from)
	var index int64
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&index, &hash}, func() error {
		if want := from + int64(len(hashes)); index != want || len(hash) != len(proof.Hash{}) {
			return missing(level, want)
		}
		hashes = append(hashes, proof.Hash(hash))
		return nil
	})
	if err == nil && int64(len(hashes)) < to-from {
		err = missing(level, from+int64(len(hashes)))
	}
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	return hashes, nil
}

// Difference is the first thing that does not fit the tree.
type Difference struct { //nolint:errname // a finding, and an error only because Verify returns it
	Position int64 // of the event; 0: it is about more than one, or none
	What     string
}

func (d *Difference) Error() string {
	if d.Position > 0 {
		return fmt.Sprintf("event %d: %s", d.Position, d.What)
	}
	return d.What
}

func missing(level int, index int64) error {
	return &Difference{What: fmt.Sprintf("hash %d of level %d of the tree is missing or is not a hash", index, level)}
}
