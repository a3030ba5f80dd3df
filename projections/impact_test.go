package projections_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/projections"
)

// Whoever a new notice would ask again has a grant that allows processing now: neither
// annulled nor moved to another record, nor ended or superseded.
func TestTheImpactOfANoticeIsTheGrantsInForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFolder(t, w)
	grant := func(change func(*domain.ConsentGranted)) *domain.ConsentGranted {
		e := &domain.ConsentGranted{Decision: decision("sms_alert", time.Time{})}
		if change != nil {
			change(e)
		}
		return e
	}
	people := map[string]*domaintest.Pair{}
	decide := func(name string, events ...domain.Event) *domaintest.Pair {
		p := people[name]
		if p == nil {
			p = &domaintest.Pair{IDs: [2]domain.UserID{newUser(), newUser()}}
			people[name] = p
		}
		p.Add(1, w.recorded(t, w.tenant, domain.ConsentsOf(p.IDs[1]), nil, events...)...)
		return p
	}

	decide("granted", grant(nil))
	decide("refused", &domain.ConsentRefused{Decision: decision("sms_alert", time.Time{})})
	withdrawn := grant(nil)
	decide("withdrawn", withdrawn, &domain.ConsentWithdrawn{ConsentID: withdrawn.ConsentID, Purpose: "sms_alert"})
	decide("expired", grant(func(e *domain.ConsentGranted) {
		e.GivenAt, e.ValidUntil = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour).Truncate(time.Microsecond)
	}))
	decide("of the new words", grant(func(e *domain.ConsentGranted) { e.NoticeVersion = 2 }))
	decide("for another purpose", &domain.ConsentGranted{Decision: decision("newsletter", time.Time{})})
	decide("annulled", decide("annulled", grant(nil)).Annul(1, 0)...)
	decide("granted twice", grant(nil), grant(nil))
	decide("the second annulled", decide("the second annulled", grant(nil), grant(nil)).Annul(1, 1)...)
	decide("a withdrawal annulled", grant(nil), &domain.ConsentWithdrawn{Purpose: "sms_alert"})
	decide("a withdrawal annulled", people["a withdrawal annulled"].Annul(1, 1)...)
	moved, err := decide("merged", grant(nil)).Merge()
	must(t, err)
	w.append(t, w.tenant, domain.ConsentsOf(people["merged"].IDs[0]), moved[0]...)
	decide("merged", moved[1]...)

	_, err = f.fold(t.Context(), projection(t, "consents"), 1000)
	must(t, err)
	w.check(t)

	purpose := domain.Purpose{
		Tenant: w.tenant, Code: "sms_alert", Basis: domain.ConsentBasis, Definition: domain.EventRef{Position: 1},
	}
	impact, err := w.queries.Impact(t.Context(), w.tenant, projections.ImpactFilter{
		Purpose: "sms_alert", Rules: domain.RulesOf([]domain.Purpose{purpose}, nil, domain.Clocks{Now: time.Now()}),
		Newer: []domain.Notice{{Version: 2, SHA256: map[domain.Language]string{
			domain.English: domain.WordingHash("words"), domain.Zulu: "zu", domain.Afrikaans: "af",
		}}},
	}, projections.Page{})
	must(t, err)

	var got []string
	for _, a := range impact.Items {
		for name, p := range people {
			switch a.Subject {
			case p.IDs[0]:
				got = append(got, name+", in the record that goes on")
			case p.IDs[1]:
				got = append(got, name)
			}
		}
	}
	slices.Sort(got)
	want := "a withdrawal annulled|granted|granted twice|merged, in the record that goes on|the second annulled"
	if strings.Join(got, "|") != want || impact.Count != int64(len(got)) || impact.Position != w.head(t) {
		t.Errorf("%d at %d: %q", impact.Count, impact.Position, got)
	}
}
