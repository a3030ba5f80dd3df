package commands_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// town is a municipality with one admin, in which requests for erasures are lodged and
// carried out.
type town struct {
	*world
	t     *testing.T
	admin commands.Call
	n     int
}

func newTown(t *testing.T) *town {
	t.Helper()
	w := newWorld(t)
	return &town{world: w, t: t, admin: w.staff(t, domain.Admin, "admin@example.co.za")}
}

func (w *town) resident() domain.UserID {
	w.t.Helper()
	w.n++
	return w.citizen(w.t, "CPT", "resident"+string(rune('a'+w.n))+"@example.co.za").User
}

func (w *town) lodged(by commands.Call, subject domain.UserID) domain.RequestID {
	w.t.Helper()
	a, err := w.LodgeRequest(w.t.Context(), by, commands.LodgeRequest{Subject: subject, Kind: domain.ErasureRequest})
	ok(w.t, err)
	return a.Value.ID
}

// fulfil carries out a request and returns its certificate.
func (w *town) fulfil(h *commands.Handler, by commands.Call, id domain.RequestID) (commands.Certificate, error) {
	w.t.Helper()
	a, err := h.FulfilRequest(w.t.Context(), by, commands.FulfilRequest{Request: id})
	if err != nil {
		return commands.Certificate{}, err
	}

	certificate, err := w.Certificate(w.t.Context(), a.Value.Certificate)
	ok(w.t, err)
	return certificate.Value, nil
}

// alone lets the admin lodge and carry out one erasure, and checks whether that succeeds.
func (w *town) alone(want bool) {
	w.t.Helper()
	subject := w.resident()
	id := w.lodged(w.admin, subject)
	certificate, err := w.fulfil(w.Handler, w.admin, id)

	switch {
	case !want:
		refused(w.t, err, domain.CodeSecondPerson)
		if q, err := w.RightsRequest(w.t.Context(), w.admin, id); err != nil || q.Status != domain.RequestOpen {
			w.t.Errorf("the request is %s, %v", q.Status, err)
		}
	case err != nil:
		w.t.Fatal(err)
	case !certificate.NoSecondPerson || certificate.Subject != subject:
		w.t.Errorf("the certificate does not say that there was no second person: %+v", certificate)
	}
}

func (w *town) deactivate(id domain.UserID) {
	w.t.Helper()
	_, err := w.DeactivateUser(w.t.Context(), w.admin, commands.DeactivateUser{User: id})
	ok(w.t, err)
}

func TestNobodyErasesAPersonAloneWhileThereIsASecondOfficer(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.alone(true)
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")
	w.alone(true) // a clerk, who is no officer, is no second person

	manager := w.staff(t, domain.Manager, "manager@example.co.za")
	w.alone(false)

	for what, by := range map[string]commands.Call{"a manager": manager, "a clerk": clerk} {
		certificate, err := w.fulfil(w.Handler, w.admin, w.lodged(by, w.resident()))
		if err != nil || certificate.NoSecondPerson {
			t.Errorf("lodged by %s: %+v, %v", what, certificate, err)
		}
	}

	self := w.citizen(t, "CPT", "self@example.co.za")
	if certificate, err := w.fulfil(w.Handler, w.admin, w.lodged(self, self.User)); err != nil ||
		certificate.NoSecondPerson {
		t.Errorf("lodged by the person: %+v, %v", certificate, err)
	}

	w.deactivate(manager.User)
	w.alone(true) // a closed account does not count

	_, err := w.ReactivateUser(t.Context(), w.admin, commands.ReactivateUser{User: manager.User})
	ok(t, err)
	w.alone(false)
	_, err = w.ChangeRole(t.Context(), w.admin, commands.ChangeRole{User: manager.User, Role: domain.FieldWorker})
	ok(t, err)
	w.alone(true)
	_, err = w.ChangeRole(t.Context(), w.admin, commands.ChangeRole{User: clerk.User, Role: domain.Admin})
	ok(t, err)
	w.alone(false)
}

// The person to be erased does not count as a second person, even if they are an officer;
// nor does one who is erased already.
func TestThePersonToBeErasedIsNoSecondPerson(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	manager := w.staff(t, domain.Manager, "manager@example.co.za")
	id := w.lodged(w.admin, manager.User)
	certificate, err := w.fulfil(w.Handler, w.admin, id)
	if err != nil || !certificate.NoSecondPerson {
		t.Fatalf("the only other officer: %+v, %v", certificate, err)
	}
	w.alone(true)

	other := w.staff(t, domain.Admin, "other@example.co.za")
	own := w.lodged(other, other.User) // an officer lodges their own erasure and wants to carry it out
	_, err = w.fulfil(w.Handler, other, own)
	refused(t, err, domain.CodeSecondPerson)
	if certificate, err = w.fulfil(w.Handler, w.admin, own); err != nil || certificate.NoSecondPerson {
		t.Errorf("carried out by another: %+v, %v", certificate, err)
	}
}

// Somebody becomes an officer between the decision and its append: it is decided again.
func TestAnOfficerWhoComesWhileAnErasureIsDecidedIsNotOverlooked(t *testing.T) {
	t.Parallel()
	for name, subjectIsOfficer := range map[string]bool{"of a resident": false, "of an officer": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			w.alone(true) // the officers are listed
			subject := w.resident()
			if subjectIsOfficer {
				subject = w.staff(t, domain.Manager, "manager@example.co.za").User
			}
			id := w.lodged(w.admin, subject)
			store := &meddled{Store: w.store, method: "Append", event: func() {
				w.staff(t, domain.Manager, "second@example.co.za")
			}}

			_, err := w.fulfil(commands.New(store, commands.Config{}), w.admin, id)
			refused(t, err, domain.CodeSecondPerson)
		})
	}
}

// In a tenant from before there was a stream of officers, the accounts in the log say who
// they are. A change of an account while they are listed is not lost.
func TestOfficersOfBeforeThereWasAStreamOfThemCount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(*town) commands.Call
		meddle func(*town, commands.Call)
		alone  bool
	}{
		"a manager": {before: func(w *town) commands.Call { return w.ofBefore(domain.Manager) }},
		"an admin":  {before: func(w *town) commands.Call { return w.ofBefore(domain.Admin) }},
		"a clerk":   {before: func(w *town) commands.Call { return w.ofBefore(domain.FieldWorker) }, alone: true},
		"a manager who was made a clerk": {before: func(w *town) commands.Call {
			manager := w.ofBefore(domain.Manager)
			_, err := w.ChangeRole(w.t.Context(), w.admin,
				commands.ChangeRole{User: manager.User, Role: domain.FieldWorker})
			ok(w.t, err)
			return manager
		}, alone: true},
		"a clerk who was made a manager": {before: func(w *town) commands.Call {
			clerk := w.ofBefore(domain.FieldWorker)
			w.appendAsBefore(domain.UserOf(clerk.User), &domain.UserRoleChanged{
				Role: domain.Change[domain.Role]{Old: domain.FieldWorker, New: domain.Manager},
			})
			return clerk
		}},
		"a manager who is closed while they are listed": {
			before: func(w *town) commands.Call { return w.ofBefore(domain.Manager) },
			meddle: func(w *town, manager commands.Call) { w.deactivate(manager.User) }, alone: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			other := c.before(w)
			if c.meddle != nil {
				id := w.lodged(w.admin, w.resident())
				store := &meddled{Store: w.store, method: "Append", event: func() { c.meddle(w, other) }}
				_, err := w.fulfil(commands.New(store, commands.Config{}), w.admin, id)
				ok(t, err)
			}

			w.alone(c.alone)
		})
	}
}

// ofBefore creates an account as a release did that knew no stream of officers.
func (w *town) ofBefore(role domain.Role) commands.Call {
	w.t.Helper()
	id := domain.UserID{UUID: uuid.New()}
	_, err := w.store.Append(w.t.Context(), domain.Append{
		ID: uuid.New(), Tenant: w.cpt,
		Writes: []domain.Write{{Stream: domain.UserOf(id), Events: []domain.Event{&domain.UserRegistered{
			MunicipalityCode: "CPT", Role: role, PreferredLanguage: domain.Zulu,
			Person: domain.Known(domain.PersonFacts{Email: uuid.NewString() + "@example.co.za", FullName: "Of Before"}),
		}}}},
		Side: []domain.SideWrite{domain.CreateSubjectKey{Subject: id}},
	})
	ok(w.t, err)

	if role == domain.Admin {
		w.appendAsBefore(domain.AdminsOf(w.cpt), &domain.AdminAdded{User: id})
	}
	return commands.Call{Tenant: w.cpt, User: id}
}

func (w *town) appendAsBefore(stream domain.Stream, e domain.Event) {
	w.t.Helper()
	_, err := w.store.Append(w.t.Context(), domain.Append{
		ID: uuid.New(), Tenant: w.cpt,
		Writes: []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: []domain.Event{e}}},
	})
	ok(w.t, err)
}

// officers returns a tenant's officers according to their stream and according to the
// accounts.
func (w *world) officers(ctx context.Context, t *testing.T) (stream, accounts []domain.UserID) {
	t.Helper()
	events, err := w.store.Load(ctx, w.cpt, domain.OfficersOf(w.cpt))
	ok(t, err)
	all, err := w.store.LoadAll(ctx, w.cpt, domain.UserStream)
	ok(t, err)

	users := map[domain.Stream]domain.User{}
	for _, e := range all {
		users[e.Stream] = users[e.Stream].Evolve(e)
	}
	for _, u := range users {
		if u.IsOfficer() {
			accounts = append(accounts, u.ID)
		}
	}

	stream = slices.Clone(domain.Fold[domain.Officers](events).Users)
	for _, users := range [][]domain.UserID{stream, accounts} {
		slices.SortFunc(users, func(a, b domain.UserID) int { return slices.Compare(a.UUID[:], b.UUID[:]) })
	}
	return stream, accounts
}
