package reports

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// ReplayQuery says which state of a tenant's consents to replay: those in force at At, as
// known at exactly one position.
type ReplayQuery struct {
	At       time.Time     // zero: at the end of what was known
	Position int64         // known up to this position, which Resolve returned
	Subject  domain.UserID // of one person; zero: of all
	Purpose  string        // for one purpose; empty: for all
	Page     func()        // called after each page of events, even one without results; nil: not called
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

// Replay folds all consents of a tenant, including refused and withdrawn ones, and passes
// each to a function: person by person in order of their ids, each person's in order of
// (effective time, position). It reads nothing but events, opens nothing personal, and
// holds one page and one person's events in memory. The same question yields the same
// rows in the same order for ever. An error of the function ends the replay and is
// returned as it is. Error: unavailable.
func (r *Reports) Replay(
	ctx context.Context, tenant domain.TenantID, q ReplayQuery, each func(domain.Consent) error,
) error {
	return r.asTenant(ctx, tenant, func(tx pgx.Tx) error { return r.replay(ctx, tx, tenant, q, each) })
}

func (r *Reports) replay(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, each func(domain.Consent) error,
) error {
	var history []domain.Recorded // of one person
	emit := func() error {
		for _, c := range domain.ConsentsAt(history, q.At, time.Time{}).Records() {
			if q.Purpose != "" && c.Purpose != q.Purpose {
				continue
			}
			if err := each(c); err != nil {
				return err
			}
		}
		return nil
	}

	for behind := (eventstore.Place{}); ; {
		page, err := r.reader.InStreams(
			ctx, tx, tenant, domain.ConsentStream, q.Subject.UUID, behind, q.Position, replayPage)
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
