package reports

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// ExposureFilter asks who saw a person, or whom an account saw: exactly one of the two.
type ExposureFilter struct {
	Subject domain.UserID
	Actor   domain.UserID
	From    time.Time // recorded at this instant or later; zero: from the first on
	To      time.Time // recorded before this instant; zero: up to now
}

// Matched says why a read counts as one that covered a person.
type Matched string

// How a read covers a person.
const (
	// MatchedSubject is for a read that names the person alone.
	MatchedSubject Matched = "subject"
	// MatchedList is for a read that names the person among others.
	MatchedList Matched = "list"
	// MatchedFilter is for a read of more people than a read names, of which only the
	// filter is known; the person may be among them.
	MatchedFilter Matched = "filter"
)

// ExposureEntry is one read of personal data.
type ExposureEntry struct {
	Position  int64
	EventID   uuid.UUID
	Timestamp time.Time
	Actor     domain.UserID
	ActorRole string
	Route     string
	Fields    string // the group of fields
	Head      int64  // the log's head when it was read
	Subjects  []domain.UserID
	Filter    map[string]string
	Reason    domain.Personal[domain.ReadFacts]
	Matched   Matched // empty if the question was about an actor
}

// Exposure lists the reads of personal data in a tenant, newest first. Errors:
// validation_failed, unavailable.
func (r *Reports) Exposure(
	ctx context.Context, tenant domain.TenantID, filter ExposureFilter, page projections.Page,
) (projections.Listing[ExposureEntry], error) {
	if filter.Subject.IsZero() == filter.Actor.IsZero() {
		var f domain.Faults
		f.Add("subject_id", "invalid", "Give either subject_id or actor_id.")
		return projections.Listing[ExposureEntry]{}, f.Err()
	}

	q := eventstore.Query{
		Seen: filter.Subject, Actor: filter.Actor, From: filter.From, To: filter.To,
		Types: []string{(*domain.PersonalDataRead)(nil).EventType()},
	}
	find := r.newest
	if !filter.Subject.IsZero() {
		find = r.reads
	}
	events, err := find(ctx, AuditScope{tenant: tenant}, q, page)
	if err != nil {
		return projections.Listing[ExposureEntry]{}, err
	}

	return projections.List(events, nil, page, func(e domain.Recorded) (ExposureEntry, string) {
		return exposureEntry(e, filter.Subject), projections.PositionCursor(e.Position)
	})
}

func exposureEntry(r domain.Recorded, subject domain.UserID) ExposureEntry {
	x := ExposureEntry{
		Position: r.Position, EventID: r.EventID, Timestamp: r.RecordedAt, Actor: r.Actor,
		ActorRole: r.Metadata.ActorRole,
	}
	if e, ok := r.Event.(*domain.PersonalDataRead); ok {
		x.Route, x.Fields, x.Head = e.Route, e.Fields, e.Head
		x.Subjects, x.Filter, x.Reason = e.Subjects, e.Filter, e.Private
	}

	switch {
	case subject.IsZero():
	case r.Subject == subject:
		x.Matched = MatchedSubject
	case slices.Contains(x.Subjects, subject):
		x.Matched = MatchedList
	default:
		x.Matched = MatchedFilter
	}
	return x
}

// readsAtOnce is how many reads are judged at once: of those that name nobody, either
// most or none covered a given person.
const readsAtOnce = 500

// reads is newest for the reads of one person's data: it leaves out reads that cannot
// have covered the person.
func (r *Reports) reads(
	ctx context.Context, scope AuditScope, q eventstore.Query, page projections.Page,
) (found []domain.Recorded, err error) {
	upTo, more, err := behind(page)
	if err != nil || !more {
		return nil, err
	}

	q.UpTo, q.Newest, q.Limit, q.Tenant = upTo, true, max(page.Fetch(), readsAtOnce), scope.tenant
	err = r.asTenant(ctx, scope.tenant, func(tx pgx.Tx) error {
		c := r.coverage(tx, scope.tenant, q.Seen)
		began, err := c.began(ctx)
		if err != nil || began == 0 {
			return err
		}

		for q.After = began; ; {
			events, err := r.reader.Find(ctx, tx, q)
			if err != nil {
				return err
			}
			covering, err := c.only(ctx, events)
			if err != nil {
				return err
			}

			found = append(found, covering...)
			if len(found) >= page.Fetch() {
				found = found[:page.Fetch()]
				return nil
			}
			if len(events) < q.Limit {
				return nil
			}
			if q.UpTo = events[len(events)-1].Position - 1; q.UpTo <= began {
				return nil
			}
		}
	})
	return found, err
}

// newest finds a page of events, newest first, and the first of the next page if there is
// one.
func (r *Reports) newest(
	ctx context.Context, scope AuditScope, q eventstore.Query, page projections.Page,
) (events []domain.Recorded, err error) {
	upTo, more, err := behind(page)
	if err != nil || !more {
		return nil, err
	}

	q.UpTo = upTo
	q.Newest, q.Limit, q.Tenant, q.Sealed = true, page.Fetch(), scope.tenant, scope.sealed
	read := func(tx pgx.Tx) (err error) {
		events, err = r.reader.Find(ctx, tx, q)
		return err
	}

	switch {
	case scope.sealed:
		err = r.asPlatform(ctx, read)
	case scope.tenant.IsZero():
		err = errors.New("a report without a tenant")
	default:
		err = r.asTenant(ctx, scope.tenant, read)
	}
	return events, err
}

// behind returns the newest position that a page may have (0: any), and whether there can
// be more at all.
func behind(page projections.Page) (upTo int64, more bool, err error) {
	if page.After == "" {
		return 0, true, nil
	}
	after, err := page.AfterPosition()
	return after - 1, err == nil && after > 1, err
}
