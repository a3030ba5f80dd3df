package reports_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// sameReads checks that the list of the reads of a person's data, in pages of several
// sizes, is that of their dossier.
func (w *world) sameReads(t *testing.T, person domain.UserID, d reports.Dossier) {
	t.Helper()
	for _, limit := range []int{1, 2, 100} {
		var got []reports.ExposureEntry
		for page := (projections.Page{Limit: limit}); ; {
			list, err := w.reports.Reads(t.Context(), w.tenant, person, reports.Period{}, page)
			must(t, err)
			got = append(got, list.Items...)
			if page.After = list.Next; page.After == "" {
				break
			}
		}

		slices.Reverse(got)
		same := cmp.Comparer(func(a, b reports.ExposureEntry) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
		if diff := cmp.Diff(d.Reads, got, same); diff != "" {
			t.Errorf("in pages of %d, the list differs from the dossier:\n%s", limit, diff)
		}
	}
}

func TestTheReadsOfAPersonAreThoseOfTheirDossier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna, bheki, clerk := w.register(t, w.tenant, "anna"), w.register(t, w.tenant, "bheki"), newUser()

	w.read(t, w.tenant, clerk, nil, anna)
	w.read(t, w.tenant, anna, map[string]string{"role": "citizen"}) // she herself, as staff
	w.read(t, w.tenant, clerk, nil, bheki)
	w.read(t, w.tenant, clerk, nil, bheki, anna)
	w.read(t, w.tenant, clerk, map[string]string{"role": "citizen"})
	w.read(t, w.tenant, clerk, map[string]string{"role": "admin"})

	d, err := w.reports.Dossier(t.Context(), w.tenant, anna)
	must(t, err)
	if len(d.Reads) != 3 {
		t.Fatalf("the dossier has %d reads, want 3", len(d.Reads))
	}
	w.sameReads(t, anna, d)

	at := d.Reads[1].Timestamp
	for what, c := range map[string]struct {
		period reports.Period
		want   []int
	}{
		"from the middle one":    {reports.Period{From: at}, []int{2, 1}},
		"before the middle one":  {reports.Period{To: at}, []int{0}},
		"between two equal ends": {reports.Period{From: at, To: at}, nil},
	} {
		list, err := w.reports.Reads(t.Context(), w.tenant, anna, c.period, projections.Page{})
		must(t, err)
		var got, want []int64
		for _, x := range list.Items {
			got = append(got, x.Position)
		}
		for _, i := range c.want {
			want = append(want, d.Reads[i].Position)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}

	_, err = w.reports.Reads(t.Context(), w.tenant, anna, reports.Period{}, projections.Page{After: "rubbish"})
	if !refused(err, domain.CodeInvalid) {
		t.Errorf("a cursor that no page gave: %v", err)
	}
}
