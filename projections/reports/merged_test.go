package reports_test

import (
	"slices"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// merge merges the second record of a pair into the first or, if they are merged, undoes
// that.
func (w *world) merge(t *testing.T, people *domaintest.Pair, says domain.Event) {
	t.Helper()
	added, err := people.Merge()
	must(t, err)
	for i, id := range people.IDs {
		w.append(t, w.tenant, domain.UserOf(id), says)
		if len(added[i]) > 0 {
			people.Add(i, w.append(t, w.tenant, domain.ConsentsOf(id), added[i]...)...)
		}
	}
}

// What is about a record that was merged into another is about the same person.
func TestADossierHoldsWhatMergedRecordsHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna, second := w.register(t, w.tenant, "anna"), w.register(t, w.tenant, "second")
	people := &domaintest.Pair{IDs: [2]domain.UserID{anna, second}}
	grant := &domain.ConsentGranted{Decision: decision("sms_alert", time.Time{})}
	people.Add(1, w.append(t, w.tenant, domain.ConsentsOf(second), grant)...)

	request := domain.RequestID{UUID: newID()}
	w.append(t, w.tenant, domain.RightsOf(second), &domain.RequestLodged{
		RequestID: request, Kind: domain.AccessRequest, LodgedBy: domain.ByStaff, DueOn: "2026-12-24",
	}, &domain.RequestRefused{RequestID: request, Kind: domain.AccessRequest, Ground: domain.GroundIdentity})
	own := domain.RequestID{UUID: newID()}
	w.append(t, w.tenant, domain.RightsOf(anna), &domain.RequestLodged{
		RequestID: own, Kind: domain.CorrectionRequest, LodgedBy: domain.BySelf, DueOn: "2026-12-24",
	})
	l := reads{w, newUser(), map[int64]string{}}
	l.read(t, "a look at the second record", "profile", nil, second)

	dossier := func() (d reports.Dossier, requests []domain.RequestID, looks []string) {
		t.Helper()
		d, err := w.reports.Dossier(t.Context(), w.tenant, anna)
		must(t, err)
		for _, q := range d.Rights.Requests {
			requests = append(requests, q.ID)
		}
		for _, r := range d.Reads {
			looks = append(looks, l.names[r.Position])
		}
		w.sameReads(t, anna, d)
		return d, requests, looks
	}

	w.merge(t, people, &domain.ResidentMerged{From: second, Into: anna})
	d, requests, looks := dossier()
	if len(d.Consents) != 1 || d.Consents[0].Subject != anna || !d.Consents[0].InForce ||
		!d.Consents[0].GivenAt.Equal(people.Consents[1][0].EffectiveAt) {
		t.Errorf("merged, the consents are %+v", d.Consents)
	}
	if !slices.Equal(requests, []domain.RequestID{request, own}) ||
		d.Rights.Requests[0].Status != domain.RequestDeclined {
		t.Errorf("merged, the requests are %+v", d.Rights.Requests)
	}
	if !slices.Equal(looks, []string{"a look at the second record"}) {
		t.Errorf("merged, the reads are %q", looks)
	}
	before := slices.IndexFunc(d.Activity, func(e reports.AuditEntry) bool { return e.Record == grant.ConsentID.UUID })
	if before < 0 {
		t.Error("merged, the activity does not tell what was decided in the second record")
	}

	w.merge(t, people, &domain.ResidentUnmerged{From: second, Into: anna})
	d, requests, looks = dossier()
	if len(d.Consents) != 1 || d.Consents[0].Status != domain.StatusAnnulled || d.Consents[0].InForce {
		t.Errorf("apart, the consents are %+v", d.Consents)
	}
	if !slices.Equal(requests, []domain.RequestID{own}) || len(looks) > 0 {
		t.Errorf("apart, the requests are %v and the reads %q", requests, looks)
	}
}

// Each event of a history says since when it counts for nothing, also if what annulled it
// is on another page.
func TestAHistoryTellsWhatWasAnnulled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna")
	grant := &domain.ConsentGranted{Decision: decision("sms_alert", time.Time{})}
	said := w.append(t, w.tenant, domain.ConsentsOf(anna), grant, &domain.ConsentWithdrawn{
		ConsentID: grant.ConsentID, Purpose: grant.Purpose, RecordedBy: domain.BySelf,
	})
	annulment := &domain.ConsentAnnulled{
		ConsentID: grant.ConsentID, Purpose: grant.Purpose, Entry: domain.WithdrawalEntry, Annuls: said[1].EventID,
		EvidenceSHA256: domain.WordingHash("note"),
		Private:        domain.Known(domain.AnnulmentFacts{Reason: "another Anna", EvidenceReference: "box 5"}),
	}
	first := w.append(t, w.tenant, domain.ConsentsOf(anna), annulment)[0]
	w.append(t, w.tenant, domain.ConsentsOf(anna), annulment) // twice at once: the first one stands

	whole, err := w.history(t, w.tenant, anna)
	must(t, err)
	for i, want := range []time.Time{{}, first.RecordedAt, {}, {}} {
		if got := whole[i].AnnulledAt; !got.Equal(want) {
			t.Errorf("event %d was annulled at %s, want %s", i+1, got, want)
		}
	}
	if a := whole[2]; a.Entry != domain.WithdrawalEntry || a.Annuls != said[1].EventID || a.Reason != "another Anna" ||
		a.EvidenceReference != "box 5" || a.ConsentID != grant.ConsentID || a.Purpose != grant.Purpose {
		t.Errorf("the annulment reads %+v", a)
	}

	page := projections.Page{Limit: 1}
	for i := 0; ; i++ {
		list, err := w.reports.History(t.Context(), w.tenant, reports.HistoryQuery{Subject: anna}, page)
		must(t, err)
		if got := list.Items[0]; got.EventID != whole[i].EventID || !got.AnnulledAt.Equal(whole[i].AnnulledAt) {
			t.Errorf("page %d reads %+v", i+1, got)
		}
		if page.After = list.Next; page.After == "" {
			break
		}
	}
}

// The default as_of is the last instant at which anything changed, wherever the read
// table has got to, and whatever was annulled, or moved to another record, since.
func TestTheLastChangeIsTheSameWhereverTheReadTableIs(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testing.T, *world, *domaintest.Pair) []domain.Event{
		"annulled": func(_ *testing.T, _ *world, people *domaintest.Pair) []domain.Event { return people.Annul(1, 0) },
		"moved": func(t *testing.T, w *world, people *domaintest.Pair) []domain.Event {
			t.Helper()
			added, err := people.Merge()
			must(t, err)
			w.append(t, w.tenant, domain.ConsentsOf(people.IDs[0]), added[0]...)
			return added[1]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conn, super := w.db.Conn(t, pgtest.Projector), w.db.Superuser(t)
			w.exec(t, super, "set session_replication_role = replica")

			people := pair()
			now := w.append(t, w.tenant, domain.ConsentsOf(newUser()),
				&domain.ConsentGranted{Decision: decision("newsletter", time.Time{})})[0].RecordedAt
			end := now.Add(time.Microsecond)
			people.Add(1, w.stamp(t, super, people.IDs[1], now,
				&domain.ConsentGranted{Decision: decision("sms_alert", time.Time{}), ValidUntil: end})...)
			before := w.head(t)
			w.append(t, w.tenant, domain.ConsentsOf(people.IDs[1]), change(t, w, people)...)

			for _, followed := range []int64{0, before, w.head(t)} {
				w.followTo(t, conn, followed)
				got, err := w.reports.Resolve(t.Context(), w.tenant, time.Time{}, time.Time{}, before)
				must(t, err)
				if got.Position != before || !got.At.Equal(end) {
					t.Errorf("with the read table at %d, the last change as known before is %+v, want %s",
						followed, got, end)
				}
			}
		})
	}
}
