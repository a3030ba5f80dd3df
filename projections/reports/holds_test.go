package reports_test

import (
	"slices"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

func TestHoldsAreListedNewestFirstByWhetherTheyAreInForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	elsewhere := w.municipality(t, "KZN225")
	people := []domain.UserID{w.register(t, w.tenant, "thandi"), w.register(t, w.tenant, "sipho")}

	place := func(tenant domain.TenantID, subject domain.UserID) domain.HoldID {
		id := domain.HoldID{UUID: newID()}
		w.append(t, tenant, domain.RightsOf(subject), &domain.HoldPlaced{
			HoldID: id, Private: domain.Known(domain.FreeText{Text: "case " + id.String()}),
		})
		return id
	}
	var placed []domain.HoldID
	for i := range 7 {
		placed = append(placed, place(w.tenant, people[i%2]))
	}
	place(elsewhere, w.register(t, elsewhere, "ayanda"))
	for _, i := range []int{1, 4} {
		w.append(t, w.tenant, domain.RightsOf(people[i%2]), &domain.HoldLifted{HoldID: placed[i]})
	}

	read := func(lifted bool) func(projections.Page) (projections.Listing[domain.Hold], error) {
		return func(page projections.Page) (projections.Listing[domain.Hold], error) {
			list, err := w.reports.Holds(t.Context(), w.tenant, lifted, page)
			for _, h := range list.Items {
				if text, _ := h.Reason.Get(); text.Text != "case "+h.ID.String() || h.Lifted() != lifted {
					t.Errorf("%+v", h)
				}
			}
			return list, err
		}
	}
	for lifted, of := range map[bool][]int{false: {6, 5, 3, 2, 0}, true: {4, 1}} {
		var want []string
		for _, i := range of {
			want = append(want, placed[i].String())
		}
		for _, limit := range []int{1, 2, 100} {
			got := pages(t, limit, read(lifted), func(h domain.Hold) string { return h.ID.String() })
			if !slices.Equal(got, want) {
				t.Errorf("lifted %v in pages of %d: %v, want %v", lifted, limit, got, want)
			}
		}
	}

	if _, err := w.reports.Holds(t.Context(), w.tenant, false, projections.Page{After: "rubbish"}); !refused(
		err, domain.CodeInvalid) {
		t.Errorf("a cursor that no page gave: %v", err)
	}
}

// A hold that is lifted between two pages does not disturb the second.
func TestAPageOfHoldsGoesOnFromOneThatWasLiftedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	person := w.register(t, w.tenant, "thandi")

	var placed []domain.HoldID
	for range 3 {
		placed = append(placed, domain.HoldID{UUID: newID()})
		w.append(t, w.tenant, domain.RightsOf(person), &domain.HoldPlaced{HoldID: placed[len(placed)-1]})
	}

	first, err := w.reports.Holds(t.Context(), w.tenant, false, projections.Page{Limit: 1})
	must(t, err)
	w.append(t, w.tenant, domain.RightsOf(person), &domain.HoldLifted{HoldID: placed[2]})
	second, err := w.reports.Holds(t.Context(), w.tenant, false, projections.Page{After: first.Next})
	must(t, err)
	if len(second.Items) != 2 || second.Items[0].ID != placed[1] || second.Items[1].ID != placed[0] {
		t.Errorf("%+v", second.Items)
	}
}
