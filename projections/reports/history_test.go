package reports_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

func TestAHistoryIsEveryDecisionInFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna")
	w.grant(t, w.tenant, w.register(t, w.tenant, "bheki"))

	paper := domaintest.PaperGrant()
	w.example(t, anna, paper)
	w.example(t, anna, &domain.ConsentRefused{Decision: decision("sms_alert", time.Time{})})
	w.example(t, anna, &domain.ConsentWithdrawn{
		ConsentID: paper.ConsentID, Purpose: paper.Purpose, RecordedBy: domain.BySelf,
		Private: domain.Known(domain.WithdrawalFacts{Reason: "enough"}),
	})

	got, err := w.history(t, w.tenant, anna)
	must(t, err)
	if len(got) != 3 {
		t.Fatalf("%d entries", len(got))
	}

	facts, _ := paper.Private.Get()
	want := []reports.HistoryEntry{
		{
			EventType: "consent.granted.v1", GivenAt: paper.GivenAt, Actor: anna, ActorRole: "citizen",
			ConsentID: paper.ConsentID, Purpose: paper.Purpose, RecordedBy: paper.RecordedBy,
			NoticeVersion: 1, Wording: paper.Wording, SHA256: paper.SHA256, Language: paper.Language,
			Channel: domain.Paper, GivenBy: domain.ByCompetentPerson, Basis: domain.ConsentBasis,
			EvidenceSHA256: paper.EvidenceSHA256, Personal: domain.Open,
			EvidenceReference: facts.EvidenceReference, CompetentPerson: facts.CompetentPerson,
		},
		{
			EventType: "consent.refused.v1", GivenAt: got[1].RecordedAt, Actor: anna, ActorRole: "citizen",
			ConsentID: got[1].ConsentID, Purpose: "sms_alert", RecordedBy: domain.BySelf,
			NoticeVersion: 1, Wording: "words", SHA256: domain.WordingHash("words"), Language: domain.English,
			Channel: domain.Paper, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
		},
		{
			EventType: "consent.withdrawn.v1", GivenAt: got[2].RecordedAt, Actor: anna, ActorRole: "citizen",
			ConsentID: paper.ConsentID, Purpose: paper.Purpose, RecordedBy: domain.BySelf,
			Personal: domain.Open, Reason: "enough",
		},
	}

	ignored := cmpopts.IgnoreFields(reports.HistoryEntry{}, "Position", "EventID", "RecordedAt")
	if diff := cmp.Diff(want, got, ignored); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	for i, e := range got {
		if e.EventID == uuid.Nil || e.RecordedAt.IsZero() || i > 0 && e.Position <= got[i-1].Position {
			t.Errorf("entry %+v", e)
		}
	}

	// After the erasure everything is there except what identified the person.
	w.erase(t, anna)
	for i := range want {
		if want[i].Personal == domain.Open {
			want[i].Personal = domain.Erased
		}
		want[i].EvidenceReference, want[i].CompetentPerson, want[i].Reason = "", nil, ""
	}

	got, err = w.history(t, w.tenant, anna)
	must(t, err)
	if diff := cmp.Diff(want, got, ignored); diff != "" {
		t.Errorf("erased (-want +got):\n%s", diff)
	}
}

func TestAHistoryIsOfOneTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna")
	w.grant(t, w.tenant, anna)

	other := w.municipality(t, "JHB")
	if got, err := w.history(t, other, anna); err != nil || len(got) != 0 {
		t.Errorf("another tenant reads %d entries, %v", len(got), err)
	}

	for _, c := range []struct {
		tenant  domain.TenantID
		subject domain.UserID
	}{{domain.TenantID{}, anna}, {w.tenant, domain.UserID{}}} {
		q := reports.HistoryQuery{Subject: c.subject}
		if _, err := w.reports.History(t.Context(), c.tenant, q, projections.Page{}); err == nil {
			t.Errorf("a history of %+v", c)
		}
	}
}

func TestReportsWithoutADatabaseAreUnavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/nothing?connect_timeout=1")
	must(t, err)
	t.Cleanup(pool.Close)
	r := reports.New(pool, nil, w.reader)
	scope, err := reports.ScopeOf(domain.PlatformTenant(), domain.TenantID{})
	must(t, err)

	_, history := r.History(t.Context(), w.tenant, reports.HistoryQuery{Subject: newUser()}, projections.Page{})
	replay := r.Replay(t.Context(), w.tenant, reports.ReplayQuery{}, nil)
	_, position := r.Resolve(t.Context(), w.tenant, time.Time{}, time.Now(), 0)
	_, audit := r.Audit(t.Context(), scope, reports.AuditFilter{}, projections.Page{})
	for _, err := range []error{history, replay, position, audit} {
		if !refused(err, domain.CodeUnavailable) {
			t.Errorf("without a database: %v", err)
		}
	}
}

func TestWhatIsReadWholeWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release, err := w.reports.TakeTurns(t.Context())
	must(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = w.reports.History(ctx, w.tenant, reports.HistoryQuery{Subject: newUser()}, projections.Page{})
	if !refused(err, domain.CodeUnavailable) {
		t.Errorf("a history: %v", err)
	}
	_, err = w.reports.Dossier(ctx, w.tenant, newUser())
	if !refused(err, domain.CodeUnavailable) {
		t.Errorf("a dossier: %v", err)
	}

	release()
	_, err = w.reports.History(t.Context(), w.tenant, reports.HistoryQuery{Subject: newUser()}, projections.Page{})
	must(t, err)
}

// history is a person's history in one page.
func (w *world) history(t *testing.T, tenant domain.TenantID, subject domain.UserID) ([]reports.HistoryEntry, error) {
	t.Helper()
	list, err := w.reports.History(t.Context(), tenant, reports.HistoryQuery{Subject: subject}, projections.Page{})
	if list.Next != "" {
		t.Errorf("more than a page: %s", list.Next)
	}
	return list.Items, err
}

func TestALongHistoryIsReadInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna")
	for range 7 {
		w.grant(t, w.tenant, anna)
	}

	var positions []int64
	page := projections.Page{Limit: 3}
	for pages := 1; ; pages++ {
		list, err := w.reports.History(t.Context(), w.tenant, reports.HistoryQuery{Subject: anna}, page)
		must(t, err)
		for _, e := range list.Items {
			positions = append(positions, e.Position)
		}

		if page.After = list.Next; list.Next == "" {
			if pages != 3 || len(positions) != 7 || !slices.IsSorted(positions) {
				t.Errorf("%d pages: %v", pages, positions)
			}
			return
		}
	}
}
