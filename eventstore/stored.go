package eventstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Stored is an event exactly as its row holds it: nothing of it is believed, decoded or
// opened. Its bytes are valid only until the next row is read.
type Stored struct {
	Position    int64
	Tenant      uuid.UUID
	StreamType  string
	StreamID    uuid.UUID
	Version     int32
	EventID     uuid.UUID
	AppendID    uuid.UUID
	Ordinal     int16
	EventType   string
	Subject     uuid.NullUUID
	Record      uuid.UUID
	Actor       uuid.NullUUID
	Payload     []byte
	Sealed      []byte // nil: null
	Metadata    []byte
	EffectiveAt time.Time
	RecordedAt  time.Time
}

// asStored are the columns of Stored, in the order in which storedOf reads them.
const asStored = identity + ", payload, sealed, metadata" + times

// EachStored passes the rows at the positions after < p ≤ upTo to a function, in order,
// forged and disowned ones too. Error: *GapError, unless every position is there.
func EachStored(ctx context.Context, db Querier, after, upTo int64, each func(Stored) error) error {
	rows, err := db.Query(ctx, "select "+asStored+inRange, after, upTo)
	if err != nil {
		return Unavailable(err)
	}
	defer rows.Close()

	next := after + 1
	for ; rows.Next(); next++ {
		if next == after+1 {
			if err := inBinary(rows); err != nil {
				return err
			}
		}

		stored := storedOf(rows)
		if stored.Position != next {
			return &GapError{Want: next, Got: stored.Position}
		}
		if err := each(stored); err != nil {
			return err
		}
	}

	if err := rows.Err(); err != nil {
		return Unavailable(err)
	}
	if next <= upTo {
		return &GapError{Want: next}
	}
	return nil
}

// StoredAt returns the rows at some positions as they stand there, forged and disowned
// ones too, in the order of the positions. Error: *GapError, unless all are there.
func StoredAt(ctx context.Context, db Querier, positions ...int64) ([]Stored, error) {
	const sql = "select " + asStored + " from trust.events where position = any($1)"
	rows, err := db.Query(ctx, sql, positions)
	if err != nil {
		return nil, Unavailable(err)
	}
	defer rows.Close()

	found := make(map[int64]Stored, len(positions))
	for rows.Next() {
		if len(found) == 0 {
			if err := inBinary(rows); err != nil {
				return nil, err
			}
		}
		stored := storedOf(rows)
		stored.Payload, stored.Metadata = bytes.Clone(stored.Payload), bytes.Clone(stored.Metadata)
		stored.Sealed = bytes.Clone(stored.Sealed)
		found[stored.Position] = stored
	}
	if err := rows.Err(); err != nil {
		return nil, Unavailable(err)
	}

	all := make([]Stored, len(positions))
	for i, position := range positions {
		stored, there := found[position]
		if !there {
			return nil, &GapError{Want: position}
		}
		all[i] = stored
	}
	return all, nil
}

// storedOf reads a row from its binary form, as scan does.
func storedOf(rows pgx.Rows) Stored {
	v := rows.RawValues()
	return Stored{
		Position: int64(binary.BigEndian.Uint64(v[0])), Tenant: id(v[1]),
		StreamType: string(v[2]), StreamID: id(v[3]), Version: int32(binary.BigEndian.Uint32(v[4])),
		EventID: id(v[5]), AppendID: id(v[6]), Ordinal: int16(binary.BigEndian.Uint16(v[7])),
		EventType: string(v[8]), Subject: maybeID(v[9]), Record: id(v[10]), Actor: maybeID(v[11]),
		Payload: v[12], Sealed: v[13], Metadata: v[14], EffectiveAt: instant(v[15]), RecordedAt: instant(v[16]),
	}
}

func maybeID(v []byte) uuid.NullUUID { return uuid.NullUUID{UUID: id(v), Valid: v != nil} }
