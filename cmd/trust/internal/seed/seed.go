package seed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"

	"github.com/alexedwards/argon2id"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

const (
	// atOnce is how many residents act at the same time: the log's appender writes what
	// arrives together in one transaction.
	atOnce = 64
	// MaxPeople is about a sixth of the country, and far from an overflow in the
	// arithmetic of shares.
	MaxPeople = 10_000_000
	// Password is the password of everybody who is made up, so that a developer can sign
	// in as any of them.
	Password = "made up for development"
)

// Seeder makes people up and has them act.
type Seeder struct {
	handler *commands.Handler
	names   nameList
	seed    uint64
	offices []*office
	busy    []*office // those with cases
	before  int64     // the log's head when this run began

	mu  sync.Mutex // guards sum
	sum counts
}

// counts are how many were made up, and what they have decided.
type counts struct{ people, added, staff, grants, refusals, withdrawals, paper int }

// New returns a seeder, and refuses a system without the municipalities and purposes that
// it needs.
func New(ctx context.Context, store commands.Store, people int, seed uint64) (*Seeder, error) {
	s := &Seeder{seed: seed, handler: commands.New(store, commands.Config{
		// At the real cost, 100 000 people would take an hour. That cost protects secret
		// passwords from thieves; this one is in the source. A hash names its own
		// parameters, so the API verifies it like any other.
		Argon2id: &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		Hashes:   runtime.GOMAXPROCS(0),
	})}

	var err error
	if s.names, err = embeddedNames(); err != nil {
		return nil, err
	}
	shares, err := embeddedShares(people)
	if err != nil {
		return nil, err
	}
	for _, one := range shares {
		tenant, err := s.handler.TenantOf(ctx, one.municipality)
		if refusal, ok := errors.AsType[*domain.Error](err); ok && refusal.Code == domain.CodeUnknownMunicipality {
			return nil, exit.NotSo("the municipality %s is not there; run trust up, or trust import municipalities, "+
				"first", one.municipality)
		}
		if err != nil {
			return nil, exit.Explain(err)
		}
		s.offices = append(s.offices, &office{share: one, tenant: tenant})
	}

	if err := s.needPurposes(ctx); err != nil {
		return nil, err
	}
	if err := s.prepareCases(ctx); err != nil {
		return nil, exit.Explain(err)
	}
	s.before, err = s.handler.Store.Head(ctx)
	return s, exit.Explain(err)
}

// needPurposes refuses a system without the purposes that residents decide about.
func (s *Seeder) needPurposes(ctx context.Context) error {
	purposes, err := s.handler.Purposes(ctx, domain.PlatformTenant())
	if err != nil {
		return exit.Explain(err)
	}
	for _, h := range append(habits(), habit{purpose: childProgramme}) {
		if !slices.ContainsFunc(purposes, func(p domain.Purpose) bool {
			return p.Code == h.purpose && p.Basis == domain.ConsentBasis
		}) {
			return exit.NotSo("the default purpose %s is not there; run trust up, or trust import purposes, first",
				h.purpose)
		}
	}
	return nil
}

// Run makes up residents and staff, and calls step for each resident who has done
// everything. Everything they do goes through the same commands as HTTP, each as the
// person who does it. Repeated with the same arguments it continues where it stopped, and
// changes nothing once it is done. With more people it adds the rest: the people of a
// municipality are numbered within it. (Rarely a larger total leaves a municipality with
// one person less; nobody is removed.)
func (s *Seeder) Run(ctx context.Context, step func()) error {
	if err := s.run(ctx, step); err != nil {
		return s.stopped(err)
	}
	return nil
}

// run makes the staff first, because some residents need them, and has the cases happen
// last, when everybody is there.
func (s *Seeder) run(ctx context.Context, step func()) error {
	err := each(ctx, slices.Values(s.offices), s.employ)
	if err != nil {
		return err
	}

	err = each(ctx, s.turns(), func(ctx context.Context, t turn) error {
		r := s.names.madeUp(s.seed, t.office.municipality, t.number)
		added, err := s.live(ctx, t.office, r)
		if err == nil {
			s.count(r, added)
			step()
		}
		return err
	})
	if err != nil {
		return err
	}
	return each(ctx, slices.Values(s.busy), s.happen)
}

// turn names the next resident to make up: one number in the municipality of an office.
type turn struct {
	office *office
	number int
}

// turns goes round the municipalities, one person of each at a time, so that the log
// mixes them as life would. It keeps nothing for each person.
func (s *Seeder) turns() iter.Seq[turn] {
	return func(yield func(turn) bool) {
		for number, more := 1, true; more; number++ {
			more = false
			for _, o := range s.offices {
				if number > o.people {
					continue
				}
				if more = true; !yield(turn{o, number}) {
					return
				}
			}
		}
	}
}

// each calls do for all items, atOnce at a time, and starts no new call after the first
// error.
func each[T any](ctx context.Context, items iter.Seq[T], do func(context.Context, T) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	todo := make(chan T)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for item := range todo {
				if err := do(ctx, item); err != nil {
					stop(err)
				}
			}
		})
	}

	for item := range items {
		select {
		case todo <- item:
			continue
		case <-ctx.Done():
		}
		break
	}

	close(todo)
	workers.Wait()
	return context.Cause(ctx)
}

// count adds a resident who has done everything.
func (s *Seeder) count(r resident, added bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.sum.people++
	if added {
		s.sum.added++
	}

	for _, d := range r.decisions {
		switch d.kind {
		case grants:
			s.sum.grants++
		case refuses:
			s.sum.refusals++
		case withdraws:
			s.sum.withdrawals++
		}
		if d.form != nil {
			s.sum.paper++
		}
	}
}

// Summary returns what there is now, and how to sign in.
func (s *Seeder) Summary() string {
	return fmt.Sprintf("%d people (%d new), %d staff in %d municipalities: "+
		"%d grants (%d on paper), %d refusals, %d withdrawals; %d more people with requests, holds and other cases "+
		"in %d of the municipalities; sign in as %s in %s with the password %q",
		s.sum.people, s.sum.added, s.sum.staff, len(s.offices),
		s.sum.grants, s.sum.paper, s.sum.refusals, s.sum.withdrawals, len(s.busy)*inCases, len(s.busy),
		s.busy[0].email(domain.Manager, s.seed), s.busy[0].municipality, Password)
}

// stopped explains how far the run came and what to do. What is in the log stays.
func (s *Seeder) stopped(err error) error {
	if refusal, ok := errors.AsType[*domain.Error](err); ok && exit.CodeOf(err) != exit.CodeUnreachable {
		return exit.NotSo("seeding stopped after %d people, because somebody or something made up earlier was "+
			"changed since: %s Undo that change, or give another --seed", s.sum.people, exit.Reason(refusal))
	}
	return exit.Unreachable(err, "seeding stopped after %d people; run it again with the same arguments to continue",
		s.sum.people)
}
