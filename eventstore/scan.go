package eventstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/salga-trust/engine/domain"
)

// columns of trust.events, in the order that scan reads them.
const (
	columns  = identity + ", payload, sealed, metadata" + times + theCode
	identity = `position, tenant_id, stream_type, stream_id, version, event_id, append_id, ordinal, event_type,
	subject_id, record_id, actor_id`
	times = ", effective_at, recorded_at"
	// theCode looks in trust.codes only for an event that was appended without a code.
	// Its column names are such that position means the event's.
	theCode = ", coalesce(code, (select c.older from trust.codes c (at, older) where c.at = position)) as code"
	// columnsOfKinds leaves out the long columns of events whose kind of stream is not
	// among $3.
	columnsOfKinds = identity + `, case when stream_type = any($3) then payload else '{}' end,
	case when stream_type = any($3) then sealed end,
	case when stream_type = any($3) then metadata else '{}' end` + times + theCode
)

// row is a row of trust.events: everything but the content of the payload and the sealed
// parts.
type row struct {
	domain.Recorded
	eventType string
	payload   []byte
	sealed    []byte
	metadata  []byte
	code      []byte       // nil: none
	zeroID    bool         // the zero id stands where null should
	void      *domain.Void // see vault.check
}

var errTextFormat = errors.New("events must be read in the binary format")

// inBinary makes sure that rows are in the binary format, which scan reads. Text and json
// are the same in both formats.
func inBinary(rows pgx.Rows) error {
	for _, f := range rows.FieldDescriptions() {
		if f.Format != pgx.BinaryFormatCode && f.DataTypeOID != pgtype.JSONOID && f.DataTypeOID != pgtype.TextOID {
			return errTextFormat
		}
	}
	return nil
}

// scan reads a row from its binary form. Decoding by hand lets a projector read as fast
// as the database delivers.
func scan(v [][]byte) (r row) {
	r.Position = int64(binary.BigEndian.Uint64(v[0]))
	r.Tenant = domain.TenantID{UUID: id(v[1])}
	r.Stream = domain.Stream{Type: domain.StreamType(v[2]), ID: id(v[3])}
	r.Version = int(int32(binary.BigEndian.Uint32(v[4])))
	r.EventID, r.AppendID = id(v[5]), id(v[6])
	r.Ordinal = int(int16(binary.BigEndian.Uint16(v[7])))
	r.eventType = string(v[8])
	r.Subject, r.Record, r.Actor = domain.UserID{UUID: id(v[9])}, id(v[10]), domain.UserID{UUID: id(v[11])}
	r.zeroID = v[9] != nil && r.Subject.IsZero() || v[11] != nil && r.Actor.IsZero()

	// RawValues are valid only until the next row: one copy holds all four.
	kept := make([]byte, 0, len(v[12])+len(v[13])+len(v[14])+len(v[17]))
	kept = append(append(append(append(kept, v[12]...), v[13]...), v[14]...), v[17]...)
	a, b, c := len(v[12]), len(v[12])+len(v[13]), len(v[12])+len(v[13])+len(v[14])
	r.payload, r.metadata = kept[:a], kept[b:c]
	if v[13] != nil {
		r.sealed = kept[a:b]
	}
	if v[17] != nil {
		r.code = kept[c:]
	}

	r.EffectiveAt, r.RecordedAt = instant(v[15]), instant(v[16])
	return r
}

func id(v []byte) (u uuid.UUID) {
	copy(u[:], v) // null stays the zero id
	return u
}

// instant reads a timestamptz: microseconds since 2000-01-01.
func instant(v []byte) time.Time {
	const from1970 = 946_684_800_000_000
	return time.UnixMicro(int64(binary.BigEndian.Uint64(v)) + from1970).UTC()
}

// collect reads all rows.
func collect(rows pgx.Rows, err error) ([]row, error) { return collectN(0, rows, err) }

// collectN reads all rows, of which about so many are expected.
func collectN(about int64, rows pgx.Rows, err error) ([]row, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()

	all := make([]row, 0, about)
	for rows.Next() {
		if len(all) == 0 {
			if err := inBinary(rows); err != nil {
				return nil, err
			}
		}
		all = append(all, scan(rows.RawValues()))
	}
	return all, rows.Err()
}

// opener opens one kind of part of a row's sealed column, or says why it stays closed.
type opener func(r *row, kind byte) (plain []byte, state domain.PersonalState, err error)

// decode turns a row into the recorded event.
func (r *row) decode(subject, origin opener) (domain.Recorded, error) {
	if r.void != nil {
		r.Event, r.EffectiveAt = r.void, r.RecordedAt
		return r.Recorded, nil
	}

	open := func() ([]byte, domain.PersonalState, error) { return subject(r, subjectPart) }
	event, err := domain.Decode(r.eventType, r.payload, open)
	if err != nil {
		return domain.Recorded{}, undecodable(r.Position, err)
	}
	if !r.effective(event) {
		return domain.Recorded{}, damaged(&ForgedError{Position: r.Position, EventID: r.EventID, What: notEffective})
	}
	if err := json.Unmarshal(r.metadata, &r.Metadata); err != nil {
		return domain.Recorded{}, fmt.Errorf("metadata at position %d: %w", r.Position, err)
	}

	r.Event = event
	plain, state, err := origin(r, originPart)
	if r.Origin.SetState(state); err == nil && state == domain.Open {
		err = r.Origin.SetBytes(plain)
	}
	if err != nil {
		return domain.Recorded{}, fmt.Errorf("origin at position %d: %w", r.Position, err)
	}
	return r.Recorded, nil
}

// decodeAll decodes checked rows with the same openers, using all cores if there are
// many.
func decodeAll(rows []row, subject, origin opener) ([]domain.Recorded, error) {
	events := make([]domain.Recorded, len(rows))
	err := inParts(len(rows), func(i int) (err error) {
		events[i], err = rows[i].decode(subject, origin)
		return err
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// inParts calls do for each of n rows, in parts that share the cores, and returns the
// first error in the rows' order.
func inParts(n int, do func(i int) error) error {
	const worthSharing = 256
	part := func(from, to int) (err error) {
		for i := from; i < to && err == nil; i++ {
			err = do(i)
		}
		return err
	}

	parts := min(runtime.GOMAXPROCS(0), max(n/worthSharing, 1))
	errs := make([]error, parts)
	var working sync.WaitGroup
	for p := range parts {
		from, to := p*n/parts, (p+1)*n/parts
		if p == parts-1 {
			errs[p] = part(from, to)
			break
		}
		working.Go(func() { errs[p] = part(from, to) })
	}
	working.Wait()

	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// withhold opens nothing.
func withhold(r *row, kind byte) ([]byte, domain.PersonalState, error) {
	if _, found, err := findPart(r.sealed, kind); !found {
		return nil, domain.Absent, err
	}
	return nil, domain.Withheld, nil
}

// openWith opens with the given keys. A part whose key is not among them stays withheld.
func openWith(keys map[uuid.UUID]foundKey) opener {
	return func(r *row, kind byte) ([]byte, domain.PersonalState, error) { return r.open(kind, keys) }
}

// withheld decodes checked rows without opening anything.
func withheld(rows []row) ([]domain.Recorded, error) { return decodeAll(rows, withhold, withhold) }

func (r *row) open(kind byte, keys map[uuid.UUID]foundKey) ([]byte, domain.PersonalState, error) {
	p, found, err := findPart(r.sealed, kind)
	if err != nil || !found {
		return nil, domain.Absent, err
	}

	key := keys[p.key]
	switch {
	case key.destroyed:
		return nil, domain.Erased, nil
	case !key.usable:
		return nil, domain.Withheld, nil
	default:
		at := bindingOf(r.Tenant, r.EventID, r.eventType, r.payload)
		plain, err := key.box.open(p.ciphertext, at.additional(kind, p.key))
		return plain, domain.Open, err
	}
}

// keysOf lists the keys that the given kinds of parts of some rows name.
func keysOf(rows []row, kinds ...byte) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	seen := map[uuid.UUID]bool{}
	for _, r := range rows {
		if r.void != nil {
			continue
		}

		for _, kind := range kinds {
			p, found, err := findPart(r.sealed, kind)
			if err != nil {
				return nil, fmt.Errorf("event at position %d: %w", r.Position, err)
			}
			if found && !seen[p.key] {
				seen[p.key] = true
				ids = append(ids, p.key)
			}
		}
	}
	return ids, nil
}
