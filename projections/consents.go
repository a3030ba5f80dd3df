package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pg"
)

// consents is the read table of every recorded decision and what became of it, as known now.
type consents struct{ table string }

// consentRow is a decision and where in the log it stands, which is the order of lists.
type consentRow struct {
	domain.Consent
	Decided int64
}

// Name implements Projection.
func (consents) Name() string { return "consents" }

// Kinds implements Projection.
func (p consents) Kinds() []domain.StreamType { return []domain.StreamType{p.source().kind} }

// Apply implements Projection.
//
// A decision that holds from when it was recorded comes last in the fold of its subject, so it touches no other record and is
// folded alone. A withdrawal, or a decision given before it was recorded, may touch any: such a subject is folded again from the
// first event on.
func (c consents) Apply(ctx context.Context, tx follow.Tx, events []domain.Recorded, upTo int64) error {
	again, err := loadHistories(ctx, tx, events, upTo)
	if err != nil {
		return err
	}

	rows := make([]consentRow, 0, len(events))
	for i := range events {
		if _, ok := again[streamOf(events[i])]; !ok {
			rows = append(rows, foldConsents(events[i:i+1])...)
		}
	}
	for _, history := range again {
		rows = append(rows, foldConsents(history)...)
	}
	return consentsTable().upsert(ctx, tx, c.table, rows)
}

func isWithdrawal(e *domain.Recorded) bool {
	_, ok := e.Event.(*domain.ConsentWithdrawn)
	return ok
}

func touchesOthers(e *domain.Recorded) bool {
	return isWithdrawal(e) || e.EffectiveAt.Before(e.RecordedAt)
}

// loadHistories gives all consent events, up to a position, of the subjects that must be folded again. A history that begins in
// the page is all in the page.
func loadHistories(ctx context.Context, tx follow.Tx, page []domain.Recorded, upTo int64) (map[stream][]domain.Recorded, error) {
	again := make(map[stream][]domain.Recorded)
	for i := range page {
		if touchesOthers(&page[i]) {
			again[streamOf(page[i])] = nil
		}
	}
	for i := range page {
		key := streamOf(page[i])
		if history, ok := again[key]; ok && (page[i].Version == 1 || len(history) > 0) {
			again[key] = append(history, page[i])
		}
	}
	var older []domain.UserID
	for key, history := range again {
		if len(history) == 0 {
			older = append(older, domain.UserID{UUID: key.id})
		}
	}
	if len(older) == 0 {
		return again, nil
	}
	events, err := tx.Log.Streams(ctx, tx, domain.ConsentStream, older, upTo)
	if err != nil {
		return nil, fmt.Errorf("load consent histories: %w", err)
	}
	for _, e := range events {
		again[streamOf(e)] = append(again[streamOf(e)], e)
	}
	return again, nil
}

// foldConsents gives one subject's rows: all of them if the history is whole.
func foldConsents(history []domain.Recorded) []consentRow {
	decided := make(map[uuid.UUID]int64, len(history))
	for i := range history {
		switch history[i].Event.(type) {
		case *domain.ConsentGranted, *domain.ConsentRefused:
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
	return readTable[consentRow]{
		name: "consents", key: []string{"tenant_id", "id"}, stream: [2]string{"tenant_id", "subject_id"}, scan: scanConsent, keyOf: consentKey,
		columns: []column[consentRow]{
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
		},
	}
}

// unlessZero gives nil for the zero value: null in the table.
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
	err := r.Scan(&c.ID.UUID, &c.Tenant.UUID, &c.Subject.UUID, &c.Purpose, &c.NoticeVersion, &c.Wording, &c.SHA256, &c.Language,
		&c.Consented, &c.Channel, &c.GivenBy, &recordedBy, &c.EvidenceSHA256, &c.GivenAt, &c.RecordedAt, &withdrawnAt,
		&c.Decided, &c.Position)
	c.GivenAt, c.RecordedAt = c.GivenAt.UTC(), c.RecordedAt.UTC()
	if recordedBy != nil {
		c.RecordedBy.UUID = *recordedBy
	}
	if withdrawnAt != nil {
		c.WithdrawnAt = withdrawnAt.UTC()
	}
	return c, err
}

// Consent gives one decision of a tenant, or not_found; also when it is not of the subject, unless that is zero.
func (q *Queries) Consent(ctx context.Context, tenant domain.TenantID, subject domain.UserID, id domain.ConsentID) (domain.Consent, error) {
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

// Consents lists a subject's decisions, withdrawn ones too, the one recorded last first.
func (q *Queries) Consents(ctx context.Context, tenant domain.TenantID, subject domain.UserID, page Page) (Listing[domain.Consent], error) {
	sql := `select ` + consentsTable().list() + ` from trust.consents c where c.tenant_id = $1 and c.subject_id = $2`
	w := pg.Where{Args: []any{tenant.UUID, subject.UUID}}
	if page.After != "" {
		after, err := page.AfterPosition()
		if err != nil {
			return Listing[domain.Consent]{}, err
		}
		w.And("c.decided < %s", after)
	}
	rows, err := inTenant(ctx, q, tenant, sql+w.SQL()+` order by c.decided desc limit `+w.Arg(page.Fetch()), w.Args, scanConsent)
	return List(rows, err, page, func(r consentRow) (domain.Consent, string) { return r.Consent, PositionCursor(r.Decided) })
}
