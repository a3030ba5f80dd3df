package eventstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// Querier is what pools, connections and transactions have in common.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Reader reads events across tenants, for projectors and verification. The caller brings
// the transaction, and with it the role and the snapshot. A Reader is safe for concurrent
// use.
type Reader struct{ vault *vault }

// NewReader returns a reader that can open what was sealed under the master key. Errors:
// ErrWrongMasterKey, CodeUnavailable.
func NewReader(ctx context.Context, db Querier, masterKey []byte) (*Reader, error) {
	v, err := openVault(ctx, db, masterKey)
	if err != nil {
		return nil, err
	}
	return &Reader{vault: v}, nil
}

// Closed is Range with every personal part left closed, for whatever hands events on: it
// reads no key.
func (r *Reader) Closed(ctx context.Context, db Querier, after, upTo int64) ([]domain.Recorded, error) {
	found, err := db.Query(ctx, "select "+columns+inRange, after, upTo)
	rows, err := everyRow(after, upTo, found, err)
	if err != nil {
		return nil, err
	}
	if err := r.vault.check(ctx, rows, askingOf(db)); err != nil {
		return nil, err
	}
	return withheld(rows)
}

// MunicipalityCode returns the code under which a tenant was registered, which never
// changes; empty: it never was.
func (r *Reader) MunicipalityCode(ctx context.Context, db Querier, tenant domain.TenantID) (string, error) {
	const sql = "select " + columns + ` from trust.events
		where tenant_id = $1 and stream_type = 'municipality' and stream_id = $1 and version = 1`

	if tenant.IsPlatform() {
		return domain.PlatformCode, nil
	}
	rows, err := collect(db.Query(ctx, sql, [16]byte(tenant.UUID)))
	if err != nil {
		return "", Unavailable(err)
	}
	if err := r.vault.check(ctx, rows, askingOf(db)); err != nil {
		return "", err
	}
	events, err := withheld(rows)
	if err != nil {
		return "", err
	}

	for _, e := range events {
		if registered, is := e.Event.(*domain.MunicipalityRegistered); is {
			return registered.Code, nil
		}
	}
	return "", nil
}

const inRange = ` from trust.events where position > $1 and position <= $2 order by position`

// Range reads the events with after < position ≤ upTo in order, with personal parts
// opened. It fails unless it finds every position: nothing is ever skipped.
func (r *Reader) Range(ctx context.Context, db Querier, after, upTo int64) ([]domain.Recorded, error) {
	found, err := db.Query(ctx, "select "+columns+inRange, after, upTo)
	rows, err := everyRow(after, upTo, found, err)
	if err != nil {
		return nil, err
	}
	return r.open(ctx, db, rows)
}

// RangeOf is Range for the events of some kinds of streams; of all kinds if none is
// named. It fails in the same way. It also fails at an event of another kind whose type
// this program does not know: the program is too old for the log.
func (r *Reader) RangeOf(
	ctx context.Context, db Querier, kinds []domain.StreamType, after, upTo int64,
) ([]domain.Recorded, error) {
	if len(kinds) == 0 {
		return r.Range(ctx, db, after, upTo)
	}

	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	found, err := db.Query(ctx, "select "+columnsOfKinds+inRange, after, upTo, names)
	rows, err := everyRow(after, upTo, found, err)
	if err != nil {
		return nil, err
	}

	wanted := rows[:0]
	for _, row := range rows {
		if slices.Contains(kinds, row.Stream.Type) {
			wanted = append(wanted, row)
		} else if !domain.Knows(row.eventType) {
			return nil, undecodable(row.Position, &domain.UnknownEventError{Type: row.eventType})
		}
	}
	return r.open(ctx, db, wanted)
}

// everyRow collects the rows of a range, and fails unless all are there.
func everyRow(after, upTo int64, found pgx.Rows, err error) ([]row, error) {
	rows, err := collectN(max(upTo-after, 0), found, err)
	if err != nil {
		return nil, Unavailable(err)
	}
	for i, row := range rows {
		if want := after + int64(i) + 1; row.Position != want {
			return nil, &GapError{Want: want, Got: row.Position}
		}
	}

	if found := after + int64(len(rows)); found != max(upTo, after) {
		return nil, &GapError{Want: found + 1}
	}
	return rows, nil
}

// Streams reads all events of some subjects in one kind of stream up to a position, in
// order of position, with personal parts opened.
func (r *Reader) Streams(
	ctx context.Context, tx pgx.Tx, kind domain.StreamType, subjects []domain.UserID, upTo int64,
) ([]domain.Recorded, error) {
	ids := make([][16]byte, len(subjects))
	for i, s := range subjects {
		ids[i] = s.UUID
	}

	// Planned each time: a plan from when the log was small would read all of it.
	rows, err := collect(tx.Query(ctx, `select `+columns+` from trust.events
		where subject_id = any($1) and stream_type = $2 and position <= $3 order by position`,
		pgx.QueryExecModeCacheDescribe, ids, string(kind), upTo))
	if err != nil {
		return nil, Unavailable(err)
	}
	return r.open(ctx, tx, rows)
}

// StampedAhead returns the subjects who have an event, up to a position, that was
// recorded while the newest event of the log lay in the future: it takes effect before it
// was recorded, although nobody stated so. It also returns those of whom an entry was
// annulled or copied, or is only claimed: of none of them do instants alone tell what
// counts.
func (r *Reader) StampedAhead(
	ctx context.Context, tx pgx.Tx, kind domain.StreamType, subjects []domain.UserID, upTo int64,
) ([]domain.UserID, error) {
	const sql = `select distinct subject_id from trust.events
		where subject_id = any($1) and stream_type = $2 and position <= $3
			and (effective_at < recorded_at and payload ->> 'given_at' is null
				or event_type in ('consent.annulled.v1', 'consent.claimed.v1') or payload -> 'copy' is not null)`

	ids := make([][16]byte, len(subjects))
	for i, s := range subjects {
		ids[i] = s.UUID
	}

	// Planned each time: a plan from when the log was small would read all of it.
	found, err := tx.Query(ctx, sql, pgx.QueryExecModeCacheDescribe, ids, string(kind), upTo)
	if err != nil {
		return nil, Unavailable(err)
	}
	ahead, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (u domain.UserID, err error) {
		err = row.Scan(&u.UUID)
		return u, err
	})
	return ahead, Unavailable(err)
}

// EffectiveSince reads the events of some types about some subjects that take effect at
// or after an instant of each, up to a position. They come in order of position, with
// personal parts opened.
func (r *Reader) EffectiveSince(
	ctx context.Context, tx pgx.Tx, of []domain.Event, since map[domain.UserID]time.Time, upTo int64,
) ([]domain.Recorded, error) {
	const sql = `select e.* from unnest($1::uuid[], $2::timestamptz[]) s (id, since), lateral (
			select ` + columns + ` from trust.events
			where subject_id = s.id and event_type = any($3) and effective_at >= s.since and position <= $4) e
		order by e.position`

	types := make([]string, len(of))
	for i, e := range of {
		types[i] = e.EventType()
	}
	ids, instants := make([][16]byte, 0, len(since)), make([]time.Time, 0, len(since))
	for subject, instant := range since {
		ids, instants = append(ids, subject.UUID), append(instants, instant)
	}

	// Planned each time: a plan from when the log was small would read all of it.
	rows, err := collect(tx.Query(ctx, sql, pgx.QueryExecModeCacheDescribe, ids, instants, types, upTo))
	if err != nil {
		return nil, Unavailable(err)
	}
	return r.open(ctx, tx, rows)
}

// EachEnd passes to a function the instants at which a tenant's grants at the positions
// after < p ≤ upTo end by themselves, in no order. It decodes no event, so that it costs
// little beside a replay; where an event says no end that could be read, it has none.
func (r *Reader) EachEnd(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, after, upTo int64, each func(time.Time),
) error {
	const sql = `select effective_at, payload ->> 'valid_until', payload ->> 'validity_days' from trust.events
		where tenant_id = $1 and stream_type = 'consent' and event_type in ('consent.granted.v1', 'consent.claimed.v1')
			and position > $3 and position <= $2
			and (payload ->> 'valid_until' is not null or payload ->> 'validity_days' is not null)`

	found, err := tx.Query(ctx, sql, [16]byte(tenant.UUID), upTo, after)
	if err != nil {
		return Unavailable(err)
	}

	var effective time.Time
	var until, days *string
	_, err = pgx.ForEachRow(found, []any{&effective, &until, &days}, func() error {
		var grant domain.ConsentGranted
		if until != nil {
			grant.ValidUntil, _ = time.Parse(time.RFC3339Nano, *until)
		}
		if days != nil {
			grant.ValidityDays, _ = strconv.Atoi(*days)
		}
		if end := grant.Until(effective); !end.IsZero() {
			each(end.UTC())
		}
		return nil
	})
	return Unavailable(err)
}

// Whole is an event as Verify needs it.
type Whole struct {
	domain.Recorded

	// Covered tells that its code covers when the event takes effect. Otherwise its
	// payload states that, or it follows from RecordedAt.
	Covered bool
}

// Whole is Range with every sealed part opened whose key exists, including origins.
func (r *Reader) Whole(ctx context.Context, db Querier, after, upTo int64) ([]Whole, error) {
	found, err := db.Query(ctx, "select "+columns+inRange, after, upTo)
	rows, err := everyRow(after, upTo, found, err)
	if err != nil {
		return nil, err
	}
	if err := r.vault.check(ctx, rows, askingOf(db)); err != nil {
		return nil, err
	}

	keys, err := r.keys(ctx, db, rows, subjectPart, originPart)
	if err != nil {
		return nil, err
	}
	events, err := decodeAll(rows, openWith(keys), openWith(keys))
	if err != nil {
		return nil, err
	}

	whole := make([]Whole, len(events))
	for i, e := range events {
		whole[i] = Whole{e, rows[i].code == nil || e.IsVoid() || rows[i].code[1]&effectiveCovered != 0}
	}
	return whole, nil
}

// open checks rows, and opens them with keys read in one statement, so that an erasure
// happened either before all of it or after. Origins stay withheld: no read table holds
// them.
func (r *Reader) open(ctx context.Context, db Querier, rows []row) ([]domain.Recorded, error) {
	if err := r.vault.check(ctx, rows, askingOf(db)); err != nil {
		return nil, err
	}
	keys, err := r.keys(ctx, db, rows, subjectPart)
	if err != nil {
		return nil, err
	}
	return decodeAll(rows, openWith(keys), withhold)
}

// keys returns the keys that the given kinds of parts of some rows name, as far as the
// transaction's role sees them.
func (r *Reader) keys(ctx context.Context, db Querier, rows []row, kinds ...byte) (map[uuid.UUID]foundKey, error) {
	ids, err := keysOf(rows, kinds...)
	if err != nil {
		return nil, err
	}

	ring := newKeyring(r.vault, func(ctx context.Context, _ domain.TenantID, ids [][16]byte) ([]keyRow, error) {
		found, err := db.Query(ctx, "select "+keyColumns+" from trust.keys where key_id = any($1)", ids)
		if err != nil {
			return nil, Unavailable(err)
		}
		keys, err := pgx.CollectRows(found, scanKey)
		return keys, Unavailable(err)
	})
	return ring.get(ctx, domain.TenantID{}, ids...)
}

// Head returns the newest position of the log; 0 if it is empty.
func Head(ctx context.Context, db Querier) (position int64, err error) {
	err = db.QueryRow(ctx, "select position from trust.head()").Scan(&position)
	return position, Unavailable(err)
}

// EventAt returns the id of the event at a position; the zero id: there is none.
func EventAt(ctx context.Context, db Querier, position int64) (uuid.UUID, error) {
	var id uuid.NullUUID
	err := db.QueryRow(ctx, "select trust.event_at($1)", position).Scan(&id)
	return id.UUID, Unavailable(err)
}

// GapError says that a position is missing: the log is damaged, or was read by a role
// that does not see all of it.
type GapError struct {
	Want int64
	Got  int64 // 0: nothing more came
}

func (e *GapError) Error() string {
	if e.Got == 0 {
		return fmt.Sprintf("position %d is missing from the log", e.Want)
	}
	return fmt.Sprintf("position %d is missing from the log: found %d", e.Want, e.Got)
}
