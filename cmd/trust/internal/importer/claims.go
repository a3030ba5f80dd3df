package importer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"sync"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// Consents imports what another system says that people decided, a row at a time, through
// the same handler as HTTP. It holds a bounded number of rows, whatever the file's size.
type Consents struct {
	Handler *commands.Handler
	File    *ConsentFile

	Source       string
	Municipality string // the code of rows that name none; empty: each row names one
	// Create records somebody whom nobody knows as a resident. Otherwise their row is
	// refused.
	Create bool

	// People finds the people of a tenant by e-mail address and phone as they are shown,
	// of which neither need be unique.
	People func(ctx context.Context, tenant domain.TenantID, email, phone string) ([]domain.User, error)
	// Await waits, as long as that is worth it, until People finds who was recorded by a
	// position.
	Await func(ctx context.Context, position int64) error
	// Refused is told of each refused row, in order of lines.
	Refused func(BadRow) error
	// Step is called after each row.
	Step func()

	tenants sync.Map // of domain.TenantID, by code
	before  int64    // the log's head when the import began
}

const (
	// claimsAtOnce is how many rows are imported at the same time. Rows that name a
	// person in the same way follow one another.
	claimsAtOnce = 64
	// claimsAhead is how many rows are read beyond the oldest that is not done.
	claimsAhead = 16 * claimsAtOnce
)

// The codes of rows that were understood as CSV and are refused here.
const (
	codeOtherMunicipality = "other_municipality"
	codeUnknownPerson     = "unknown_person"
	codeAmbiguousPerson   = "ambiguous_person"
	codeDuplicate         = "duplicate_row"
)

// ConsentTally counts what became of the rows.
type ConsentTally struct{ Recorded, Unchanged, Refused, Residents int64 }

// Tell prints the totals.
func (t ConsentTally) Tell(stdout io.Writer) error {
	text := fmt.Sprintf("consents: %d recorded as claims, %d unchanged, %d refused", t.Recorded, t.Unchanged, t.Refused)
	if t.Residents > 0 {
		text += fmt.Sprintf("; %d residents recorded", t.Residents)
	}
	if _, err := fmt.Fprintln(stdout, text); err != nil {
		return err
	}
	if t.Refused > 0 {
		return exit.NotSo("%d rows were refused; correct them and import the file again", t.Refused)
	}
	return nil
}

// turn is a row on its way: from the reader to a worker, and back in order of lines.
type turn struct {
	claim
	done     chan struct{} // closed when the rest is known
	stood    bool          // it was imported before
	resident bool          // a resident was recorded for it
	err      error
}

// Run imports the file. It fails when the database stays away; what was imported by then
// stays, and the import can be repeated.
func (c *Consents) Run(ctx context.Context) (ConsentTally, error) {
	records, err := c.File.records()
	if err != nil {
		return ConsentTally{}, exit.Unreachable(err, "cannot read the file; nothing was imported")
	}
	if c.before, err = c.Handler.Store.Head(ctx); err != nil {
		return ConsentTally{}, exit.Explain(err)
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()

	order := make(chan *turn, claimsAhead)
	var ended error // why reading ended early
	go func() {
		defer close(order)
		ended = c.read(ctx, records, order)
	}()

	var t ConsentTally
	var failed error
	for one := range order {
		<-one.done
		if failed != nil {
			continue // what was begun ends by itself
		}
		if failed = c.count(&t, one); failed != nil {
			stop()
		}
	}

	if err := cmp.Or(failed, ended); err != nil {
		return t, exit.Unreachable(err, "the import stopped after %d consents; repeat it", t.Recorded+t.Unchanged)
	}
	return t, nil
}

// read reads the file and has each row carried out. Each lane is as long as order, so
// that a row which is in order has room in any lane.
func (c *Consents) read(ctx context.Context, records *records, order chan<- *turn) error {
	lanes := make([]chan *turn, claimsAtOnce)
	var workers sync.WaitGroup
	for i := range lanes {
		lanes[i] = make(chan *turn, claimsAhead+1)
		workers.Go(func() {
			for t := range lanes[i] {
				c.carryOut(ctx, t)
			}
		})
	}
	defer workers.Wait()
	defer func() {
		for _, lane := range lanes {
			close(lane)
		}
	}()

	for {
		row, broken, err := records.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}

		t := &turn{done: make(chan struct{})}
		if broken == nil {
			t.claim, t.err = c.claimOf(row)
			t.line = row.Line
		} else {
			t.line, t.err = broken.Line, &fault{broken.Code, broken.Reason}
		}

		select {
		case order <- t:
		case <-ctx.Done():
			return ctx.Err()
		}
		if t.err != nil {
			close(t.done)
			continue
		}
		lanes[laneOf(t.municipality, t.who)] <- t
	}
}

func laneOf(municipality string, who identity) uint32 {
	sum := fnv.New32a()
	_, _ = io.WriteString(sum, municipality+" "+who.String()) // a hash takes any text
	return sum.Sum32() % claimsAtOnce
}

func (c *Consents) carryOut(ctx context.Context, t *turn) {
	defer close(t.done)
	t.err = retry.WhileAway(ctx, func(ctx context.Context) error { return c.record(ctx, t) })
}

// record records one claim.
func (c *Consents) record(ctx context.Context, t *turn) error {
	tenant, err := c.tenant(ctx, t.municipality)
	if err != nil {
		return err
	}
	if t.what.Subject, err = c.person(ctx, tenant, t); err != nil {
		return err
	}

	answer, err := c.Handler.ClaimConsent(ctx, commands.System(tenant), t.what)
	if errors.Is(err, domain.Refuse(domain.CodeNotFound, "")) {
		return unknownPerson()
	}
	if err != nil {
		return err
	}

	if first := answer.Value; answer.Stood && first.FileSHA256 == c.File.SHA256 && first.Line != t.line {
		return &fault{codeDuplicate, fmt.Sprintf("it says the same as line %d", first.Line)}
	}
	t.stood = answer.Stood
	return nil
}

// count notes what became of a row. It returns an error that ends the import.
func (c *Consents) count(t *ConsentTally, one *turn) error {
	var bad BadRow
	broken, isBroken := errors.AsType[*fault](one.err)
	refusal, isRefused := errors.AsType[*domain.Error](one.err)
	switch {
	case one.err == nil:
	case isBroken:
		bad = BadRow{one.line, broken.code, broken.reason}
	case isRefused && !exit.IsAway(one.err) && refusal.Code != domain.CodeForbidden:
		bad = BadRow{one.line, string(refusal.Code), exit.Reason(refusal)}
	default:
		return one.err
	}

	c.Step()
	if one.resident {
		t.Residents++
	}
	switch {
	case bad.Line > 0:
		t.Refused++
		return c.Refused(bad)
	case one.stood:
		t.Unchanged++
	default:
		t.Recorded++
	}
	return nil
}

// tenant finds a municipality, once.
func (c *Consents) tenant(ctx context.Context, code string) (domain.TenantID, error) {
	if known, is := c.tenants.Load(code); is {
		return known.(domain.TenantID), nil
	}

	tenant, err := c.Handler.ActiveTenant(ctx, code)
	if err == nil {
		c.tenants.Store(code, tenant)
	}
	return tenant, err
}

func unknownPerson() *fault {
	return &fault{codeUnknownPerson, "nobody in this municipality is known by what it gives"}
}

func ambiguousPerson() *fault {
	return &fault{codeAmbiguousPerson, "what it gives belongs to several people, or to one of another name"}
}

// person finds who decided.
func (c *Consents) person(ctx context.Context, tenant domain.TenantID, t *turn) (domain.UserID, error) {
	found, err := c.certain(ctx, tenant, t.who)
	if err == nil && len(found) == 0 {
		found, err = c.likely(ctx, tenant, t.who)
	}

	if err == nil && len(found) > 1 {
		found, err = c.goOn(ctx, tenant, found)
	}

	switch {
	case err != nil:
		return domain.UserID{}, err
	case len(found) > 1:
		return domain.UserID{}, ambiguousPerson()
	case len(found) == 1:
		return found[0], nil
	case !c.Create:
		return domain.UserID{}, unknownPerson()
	default:
		return c.resident(ctx, tenant, t)
	}
}

// certain finds people by what only one person has.
func (c *Consents) certain(
	ctx context.Context, tenant domain.TenantID, who identity,
) (found []domain.UserID, err error) {
	if !who.id.IsZero() {
		found = append(found, who.id)
	}

	if who.external.Value != "" {
		id, is, err := c.Handler.FindResident(ctx, tenant, who.external)
		if err != nil {
			return nil, err
		}
		if is {
			found = append(found, id)
		}
	}

	if who.email != "" {
		id, err := c.Handler.PersonByEmail(ctx, tenant, who.email)
		switch {
		case err == nil:
			found = append(found, id)
		case !errors.Is(err, domain.Refuse(domain.CodeNotFound, "")):
			return nil, err
		}
	}
	return distinct(found), nil
}

// likely finds people by what several people may have: an address to write to, a phone.
// If the row gives a name, it is theirs, or the row is of somebody else.
func (c *Consents) likely(
	ctx context.Context, tenant domain.TenantID, who identity,
) (found []domain.UserID, err error) {
	for _, by := range [][2]string{{who.email, ""}, {"", who.phone}} {
		if by == [2]string{} {
			continue
		}

		people, err := c.People(ctx, tenant, by[0], by[1])
		if err != nil {
			return nil, err
		}
		for _, p := range people {
			is, err := c.isNamed(ctx, tenant, p, who.name)
			if err != nil {
				return nil, err
			}
			if !is {
				return nil, ambiguousPerson()
			}
			found = append(found, p.ID)
		}
		if len(found) > 0 {
			break
		}
	}
	return distinct(found), nil
}

// isNamed reports whether somebody has a name, in whichever of their records; an empty
// one is anybody's. The record that was found may have been merged into another since.
func (c *Consents) isNamed(ctx context.Context, tenant domain.TenantID, p domain.User, name string) (bool, error) {
	is := func(full string) bool { return domain.CanonicalName(full) == domain.CanonicalName(name) }
	if name == "" || is(p.FullName) {
		return true, nil
	}

	record, err := c.Handler.Resident(ctx, tenant, p.ID)
	if err == nil && record.Value.IsMerged() {
		record, err = c.Handler.Resident(ctx, tenant, record.Value.MergedInto)
	}
	if err != nil || is(record.Value.FullName) {
		return err == nil, err
	}
	for _, id := range record.Value.Merged {
		merged, err := c.Handler.Resident(ctx, tenant, id)
		if err != nil || is(merged.Value.FullName) {
			return err == nil, err
		}
	}
	return false, nil
}

// goOn returns the records that go on in place of some, which may be of one person.
func (c *Consents) goOn(
	ctx context.Context, tenant domain.TenantID, records []domain.UserID,
) ([]domain.UserID, error) {
	var on []domain.UserID
	for _, id := range records {
		record, err := c.Handler.Resident(ctx, tenant, id)
		switch {
		case errors.Is(err, domain.Refuse(domain.CodeNotFound, "")):
			return nil, unknownPerson()
		case err != nil:
			return nil, err
		case record.Value.IsMerged():
			id = record.Value.MergedInto
		}
		on = append(on, id)
	}
	return distinct(on), nil
}

func distinct(ids []domain.UserID) (one []domain.UserID) {
	for _, id := range ids {
		if !slices.Contains(one, id) {
			one = append(one, id)
		}
	}
	return one
}

// resident records somebody whom nobody knows. The read table may not show yet whom an
// earlier row recorded: the key then leads to that person, unless this row gives them
// other details.
func (c *Consents) resident(ctx context.Context, tenant domain.TenantID, t *turn) (domain.UserID, error) {
	sum := sha256.Sum256([]byte(c.Source + "\x00" + t.who.String()))
	call := commands.System(tenant)
	call.Key = "claims:" + hex.EncodeToString(sum[:])

	wish := commands.RecordResident{
		FullName: t.who.name, Phone: t.who.phone, Email: t.who.email, PreferredLanguage: t.who.language,
	}
	if t.who.external.Value != "" {
		wish.ExternalIDs = []domain.ExternalID{t.who.external}
	}

	answer, err := c.Handler.RecordResident(ctx, call, wish)
	if errors.Is(err, domain.Refuse(domain.CodeIdempotencyKeyReused, "")) {
		return domain.UserID{}, ambiguousPerson()
	}
	if err != nil {
		return domain.UserID{}, err
	}
	t.resident = answer.Position > c.before
	if t.resident && t.who.external.Value == "" {
		_ = c.Await(ctx, answer.Position) // rows that give another spelling of the name are refused otherwise
	}
	return answer.Value.ID, nil
}
