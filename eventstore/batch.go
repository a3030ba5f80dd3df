package eventstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
)

// touch is something that two appends of one batch may not share if either writes it.
type touch struct {
	kind  string
	id    string
	write bool
}

func touchStream(s domain.Stream, write bool) touch {
	return touch{kind: string(s.Type), id: string(s.ID[:]), write: write}
}

func touchID(kind string, id uuid.UUID) touch {
	return touch{kind: kind, id: string(id[:]), write: true}
}

// clashes tells whether an append with these touches may not join the batch so far.
func clashes(touched map[touch]struct{}, with []touch) bool {
	for _, t := range with {
		other := t
		other.write = true
		if _, ok := touched[other]; ok {
			return true
		}

		other.write = false
		if !t.write {
			continue
		}
		if _, ok := touched[other]; ok {
			return true
		}
	}
	return false
}

// outcome is the result that trust.append reports for one append.
type outcome int16

// The outcomes, as trust.append numbers them.
const (
	added outcome = iota
	repeated
	conflicting
	claimTaken
	sessionStale
	keyExists
	staffRecord
	masterKeyChanged
	clocksDiffer
)

// sideStep packs the side write that caused an outcome into its number: trust.append
// answers outcome + sideStep * side.
const sideStep = 10

// This does not compile once an outcome could be taken for a side write.
const _ = uint(sideStep - 1 - clocksDiffer)

// result is the outcome of one append.
type result struct {
	outcome  outcome
	side     int           // the side write that is the reason, if one is
	first    int64         // position of its first event
	versions []int         // of its streams, before the append
	at       time.Time     // when it was recorded
	clock    time.Time     // the database's clock
	ahead    time.Duration // how far the database's clock is ahead of ours, if they differ
	log      uuid.UUID     // the log that answered
	asked    time.Time     // see logID
}

// sides returns the batch's side writes as JSON; nil if there are none.
func sides(entries []*entry) ([]byte, error) {
	var rows []sideRow
	for i, e := range entries {
		for _, r := range e.side {
			r.Append = i + 1
			rows = append(rows, r)
		}
	}
	if rows == nil {
		return nil, nil
	}
	return json.Marshal(rows)
}

const (
	callAppend = `select outcomes, firsts, versions, at, clock, (select id from trust.log) from trust.append` +
		parameters
	callAppendOne = `select outcomes, firsts, versions, at, clock, (select id from trust.log) from trust.append_one` +
		parameters
	// The clock is the last argument to be known; see stamped.
	parameters = `($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, ` +
		`$21, $23, $22)`
)

// arrays are the arguments of trust.append. None may be nil, because that would be null.
// Ids go as [16]byte, here and in every hot path: a uuid.UUID can turn itself into text
// for a database, and pgx makes it do so and parses the text, at twenty times the cost.
type arrays struct {
	id, tenant       [][16]byte
	events           []int32
	sAppend          []int32
	sTenant, sID     [][16]byte
	sType            []string
	sExpected        []int32
	eStream, eOffset []int32
	eOrdinal         []int32
	eID, eRecord     [][16]byte
	eType            []string
	eSubject, eActor []pgtype.UUID
	ePayload         []string
	eSealed          [][]byte
	eMetadata        []string
	eEffective       []pgtype.Timestamptz
	eCode            [][]byte
}

func newArrays(entries []*entry) *arrays {
	n, streams, events := len(entries), 0, 0
	for _, e := range entries {
		streams, events = streams+len(e.streams), events+len(e.events)
	}

	return &arrays{
		id: make([][16]byte, 0, n), tenant: make([][16]byte, 0, n), events: make([]int32, 0, n),
		sAppend: make([]int32, 0, streams), sTenant: make([][16]byte, 0, streams), sID: make([][16]byte, 0, streams),
		sType: make([]string, 0, streams), sExpected: make([]int32, 0, streams),
		eStream: make([]int32, 0, events), eOffset: make([]int32, 0, events), eOrdinal: make([]int32, 0, events),
		eID: make([][16]byte, 0, events), eRecord: make([][16]byte, 0, events), eType: make([]string, 0, events),
		eSubject: make([]pgtype.UUID, 0, events), eActor: make([]pgtype.UUID, 0, events),
		ePayload: make([]string, 0, events), eSealed: make([][]byte, 0, events), eMetadata: make([]string, 0, events),
		eEffective: make([]pgtype.Timestamptz, 0, events), eCode: make([][]byte, 0, events),
	}
}

// arguments lays a batch out in the arrays that trust.append takes. Indexes count from 1,
// as in Postgres.
func arguments(entries []*entry) ([]any, error) {
	a := newArrays(entries)
	for i, e := range entries {
		a.id, a.tenant = append(a.id, e.ID), append(a.tenant, e.Tenant.UUID)
		a.events = append(a.events, int32(len(e.events)))

		base := int32(len(a.sID))
		for _, l := range e.streams {
			a.sAppend, a.sTenant = append(a.sAppend, int32(i+1)), append(a.sTenant, l.tenant.UUID)
			a.sType, a.sID = append(a.sType, string(l.stream.Type)), append(a.sID, l.stream.ID)
			a.sExpected = append(a.sExpected, int32(l.expected))
		}

		for _, d := range e.events {
			a.eStream = append(a.eStream, base+int32(d.dependency)+1)
			a.eOffset = append(a.eOffset, int32(d.offset))
			a.eOrdinal, a.eID = append(a.eOrdinal, int32(d.Ordinal)), append(a.eID, d.EventID)
			a.eType = append(a.eType, d.Event.EventType())
			a.eSubject, a.eActor = append(a.eSubject, nullable(d.Subject)), append(a.eActor, nullable(d.Actor))
			a.eRecord = append(a.eRecord, d.Record)
			a.ePayload, a.eMetadata = append(a.ePayload, string(d.payload)), append(a.eMetadata, string(d.metadata))
			a.eSealed = append(a.eSealed, d.sealed)
			a.eCode = append(a.eCode, d.code)
			a.eEffective = append(a.eEffective, pgtype.Timestamptz{Time: d.EffectiveAt, Valid: !d.EffectiveAt.IsZero()})
		}
	}

	side, err := sides(entries)
	return []any{
		a.id, a.tenant, a.events, a.sAppend, a.sTenant, a.sType, a.sID, a.sExpected, a.eStream, a.eOffset, a.eOrdinal,
		a.eID, a.eType, a.eSubject, a.eRecord, a.eActor, a.ePayload, a.eSealed, a.eMetadata, a.eEffective, side,
		a.eCode,
	}, err
}

func nullable(u domain.UserID) pgtype.UUID { return pgtype.UUID{Bytes: u.UUID, Valid: !u.IsZero()} }

// call sends a batch once and returns one result for each entry.
func call(ctx context.Context, db Querier, now func() time.Time, entries []*entry, args []any) ([]result, error) {
	return stamped(now, args, func(args []any) ([]result, error) {
		said := answer{asked: time.Now()}
		if err := said.scan(db.QueryRow(ctx, callOf(entries), args...)); err != nil {
			return nil, err
		}
		return said.results(entries)
	})
}

// callUnheard is call without waking any follower, in one round trip as well.
func callUnheard(
	ctx context.Context, conn *pgxpool.Conn, now func() time.Time, entries []*entry, args []any,
) ([]result, error) {
	return stamped(now, args, func(args []any) ([]result, error) {
		said := answer{asked: time.Now()}
		batch := &pgx.Batch{}
		batch.Queue(beUnheard)
		batch.Queue(callOf(entries), args...).QueryRow(said.scan)

		if err := conn.SendBatch(ctx, batch).Close(); err != nil {
			return nil, err
		}
		return said.results(entries)
	})
}

// beUnheard keeps trust.append from notifying until the transaction ends.
const beUnheard = `select set_config('trust.notify', 'off', true)`

func callOf(entries []*entry) string {
	if len(entries) == 1 {
		return callAppendOne
	}
	return callAppend
}

// answer is what trust.append returns for a batch.
type answer struct {
	outcomes []int16
	firsts   []int64
	versions []int32
	at       time.Time
	clock    time.Time
	log      [16]byte
	asked    time.Time
}

func (a *answer) scan(row pgx.Row) error {
	return row.Scan(&a.outcomes, &a.firsts, &a.versions, &a.at, &a.clock, &a.log)
}

func (a *answer) results(entries []*entry) ([]result, error) {
	if len(a.outcomes) != len(entries) || len(a.firsts) != len(entries) {
		return nil, fmt.Errorf("trust.append returned %d outcomes for %d appends", len(a.outcomes), len(entries))
	}

	results := make([]result, len(entries))
	next := 0
	for i, e := range entries {
		r := result{
			outcome: outcome(a.outcomes[i] % sideStep), side: int(a.outcomes[i] / sideStep),
			first: a.firsts[i], at: a.at.UTC(), clock: a.clock.UTC(), log: a.log, asked: a.asked,
		}
		for range e.streams {
			r.versions = append(r.versions, int(a.versions[next]))
			next++
		}
		results[i] = r
	}
	return results, nil
}
