package eventstore

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// Query says which events to find. A zero field does not restrict the search.
type Query struct {
	// Tenant limits the search to one tenant; zero: every tenant that the transaction's
	// role sees.
	Tenant domain.TenantID

	Subject domain.UserID // the person that events are about
	Actor   domain.UserID // the person who acted
	NotBy   domain.UserID // leaves out what this person did
	Record  uuid.UUID     // the record that events are about

	// Stream limits the search to one stream, which is then read in order of version, and
	// Behind to its versions above this one. It needs Tenant.
	Stream domain.Stream
	Behind int

	// Seen finds reads of personal data that covered this person, or may have: see
	// PersonalDataRead. It needs Tenant.
	Seen domain.UserID

	Types []string  // registered event types; nil: all
	After int64     // positions above this one
	UpTo  int64     // positions up to this one; 0: up to the head
	From  time.Time // recorded at this instant or later
	To    time.Time // recorded before this instant

	Newest bool // newest first; else oldest first
	Limit  int  // the most events to return; 0: all
	Sealed bool // open nothing and ask for no key, for a role that sees none
}

// PositionAt returns the newest position recorded at or before an instant; 0: none.
// Events of the last few milliseconds may still be on their way into the log, so only the
// position, not the instant, names a state for good.
func PositionAt(ctx context.Context, db Querier, instant time.Time) (position int64, err error) {
	err = db.QueryRow(ctx, "select trust.position_at($1)", instant.UTC()).Scan(&position)
	return position, Unavailable(err)
}

// Find reads events. Personal parts and origins are opened with keys read in the same
// transaction: what row-level security hides stays withheld, and what was destroyed is
// erased. The caller brings the transaction, and with it role, tenant and snapshot. An
// event type that is not registered is a *domain.UnknownEventError. Disowned events are
// left out.
func (r *Reader) Find(ctx context.Context, tx pgx.Tx, q Query) ([]domain.Recorded, error) {
	// The types go into the statement's text, so that partial indexes apply.
	for _, t := range q.Types {
		if !domain.Knows(t) {
			return nil, &domain.UnknownEventError{Type: t}
		}
	}
	if q.Types != nil && len(q.Types) == 0 {
		return nil, nil
	}

	after, upTo, err := q.bounds(ctx, tx)
	if err != nil || upTo <= after {
		return nil, err
	}
	sql, args := q.statement(after, upTo)
	// Planned each time, with the values known: a generic plan would read a whole tenant
	// to find one person.
	rows, err := collect(tx.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...))
	if err != nil {
		return nil, Unavailable(err)
	}
	if err := r.vault.check(ctx, rows, askingOf(tx)); err != nil {
		return nil, err
	}

	found, voids := withoutVoids(rows)
	// Callers take a page that is not full for the last one.
	if voids > 0 && len(rows) == q.Limit {
		more := q
		more.Limit += voids
		events, err := r.Find(ctx, tx, more)
		return events[:min(q.Limit, len(events))], err
	}
	return r.decode(ctx, tx, found, q.Sealed)
}

func (r *Reader) decode(ctx context.Context, tx pgx.Tx, rows []row, sealed bool) ([]domain.Recorded, error) {
	if sealed {
		return withheld(rows)
	}

	keys, err := r.keys(ctx, tx, rows, subjectPart, originPart)
	if err != nil {
		return nil, err
	}
	return decodeAll(rows, openWith(keys), openWith(keys))
}

// withoutVoids leaves out disowned rows, and returns how many they were.
func withoutVoids(rows []row) (rest []row, voids int) {
	rest = slices.DeleteFunc(rows[:len(rows):len(rows)], func(r row) bool { return r.void != nil })
	return rest, len(rows) - len(rest)
}

// bounds returns the range of positions. Recording times never decrease from one position
// to the next, so instants translate into positions.
func (q Query) bounds(ctx context.Context, tx pgx.Tx) (after, upTo int64, err error) {
	after, upTo = max(q.After, 0), q.UpTo
	if upTo <= 0 {
		upTo = math.MaxInt64
	}

	if !q.From.IsZero() {
		p, err := PositionAt(ctx, tx, justBefore(q.From))
		if err != nil {
			return 0, 0, err
		}
		after = max(after, p)
	}

	if !q.To.IsZero() {
		p, err := PositionAt(ctx, tx, justBefore(q.To))
		if err != nil {
			return 0, 0, err
		}
		upTo = min(upTo, p)
	}

	return after, upTo, nil
}

// justBefore is the last microsecond, the log's unit, before an instant.
func justBefore(t time.Time) time.Time {
	return t.Add(time.Microsecond - 1).Truncate(time.Microsecond).Add(-time.Microsecond)
}

const readType = "personal_data.read.v1"

// statement returns the SQL. Each shape uses an index on its condition and then on
// position, so that a page of the events of a person, an actor or a record costs only
// what it holds. A page of some types costs what lies between its events.
func (q Query) statement(after, upTo int64) (sql string, args []any) {
	var limit *int
	if q.Limit > 0 {
		limit = &q.Limit
	}

	by := "position"
	if q.Stream.ID != uuid.Nil {
		by = "version" // as its index has it
	}
	s := statement{Where: pg.Where{Args: []any{limit}}, order: " order by " + by + " limit $1"}
	if q.Newest {
		s.order = " order by " + by + " desc limit $1"
	}

	if after > 0 {
		s.And("position > %s", after)
	}
	if upTo < math.MaxInt64 {
		s.And("position <= %s", upTo)
	}
	if len(q.Types) > 0 {
		s.And("event_type in ('" + strings.Join(q.Types, "', '") + "')")
	}

	everywhere := q.Tenant.IsZero()
	if !everywhere {
		s.And("tenant_id = %s", q.Tenant.UUID)
	}
	if !q.Subject.IsZero() {
		s.And("subject_id = %s", q.Subject.UUID)
	}
	if !q.Actor.IsZero() {
		s.And("actor_id = %s", q.Actor.UUID)
	}
	if !q.NotBy.IsZero() {
		s.And("actor_id is distinct from %s", q.NotBy.UUID)
	}
	if q.Stream.ID != uuid.Nil {
		s.And("stream_type = %s", string(q.Stream.Type))
		s.And("stream_id = %s", [16]byte(q.Stream.ID))
		s.And("version > %s", q.Behind)
	}
	if q.Record != uuid.Nil {
		s.And("record_id = %s", q.Record)
	}

	switch {
	case !q.Seen.IsZero():
		return s.seen(q.Seen, q.Newest && q.Limit > 0), s.Args
	case everywhere && q.Subject.IsZero() && (!q.Actor.IsZero() || q.Record != uuid.Nil):
		return s.inEachTenant(), s.Args
	default:
		return "select " + columns + " from trust.events where true" + s.SQL() + s.order, s.Args
	}
}

type statement struct {
	pg.Where
	order string
}

// seen finds reads of one person alone by the person, and reads of several people among
// the few events that name no subject: those that mention the person anywhere or list
// nobody. To parse the JSON of each of these would take most of the time.
func (s *statement) seen(person domain.UserID, newest bool) string {
	id := s.Arg(person.UUID)
	text := s.Arg(person.String())
	const read = "select " + columns + " from trust.events where event_type = '" + readType + "'"
	alone := read + " and subject_id = " + id + s.SQL() + s.order
	amongOthers := read + " and subject_id is null and (strpos(payload::text, " + text + ") > 0" +
		` or strpos(payload::text, '"subjects":') = 0)` + s.SQL()
	if newest { // if that many were of the person alone, older ones of several people are not wanted
		amongOthers += " and position > (select case when count(*) = $1 then min(position) else 0 end from alone)"
	}

	return "with alone as materialized (" + alone + ") select * from alone union all (" + amongOthers + s.order + ")" +
		s.order
}

// inEachTenant asks tenant by tenant, because the indexes begin with the tenant. It finds
// the tenants by jumping from one to the next.
func (s *statement) inEachTenant() string {
	return `with recursive tenants (id) as (
			(select tenant_id from trust.events order by tenant_id limit 1)
			union all
			select (select e.tenant_id from trust.events e where e.tenant_id > t.id order by e.tenant_id limit 1)
			from tenants t where t.id is not null)
		select ` + columns + ` from (select e.* from tenants t, lateral (
			select * from trust.events where tenant_id = t.id` + s.SQL() + s.order + `) e) found` + s.order
}

// DecidedAt says at which position something about a person's consents was recorded.
type DecidedAt struct {
	Position int64
	Subject  uuid.UUID
}

// NewestDecisions returns where a tenant's newest events about consents are, the newest
// first and at most so many. They may be disowned or forged: nothing of them is read.
func NewestDecisions(ctx context.Context, tx pgx.Tx, tenant domain.TenantID, most int) ([]DecidedAt, error) {
	// As the index has it: by the position itself, the planner would go through all
	// newer events of other types.
	const sql = `select position, stream_id from trust.events where tenant_id = $1 and event_type in
			('consent.granted.v1', 'consent.refused.v1', 'consent.withdrawn.v1', 'consent.annulled.v1',
			'consent.claimed.v1')
		order by -position limit $2`

	rows, err := tx.Query(ctx, sql, tenant.UUID, most)
	if err != nil {
		return nil, Unavailable(err)
	}
	found, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (d DecidedAt, err error) {
		return d, r.Scan(&d.Position, &d.Subject)
	})
	return found, Unavailable(err)
}

// Place is a reader's place among streams: after a version of a stream. The zero Place
// comes before everything.
type Place struct {
	Stream  uuid.UUID
	Version int
}

// InStreams reads up to limit events of a tenant's streams of one kind that come after a
// place, at positions up to upTo: stream by stream in order of id, each in order of
// version. If only is not nil, it reads only those streams. It opens nothing.
func (r *Reader) InStreams(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, kind domain.StreamType, only []uuid.UUID,
	behind Place, upTo int64, limit int,
) ([]domain.Recorded, error) {
	const of = `select ` + columns + ` from trust.events where tenant_id = $1 and stream_type = $2 and position <= $5`

	sql := of + ` and (stream_id, version) > ($3, $4) order by stream_id, version limit $6`
	args := []any{[16]byte(tenant.UUID), string(kind), behind.Stream, behind.Version, upTo, limit}
	if only != nil {
		// Stream by stream by its index, whatever the planner thinks of their number. The
		// place is not compared as above: then each search would begin at the place.
		sql = `select e.* from unnest($7::uuid[]) s (id), lateral (` + of + ` and stream_id = s.id
				and version > case when s.id = $3 then $4::integer else 0 end order by version limit $6) e
			where s.id >= $3 order by e.stream_id, e.version limit $6`
		ids := make([][16]byte, len(only))
		for i, id := range only {
			ids[i] = id
		}
		args = append(args, ids)
	}

	rows, err := collect(tx.Query(ctx, sql, args...))
	if err != nil {
		return nil, Unavailable(err)
	}
	if err := r.vault.check(ctx, rows, askingOf(tx)); err != nil {
		return nil, err
	}
	return withheld(rows)
}
