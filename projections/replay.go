package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// ReplayQuery says which state of a tenant's consents to replay: what held at At, as known at KnownAt or at exactly a position.
type ReplayQuery struct {
	At       time.Time     // zero: at the end of what was known
	KnownAt  time.Time     // zero: now
	Position int64         // known up to this position; 0: KnownAt decides. Not both
	Subject  domain.UserID // of one person; zero: of all
	Purpose  string        // for one purpose; empty: for all
}

// replayPage is how many events a replay reads at once. At the longest wording that is some ten megabytes.
const replayPage = 500

// PositionAt gives the position that KnownAt stands for: the newest that was recorded by then; the head for the zero time. A
// caller that must name the position before the first row asks here, and replays at that position.
func (r *Readings) PositionAt(ctx context.Context, knownAt time.Time) (int64, error) {
	if knownAt.IsZero() {
		return eventstore.Head(ctx, r.pool)
	}
	return eventstore.PositionAt(ctx, r.pool, knownAt)
}

// Replay folds all consents of a tenant, refused and withdrawn ones too, and hands each to the function given: person by person in
// order of their ids, each person's in order of (effective time, position). It reads nothing but events, opens nothing personal,
// and holds one page and one person's events in memory. The position it gives is the one it was resolved to: replayed at that
// position, with the same At, the same rows come in the same order for ever. An error of the function ends the replay and comes
// back as it is. Errors: validation_failed, unavailable.
func (r *Readings) Replay(ctx context.Context, tenant domain.TenantID, q ReplayQuery, each func(domain.Consent) error) (position int64, err error) {
	err = r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		if position, err = q.resolve(ctx, tx); err != nil {
			return err
		}
		return r.replay(ctx, tx, tenant, q, position, each)
	})
	return position, err
}

func (q ReplayQuery) resolve(ctx context.Context, tx pgx.Tx) (int64, error) {
	head, err := eventstore.Head(ctx, tx)
	if err != nil {
		return 0, err
	}
	var f domain.Faults
	switch {
	case q.Position != 0 && !q.KnownAt.IsZero():
		f.Add("position", "invalid", "Give position or known_at, not both.")
	case q.Position < 0:
		f.Add("position", "invalid", "Positions count from 1.")
	case q.Position > head:
		f.Add("position", "invalid", "The log has not reached this position.")
	}
	switch err := f.Err(); {
	case err != nil:
		return 0, err
	case q.Position != 0:
		return q.Position, nil
	case !q.KnownAt.IsZero():
		return eventstore.PositionAt(ctx, tx, q.KnownAt)
	default:
		return head, nil
	}
}

func (r *Readings) replay(ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, upTo int64, each func(domain.Consent) error) error {
	var history []domain.Recorded // of one person
	give := func() error {
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
		page, err := r.reader.InStreams(ctx, tx, tenant, domain.ConsentStream, q.Subject.UUID, behind, upTo, replayPage)
		if err != nil {
			return err
		}
		for _, e := range page {
			if e.Stream.ID != behind.Stream && behind.Stream != uuid.Nil {
				if err := give(); err != nil {
					return err
				}
				clear(history) // lets go of the events
				history = history[:0]
			}
			history = append(history, e)
			behind = eventstore.Place{Stream: e.Stream.ID, Version: e.Version}
		}
		if len(page) < replayPage {
			return give()
		}
	}
}
