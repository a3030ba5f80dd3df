package reports_test

import (
	"encoding/base64"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// What the read table says of somebody is not what was known at an earlier position, nor
// what stood at an instant if the log's clock ran ahead: they are on the pages all the
// same.
func TestPagesHaveThoseOfWhomTheReadTableSaysSomethingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	super := w.db.Superuser(t)
	w.exec(t, super, "set session_replication_role = replica")
	clock := time.Now().UTC().Truncate(time.Microsecond)

	withdrew, ahead := newUser(), newUser()
	made := decision("sms_alert", time.Time{})
	w.stamp(t, super, withdrew, clock, &domain.ConsentGranted{Decision: made})
	granted := w.head(t)
	w.stamp(t, super, withdrew, clock.Add(time.Minute),
		&domain.ConsentWithdrawn{ConsentID: made.ConsentID, Purpose: "sms_alert"})

	inZulu := decision("newsletter", time.Time{})
	inZulu.Language = domain.Zulu
	w.stamp(t, super, ahead, clock.Add(4*time.Hour), &domain.ConsentGranted{Decision: inZulu})
	w.stamp(t, super, ahead, clock.Add(time.Hour),
		&domain.ConsentRefused{Decision: decision("newsletter", time.Time{})})
	w.followTo(t, w.db.Conn(t, pgtest.Projector), w.head(t))

	for name, c := range map[string]struct {
		of     domain.UserID
		moment reports.Moment
		filter projections.ConsentFilter
	}{
		"who withdrew later": {
			withdrew,
			reports.Moment{Position: granted, At: clock.Add(time.Hour)},
			projections.ConsentFilter{Status: domain.StatusGranted},
		},
		"whose answer was stamped ahead": {
			ahead,
			reports.Moment{Position: w.head(t), At: clock.Add(2 * time.Hour)},
			projections.ConsentFilter{DecisionFilter: projections.DecisionFilter{Language: domain.Zulu}},
		},
	} {
		q := reports.ReplayQuery{Position: c.moment.Position, At: c.moment.At, ConsentFilter: c.filter}
		rows := w.paged(t, q, 1, func() {})
		if len(rows) != 1 || rows[0].Subject != c.of {
			t.Errorf("%s: %+v", name, rows)
		}
		if diff := gocmp.Diff(w.rows(t, q), rows); diff != "" {
			t.Errorf("%s (-the export +paged):\n%s", name, diff)
		}
	}
}

// A cursor belongs to its question and to a row of it; anything else is refused, never
// answered as something else.
func TestACursorOfAnotherQuestionIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := newUser()
	w.grant(t, w.tenant, anna)
	w.grant(t, w.tenant, anna)
	other := w.municipality(t, "JHB")
	w.grant(t, other, newUser())

	asked := reports.ReplayQuery{Position: w.head(t)}
	asked.Purpose = "sms_alert"
	first, err := w.reports.ReplayPage(t.Context(), w.tenant, asked, projections.Page{Limit: 1})
	must(t, err)
	if len(first.Items) != 1 || first.Next == "" {
		t.Fatalf("the first page: %+v", first)
	}

	changed := func(change func(raw []byte) []byte) string {
		raw, err := base64.RawURLEncoding.DecodeString(first.Next)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(change(raw))
	}
	with := func(change func(*reports.ReplayQuery)) reports.ReplayQuery {
		q := asked
		change(&q)
		return q
	}
	for name, c := range map[string]struct {
		tenant domain.TenantID
		q      reports.ReplayQuery
		after  string
		want   domain.Code
	}{
		"of another municipality": {other, asked, first.Next, domain.CodeInvalid},
		"of another purpose": {
			w.tenant, with(func(q *reports.ReplayQuery) { q.Purpose = "newsletter" }), first.Next, domain.CodeInvalid,
		},
		"of all purposes": {
			w.tenant, with(func(q *reports.ReplayQuery) { q.Purpose = "" }), first.Next, domain.CodeInvalid,
		},
		"of one person": {
			w.tenant, with(func(q *reports.ReplayQuery) { q.Subject = anna }), first.Next, domain.CodeInvalid,
		},
		"of another status": {
			w.tenant, with(func(q *reports.ReplayQuery) { q.Status = domain.StatusGranted }), first.Next,
			domain.CodeInvalid,
		},
		"of another time": {
			w.tenant, with(func(q *reports.ReplayQuery) { q.GivenTo = domaintest.Clock("2026-03-01") }), first.Next,
			domain.CodeInvalid,
		},
		"that is no cursor":  {w.tenant, asked, "garbage", domain.CodeInvalid},
		"that is a position": {w.tenant, asked, projections.PositionCursor(1), domain.CodeInvalid},
		"that is too long": {
			w.tenant, asked, changed(func(raw []byte) []byte { return append(raw, 0) }), domain.CodeInvalid,
		},
		"of a row that is not there": {
			w.tenant, asked, changed(func(raw []byte) []byte { raw[len(raw)-1] ^= 1; return raw }), domain.CodeInvalid,
		},
		"of a position that is not there yet": {
			w.tenant, asked, changed(func(raw []byte) []byte { raw[6] = 1; return raw }), domain.CodeUnknownPosition,
		},
		"of position 0": {
			w.tenant, asked, changed(func(raw []byte) []byte { clear(raw[:8]); return raw }), domain.CodeInvalid,
		},
	} {
		_, err := w.reports.ReplayPage(t.Context(), c.tenant, c.q, projections.Page{Limit: 1, After: c.after})
		if !refused(err, c.want) {
			t.Errorf("a cursor %s: %v", name, err)
		}
	}

	second, err := w.reports.ReplayPage(t.Context(), w.tenant, asked, projections.Page{Limit: 1, After: first.Next})
	must(t, err)
	if len(second.Items) != 1 || second.Next != "" || second.Items[0].ID == first.Items[0].ID {
		t.Errorf("the second page: %+v", second)
	}
}

// If the log is ahead of the clock, no instant stands for now: what ends without an event
// is judged at the time of the first page, on all of them.
func TestAllPagesJudgeWhatEndsAtTheTimeOfTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now()
	for range 2 {
		e := &domain.ConsentGranted{Decision: decision("sms_alert", time.Time{}), ValidUntil: now.Add(-time.Hour)}
		w.append(t, w.tenant, domain.ConsentsOf(newUser()), e)
	}

	q := reports.ReplayQuery{Position: w.head(t), Now: now.Add(-2 * time.Hour)}
	statuses := []domain.Status{}
	for _, row := range w.paged(t, q, 1, func() {}) {
		statuses = append(statuses, row.Status)
	}
	if !slices.Equal(statuses, []domain.Status{domain.StatusGranted, domain.StatusGranted}) {
		t.Errorf("the pages say %v", statuses)
	}
}
