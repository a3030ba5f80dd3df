package projections_test

import (
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

func TestAPersonIsFoundByEverySpelling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// The last two are stored as they were before addresses had one form.
	for _, email := range []string{"zoë@xn--mnchen-3ya.example", "Zoë@MÜNCHEN.example", "zoë@XN--mnchen-3ya.example"} {
		user := newUser()
		w.appendSide(t, w.tenant, domain.UserOf(user), []domain.SideWrite{domain.CreateSubjectKey{Subject: user}},
			&domain.UserRegistered{
				MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
				Person: domain.Known(domain.PersonFacts{
					Email: email, FullName: "Zo\u00eb Ṱhaba", Phone: "+27821234567",
				}),
			})
	}

	f := newFolder(t, w)
	for _, p := range projections.All() {
		_, err := f.fold(t.Context(), p, 1000)
		must(t, err)
	}

	for name, filter := range map[string]projections.UserFilter{
		"blanks":                     {Email: "zoë@münchen.example "},
		"A-labels":                   {Email: "zoë@xn--mnchen-3ya.example"},
		"loose marks, upper case":    {Email: "ZOE\u0308@MU\u0308NCHEN.example"},
		"a number in national form":  {Phone: "082 123 4567"},
		"a part, with loose marks":   {Q: "zoe\u0308  ṱhaba "},
		"a part of the domain":       {Q: "münchen"},
		"the whole address to a q":   {Q: "zoë@xn--mnchen-3ya.example"},
		"a number with a dash in it": {Phone: "+27 82-123-4567"},
	} {
		list, err := w.queries.Users(t.Context(), w.tenant, filter, projections.Page{})
		must(t, err)
		if len(list.Items) != 3 {
			t.Errorf("%s: found %d of 3", name, len(list.Items))
		}
	}

	for name, filter := range map[string]projections.UserFilter{
		"a blank address": {Email: "\u00a0"}, "a blank number": {Phone: " "},
		"another domain": {Email: "zoë@munchen.example"},
	} {
		list, err := w.queries.Users(t.Context(), w.tenant, filter, projections.Page{})
		must(t, err)
		if len(list.Items) != 0 {
			t.Errorf("%s: found %d", name, len(list.Items))
		}
	}
}
