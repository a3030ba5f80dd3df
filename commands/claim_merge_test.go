package commands_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// overtaken is a log in which something else happens once, just before a command of this
// name appends what it has decided.
type overtaken struct {
	commands.Store
	command string
	once    sync.Once
	by      func()
}

func (s *overtaken) Append(ctx context.Context, a domain.Append) (domain.Appended, error) {
	if a.Metadata.Command == s.command {
		s.once.Do(s.by)
	}
	return s.Store.Append(ctx, a)
}

// An import finds a record, by a phone for instance, and an officer merges it into
// another at the same time. Whichever is first, what the list says counts for the record
// that goes on, once.
func TestAClaimAboutARecordThatIsBeingMergedIsAboutTheOneThatGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	given := at(-10 * 24 * time.Hour)
	list := func(subject domain.UserID) commands.ClaimConsent {
		return claim(subject, func(c *commands.ClaimConsent) { c.GivenAt = given })
	}
	says := func(subject domain.UserID) {
		_, err := w.ClaimConsent(t.Context(), commands.System(w.cpt), list(subject))
		ok(t, err)
	}

	for second, first := range map[string]func(from, into domain.UserID){
		"consent.claim":  func(from, into domain.UserID) { w.merge(t, from, into) },
		"resident.merge": func(from, _ domain.UserID) { says(from) },
	} {
		t.Run(second, func(t *testing.T) {
			from, into := w.walkIn(t, "1"+second), w.walkIn(t, "2"+second)
			log := &overtaken{Store: w.store, command: second, by: func() { first(from, into) }}
			late := &world{Handler: commands.New(log, commands.Config{Now: w.clock.now}), cpt: w.cpt}
			if second == "consent.claim" {
				_, err := late.ClaimConsent(t.Context(), commands.System(w.cpt), list(from))
				ok(t, err)
			} else {
				late.merge(t, from, into)
			}

			rights, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(into))
			ok(t, err)
			var counting []domain.Consent
			for _, c := range domain.ConsentsAt(rights, time.Time{}, time.Time{}).Records() {
				if c.AnnulledAt.IsZero() {
					counting = append(counting, c)
				}
			}
			if len(counting) != 1 || counting[0].Source != "an old list" {
				t.Errorf("the record that goes on has %+v", counting)
			}
			left, err := w.store.Load(t.Context(), w.cpt, domain.ConsentsOf(from))
			ok(t, err)
			for _, c := range domain.ConsentsAt(left, time.Time{}, time.Time{}).Records() {
				if c.AnnulledAt.IsZero() {
					t.Errorf("what was merged away still counts: %+v", c)
				}
			}

			before := w.head(t)
			says(from)
			says(into)
			if added := w.head(t) - before; added != 0 {
				t.Errorf("the same list, imported again, makes %d events", added)
			}
		})
	}
}
