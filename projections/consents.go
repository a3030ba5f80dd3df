package projections

import (
	"context"
	"fmt"
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
// people decided before: a withdrawal changes the rows that it ends, and a decision
// recorded late is folded with the withdrawals that take effect after it. Only where the
// log was ahead of the clock do instants not tell the order; then the person's history is
// folded whole.
func (c consents) Apply(ctx context.Context, tx follow.Tx, events []domain.Recorded, upTo int64) error {
	whole, events, err := stampedAhead(ctx, tx, events, upTo)
	if err != nil {
		return err
	}

	ended, err := c.ended(ctx, tx, events)
	if err != nil {
		return err
	}

	later, err := laterWithdrawals(ctx, tx, events)
	if err != nil {
		return err
	}

	histories := make(map[stream][]domain.Recorded)
	for _, e := range slices.Concat(whole, later, events) {
		histories[streamOf(e)] = append(histories[streamOf(e)], e)
	}

	rows := ended
	for _, history := range histories {
		rows = append(rows, foldConsents(history)...)
	}
	return consentsTable().upsert(ctx, tx, c.table, rows)
}

// stampedAhead finds the people of a page with an event that was recorded while the log
// was ahead of the clock. It returns their whole histories, and the page's events of all
// other people as rest. It matters only for events that take effect before they were
// recorded.
func stampedAhead(
	ctx context.Context, tx follow.Tx, page []domain.Recorded, upTo int64,
) (whole, rest []domain.Recorded, err error) {
	var early []domain.UserID
	for _, e := range page {
		if e.EffectiveAt.Before(e.RecordedAt) {
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

// withdrawnPurpose returns the purpose that an event withdraws consent for, or "".
func withdrawnPurpose(e domain.Recorded) string {
	switch e := e.Event.(type) {
	case *domain.ConsentWithdrawn:
		return e.Purpose
	case *domain.ConsentClaimed:
		if e.Claim.Decided == domain.OutcomeWithdrawn {
			return e.Purpose
		}
	}
	return ""
}

// decisions names a person's decisions about one purpose.
type decisions struct {
	stream

	purpose string
}

// ended reads the rows from before the page that its withdrawals end, or end earlier than
// before, and returns them changed accordingly. A grant ends with the first withdrawal
// after it, by effective time and position; only a claimed grant ends with a claimed one.
func (c consents) ended(ctx context.Context, tx pgx.Tx, page []domain.Recorded) ([]consentRow, error) {
	const from = `
		from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) k (tenant, subject, purpose, since)
		join %s t on t.tenant_id = k.tenant and t.subject_id = k.subject and t.purpose = k.purpose
		where t.consented and t.decided < $5 and (t.withdrawn_at is null or t.withdrawn_at > k.since)`

	withdrawals := make(map[decisions][]domain.Recorded)
	for _, e := range page {
		if purpose := withdrawnPurpose(e); purpose != "" {
			key := decisions{streamOf(e), purpose}
			withdrawals[key] = append(withdrawals[key], e)
		}
	}
	if len(withdrawals) == 0 {
		return nil, nil
	}

	keys, since := make([]decisions, 0, len(withdrawals)), make([]time.Time, 0, len(withdrawals))
	for key, in := range withdrawals {
		slices.SortStableFunc(in, func(a, b domain.Recorded) int { return a.EffectiveAt.Compare(b.EffectiveAt) })
		keys, since = append(keys, key), append(since, in[0].EffectiveAt)
	}

	found, err := tx.Query(ctx, fmt.Sprintf("select t."+strings.Join(consentsTable().names(), ", t.")+from, c.table),
		each(keys, func(k decisions) [16]byte { return k.tenant }),
		each(keys, func(k decisions) [16]byte { return k.id }),
		each(keys, func(k decisions) string { return k.purpose }), since, page[0].Position)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.table, err)
	}
	rows, err := pgx.CollectRows(found, scanConsent)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.table, err)
	}

	changed := rows[:0]
	for _, r := range rows {
		in := withdrawals[decisions{stream{r.Tenant.UUID, r.Subject.UUID}, r.Purpose}]
		if r.Grade == "" {
			in = slices.DeleteFunc(slices.Clone(in), func(w domain.Recorded) bool { return !isWithdrawal(&w) })
		}
		first, _ := slices.BinarySearchFunc(in, r.GivenAt, func(w domain.Recorded, given time.Time) int {
			return w.EffectiveAt.Compare(given)
		})
		if first == len(in) || r.Withdrawn() && !in[first].EffectiveAt.Before(r.WithdrawnAt) {
			continue
		}

		r.WithdrawnAt, r.Position = in[first].EffectiveAt, in[first].Position
		changed = append(changed, r)
	}
	return changed, nil
}

// laterWithdrawals reads the withdrawals recorded before the page that may end consents
// of the page that were given even earlier.
func laterWithdrawals(ctx context.Context, tx follow.Tx, page []domain.Recorded) ([]domain.Recorded, error) {
	late := func(e domain.Recorded) bool { return !isWithdrawal(&e) && e.EffectiveAt.Before(e.RecordedAt) }
	claimed := func(e domain.Recorded) bool { return domain.GradeOf(e.Event) != "" }

	var later []domain.Recorded
	for _, look := range []struct {
		of domain.Event
		by func(domain.Recorded) bool // whose decisions it may end
	}{
		{(*domain.ConsentWithdrawn)(nil), late},
		{(*domain.ConsentClaimed)(nil), claimed},
	} {
		since := earliest(page, look.by)
		if len(since) == 0 {
			continue
		}

		events, err := tx.Log.EffectiveSince(ctx, tx, look.of, since, page[0].Position-1)
		if err != nil {
			return nil, fmt.Errorf("load withdrawals: %w", err)
		}
		later = append(later, events...)
	}
	return slices.DeleteFunc(later, func(e domain.Recorded) bool { return withdrawnPurpose(e) == "" }), nil
}

// earliest returns when the first of some events of a page takes effect, by person.
func earliest(page []domain.Recorded, wanted func(domain.Recorded) bool) map[domain.UserID]time.Time {
	since := make(map[domain.UserID]time.Time)
	for _, e := range page {
		subject := domain.UserID{UUID: e.Stream.ID}
		if first, ok := since[subject]; wanted(e) && (!ok || e.EffectiveAt.Before(first)) {
			since[subject] = e.EffectiveAt
		}
	}
	return since
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
		col("evidence_grade", "text", func(r consentRow) string { return string(r.Grade) }),
		col("source", "text", func(r consentRow) string { return r.Source }),
	}

	return readTable[consentRow]{
		name: "consents", key: []string{"tenant_id", "id"}, stream: [2]string{"tenant_id", "subject_id"},
		scan: scanConsent, keyOf: consentKey, columns: columns,
	}
}

// unlessZero returns nil for the zero value, which becomes null in the table.
func unlessZero[V comparable](v V) *V {
	var zero V
	if v == zero {
		return nil
	}
	return &v
}

func scanConsent(r pgx.CollectableRow) (consentRow, error) {
	var c consentRow
	var recordedBy *uuid.UUID
	var withdrawnAt *time.Time
	err := r.Scan(&c.ID.UUID, &c.Tenant.UUID, &c.Subject.UUID, &c.Purpose, &c.NoticeVersion, &c.Wording, &c.SHA256,
		&c.Language, &c.Consented, &c.Channel, &c.GivenBy, &recordedBy, &c.EvidenceSHA256, &c.GivenAt, &c.RecordedAt,
		&withdrawnAt, &c.Decided, &c.Position, &c.Grade, &c.Source)

	c.GivenAt, c.RecordedAt = c.GivenAt.UTC(), c.RecordedAt.UTC()
	if recordedBy != nil {
		c.RecordedBy.UUID = *recordedBy
	}
	if withdrawnAt != nil {
		c.WithdrawnAt = withdrawnAt.UTC()
	}
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
