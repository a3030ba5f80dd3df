package commands_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

func TestChangesOfAnAccountTakeEffectOnItsNextRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")

	changed, err := w.ChangeRole(t.Context(), admin, commands.ChangeRole{User: clerk.User, Role: domain.SAPSLiaison})
	ok(t, err)
	if changed.Value.Role != domain.SAPSLiaison {
		t.Errorf("the role is %s", changed.Value.Role)
	}

	again, err := w.Authenticate(t.Context(), clerk)
	ok(t, err)
	if again.Role() != domain.SAPSLiaison {
		t.Errorf("the next request has role %s", again.Role())
	}

	w.unchanged(t, func() {
		same, err := w.ChangeRole(t.Context(), admin, commands.ChangeRole{User: clerk.User, Role: domain.SAPSLiaison})
		ok(t, err)
		if same.Position != changed.Position {
			t.Errorf("unchanged returns position %d, want %d", same.Position, changed.Position)
		}
	})

	_, err = w.DeactivateUser(t.Context(), admin, commands.DeactivateUser{User: clerk.User})
	ok(t, err)
	_, err = w.Authenticate(t.Context(), clerk)
	refused(t, err, domain.CodeAccountInactive)

	_, err = w.ReactivateUser(t.Context(), admin, commands.ReactivateUser{User: clerk.User})
	ok(t, err)
	_, err = w.Authenticate(t.Context(), clerk)
	refused(t, err, domain.CodeSessionEnded) // the old session stays ended

	w.signedIn(t, "CPT", "clerk@example.co.za")
}

// Neither when an account is created nor when it changes its role.
func TestNobodyIsMadeACitizenWithoutConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	clerk := w.staff(t, domain.FieldWorker, "clerk@example.co.za")
	resident := w.citizen(t, "CPT", "resident@example.co.za")

	for _, caller := range []commands.Call{admin, commands.System(w.cpt)} {
		w.unchanged(t, func() {
			_, err := w.CreateUser(t.Context(), caller, commands.CreateUser{
				Email: "new@example.co.za", Password: password, FullName: "Somebody New", Role: domain.Citizen,
			})
			refused(t, err, domain.CodeConsentRequired)
			_, err = w.ChangeRole(t.Context(), caller, commands.ChangeRole{User: clerk.User, Role: domain.Citizen})
			refused(t, err, domain.CodeConsentRequired)

			_, err = w.ChangeRole(t.Context(), caller, commands.ChangeRole{User: resident.User, Role: domain.Citizen})
			ok(t, err) // a citizen stays one
			_, err = w.ChangeRole(t.Context(), caller, commands.ChangeRole{User: admin.User, Role: domain.Citizen})
			refused(t, err, domain.CodeLastAdmin)
		})
	}

	_, err := w.ChangeRole(t.Context(), admin, commands.ChangeRole{User: resident.User, Role: domain.FieldWorker})
	ok(t, err)
	back, err := w.ChangeRole(t.Context(), admin, commands.ChangeRole{User: resident.User, Role: domain.Citizen})
	ok(t, err) // their consent is still in force
	if back.Value.Role != domain.Citizen {
		t.Errorf("the role is %s", back.Value.Role)
	}
}

func TestOnlyAdminsOfTheSameMunicipalityChangeAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.municipality(t, "JHB", "City of Johannesburg")
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	manager := w.staff(t, domain.Manager, "manager@example.co.za")
	stranger := w.citizen(t, "JHB", "one@example.co.za")

	_, err := w.ChangeRole(t.Context(), manager, commands.ChangeRole{User: admin.User, Role: domain.Citizen})
	refused(t, err, domain.CodeForbidden)
	_, err = w.ChangeRole(t.Context(), admin, commands.ChangeRole{User: stranger.User, Role: domain.Admin})
	refused(t, err, domain.CodeNotFound)
	_, err = w.ChangeRole(t.Context(), admin, commands.ChangeRole{User: manager.User, Role: "mayor"})
	refused(t, err, domain.CodeInvalid)
}

func TestATenantKeepsItsLastAdminAlsoAgainstRequestsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.staff(t, domain.Admin, "first@example.co.za")
	_, err := w.DeactivateUser(t.Context(), first, commands.DeactivateUser{User: first.User})
	refused(t, err, domain.CodeLastAdmin)
	_, err = w.ChangeRole(t.Context(), first, commands.ChangeRole{User: first.User, Role: domain.Manager})
	refused(t, err, domain.CodeLastAdmin)

	for round := range 5 {
		second := w.staff(t, domain.Admin, "second"+string(rune('a'+round))+"@example.co.za")
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, pair := range [][2]commands.Call{{first, second}, {second, first}} {
			wg.Go(func() {
				_, errs[i] = w.ChangeRole(t.Context(), pair[0],
					commands.ChangeRole{User: pair[1].User, Role: domain.Manager})
			})
		}

		wg.Wait()

		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			e, is := errors.AsType[*domain.Error](err)
			if !is || (e.Code != domain.CodeLastAdmin && e.Code != domain.CodeForbidden) {
				t.Fatal(err)
			}
		}

		events, err := w.store.Load(t.Context(), w.cpt, domain.AdminsOf(w.cpt))
		ok(t, err)
		admins := domain.Fold[domain.Admins](events).Users
		if won != 1 || len(admins) != 1 {
			t.Fatalf("%d demotions succeeded, %d admins are left", won, len(admins))
		}

		if admins[0] == second.User {
			first = second
		}
		first = w.call(t, commands.Session{ID: first.Session, Tenant: first.Tenant, User: first.User})
	}
}

func TestAnAccountClosedByItsOwnerNeedsTheirConsentAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(citizen.User))
	ok(t, err)
	_, err = w.WithdrawConsent(t.Context(), citizen,
		commands.WithdrawConsent{Consent: domain.ConsentID{UUID: events[0].Record}})
	ok(t, err)

	_, err = w.ReactivateUser(t.Context(), admin, commands.ReactivateUser{User: citizen.User})
	refused(t, err, domain.CodeConsentRequired)

	_, err = w.RecordConsent(t.Context(), admin, commands.RecordConsent{
		Subject: citizen.User, Purpose: domain.PlatformRegistrationCode, Language: domain.Zulu, Consented: true,
		Channel: domain.Counter,
	})
	ok(t, err)
	opened, err := w.ReactivateUser(t.Context(), admin, commands.ReactivateUser{User: citizen.User})
	ok(t, err)
	if !opened.Value.Active {
		t.Error("the account is not active")
	}
}

// Even if the consent was withdrawn while an admin had the account closed: why it was
// closed says nothing about what it rests on.
func TestACitizensAccountIsNotReopenedWithoutConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(t, domain.Admin, "admin@example.co.za")
	citizen := w.citizen(t, "CPT", "one@example.co.za")
	events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(citizen.User))
	ok(t, err)

	_, err = w.DeactivateUser(t.Context(), admin, commands.DeactivateUser{User: citizen.User})
	ok(t, err)
	_, err = w.WithdrawConsent(t.Context(), admin, commands.WithdrawConsent{
		Consent: domain.ConsentID{UUID: events[0].Record}, Evidence: evidence(),
	})
	ok(t, err)
	_, err = w.ReactivateUser(t.Context(), admin, commands.ReactivateUser{User: citizen.User})
	refused(t, err, domain.CodeConsentRequired)

	// They can come back as staff, whose accounts rest on their work.
	_, err = w.ChangeRole(t.Context(), admin, commands.ChangeRole{User: citizen.User, Role: domain.FieldWorker})
	ok(t, err)
	_, err = w.ReactivateUser(t.Context(), admin, commands.ReactivateUser{User: citizen.User})
	ok(t, err)
	_, err = w.ChangeRole(t.Context(), admin, commands.ChangeRole{User: citizen.User, Role: domain.Citizen})
	refused(t, err, domain.CodeConsentRequired)
}

// Two requests at once, each correct by what it has read: one opens an account, the other
// withdraws the consent that it rests on.
func TestAConsentIsNotTakenBackBehindTheOpeningOfAnAccount(t *testing.T) {
	t.Parallel()
	for name, openFirst := range map[string]bool{"opened first": true, "withdrawn first": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			admin := w.staff(t, domain.Admin, "admin@example.co.za")
			citizen := w.citizen(t, "CPT", "one@example.co.za")
			events, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(citizen.User))
			ok(t, err)
			_, err = w.DeactivateUser(t.Context(), admin, commands.DeactivateUser{User: citizen.User})
			ok(t, err)

			reopen := func(h *commands.Handler) error {
				_, err := h.ReactivateUser(t.Context(), admin, commands.ReactivateUser{User: citizen.User})
				return err
			}
			withdraw := func(h *commands.Handler) error {
				_, err := h.WithdrawConsent(t.Context(), admin, commands.WithdrawConsent{
					Consent: domain.ConsentID{UUID: events[0].Record}, Evidence: evidence(),
				})
				return err
			}

			first, second := reopen, withdraw
			if !openFirst {
				first, second = withdraw, reopen
			}
			store := &meddled{Store: w.store, method: "Append", event: func() { ok(t, first(w.Handler)) }}
			err = second(commands.New(store, commands.Config{}))
			if openFirst {
				ok(t, err)
			} else {
				refused(t, err, domain.CodeConsentRequired)
			}

			account, err := w.store.Load(t.Context(), w.cpt, domain.UserOf(citizen.User))
			ok(t, err)
			if domain.Fold[domain.User](account).Active {
				t.Error("the account is open without the consent it rests on")
			}
		})
	}
}
