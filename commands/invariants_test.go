package commands_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// Whatever is done to accounts, in any order and at once: a municipality keeps an admin,
// a citizen's account is open only while the consent that it rests on is in force, and
// the streams of admins and officers agree with the accounts.
func TestNoRoadLeadsToAStateThatMustNotBe(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &walk{world: newWorld(t), t: t}
			w.staff(t, domain.Admin, "first@example.co.za")
			for i := range 12 {
				w.citizen(t, "CPT", fmt.Sprintf("citizen%d@example.co.za", i))
			}

			for round := range 8 {
				var wg sync.WaitGroup
				for worker := range uint64(3) {
					random := rand.New(rand.NewPCG(seed*1000+uint64(round), worker))
					wg.Go(func() {
						for range 8 {
							w.step(random)
						}
					})
				}

				wg.Wait()
				w.check()
			}

			if w.done < 50 {
				t.Errorf("only %d steps were not refused", w.done)
			}
		})
	}
}

// walk is a world in which random commands are carried out on random people.
type walk struct {
	*world
	t    *testing.T
	mu   sync.Mutex
	done int
}

func (w *walk) users() map[domain.UserID]domain.User {
	w.t.Helper()
	all, err := w.store.LoadAll(w.t.Context(), w.cpt, domain.UserStream)
	ok(w.t, err)

	users := map[domain.UserID]domain.User{}
	for _, e := range all {
		id := domain.UserID{UUID: e.Stream.ID}
		users[id] = users[id].Evolve(e)
	}
	return users
}

// somebody returns a random account of the tenant.
func (w *walk) somebody(r *rand.Rand) domain.User {
	users := w.users()
	n := r.IntN(len(users))
	for _, u := range users {
		if n--; n < 0 {
			return u
		}
	}
	return domain.User{}
}

// registration returns a person's newest consent to platform_registration in force; zero
// if there is none.
func (w *walk) registration(ctx context.Context, id domain.UserID) domain.ConsentID {
	events, err := w.store.Load(ctx, w.cpt, domain.ConsentsOf(id))
	ok(w.t, err)

	found := domain.ConsentID{}
	for _, c := range domain.ConsentsAt(events, time.Time{}, time.Time{}).Records() {
		if c.Purpose == domain.PlatformRegistrationCode && c.Consented && !c.Withdrawn() {
			found = c.ID
		}
	}
	return found
}

func (w *walk) step(r *rand.Rand) {
	admin, who, ctx := commands.System(w.cpt), w.somebody(r), w.t.Context()
	role := domain.Roles()[r.IntN(len(domain.Roles()))]
	steps := []func() error{
		func() error {
			_, err := w.CreateUser(ctx, admin, commands.CreateUser{
				Email: fmt.Sprintf("new%d@example.co.za", r.Uint64()), Password: password, FullName: "Somebody New",
				Role: role,
			})
			return err
		},
		func() error {
			_, err := w.ChangeRole(ctx, admin, commands.ChangeRole{User: who.ID, Role: role})
			return err
		},
		func() error {
			_, err := w.DeactivateUser(ctx, admin, commands.DeactivateUser{User: who.ID})
			return err
		},
		func() error {
			_, err := w.ReactivateUser(ctx, admin, commands.ReactivateUser{User: who.ID})
			return err
		},
		func() error {
			_, err := w.WithdrawConsent(ctx, admin,
				commands.WithdrawConsent{Consent: w.registration(ctx, who.ID), Evidence: evidence()})
			return err
		},
		func() error {
			_, err := w.RecordConsent(ctx, admin, commands.RecordConsent{
				Subject: who.ID, Purpose: domain.PlatformRegistrationCode, Language: domain.Zulu,
				Consented: r.IntN(4) > 0, Channel: domain.Counter,
			})
			return err
		},
		func() error {
			a, err := w.LodgeRequest(ctx, admin, commands.LodgeRequest{Subject: who.ID, Kind: domain.ErasureRequest})
			if err != nil || r.IntN(3) > 0 {
				return err
			}
			_, err = w.FulfilRequest(ctx, admin, commands.FulfilRequest{Request: a.Value.ID})
			return err
		},
	}

	err := steps[r.IntN(len(steps))]()
	if _, refused := errors.AsType[*domain.Error](err); err != nil && !refused {
		w.t.Error(err)
	}

	if err == nil {
		w.mu.Lock()
		w.done++
		w.mu.Unlock()
	}
}

func (w *walk) check() {
	w.t.Helper()
	events, err := w.store.Load(w.t.Context(), w.cpt, domain.AdminsOf(w.cpt))
	ok(w.t, err)

	admins := map[domain.UserID]bool{}
	for _, id := range domain.Fold[domain.Admins](events).Users {
		admins[id] = true
	}
	if len(admins) == 0 {
		w.t.Error("nobody administers the municipality")
	}

	for id, u := range w.users() {
		if is := u.Active && u.Role == domain.Admin; is != admins[id] {
			w.t.Errorf("%s is an admin by their account %t, by the stream %t", id, is, admins[id])
		}

		decided, err := w.store.Load(w.t.Context(), w.cpt, domain.ConsentsOf(id))
		ok(w.t, err)
		_, inForce := domain.ConsentsAt(decided, time.Time{}, time.Time{}).InForce(domain.PlatformRegistrationCode)
		if u.Active && u.Role == domain.Citizen && !inForce {
			w.t.Errorf("%s is an open account of a citizen without the consent it rests on", id)
		}
	}

	if stream, accounts := w.officers(w.t.Context(), w.t); fmt.Sprint(stream) != fmt.Sprint(accounts) {
		w.t.Errorf("officers by their stream %v, by their accounts %v", stream, accounts)
	}
}
