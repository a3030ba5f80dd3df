package projections

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pg"
)

// ConsentFilter narrows consents; zero fields do not.
type ConsentFilter struct {
	DecisionFilter

	Status domain.Status
}

// DecisionFilter holds the features of a decision that no later event changes.
type DecisionFilter struct {
	Purpose       string
	NoticeVersion int
	Language      domain.Language
	Channel       domain.Channel
	GivenFrom     time.Time // given at this instant or later
	GivenTo       time.Time // given before this instant
}

// IsZero reports whether the filter lets every decision through.
func (f DecisionFilter) IsZero() bool { return f == DecisionFilter{} }

// Matches reports whether a decision has the features.
func (f DecisionFilter) Matches(c domain.Consent) bool {
	return (f.Purpose == "" || c.Purpose == f.Purpose) &&
		(f.NoticeVersion == 0 || c.NoticeVersion == f.NoticeVersion) &&
		(f.Language == "" || c.Language == f.Language) &&
		(f.Channel == "" || c.Channel == f.Channel) &&
		(f.GivenFrom.IsZero() || !c.GivenAt.Before(f.GivenFrom)) &&
		(f.GivenTo.IsZero() || c.GivenAt.Before(f.GivenTo))
}

// Check adds what is wrong with the filter.
func (f ConsentFilter) Check(faults *domain.Faults) {
	if f.Status != "" {
		domain.OneOf(faults, "status", f.Status, domain.Statuses())
	}
	if f.Language != "" {
		domain.OneOf(faults, "language", f.Language, domain.Languages())
	}
	if f.Channel != "" {
		domain.OneOf(faults, "channel", f.Channel, domain.Channels())
	}
	if !f.GivenTo.IsZero() && f.GivenFrom.After(f.GivenTo) {
		faults.Add("given_to", "invalid", "Give an instant that is not before given_from.")
	}
}

// Matches reports whether a decision, and what had become of it, passes the filter.
func (f ConsentFilter) Matches(d domain.Decided) bool {
	return (f.Status == "" || d.Status == f.Status) && f.DecisionFilter.Matches(d.Consent)
}

// add adds the filter to the conditions of a query on trust.consents c.
func (f DecisionFilter) add(w *pg.Where) {
	if f.Purpose != "" {
		w.And("c.purpose = %s", f.Purpose)
	}
	if f.NoticeVersion != 0 {
		// A number too large for a version is asked about like any other.
		w.And("c.notice_version = %s::bigint", f.NoticeVersion)
	}
	if f.Language != "" {
		w.And("c.language = %s", string(f.Language))
	}
	if f.Channel != "" {
		w.And("c.channel = %s", string(f.Channel))
	}
	if !f.GivenFrom.IsZero() {
		w.And("c.given_at >= %s", wholeMicrosecond(f.GivenFrom))
	}
	if !f.GivenTo.IsZero() {
		w.And("c.given_at < %s", wholeMicrosecond(f.GivenTo))
	}
}

// wholeMicrosecond returns the first instant in the log's unit that is not before
// another.
func wholeMicrosecond(t time.Time) time.Time {
	return t.Add(time.Microsecond - 1).Truncate(time.Microsecond)
}

// ConsentSearch finds a tenant's consents as known at one position of the log. It knows
// them from the read table, which may have followed the log less far, or further. So
// whatever it says holds for all people but the unsettled ones, whose events must be
// folded.
type ConsentSearch struct {
	tx         pgx.Tx
	tenant     domain.TenantID
	position   int64
	checkpoint int64 // of the read table
}

// SearchConsents begins a search in a transaction that holds one snapshot. It returns nil
// if the read table follows another log, so that only the log can answer.
func SearchConsents(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, position int64,
) (*ConsentSearch, error) {
	// Searches and counts go by the indexes made for them, whatever statistics say (ADR
	// 16): in those, and not by another index to the rows. They read all that they find,
	// not the first of it.
	const settings = `select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
		set_config('jit', 'off', true), set_config('cursor_tuple_fraction', '1', true)`
	if _, err := tx.Exec(ctx, settings); err != nil {
		return nil, eventstore.Unavailable(err)
	}

	checkpoint, err := follow.Position(ctx, tx, consents{}.Name())
	if _, backwards := errors.AsType[*follow.BackwardsError](err); backwards {
		return nil, nil
	}
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	return &ConsentSearch{tx: tx, tenant: tenant, position: position, checkpoint: checkpoint}, nil
}

// Subjects passes on the ids of all people who may have a decision with some features, in
// order and in pages: nobody is left out who has one, whatever became of it.
func (s *ConsentSearch) Subjects(
	ctx context.Context, f DecisionFilter, page int, each func(subjects []uuid.UUID) error,
) error {
	w := pg.Where{Args: []any{s.tenant.UUID, s.position}}
	f.add(&w)

	sql := `select distinct c.subject_id from trust.consents c where c.tenant_id = $1 and c.decided <= $2` + w.SQL()
	if s.position > s.checkpoint {
		sql += " union " + s.changed(&w)
	}
	return s.pages(ctx, sql+" order by 1", w.Args, page, each)
}

// Behind returns the first people in order of their ids, after a given one, who may have
// a decision that a filter lets through in the state that rules are about: nobody between
// them is left out who has one. It goes by whichever index is the shorter way there.
func (s *ConsentSearch) Behind(
	ctx context.Context, f ConsentFilter, rules domain.Rules, after uuid.UUID, limit int,
) ([]uuid.UUID, error) {
	at := rules.Clocks().At
	w := pg.Where{Args: []any{s.tenant.UUID}}
	behind, most := w.Arg(after), w.Arg(limit)
	w.And("c.decided <= %s", s.position)
	if !at.IsZero() {
		w.And("c.given_at <= %s", at)
	}
	f.add(&w)

	current, err := s.isCurrent(ctx, f.Status)
	if err != nil {
		return nil, err
	}
	if current {
		// The planner knows nothing of the expression. Alone, it would be expected to be
		// rarely true, so that all decisions were read and sorted; in this form, to be
		// true of every second.
		w.And("coalesce(" + standingOf(&w, rules).status + " = " + w.Arg(string(f.Status)) + ", false)")
	}

	parts := []string{"select c.subject_id from trust.consents c where c.tenant_id = $1" + w.SQL()}
	if s.position > s.checkpoint {
		parts = append(parts, s.changed(&w))
	}
	if !at.IsZero() {
		parts = append(parts, stampedOddly)
	}
	for i, part := range parts {
		parts[i] = "(select distinct p.id from (" + part + ") p (id) where p.id > " + behind +
			" order by 1 limit " + most + ")"
	}
	sql := "select distinct m.id from (" + strings.Join(parts, " union all ") + ") m order by 1 limit " + most

	// Planned each time, with the values known.
	found, err := s.tx.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, w.Args...)...)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[uuid.UUID])
	return ids, eventstore.Unavailable(err)
}

// isCurrent reports whether what the read table says of a status is what was known at the
// position. Who decided something after the checkpoint is found by that. A status that is
// not asked about is of no interest.
func (s *ConsentSearch) isCurrent(ctx context.Context, status domain.Status) (bool, error) {
	if status == "" || s.position >= s.checkpoint {
		return status != "", nil
	}

	w := pg.Where{Args: []any{s.tenant.UUID}}
	var later bool
	err := s.tx.QueryRow(ctx, "select exists ("+s.changed(&w)+")",
		append([]any{pgx.QueryExecModeCacheDescribe}, w.Args...)...).Scan(&later)
	return !later, eventstore.Unavailable(err)
}

// Unsettled passes on the ids of the people about whom the read table does not say what
// is asked: the state at an instant (zero: at the end), as known at the position.
func (s *ConsentSearch) Unsettled(
	ctx context.Context, at time.Time, page int, each func(subjects []uuid.UUID) error,
) error {
	w := pg.Where{Args: []any{s.tenant.UUID}}
	parts := s.unsettled(&w, at)
	if len(parts) == 0 {
		return nil
	}
	sql := "select distinct u.subject from (" + strings.Join(parts, " union all ") + ") u (subject) order by 1"
	return s.pages(ctx, sql, w.Args, page, each)
}

// LastEnd returns the newest instant up to another at which a grant ended by itself, of
// the grants up to the position that the read table holds; zero: none did. The log says
// it of those that are later, from the returned position on.
func (s *ConsentSearch) LastEnd(ctx context.Context, now time.Time) (end time.Time, after int64, err error) {
	const sql = `select c.valid_until from trust.consents c
		where c.tenant_id = $1 and c.valid_until <= $2 and c.decided <= $3 order by c.valid_until desc limit 1`

	err = s.tx.QueryRow(ctx, sql, pgx.QueryExecModeCacheDescribe, s.tenant.UUID, now, s.position).Scan(&end)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return end.UTC(), min(s.checkpoint, s.position), eventstore.Unavailable(err)
}

// unsettled returns queries for the people about whom the read table does not say what is
// asked; $1 is the tenant. They are those who decided something between the position and
// the checkpoint, and for an instant of the past those with an event of a time when the
// log was ahead of the clock, or with a copy from another record, which may be of such a
// time: instants do not tell the order of what they decided.
func (s *ConsentSearch) unsettled(w *pg.Where, at time.Time) (parts []string) {
	if s.position != s.checkpoint {
		parts = append(parts, s.changed(w))
	}
	if !at.IsZero() {
		parts = append(parts, stampedOddly)
	}
	return parts
}

// stampedOddly is a query for the people of whom instants do not tell the order; $1 is
// the tenant.
const stampedOddly = `select e.stream_id from trust.events e
	where e.tenant_id = $1 and e.stream_type = 'consent' and e.effective_at < e.recorded_at
		and (e.payload ->> 'given_at' is null or e.payload -> 'copy' is not null)`

// changed returns a query for the people who decided something between the position and
// the checkpoint; $1 is the tenant.
func (s *ConsentSearch) changed(w *pg.Where) string {
	after, upTo := min(s.position, s.checkpoint), max(s.position, s.checkpoint)
	return fmt.Sprintf(`select e.stream_id from trust.events e
		where e.tenant_id = $1 and e.stream_type = 'consent' and e.position > %s and e.position <= %s`,
		w.Arg(after), w.Arg(upTo))
}

// Moved returns the ids of the people for whom anything can have changed, in order: who
// decided something after a position or by an event that the read table does not hold as
// known at the search's position, and whose grants ended by themselves after one instant
// and up to another. It returns nil if these may be more than so many events.
func (s *ConsentSearch) Moved(
	ctx context.Context, after int64, from, to time.Time, most int,
) ([]uuid.UUID, error) {
	const ended = `select c.subject_id from trust.consents c
		where c.tenant_id = $1 and c.valid_until > $2 and c.valid_until <= $3 limit $4`

	found, err := s.tx.Query(ctx, ended, s.tenant.UUID, from, to, most)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	newest, err := eventstore.NewestDecisions(ctx, s.tx, s.tenant, most)
	if err != nil {
		return nil, err
	}

	after = min(after, s.checkpoint)
	if len(ids) == most || len(newest) == most && newest[most-1].Position > after {
		return nil, nil
	}
	for _, d := range newest {
		if d.Position > after {
			ids = append(ids, d.Subject)
		}
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return append([]uuid.UUID{}, slices.Compact(ids)...), nil
}

// pages reads ids of people in pages.
func (s *ConsentSearch) pages(
	ctx context.Context, sql string, args []any, page int, each func(subjects []uuid.UUID) error,
) error {
	if _, err := s.tx.Exec(ctx, "declare people no scroll cursor for "+sql, args...); err != nil {
		return eventstore.Unavailable(err)
	}

	fetch := fmt.Sprintf("fetch %d from people", page)
	for {
		found, err := s.tx.Query(ctx, fetch)
		if err != nil {
			return eventstore.Unavailable(err)
		}
		ids, err := pgx.CollectRows(found, pgx.RowTo[uuid.UUID])
		if err != nil {
			return eventstore.Unavailable(err)
		}

		if len(ids) > 0 {
			if err := each(ids); err != nil {
				return err
			}
		}
		if len(ids) < page {
			_, err := s.tx.Exec(ctx, "close people")
			return eventstore.Unavailable(err)
		}
	}
}

// Dimension is a feature by which consents are counted.
type Dimension string

// The dimensions.
const (
	ByPurpose       Dimension = "purpose"
	ByNoticeVersion Dimension = "notice_version"
	ByLanguage      Dimension = "language"
	ByChannel       Dimension = "channel"
	ByStatus        Dimension = "status"
)

// ConsentGroup names consents that are alike; dimensions that were not asked for are
// zero.
type ConsentGroup struct {
	Purpose       string
	NoticeVersion int
	Language      domain.Language
	Channel       domain.Channel
	Status        domain.Status
}

// GroupOf returns the group of a decision and what had become of it.
func GroupOf(c domain.Decided, by []Dimension) (g ConsentGroup) {
	for _, d := range by {
		switch d {
		case ByPurpose:
			g.Purpose = c.Purpose
		case ByNoticeVersion:
			g.NoticeVersion = c.NoticeVersion
		case ByLanguage:
			g.Language = c.Language
		case ByChannel:
			g.Channel = c.Channel
		case ByStatus:
			g.Status = c.Status
		}
	}
	return g
}

// Passes reports whether the consents of a group, which was made by every feature, pass a
// filter that says nothing about when they were given.
func (g ConsentGroup) Passes(f ConsentFilter) bool {
	return (f.Purpose == "" || g.Purpose == f.Purpose) &&
		(f.NoticeVersion == 0 || g.NoticeVersion == f.NoticeVersion) &&
		(f.Language == "" || g.Language == f.Language) &&
		(f.Channel == "" || g.Channel == f.Channel) &&
		(f.Status == "" || g.Status == f.Status)
}

// Only returns the group with some features alone.
func (g ConsentGroup) Only(by []Dimension) ConsentGroup {
	var c domain.Decided
	c.Purpose, c.NoticeVersion, c.Language, c.Channel = g.Purpose, g.NoticeVersion, g.Language, g.Channel
	c.Status = g.Status
	return GroupOf(c, by)
}

// CompareGroups orders groups by some dimensions, the first first.
func CompareGroups(a, b ConsentGroup, by []Dimension) int {
	for _, d := range by {
		order := 0
		switch d {
		case ByPurpose:
			order = cmp.Compare(a.Purpose, b.Purpose)
		case ByNoticeVersion:
			order = cmp.Compare(a.NoticeVersion, b.NoticeVersion)
		case ByLanguage:
			order = cmp.Compare(a.Language, b.Language)
		case ByChannel:
			order = cmp.Compare(a.Channel, b.Channel)
		case ByStatus:
			order = cmp.Compare(a.Status, b.Status)
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

// Count adds to counts the consents of all people but the unsettled ones, by group, as
// they stand under some rules.
func (s *ConsentSearch) Count(
	ctx context.Context, f ConsentFilter, rules domain.Rules, by []Dimension, counts map[ConsentGroup]int64,
) error {
	at := rules.Clocks().At
	w := pg.Where{Args: []any{s.tenant.UUID, unlessZero(at)}}
	status := "''"
	if f.Status != "" || slices.Contains(by, ByStatus) { // a query must use all its arguments
		status = standingOf(&w, rules).status
	}
	f.add(&w)
	if f.Status != "" {
		w.And("(" + status + ") = " + w.Arg(string(f.Status)))
	}
	if parts := s.unsettled(&w, at); len(parts) > 0 {
		w.And("not exists (select from (" + strings.Join(parts, " union all ") +
			") u (subject) where u.subject = c.subject_id)")
	}

	sql := `select ` + groupColumns(by, status) + `, count(*) from trust.consents c
		where c.tenant_id = $1 and c.given_at <= coalesce($2::timestamptz, 'infinity')` + w.SQL() + `
		group by 1, 2, 3, 4, 5`
	// Planned each time, with the values known.
	found, err := s.tx.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, w.Args...)...)
	if err != nil {
		return eventstore.Unavailable(err)
	}

	var g ConsentGroup
	var n int64
	_, err = pgx.ForEachRow(found, []any{&g.Purpose, &g.NoticeVersion, &g.Language, &g.Channel, &g.Status, &n},
		func() error {
			counts[g] += n
			return nil
		})
	return eventstore.Unavailable(err)
}

// groupColumns returns the columns of a group, in the order of its fields.
func groupColumns(by []Dimension, status string) string {
	columns := []struct {
		of       Dimension
		sql, not string
	}{
		{ByPurpose, "c.purpose", "''"},
		{ByNoticeVersion, "c.notice_version", "0"},
		{ByLanguage, "c.language", "''"},
		{ByChannel, "c.channel", "''"},
		{ByStatus, status, "''"},
	}

	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.not
		if slices.Contains(by, c.of) {
			list[i] = c.sql
		}
	}
	return strings.Join(list, ", ")
}
