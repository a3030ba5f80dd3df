package projections

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pg"
)

// consents is the read table of every recorded decision and what has become of it, as
// known now.
type consents struct{ table string }

// consentRow is a decision and its position in the log, which is the order of lists.
type consentRow struct {
	domain.Consent
	Decided int64
}

// Name implements Projection.
func (consents) Name() string { return "consents" }

// Kinds implements Projection.
func (p consents) Kinds() []domain.StreamType { return []domain.StreamType{p.source().kind} }

// Apply implements Projection. Its work depends on the page alone, not on how much its
// people decided before: an event changes the rows that it ends or follows, and a
// decision recorded late is folded with what takes effect after it. Only where the log
// was ahead of the clock, or an entry was annulled or is only claimed, do instants not
// tell what counts; then the person's history is folded whole.
func (c consents) Apply(ctx context.Context, tx follow.Tx, events []domain.Recorded, upTo int64) error {
	whole, events, err := stampedAhead(ctx, tx, events, upTo)
	if err != nil {
		return err
	}

	rows, err := c.changed(ctx, tx, events)
	if err != nil {
		return err
	}

	later, err := laterEvents(ctx, tx, events)
	if err != nil {
		return err
	}

	for _, history := range perStream(whole) {
		rows = append(rows, foldConsents(history)...)
	}
	for _, history := range perStream(slices.Concat(later, events)) {
		rows = append(rows, slices.DeleteFunc(foldConsents(history), func(r consentRow) bool {
			return r.Decided < events[0].Position // from before the page, and changed above
		})...)
	}
	return consentsTable().upsert(ctx, tx, c.table, rows)
}

func perStream(events []domain.Recorded) map[stream][]domain.Recorded {
	byStream := make(map[stream][]domain.Recorded)
	for _, e := range events {
		byStream[streamOf(e)] = append(byStream[streamOf(e)], e)
	}
	return byStream
}

// stampedAhead finds the people of a page with an event that was recorded while the log
// was ahead of the clock, or with an annulment or a claim. It returns their whole
// histories, and the page's events of all other people as rest. It matters only for
// annulments and claims, and for events that take effect before they were recorded.
func stampedAhead(
	ctx context.Context, tx follow.Tx, page []domain.Recorded, upTo int64,
) (whole, rest []domain.Recorded, err error) {
	var early []domain.UserID
	for _, e := range page {
		_, annuls := e.Event.(*domain.ConsentAnnulled)
		if annuls || domain.IsCopy(e.Event) || domain.GradeOf(e.Event) != "" || e.EffectiveAt.Before(e.RecordedAt) {
			early = append(early, domain.UserID{UUID: e.Stream.ID})
		}
	}
	if len(early) == 0 {
		return nil, page, nil
	}

	subjects, err := tx.Log.StampedAhead(ctx, tx, domain.ConsentStream, early, upTo)
	if err != nil {
		return nil, nil, fmt.Errorf("look for events stamped ahead: %w", err)
	}
	if len(subjects) == 0 {
		return nil, page, nil
	}

	if whole, err = tx.Log.Streams(ctx, tx, domain.ConsentStream, subjects, upTo); err != nil {
		return nil, nil, fmt.Errorf("load histories: %w", err)
	}
	for _, e := range page {
		if !slices.Contains(subjects, domain.UserID{UUID: e.Stream.ID}) {
			rest = append(rest, e)
		}
	}
	return whole, rest, nil
}

func isWithdrawal(e *domain.Recorded) bool {
	_, ok := e.Event.(*domain.ConsentWithdrawn)
	return ok
}

// decisions names a person's decisions about one purpose.
type decisions struct {
	stream

	purpose string
}

// aboutOne are the events of a page about one person and purpose, in the order in which
// they take effect.
type aboutOne struct{ decided, withdrawn []domain.Recorded }

// changed reads the rows from before the page that its events change, and returns them
// changed: a grant ends with the first withdrawal after it, and any decision is
// superseded by the next one, by effective time and position.
func (c consents) changed(ctx context.Context, tx pgx.Tx, page []domain.Recorded) ([]consentRow, error) {
	const from = `
		from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[])
			k (tenant, subject, purpose, decided, withdrawn)
		join %s t on t.tenant_id = k.tenant and t.subject_id = k.subject and t.purpose = k.purpose
		where t.decided < $6 and t.annulled_at is null
			and (t.consented and (t.withdrawn_at is null and k.withdrawn is not null or t.withdrawn_at > k.withdrawn)
				or t.superseded_at is null and k.decided is not null or t.superseded_at > k.decided)`

	pages := inPage(page)
	if len(pages) == 0 {
		return nil, nil
	}
	keys := slices.Collect(maps.Keys(pages))
	first := func(of func(aboutOne) []domain.Recorded) []*time.Time {
		return each(keys, func(k decisions) *time.Time {
			if events := of(pages[k]); len(events) > 0 {
				return &events[0].EffectiveAt
			}
			return nil
		})
	}

	found, err := tx.Query(ctx, fmt.Sprintf("select t."+strings.Join(consentsTable().names(), ", t.")+from, c.table),
		each(keys, func(k decisions) [16]byte { return k.tenant }),
		each(keys, func(k decisions) [16]byte { return k.id }),
		each(keys, func(k decisions) string { return k.purpose }),
		first(func(o aboutOne) []domain.Recorded { return o.decided }),
		first(func(o aboutOne) []domain.Recorded { return o.withdrawn }), page[0].Position)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.table, err)
	}
	rows, err := pgx.CollectRows(found, scanConsent)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.table, err)
	}

	changed := rows[:0]
	for _, r := range rows {
		about := pages[decisions{stream{r.Tenant.UUID, r.Subject.UUID}, r.Purpose}]
		ended, superseded := r.end(about.withdrawn), r.supersede(about.decided)
		if ended || superseded {
			changed = append(changed, r)
		}
	}
	return changed, nil
}

// inPage sorts the events of a page by what they are about.
func inPage(page []domain.Recorded) map[decisions]aboutOne {
	pages := make(map[decisions]aboutOne)
	for _, e := range page {
		var purpose string
		var withdrawal bool
		switch event := e.Event.(type) {
		case *domain.ConsentGranted:
			purpose = event.Purpose
		case *domain.ConsentRefused:
			purpose = event.Purpose
		case *domain.ConsentWithdrawn:
			purpose, withdrawal = event.Purpose, true
		default:
			continue
		}

		key := decisions{streamOf(e), purpose}
		about := pages[key]
		if withdrawal {
			about.withdrawn = append(about.withdrawn, e)
		} else {
			about.decided = append(about.decided, e)
		}
		pages[key] = about
	}

	byInstant := func(a, b domain.Recorded) int { return a.EffectiveAt.Compare(b.EffectiveAt) }
	for _, about := range pages {
		slices.SortStableFunc(about.decided, byInstant)
		slices.SortStableFunc(about.withdrawn, byInstant)
	}
	return pages
}

// firstAfter returns the first of some events that takes effect at an instant or later.
func firstAfter(events []domain.Recorded, given time.Time) (domain.Recorded, bool) {
	first, _ := slices.BinarySearchFunc(events, given, func(e domain.Recorded, given time.Time) int {
		return e.EffectiveAt.Compare(given)
	})
	if first == len(events) {
		return domain.Recorded{}, false
	}
	return events[first], true
}

// end ends a row from before the page by one of its withdrawals, and reports whether it
// did.
func (r *consentRow) end(withdrawn []domain.Recorded) bool {
	w, ends := firstAfter(withdrawn, r.GivenAt)
	if !ends || !r.Consented || r.Withdrawn() && !w.EffectiveAt.Before(r.WithdrawnAt) {
		return false
	}
	r.WithdrawnAt, r.Position, r.UpdatedAt, r.UpdatedBy = w.EffectiveAt, w.Position, w.RecordedAt, w.Actor
	return true
}

// supersede does the same for the page's decisions.
func (r *consentRow) supersede(decided []domain.Recorded) bool {
	d, follows := firstAfter(decided, r.GivenAt)
	if !follows || !r.SupersededAt.IsZero() && !d.EffectiveAt.Before(r.SupersededAt) {
		return false
	}
	r.SupersededAt = d.EffectiveAt
	return true
}

// laterEvents reads the events recorded before the page that may end or supersede
// decisions of the page that were given even earlier.
func laterEvents(ctx context.Context, tx follow.Tx, page []domain.Recorded) ([]domain.Recorded, error) {
	since := make(map[domain.UserID]time.Time)
	for _, e := range page {
		subject := domain.UserID{UUID: e.Stream.ID}
		late := !isWithdrawal(&e) && e.EffectiveAt.Before(e.RecordedAt)
		if earliest, ok := since[subject]; late && (!ok || e.EffectiveAt.Before(earliest)) {
			since[subject] = e.EffectiveAt
		}
	}
	if len(since) == 0 {
		return nil, nil
	}

	kinds := []domain.Event{
		(*domain.ConsentGranted)(nil), (*domain.ConsentRefused)(nil), (*domain.ConsentWithdrawn)(nil),
	}
	events, err := tx.Log.EffectiveSince(ctx, tx, kinds, since, page[0].Position-1)
	if err != nil {
		return nil, fmt.Errorf("load later events: %w", err)
	}
	return events, nil
}

// foldConsents returns one subject's rows: all of them if the history is whole.
func foldConsents(history []domain.Recorded) []consentRow {
	decided := make(map[uuid.UUID]int64, len(history))
	for i := range history {
		switch history[i].Event.(type) {
		case *domain.ConsentGranted, *domain.ConsentRefused, *domain.ConsentClaimed:
			decided[history[i].Record] = history[i].Position
		}
	}

	records := domain.ConsentsAt(history, time.Time{}, time.Time{}).Records()
	rows := make([]consentRow, len(records))
	for i, c := range records {
		rows[i] = consentRow{Consent: c, Decided: decided[c.ID.UUID]}
	}
	return rows
}

func (consents) into(version string) Projection { return consents{version} }

func (consents) source() source {
	return sourceOf(domain.ConsentStream, consentsTable(), wholeConsents, nil)
}

// forget does nothing: no column identifies a person.
func (consents) forget(context.Context, pgx.Tx, int64, int64) error { return nil }

func wholeConsents(history []domain.Recorded) ([]consentRow, error) {
	return foldConsents(history), nil
}

func consentKey(r consentRow) stream { return stream{r.Tenant.UUID, r.ID.UUID} }

func consentsTable() readTable[consentRow] {
	columns := []column[consentRow]{
		col("id", "uuid", func(r consentRow) [16]byte { return r.ID.UUID }),
		col("tenant_id", "uuid", func(r consentRow) [16]byte { return r.Tenant.UUID }),
		col("subject_id", "uuid", func(r consentRow) [16]byte { return r.Subject.UUID }),
		col("purpose", "text", func(r consentRow) string { return r.Purpose }),
		col("notice_version", "integer", func(r consentRow) int32 { return int32(r.NoticeVersion) }),
		col("wording", "text", func(r consentRow) string { return r.Wording }),
		col("sha256", "text", func(r consentRow) string { return r.SHA256 }),
		col("language", "text", func(r consentRow) string { return string(r.Language) }),
		col("consented", "boolean", func(r consentRow) bool { return r.Consented }),
		col("channel", "text", func(r consentRow) string { return string(r.Channel) }),
		col("given_by", "text", func(r consentRow) string { return r.GivenBy }),
		col("recorded_by", "uuid", func(r consentRow) *[16]byte { return unlessZero([16]byte(r.RecordedBy.UUID)) }),
		col("evidence_sha256", "text", func(r consentRow) string { return r.EvidenceSHA256 }),
		col("given_at", "timestamptz", func(r consentRow) time.Time { return r.GivenAt }),
		col("recorded_at", "timestamptz", func(r consentRow) time.Time { return r.RecordedAt }),
		col("withdrawn_at", "timestamptz", func(r consentRow) *time.Time { return unlessZero(r.WithdrawnAt) }),
		col("decided", "bigint", func(r consentRow) int64 { return r.Decided }),
		col("position", "bigint", func(r consentRow) int64 { return r.Position }),
		col("annulled_at", "timestamptz", func(r consentRow) *time.Time { return unlessZero(r.AnnulledAt) }),
		col("moved_to", "uuid", func(r consentRow) *[16]byte { return unlessZero([16]byte(r.MovedTo.UUID)) }),
		col("updated_at", "timestamptz", func(r consentRow) *time.Time { return unlessZero(r.UpdatedAt) }),
		col("updated_by", "uuid", func(r consentRow) *[16]byte { return unlessZero([16]byte(r.UpdatedBy.UUID)) }),
		col("valid_until", "timestamptz", func(r consentRow) *time.Time { return unlessZero(r.ValidUntil) }),
		col("superseded_at", "timestamptz", func(r consentRow) *time.Time { return unlessZero(r.SupersededAt) }),
		col("evidence_grade", "text", func(r consentRow) string { return string(r.Grade) }),
		col("source", "text", func(r consentRow) string { return r.Source }),
	}

	return readTable[consentRow]{
		name: "consents", key: []string{"tenant_id", "id"}, stream: [2]string{"tenant_id", "subject_id"},
		scan: scanConsent, keyOf: consentKey, columns: columns,
	}
}

func scanConsent(r pgx.CollectableRow) (consentRow, error) {
	var c consentRow
	err := r.Scan(&c.ID.UUID, &c.Tenant.UUID, &c.Subject.UUID, &c.Purpose, &c.NoticeVersion, &c.Wording, &c.SHA256,
		&c.Language, &c.Consented, &c.Channel, &c.GivenBy, (*orZeroID)(&c.RecordedBy.UUID), &c.EvidenceSHA256,
		&c.GivenAt, &c.RecordedAt, (*orZeroTime)(&c.WithdrawnAt), &c.Decided, &c.Position, (*orZeroTime)(&c.AnnulledAt),
		(*orZeroID)(&c.MovedTo.UUID), (*orZeroTime)(&c.UpdatedAt), (*orZeroID)(&c.UpdatedBy.UUID),
		(*orZeroTime)(&c.ValidUntil), (*orZeroTime)(&c.SupersededAt), &c.Grade, &c.Source)

	c.GivenAt, c.RecordedAt = c.GivenAt.UTC(), c.RecordedAt.UTC()
	return c, err
}

// Consent returns one decision of a tenant, or not_found. If a subject is given, the
// decision of anybody else is not_found too.
func (q *Queries) Consent(
	ctx context.Context, tenant domain.TenantID, subject domain.UserID, id domain.ConsentID,
) (domain.Consent, error) {
	sql := `select ` + consentsTable().list() + ` from trust.consents c where c.tenant_id = $1 and c.id = $2`
	w := pg.Where{Args: []any{tenant.UUID, id.UUID}}
	if !subject.IsZero() {
		w.And("c.subject_id = %s", subject.UUID)
	}

	found, err := inTenant(ctx, q, tenant, sql+w.SQL(), w.Args, scanConsent)
	if err != nil {
		return domain.Consent{}, err
	}

	r, err := only(found, "There is no such consent.")
	return r.Consent, err
}

// Consents lists a subject's decisions, withdrawn ones too, newest first.
func (q *Queries) Consents(
	ctx context.Context, tenant domain.TenantID, subject domain.UserID, page Page,
) (Listing[domain.Consent], error) {
	sql := `select ` + consentsTable().list() + ` from trust.consents c where c.tenant_id = $1 and c.subject_id = $2`
	w := pg.Where{Args: []any{tenant.UUID, subject.UUID}}
	if page.After != "" {
		after, err := page.AfterPosition()
		if err != nil {
			return Listing[domain.Consent]{}, err
		}
		w.And("c.decided < %s", after)
	}
	sql += w.SQL() + ` order by c.decided desc limit ` + w.Arg(page.Fetch())

	rows, err := inTenant(ctx, q, tenant, sql, w.Args, scanConsent)
	return List(rows, err, page, func(r consentRow) (domain.Consent, string) {
		return r.Consent, PositionCursor(r.Decided)
	})
}
