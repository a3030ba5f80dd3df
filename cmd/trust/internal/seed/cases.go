package seed

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/importer"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// Some offices have cases beside their residents, so that every page of the console has
// something to show: requests that are open, overdue and closed, holds, an erasure, a
// merge, an annulment, a grant that has ended and one that lapsed, a program, and a clerk
// who looks at more people than anybody else.

const (
	// busy is how many residents a metropolitan municipality needs to have cases.
	busy = 20
	// looks is how many residents the clerk of an office with cases looks at.
	looks = 120
	// beyond is the last number of a resident: people in cases are numbered after it.
	beyond = MaxPeople
)

// The people in cases, by number. The first two have accounts; staff record the others at
// the counter.
const (
	objector = iota + 1
	leaver
	watched
	writer
	corrected
	sued
	answered
	unproven
	settled
	twin
	original
	mistaken
	expired
	inCases = expired
)

// busyOffices chooses the offices with cases: metropolitan ones with enough residents
// or, if there is none, the one with the most residents.
func busyOffices(offices []*office) ([]*office, error) {
	rows, _, err := importer.Embedded("municipalities", []string{"code", "category"})
	if err != nil {
		return nil, err
	}
	metro := map[string]bool{}
	for _, row := range rows {
		metro[row.Fields["code"]] = row.Fields["category"] == "A"
	}

	largest := offices[:1]
	var chosen []*office
	for i, o := range offices {
		if o.people > largest[0].people {
			largest = offices[i : i+1]
		}
		if metro[o.municipality] && o.people >= busy {
			chosen = append(chosen, o)
		}
	}

	if len(chosen) == 0 {
		return largest, nil
	}
	return chosen, nil
}

// prepareCases chooses the offices with cases and notes which of them have theirs
// already.
func (s *Seeder) prepareCases(ctx context.Context) error {
	chosen, err := busyOffices(s.offices)
	if err != nil {
		return err
	}

	s.busy = chosen
	for _, o := range chosen {
		programs, err := s.handler.ServiceAccounts(ctx, o.tenant)
		if err != nil {
			return err
		}
		o.busy = true
		o.done = slices.ContainsFunc(programs, func(a domain.ServiceAccount) bool { return a.Name == s.program() })
	}
	return nil
}

// program returns the name of the service account that is created when everything else
// in an office is done.
func (s *Seeder) program() string { return fmt.Sprintf("Prepaid electricity (seed %d)", s.seed) }

// watch has the clerk of an office with cases look at a resident, once. A look has no
// idempotency key: it is made when the resident is new, or the office is not done yet.
func (s *Seeder) watch(ctx context.Context, o *office, r resident, account domain.User, added bool) error {
	if !o.busy || r.number > looks || o.done && !added {
		return nil
	}

	clerk, err := s.clerkOf(ctx, o)
	if err != nil {
		return err
	}
	return s.look(ctx, clerk, "users", account.ID)
}

// look records that somebody sees a person's profile, as the API does before it answers.
// Repeated within the hour it counts once.
func (s *Seeder) look(ctx context.Context, by commands.Call, table string, person domain.UserID) error {
	_, err := act(ctx, s.handler.RecordRead, by, commands.RecordRead{
		Route: "GET /api/v1/" + table + "/{id}", Fields: "profile", Subjects: []domain.UserID{person}, Hourly: true,
	})
	return err
}

// act carries out a command, also if the database is away for a moment.
func act[T, C any](
	ctx context.Context, do func(context.Context, commands.Call, C) (commands.Answer[T], error),
	by commands.Call, c C,
) (value T, err error) {
	err = retry.WhileAway(ctx, func(ctx context.Context) error {
		answer, err := do(ctx, by, c)
		value = answer.Value
		return err
	})
	return value, err
}

// scene is an office with cases while they happen.
type scene struct {
	*Seeder
	office *office

	clerk, manager, admin commands.Call
	people                [inCases + 1]domain.User // at the counter, by number
	since                 time.Time                // when the first of them was recorded
}

// happen has the cases of an office happen, unless they have.
func (s *Seeder) happen(ctx context.Context, o *office) error {
	if o.done {
		return nil
	}

	c := &scene{Seeder: s, office: o}
	for _, step := range []func(context.Context) error{
		c.open, c.record, c.lodge, c.hold, c.merge, c.decideAtCounter, c.askAnew, c.watchTogether, c.object, c.leave,
		c.addProgram,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// open signs the staff in.
func (c *scene) open(ctx context.Context) (err error) {
	if c.clerk, err = c.clerkOf(ctx, c.office); err != nil {
		return err
	}
	if c.manager, err = c.signIn(ctx, c.office.email(domain.Manager, c.seed), c.office.municipality); err != nil {
		return err
	}
	c.admin, err = c.signIn(ctx, c.office.email(domain.Admin, c.seed), c.office.municipality)
	return err
}

// keyed returns a caller whose command is carried out once, however often it is repeated.
func (c *scene) keyed(by commands.Call, number int, what string) commands.Call {
	by.Key = c.key(c.office.municipality, beyond+number, what)
	return by
}

// ago is an instant before the cases began, at ten in the morning in South Africa. It is
// the same when a run that was stopped is continued on another day.
func (c *scene) ago(days int) time.Time { return form{daysAgo: days}.signed(c.since) }

// record has the clerk record people who have no account.
func (c *scene) record(ctx context.Context) error {
	for number := watched; number <= expired; number++ {
		person := c.names.madeUp(c.seed, c.office.municipality, beyond+number)
		recorded, err := act(ctx, c.handler.RecordResident, c.keyed(c.clerk, number, "record"), commands.RecordResident{
			FullName: person.name, Phone: person.phone, PreferredLanguage: person.language,
			ExternalIDs: []domain.ExternalID{{Type: domain.Meter, Value: c.meter(number)}},
		})
		if err != nil {
			return err
		}
		c.people[number] = recorded.User
	}

	c.since = c.people[watched].CreatedAt
	return nil
}

// meter makes up the number of a prepaid meter: eleven digits.
func (c *scene) meter(number int) string {
	which := fnv.New64a()
	which.Write(fmt.Appendf(nil, "%d:%s:%d", c.seed, c.office.municipality, number))
	return fmt.Sprintf("04%09d", which.Sum64()%1_000_000_000)
}

// letter is a request that arrived some days before the clerk lodged it.
type letter struct {
	number  int
	kind    domain.RequestKind
	details string
	daysAgo int
}

// lodge has the clerk lodge letters: one overdue, others due soon and later. Of two more
// the manager fulfils one and refuses the other.
func (c *scene) lodge(ctx context.Context) error {
	for _, l := range []letter{
		{writer, domain.AccessRequest, "a letter: everything that you hold about me", 45},
		{corrected, domain.CorrectionRequest, "my surname is spelt wrongly on the account", 27},
		{sued, domain.ErasureRequest, "I have moved to another town: delete my data", 12},
		{answered, domain.AccessRequest, "asked at the counter", 20},
		{unproven, domain.CorrectionRequest, "change the telephone number to a new one", 16},
	} {
		request, err := act(ctx, c.handler.LodgeRequest, c.keyed(c.clerk, l.number, "lodge"), commands.LodgeRequest{
			Subject: c.people[l.number].ID, Kind: l.kind, Details: l.details, ReceivedAt: c.ago(l.daysAgo),
		})
		if err != nil {
			return err
		}

		closing := c.keyed(c.manager, l.number, "close")
		switch l.number {
		case answered:
			_, err = act(ctx, c.handler.FulfilRequest, closing, commands.FulfilRequest{
				Request: request.ID, Note: "printed and handed over against an identity document",
			})
		case unproven:
			_, err = act(ctx, c.handler.RefuseRequest, closing, commands.RefuseRequest{
				Request: request.ID, Ground: domain.GroundIdentity, Note: "no identity document was shown, asked twice",
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hold has the manager place two holds and lift one of them.
func (c *scene) hold(ctx context.Context) error {
	place := func(number int, reason string) (domain.Hold, error) {
		return act(ctx, c.handler.PlaceHold, c.keyed(c.manager, number, "hold"),
			commands.PlaceHold{Subject: c.people[number].ID, Reason: reason})
	}

	if _, err := place(sued, "arrears in dispute: a case in the magistrate's court"); err != nil {
		return err
	}
	ended, err := place(settled, "damage to a water meter: a claim of the municipality")
	if err != nil {
		return err
	}
	_, err = act(ctx, c.handler.LiftHold, c.keyed(c.manager, settled, "lift"),
		commands.LiftHold{Hold: ended.ID, Reason: "the claim was paid"})
	return err
}

// merge has the manager merge two records of one person.
func (c *scene) merge(ctx context.Context) error {
	if _, err := c.onPaper(ctx, twin, "sms_alert", 9, 0); err != nil {
		return err
	}
	_, err := act(ctx, c.handler.MergeResidents, c.keyed(c.manager, twin, "merge"), commands.MergeResidents{
		From: c.people[twin].ID, Into: c.people[original].ID, Reason: "one person with two meters, recorded twice",
		Evidence: c.evidence(twin, "identity document"),
	})
	return err
}

// decideAtCounter records a grant whose end has come, and one that was a mistake, which
// the manager annuls.
func (c *scene) decideAtCounter(ctx context.Context) error {
	if _, err := c.onPaper(ctx, expired, "newsletter", 200, 20); err != nil {
		return err
	}

	grant, err := c.onPaper(ctx, mistaken, "research_statistics", 3, 0)
	if err != nil {
		return err
	}
	_, err = act(ctx, c.handler.AnnulConsent, c.keyed(c.manager, mistaken, "annul"),
		commands.AnnulConsent{Consent: grant.ID, Reason: "the form was of another person with the same name"})
	return err
}

// onPaper has the clerk type in a paper form that was signed some days ago, of a grant
// that holds until some days ago; 0: it has no end.
func (c *scene) onPaper(ctx context.Context, number int, purpose string, signed, until int) (domain.Decided, error) {
	person := c.people[number]
	grant := commands.RecordConsent{
		Subject: person.ID, Purpose: purpose, Language: person.PreferredLanguage, Consented: true,
		Channel: domain.Paper, GivenAt: c.ago(signed), Evidence: c.evidence(number, purpose),
	}
	if until > 0 {
		grant.ValidUntil = c.ago(until)
	}
	return act(ctx, c.handler.RecordConsent, c.keyed(c.clerk, number, purpose), grant)
}

// evidence names a paper that does not exist.
func (c *scene) evidence(number int, what string) *domain.Evidence {
	paper := form{reference: fmt.Sprintf("case %s/%d/%s", c.office.municipality, number, what)}
	return &domain.Evidence{SHA256: paper.sha256(), Reference: paper.reference}
}

// wardMeetings is a purpose of the municipality's own.
const wardMeetings = "ward_meetings"

// askAnew has the admin define a purpose and, when some have agreed, publish other words
// that everybody must be asked about again. One person agrees again.
func (c *scene) askAnew(ctx context.Context) error {
	known, err := c.handler.Purposes(ctx, c.office.tenant)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(known, func(p domain.Purpose) bool { return p.Code == wardMeetings })

	if at < 0 {
		_, err = act(ctx, c.handler.DefinePurpose, c.keyed(c.admin, 0, "define"), domain.DefinePurpose{
			Code: wardMeetings, Basis: domain.ConsentBasis, Retention: "until the consent is withdrawn",
			Texts: firstWords(),
		})
		if err != nil {
			return err
		}
	}

	for _, number := range []int{watched, answered, settled} {
		if err := c.agree(ctx, number, "first"); err != nil {
			return err
		}
	}

	if at < 0 || known[at].Current().Version == 1 {
		now := time.Now().Add(time.Second) // it may not be past when it is decided on
		_, err = act(ctx, c.handler.PublishNotice, c.admin,
			commands.PublishNotice{Code: wardMeetings, Texts: nextWords(), Reconsent: &now})
		if err != nil {
			return err
		}
	}
	return c.agree(ctx, watched, "again")
}

// agree has the clerk record that somebody at the counter agrees to the words in force.
func (c *scene) agree(ctx context.Context, number int, what string) error {
	person := c.people[number]
	_, err := act(ctx, c.handler.RecordConsent, c.keyed(c.clerk, number, wardMeetings+"-"+what), commands.RecordConsent{
		Subject: person.ID, Purpose: wardMeetings, Language: person.PreferredLanguage, Consented: true,
		Channel: domain.Counter,
	})
	if is(err, domain.CodeAlreadyGranted) { // another seed has published the words
		return nil
	}
	return err
}

func firstWords() map[domain.Language]string {
	return map[domain.Language]string{
		domain.English:   "We send you the dates of ward meetings by SMS.",
		domain.Zulu:      "Sikuthumelela izinsuku zemihlangano yewadi nge-SMS.",
		domain.Afrikaans: "Ons stuur vir u die datums van wyksvergaderings per SMS.",
	}
}

func nextWords() map[domain.Language]string {
	return map[domain.Language]string{
		domain.English:   "We send you the dates and the minutes of ward meetings by SMS or WhatsApp.",
		domain.Zulu:      "Sikuthumelela izinsuku namaminithi emihlangano yewadi nge-SMS noma nge-WhatsApp.",
		domain.Afrikaans: "Ons stuur vir u die datums en die notules van wyksvergaderings per SMS of WhatsApp.",
	}
}

// watchTogether has everybody in the office look at one person, and the clerk at all
// people at the counter.
func (c *scene) watchTogether(ctx context.Context) error {
	for _, by := range []commands.Call{c.manager, c.admin} {
		if err := c.look(ctx, by, "residents", c.people[watched].ID); err != nil {
			return err
		}
	}
	for _, person := range c.people[watched:] {
		if err := c.look(ctx, c.clerk, "residents", person.ID); err != nil {
			return err
		}
	}
	return nil
}

// object has somebody with an account object to being written to. The request stays open.
func (c *scene) object(ctx context.Context) error {
	_, _, err := c.ask(ctx, objector, domain.ObjectionRequest, "I do not want my data to be used for statistics")
	return err
}

// leave has somebody with an account ask to be erased, which the admin does.
func (c *scene) leave(ctx context.Context) error {
	request, gone, err := c.ask(ctx, leaver, domain.ErasureRequest, "please delete everything about me")
	if err != nil || gone {
		return err
	}
	_, err = act(ctx, c.handler.FulfilRequest, c.keyed(c.admin, leaver, "erase"),
		commands.FulfilRequest{Request: request.ID})
	return err
}

// ask has somebody register and lodge a request. It reports whether they have been erased
// since.
func (c *scene) ask(
	ctx context.Context, number int, kind domain.RequestKind, details string,
) (request domain.Request, gone bool, err error) {
	person := c.names.madeUp(c.seed, c.office.municipality, beyond+number)
	if _, _, err = c.register(ctx, person); is(err, domain.CodeSubjectErased) {
		return domain.Request{}, true, nil
	}
	if err != nil {
		return domain.Request{}, false, err
	}

	self, err := c.signIn(ctx, person.email, c.office.municipality)
	if err != nil {
		return domain.Request{}, false, err
	}
	request, err = act(ctx, c.handler.LodgeRequest, c.keyed(self, number, "lodge"),
		commands.LodgeRequest{Kind: kind, Details: details})
	return request, false, err
}

// addProgram has the admin create a service account. It comes last: whoever finds it
// knows that the office is done.
func (c *scene) addProgram(ctx context.Context) error {
	_, err := act(ctx, c.handler.CreateServiceAccount, c.keyed(c.admin, 0, "program"), domain.CreateServiceAccount{
		Name: c.program(), Scopes: []domain.Scope{domain.ScopeCheck, domain.ScopeRead},
	})
	return err
}

// is reports whether a command was refused with a code.
func is(err error, code domain.Code) bool {
	refusal, ok := errors.AsType[*domain.Error](err)
	return ok && refusal.Code == code
}
