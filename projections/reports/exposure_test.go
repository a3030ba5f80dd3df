package reports_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// read records that a clerk read data of some people.
func (w *world) read(
	t testing.TB, tenant domain.TenantID, clerk domain.UserID, filter map[string]string, people ...domain.UserID,
) int64 {
	t.Helper()
	done, err := w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: tenant, Actor: clerk, Metadata: domain.Metadata{ActorRole: string(domain.Manager)},
		Writes: []domain.Write{{Stream: domain.Stream{Type: domain.AccessStream, ID: newID()}, Events: []domain.Event{
			&domain.PersonalDataRead{
				Route: "GET /api/v1/users", Fields: "profile", Head: 7, Subjects: people,
				Filter: filter,
			},
		}}},
	})
	must(t, err)
	return done.Position()
}

func TestExposureFindsEveryReadThatCoveredAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")
	anna, bheki, clerk, chief := w.register(t, w.tenant, "anna"), newUser(), newUser(), newUser()

	alone := w.read(t, w.tenant, clerk, nil, anna)
	listed := w.read(t, w.tenant, chief, nil, bheki, anna)
	filtered := w.read(t, w.tenant, clerk, map[string]string{"role": "citizen"})
	ofBheki := w.read(t, w.tenant, clerk, map[string]string{"subject_id": anna.String()}, bheki, chief)
	w.read(t, other, clerk, nil, anna)
	w.grant(t, w.tenant, anna) // about her, but no read

	ctx, r := t.Context(), w.reports
	type seen struct {
		Position int64
		Matched  reports.Matched
	}
	ask := func(f reports.ExposureFilter) (found []seen) {
		t.Helper()
		list, err := r.Exposure(ctx, w.tenant, f, projections.Page{})
		must(t, err)
		for _, e := range list.Items {
			found = append(found, seen{e.Position, e.Matched})
		}
		return found
	}

	all := []seen{{filtered, reports.MatchedFilter}, {listed, reports.MatchedList}, {alone, reports.MatchedSubject}}
	if diff := cmp.Diff(all, ask(reports.ExposureFilter{Subject: anna})); diff != "" {
		t.Errorf("who saw her (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]seen{{ofBheki, ""}, {filtered, ""}, {alone, ""}},
		ask(reports.ExposureFilter{Actor: clerk})); diff != "" {
		t.Errorf("whom the clerk saw (-want +got):\n%s", diff)
	}

	list, err := r.Exposure(ctx, w.tenant, reports.ExposureFilter{Subject: anna}, projections.Page{})
	must(t, err)
	e := list.Items[1]
	if e.Actor != chief || e.ActorRole != "manager" || e.Route != "GET /api/v1/users" || e.Fields != "profile" ||
		e.Head != 7 || !slices.Equal(e.Subjects, []domain.UserID{bheki, anna}) || e.Timestamp.IsZero() {
		t.Errorf("an entry: %+v", e)
	}
	if list.Items[0].Filter["role"] != "citizen" {
		t.Errorf("a filter: %+v", list.Items[0])
	}

	from, to := list.Items[1].Timestamp, list.Items[0].Timestamp
	if diff := cmp.Diff(all[1:2], ask(reports.ExposureFilter{Subject: anna, From: from, To: to})); diff != "" {
		t.Errorf("in a period (-want +got):\n%s", diff)
	}

	ids := pages(t, 1, func(p projections.Page) (projections.Listing[reports.ExposureEntry], error) {
		return r.Exposure(ctx, w.tenant, reports.ExposureFilter{Subject: anna}, p)
	}, func(e reports.ExposureEntry) string { return e.EventID.String() })
	if len(ids) != 3 {
		t.Errorf("the pages hold %v", ids)
	}

	for _, f := range []reports.ExposureFilter{{}, {Subject: anna, Actor: clerk}} {
		if _, err := r.Exposure(ctx, w.tenant, f, projections.Page{}); !refused(err, domain.CodeInvalid) {
			t.Errorf("%+v returns %v", f, err)
		}
	}
	_, err = r.Exposure(ctx, domain.TenantID{}, reports.ExposureFilter{Subject: anna}, projections.Page{})
	if err == nil {
		t.Error("the zero tenant is taken")
	}
}
