package reports

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// ReplayQuery says which consents of a tenant to replay, and in which state: that in
// force at At, as known at exactly one position.
type ReplayQuery struct {
	At       time.Time     // zero: at the end of what was known
	Position int64         // known up to this position, which Resolve returned
	Subject  domain.UserID // of one person; zero: of all
	Page     func()        // called after each page of events, even one without results; nil: not called

	// Counting leaves only the decision that counts for each purpose: the one in force,
	// otherwise the newest. What was annulled counts for nothing. It needs Subject.
	Counting bool

	// Now is when what ends without an event is judged if At is zero; zero: now.
	Now time.Time

	projections.ConsentFilter

	behind uuid.UUID // leave out the people up to this one, in order of ids
}

// Moment names a state for ever: a position and an instant.
type Moment struct {
	Position int64
	At       time.Time // zero: no bound
}

// replayPage is how many events a replay reads at once: with the longest wording about
// ten megabytes.
const replayPage = 500

// Resolve returns the moment that a question about a tenant's consents is about. Its
// position is the one given or, if none is, that of the newest event recorded by knownAt
// (zero: by now) that consents depend on. Its instant is the one given or, if none is,
// the newest at which anything changed: by such an event, or because a grant ended
// without one. The state at that instant is the state now. So other events, such as the
// record of the question itself, do not change the answer, and the same question has the
// same answer to the byte until something about a consent or a purpose changes.
//
// If the log is ahead of the clock, no instant stands for now, and none is returned.
// Errors: validation_failed, unavailable.
func (r *Reports) Resolve(
	ctx context.Context, tenant domain.TenantID, at, knownAt time.Time, position int64,
) (m Moment, err error) {
	err = r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		if m.Position, err = resolve(ctx, tx, knownAt, position); err != nil {
			return err
		}

		own, shared, err := r.purposes(ctx, tx, tenant, m.Position)
		if err != nil {
			return err
		}
		purposes := slices.Concat(own, shared)
		newest, err := r.newestChange(ctx, tx, tenant, m.Position, purposes)
		if err != nil {
			return err
		}
		switch {
		case position != 0:
		case newest.Position == 0:
			m.Position = 1 // nothing was decided by then, so any position will do
		default:
			m.Position = newest.Position
		}

		if m.At = at; m.At.IsZero() && newest.Position > 0 {
			m.At, err = r.lastChange(ctx, tx, tenant, m.Position, newest.RecordedAt, purposes)
		}
		return err
	})
	return m, err
}

// newestChange returns the newest event up to a position that consents depend on: a
// decision, or anything about a purpose. Even a new purpose or wording without a demand
// changes what has become of older consents: a tenant's own hides the default's demands.
func (r *Reports) newestChange(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, upTo int64, purposes []domain.Purpose,
) (newest domain.EventRef, err error) {
	decided, err := r.newestDecision(ctx, tx, tenant, upTo)
	if err != nil || upTo == 0 {
		return newest, err
	}
	for _, e := range decided {
		newest = e.Ref()
	}

	for _, p := range purposes {
		changes := []domain.EventRef{p.Definition, p.Retirement}
		for _, n := range p.Notices {
			changes = append(changes, n.Event)
		}

		for _, change := range changes {
			if change.Position > newest.Position {
				newest = change
			}
		}
	}
	return newest, nil
}

// newestDecision finds a tenant's newest event of anybody's consents up to a position. In
// most questions, that is the newest of all.
func (r *Reports) newestDecision(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, upTo int64,
) ([]domain.Recorded, error) {
	q := eventstore.Query{
		Tenant: tenant, Types: consentTypes(), UpTo: upTo, Newest: true, Limit: 1, Sealed: true,
	}
	last, err := eventstore.NewestDecisions(ctx, tx, tenant, 1)
	if err != nil || len(last) == 0 {
		return nil, err
	}
	if at := last[0].Position; upTo == 0 || at <= upTo {
		only := q
		only.After, only.UpTo = at-1, at
		if found, err := r.reader.Find(ctx, tx, only); err != nil || len(found) > 0 {
			return found, err
		}
	}
	return r.reader.Find(ctx, tx, q)
}

// aheadBy is how far the log's clock may be ahead of ours without being wrong: no append
// is accepted from a program whose clock differs by more.
const aheadBy = 5 * time.Second

// lastChange returns the newest instant up to now at which anything changed: that of the
// newest event, or a later one at which a grant ended without an event. It returns zero
// if the event lies in the future.
func (r *Reports) lastChange(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, upTo int64, last time.Time, purposes []domain.Purpose,
) (time.Time, error) {
	now := time.Now()
	if last.After(now.Add(aheadBy)) {
		return time.Time{}, nil
	}
	ended := func(at time.Time) {
		if !at.After(now) && at.After(last) {
			last = at
		}
	}

	for _, p := range purposes {
		for _, n := range p.Notices {
			ended(n.Reconsent)
		}
	}

	after := int64(0)
	search, err := projections.SearchConsents(ctx, tx, tenant, upTo)
	if err != nil {
		return time.Time{}, err
	}
	if search != nil {
		var end time.Time
		if end, after, err = search.LastEnd(ctx, now); err != nil {
			return time.Time{}, err
		}
		ended(end)
	}
	return last, r.reader.EachEnd(ctx, tx, tenant, after, upTo, ended)
}

// purposes returns a tenant's own purposes and the defaults as events up to a position
// left them.
func (r *Reports) purposes(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, upTo int64,
) (own, shared []domain.Purpose, err error) {
	ofOwn, ofPlatform, err := r.reader.Purposes(ctx, tx, tenant, upTo)
	return domain.PurposesIn(ofOwn), domain.PurposesIn(ofPlatform), err
}

// rules returns what the purposes of a tenant demand, as known at a position.
func (r *Reports) rules(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, upTo int64, clocks domain.Clocks,
) (domain.Rules, error) {
	own, shared, err := r.purposes(ctx, tx, tenant, upTo)
	return domain.RulesOf(own, shared, clocks), err
}

// resolve returns the position that was given, or the one that an instant stands for.
func resolve(ctx context.Context, tx pgx.Tx, knownAt time.Time, position int64) (int64, error) {
	var f domain.Faults
	switch {
	case position != 0 && !knownAt.IsZero():
		f.Add("position", "invalid", "Give position or known_at, not both.")
		return 0, f.Err()
	case !knownAt.IsZero():
		return eventstore.PositionAt(ctx, tx, knownAt)
	}

	head, err := eventstore.Head(ctx, tx)
	switch {
	case err != nil || position == 0:
		return head, err
	case position < 0:
		f.Add("position", "invalid", "Positions count from 1.")
	case position > head:
		return 0, eventstore.UnknownPosition()
	}
	return position, f.Err()
}

// Replay folds a tenant's consents, including refused and withdrawn ones, and passes on
// those that pass the filter: person by person in order of their ids, each person's in
// order of (effective time, position). What it says comes from events alone, and it opens
// nothing personal; if the filter is about decisions, the read table only tells whose
// events to read. It holds one page and one person's events in memory. The same question
// yields the same rows in the same order for ever. An error of the function ends the
// replay and is returned as it is. Error: unavailable.
func (r *Reports) Replay(
	ctx context.Context, tenant domain.TenantID, q ReplayQuery, each func(domain.Decided) error,
) error {
	if q.Now.IsZero() {
		q.Now = time.Now()
	}

	return r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		if !q.Subject.IsZero() && q.behind == q.Subject.UUID {
			return nil // read for the second time, with everything passed on
		}
		return r.replay(ctx, tx, tenant, q, func(d domain.Decided) error {
			// A person is passed on as a whole: if a replica fails after that, the
			// primary goes on with the next.
			q.behind = d.Subject.UUID
			return each(d)
		})
	})
}

func (r *Reports) replay(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, each func(domain.Decided) error,
) error {
	rules, err := r.rulesOf(ctx, tx, tenant, q)
	if err != nil {
		return err
	}

	switch {
	case q.Counting && q.Subject.IsZero():
		return errors.New("what counts for nobody")
	case q.Counting:
		return r.replayCounting(ctx, tx, tenant, q, rules, each)
	case !q.Subject.IsZero():
		return r.fold(ctx, tx, tenant, q, rules, []uuid.UUID{q.Subject.UUID}, each)
	}
	if f := q.DecisionFilter; f.IsZero() {
		return r.fold(ctx, tx, tenant, q, rules, nil, each)
	}

	search, err := projections.SearchConsents(ctx, tx, tenant, q.Position)
	if err != nil {
		return err
	}
	if search == nil {
		return r.fold(ctx, tx, tenant, q, rules, nil, each)
	}
	return search.Subjects(ctx, q.DecisionFilter, replayPage, func(people []uuid.UUID) error {
		return r.fold(ctx, tx, tenant, q, rules, people, each)
	})
}

// rulesOf returns the rules at the moment that a replay is about.
func (r *Reports) rulesOf(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery,
) (domain.Rules, error) {
	clocks := domain.Clocks{At: q.At, Now: q.Now}
	if clocks.Now.IsZero() {
		clocks.Now = time.Now()
	}
	return r.rules(ctx, tx, tenant, q.Position, clocks)
}

// fold is Replay for some people, or for all if people is nil.
func (r *Reports) fold(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, rules domain.Rules, people []uuid.UUID,
	each func(domain.Decided) error,
) error {
	var history []domain.Recorded // of one person
	emit := func() error {
		for d := range rowsOf(history, rules, q.ConsentFilter) {
			if err := each(d); err != nil {
				return err
			}
		}
		return nil
	}

	for behind := (eventstore.Place{Stream: q.behind, Version: math.MaxInt32}); ; {
		page, err := r.reader.InStreams(ctx, tx, tenant, domain.ConsentStream, people, behind, q.Position, replayPage)
		if err != nil {
			return err
		}

		if q.Page != nil {
			q.Page()
		}

		for _, e := range page {
			if e.Stream.ID != behind.Stream && behind.Stream != uuid.Nil {
				if err := emit(); err != nil {
					return err
				}
				clear(history) // frees the events
				history = history[:0]
			}
			history = append(history, e)
			behind = eventstore.Place{Stream: e.Stream.ID, Version: e.Version}
		}

		if len(page) < replayPage {
			return emit()
		}
	}
}

// rowsOf folds one person's events, and yields the consents that pass a filter.
func rowsOf(
	history []domain.Recorded, rules domain.Rules, f projections.ConsentFilter,
) iter.Seq[domain.Decided] {
	return func(yield func(domain.Decided) bool) {
		for _, c := range consentsFor(f.Purpose, history, rules.Clocks().At).Records() {
			if d := rules.Of(c); f.Matches(d) && !yield(d) {
				return
			}
		}
	}
}

// consentsFor folds what is about a purpose, or everything if none is named.
func consentsFor(purpose string, history []domain.Recorded, at time.Time) domain.Consents {
	if purpose == "" {
		return domain.ConsentsAt(history, at, time.Time{})
	}
	return domain.ConsentsFor(purpose, history, at, time.Time{})
}
