package reports_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// reads records a clerk's reads, each under a name, and finds which of them a person is
// told of.
type reads struct {
	w     *world
	clerk domain.UserID
	names map[int64]string
}

func (l reads) read(t *testing.T, name, fields string, filter map[string]string, people ...domain.UserID) {
	t.Helper()
	head := l.w.head(t)
	done, err := l.w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: l.w.tenant, Actor: l.clerk, Metadata: domain.Metadata{ActorRole: string(domain.Manager)},
		Writes: []domain.Write{{Stream: domain.Stream{Type: domain.AccessStream, ID: newID()}, Events: []domain.Event{
			&domain.PersonalDataRead{Route: name, Fields: fields, Head: head, Filter: filter, Subjects: people},
		}}},
	})
	must(t, err)
	l.names[done.Position()] = name
}

// told checks which reads a person is told of, in the order of the log: by the exposure,
// in pages of any size, and by the dossier.
func (l reads) told(t *testing.T, person domain.UserID, want ...string) {
	t.Helper()
	for _, limit := range []int{1, 2, 100} {
		var got []string
		for page := (projections.Page{Limit: limit}); ; {
			list, err := l.w.reports.Exposure(t.Context(), l.w.tenant, reports.ExposureFilter{Subject: person}, page)
			must(t, err)
			for _, e := range list.Items {
				got = append(got, l.names[e.Position])
			}

			if page.After = list.Next; page.After == "" {
				break
			}
			if len(list.Items) != limit {
				t.Fatalf("a page of %d, of %d", len(list.Items), limit)
			}
		}

		slices.Reverse(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told by the exposure, %d at once (-want +got):\n%s", limit, diff)
		}
	}

	d, err := l.w.reports.Dossier(t.Context(), l.w.tenant, person)
	must(t, err)

	var got []string
	for _, e := range d.Reads {
		got = append(got, l.names[e.Position])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("told by the dossier (-want +got):\n%s", diff)
	}

	for _, e := range d.Activity {
		if name := l.names[e.Position]; name != "" && !slices.Contains(want, name) {
			t.Errorf("the activity tells of %s", name)
		}
	}
}

func TestALookThatCannotHaveCoveredAPersonIsNotToldToThem(t *testing.T) {
	t.Parallel()
	for _, erased := range []bool{false, true} {
		t.Run(fmt.Sprintf("erased %t", erased), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			l := reads{w, newUser(), map[int64]string{}}
			position := func() string { return fmt.Sprint(w.head(t)) }
			at := func(day int) string { return time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC).Format(time.RFC3339) }

			neighbour := w.register(t, w.tenant, "neighbour")
			w.grant(t, w.tenant, neighbour)
			l.read(t, "export before she was", "consents", map[string]string{"position": position()})
			l.read(t, "list before she was", "profile", nil)
			l.read(t, "audit before she was", "audit", nil)
			before := position()

			anna := w.register(t, w.tenant, "anna")
			l.read(t, "export when she had decided nothing", "consents", map[string]string{"position": position()})
			l.read(t, "list of citizens", "profile", map[string]string{"role": "citizen"})
			l.read(t, "list of managers", "profile", map[string]string{"role": "manager"})
			l.read(t, "list of closed accounts", "profile", map[string]string{"is_active": "false"})
			l.read(t, "list searched", "profile", map[string]string{"q": "given", "email": "given"})
			l.read(t, "list of neighbours", "profile", nil, neighbour)

			w.append(t, w.tenant, domain.ConsentsOf(anna), &domain.ConsentGranted{
				Decision: decision("newsletter", time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)),
			})
			decided := position()
			l.read(t, "export", "consents", map[string]string{"position": decided})
			l.read(t, "export of her purpose", "consents",
				map[string]string{"position": decided, "purpose": "newsletter"})
			l.read(t, "export of another purpose", "consents",
				map[string]string{"position": decided, "purpose": "sms_alert"})
			l.read(t, "export of a position before", "consents", map[string]string{"position": before})
			l.read(t, "export as of the day before", "consents", map[string]string{"position": decided, "as_of": at(9)})
			l.read(t, "export as of the day", "consents", map[string]string{"position": decided, "as_of": at(10)})
			l.read(t, "export as of the zero instant", "consents",
				map[string]string{"position": decided, "as_of": "0001-01-01T00:00:00.000000Z"})
			l.read(t, "replay with names", "consents, profile", map[string]string{"position": decided})
			l.read(t, "replay with names, before", "consents, profile", map[string]string{"position": before})
			l.read(t, "replay of her alone", "consents, profile", map[string]string{"position": decided}, anna)
			l.read(t, "replay of her alone, for another purpose", "consents, profile",
				map[string]string{"position": decided, "purpose": "sms_alert"}, anna)
			l.read(t, "audit", "audit", nil)
			l.read(t, "audit of purposes", "audit", map[string]string{"table_name": "purposes"})
			l.read(t, "audit of what the neighbour did", "audit", map[string]string{"user_id": neighbour.String()})
			l.read(t, "audit of what she did", "audit", map[string]string{"user_id": anna.String()})
			l.read(t, "audit of long ago", "audit", map[string]string{"to": at(1)})
			l.read(t, "audit of her record", "audit", map[string]string{"record_id": anna.String()})
			l.read(t, "audit of another record", "audit", map[string]string{"record_id": newID().String()})
			l.read(t, "something of a later release", "meters", nil)
			l.read(t, "of somebody else by a filter", "meters", map[string]string{"subject_id": neighbour.String()})

			if erased {
				w.erase(t, anna)
			}
			l.told(t, anna, "list of citizens", "list searched", "export", "export of her purpose",
				"export as of the day", "replay with names", "replay of her alone", "audit",
				"audit of what she did", "audit of her record", "something of a later release")
		})
	}
}

func TestSomebodyWhomAMunicipalityNeverHadIsToldOfNoLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := reads{w, newUser(), map[int64]string{}}
	elsewhere := w.register(t, w.municipality(t, "JHB"), "elsewhere")
	l.read(t, "list", "profile", nil)
	l.read(t, "export", "consents", map[string]string{"position": fmt.Sprint(w.head(t))})
	l.told(t, elsewhere)
}

// A read table may lag: a person who was a citizen until a moment ago may still be in a
// list of citizens.
func TestALookIsToldThatMayHaveCoveredWhatAPersonWasBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := reads{w, newUser(), map[int64]string{}}
	anna := w.register(t, w.tenant, "anna")
	w.append(t, w.tenant, domain.UserOf(anna), &domain.UserRoleChanged{
		Role: domain.Change[domain.Role]{Old: domain.Citizen, New: domain.Manager},
	})
	l.read(t, "citizens", "profile", map[string]string{"role": "citizen"})
	l.read(t, "managers", "profile", map[string]string{"role": "manager"})
	l.read(t, "admins", "profile", map[string]string{"role": "admin"})
	l.told(t, anna, "citizens", "managers")
}
