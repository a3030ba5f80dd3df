package seed

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// office is the office of one municipality, with its staff.
type office struct {
	share
	tenant domain.TenantID
	busy   bool // has cases
	done   bool // had all of them when this run began

	mu    sync.Mutex
	clerk *commands.Call // the field worker, signed in; nil until needed
}

// officials returns the roles that each office has somebody for: one who records paper
// forms, and others whom a developer may want to sign in as.
func officials() []domain.Role {
	return []domain.Role{domain.Admin, domain.Manager, domain.FieldWorker}
}

// email returns the address that an official signs in with.
func (o *office) email(role domain.Role, seed uint64) string {
	return fmt.Sprintf("%s.%s.%d@example.org", strings.ReplaceAll(string(role), "_", "."),
		strings.ToLower(o.municipality), seed)
}

// anybody is a caller of this package, whom the log can tell from others.
func anybody() commands.Call { return commands.Call{Origin: domain.Origin{UserAgent: "trust seed"}} }

// key returns the idempotency key of one action, so that it is done once, however often
// it is repeated.
func (s *Seeder) key(municipality string, who, what any) string {
	return fmt.Sprintf("seed-%d-%s-%v-%v", s.seed, municipality, who, what)
}

// employ makes the staff, as the operator who runs this.
func (s *Seeder) employ(ctx context.Context, o *office) error {
	for i, role := range officials() {
		call := commands.System(o.tenant)
		call.Origin, call.Key = anybody().Origin, s.key(o.municipality, role, "account")
		// No resident has such a number.
		person := s.names.madeUp(s.seed, o.municipality, -i)

		err := retry.WhileAway(ctx, func(ctx context.Context) error {
			_, err := s.handler.CreateUser(ctx, call, commands.CreateUser{
				Email: o.email(role, s.seed), Password: Password, FullName: person.name, Phone: person.phone,
				PreferredLanguage: person.language, Role: role,
			})
			return err
		})
		if err != nil {
			return err
		}

		s.mu.Lock()
		s.sum.staff++
		s.mu.Unlock()
	}
	return nil
}

// live has a resident register, and then make the decisions that are not in the log yet.
// It reports whether the resident is new.
func (s *Seeder) live(ctx context.Context, o *office, r resident) (bool, error) {
	account, position, err := s.register(ctx, r)
	if err != nil {
		return false, err
	}

	added, todo := position > s.before, r.decisions
	if err := s.watch(ctx, o, r, account, added); err != nil {
		return added, err
	}
	if !added {
		// Each decision is one event, after that of the registration. Without this check
		// a repeated run would sign everybody in.
		history, err := s.consents(ctx, account)
		if err != nil {
			return false, err
		}
		todo = todo[min(len(todo), max(0, len(history)-1)):]
	}

	var self commands.Call
	for _, d := range todo {
		var by commands.Call
		switch {
		case d.form != nil:
			by, err = s.clerkOf(ctx, o)
		case self.User.IsZero():
			self, err = s.signIn(ctx, r.email, r.municipality)
			by = self
		default:
			by = self
		}
		if err != nil {
			return added, err
		}

		by.Key = s.key(r.municipality, r.number, d.purpose+"-"+d.kind.String())
		if err := s.decide(ctx, by, account, r, d); err != nil {
			return added, err
		}
	}
	return added, nil
}

// register returns the account, and its position in the log.
func (s *Seeder) register(ctx context.Context, r resident) (account domain.User, position int64, err error) {
	call := anybody()
	call.Key = s.key(r.municipality, r.number, "account")

	err = retry.WhileAway(ctx, func(ctx context.Context) error {
		answer, err := s.handler.Register(ctx, call, commands.Register{
			Email: r.email, Password: Password, FullName: r.name, Phone: r.phone, PreferredLanguage: r.language,
			MunicipalityCode: r.municipality,
			Consent: &commands.RegisterConsent{
				Purpose: domain.PlatformRegistrationCode, Language: r.language, Consented: true,
			},
		})
		account, position = answer.Value, answer.Position
		return err
	})
	return account, position, err
}

// clerkOf returns the field worker of an office, who signs in only once.
func (s *Seeder) clerkOf(ctx context.Context, o *office) (commands.Call, error) {
	o.mu.Lock()
	defer o.mu.Unlock()

	if o.clerk == nil {
		call, err := s.signIn(ctx, o.email(domain.FieldWorker, s.seed), o.municipality)
		if err != nil {
			return commands.Call{}, err
		}
		o.clerk = &call
	}
	return *o.clerk, nil
}

// signIn opens a session, and returns the caller that HTTP would make from its token.
func (s *Seeder) signIn(ctx context.Context, email, municipality string) (call commands.Call, err error) {
	err = retry.WhileAway(ctx, func(ctx context.Context) error {
		opened, err := s.handler.SignIn(ctx, anybody(), commands.SignIn{
			Email: email, Password: Password, MunicipalityCode: municipality,
		})
		if err != nil {
			return err
		}

		call = anybody()
		session := opened.Value
		call.Tenant, call.User, call.Session = session.Tenant, session.User, session.ID
		call, err = s.handler.Authenticate(ctx, call)
		return err
	})
	return call, err
}

// decide carries out one decision of a resident, made in person or by the clerk who has
// the form.
func (s *Seeder) decide(ctx context.Context, by commands.Call, account domain.User, r resident, d decision) error {
	if d.kind == withdraws {
		return s.withdraw(ctx, by, account, d)
	}

	c := commands.RecordConsent{
		Subject: account.ID, Purpose: d.purpose, Language: r.language, Consented: d.kind == grants,
	}
	if d.form != nil {
		c.Channel, c.GivenAt, c.GivenBy = domain.Paper, d.form.signed(time.Now()), d.form.givenBy
		c.Evidence = &domain.Evidence{SHA256: d.form.sha256(), Reference: d.form.reference}
	}

	return retry.WhileAway(ctx, func(ctx context.Context) error {
		_, err := s.handler.RecordConsent(ctx, by, c)
		return err
	})
}

// withdraw withdraws the grant for a purpose, unless a developer has done so since.
func (s *Seeder) withdraw(ctx context.Context, by commands.Call, account domain.User, d decision) error {
	history, err := s.consents(ctx, account)
	if err != nil {
		return err
	}

	grant, ok := domain.ConsentsAt(history, time.Time{}, time.Time{}).InForce(d.purpose)
	if !ok {
		return nil
	}

	return retry.WhileAway(ctx, func(ctx context.Context) error {
		_, err := s.handler.WithdrawConsent(ctx, by, commands.WithdrawConsent{Consent: grant.ID, Reason: d.reason})
		return err
	})
}

// consents returns a resident's decisions in the log.
func (s *Seeder) consents(ctx context.Context, account domain.User) (history []domain.Recorded, err error) {
	err = retry.WhileAway(ctx, func(ctx context.Context) error {
		history, err = s.handler.Store.Load(ctx, account.Tenant, domain.ConsentsOf(account.ID))
		return err
	})
	return history, err
}
