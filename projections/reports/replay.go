package reports

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// ReplayQuery says which consents of a tenant to replay, and in which state: that in force
// at At, as known at exactly one position.
type ReplayQuery struct {
	At       time.Time     // zero: at the end of what was known
	Position int64         // known up to this position, which Resolve returned
	Subject  domain.UserID // of one person; zero: of all
	Page     func()        // called after each page of events, even one without results; nil: not called

	projections.ConsentFilter
}

// replayPage is how many events a replay reads at once: with the longest wording about
// ten megabytes.
const replayPage = 500

// Resolve returns the position that "as known at" means for a tenant's consents: the
// position given or, if none is, that of the newest consent event recorded by knownAt
// (zero: by now). So other events, such as the record of the question itself, do not
// change the answer, and the same question has the same answer to the byte until somebody
// decides something. Errors: validation_failed, unavailable.
func (r *Reports) Resolve(
	ctx context.Context, tenant domain.TenantID, knownAt time.Time, position int64,
) (resolved int64, err error) {
	err = r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		if resolved, err = resolve(ctx, tx, knownAt, position); err != nil || position != 0 {
			return err
		}

		newest, err := r.reader.Find(ctx, tx, eventstore.Query{
			Tenant: tenant, Types: consentTypes(), UpTo: resolved, Newest: true, Limit: 1, Sealed: true,
		})
		switch {
		case err != nil:
			return err
		case resolved == 0 || len(newest) == 0:
			resolved = 1 // nothing was decided by then, so any position will do
		default:
			resolved = newest[0].Position
		}
		return nil
	})
	return resolved, err
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
func (r *Reports) Replay(ctx context.Context, tenant domain.TenantID, q ReplayQuery, each func(domain.Decided) error) error {
	return r.asTenant(ctx, tenant, func(tx pgx.Tx) error { return r.replay(ctx, tx, tenant, q, each) })
}

func (r *Reports) replay(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, each func(domain.Decided) error,
) error {
	if !q.Subject.IsZero() {
		return r.fold(ctx, tx, tenant, q, []uuid.UUID{q.Subject.UUID}, each)
	}
	if q.DecisionFilter.IsZero() {
		return r.fold(ctx, tx, tenant, q, nil, each)
	}

	search, err := projections.SearchConsents(ctx, tx, tenant, q.Position)
	if err != nil {
		return err
	}
	if search == nil {
		return r.fold(ctx, tx, tenant, q, nil, each)
	}
	return search.Subjects(ctx, q.DecisionFilter, replayPage, func(people []uuid.UUID) error {
		return r.fold(ctx, tx, tenant, q, people, each)
	})
}

// fold is Replay for some people, or for all if people is nil.
func (r *Reports) fold(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, people []uuid.UUID, each func(domain.Decided) error,
) error {
	var history []domain.Recorded // of one person
	emit := func() error {
		for d := range rowsOf(history, q.At, q.ConsentFilter) {
			if err := each(d); err != nil {
				return err
			}
		}
		return nil
	}

	for behind := (eventstore.Place{}); ; {
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
func rowsOf(history []domain.Recorded, at time.Time, f projections.ConsentFilter) iter.Seq[domain.Decided] {
	return func(yield func(domain.Decided) bool) {
		held := consentsFor(f.Purpose, history, at)
		for _, c := range held.Records() {
			if d := held.Decided(c); f.Matches(d) && !yield(d) {
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
