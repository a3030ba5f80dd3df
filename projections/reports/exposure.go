package reports

import (
	"context"
	"errors"
	"math"
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

// Period limits when something was recorded; a zero instant does not.
type Period struct {
	From time.Time // at this instant or later
	To   time.Time // before this instant
}

// Reads lists the reads of a person's data by others, newest first, as their dossier has
// them: also those of records that were merged into theirs. Errors: validation_failed,
// unavailable.
func (r *Reports) Reads(
	ctx context.Context, tenant domain.TenantID, person domain.UserID, period Period, page projections.Page,
) (projections.Listing[ExposureEntry], error) {
	upTo, more, err := behind(page)
	if err != nil || !more {
		return projections.Listing[ExposureEntry]{}, err
	}
	q := eventstore.Query{
		Tenant: tenant, UpTo: upTo, From: period.From, To: period.To,
		Types: []string{(*domain.PersonalDataRead)(nil).EventType()}, NotBy: person,
	}

	var found []domain.Recorded
	var merged []domain.UserID
	err = r.wholePerson(ctx, tenant, func(tx pgx.Tx) (err error) {
		found = nil
		if merged, err = r.mergedInto(ctx, tx, tenant, person); err != nil {
			return err
		}
		for _, id := range append([]domain.UserID{person}, merged...) {
			q.Seen = id
			reads, err := r.readsOf(ctx, tx, q, page.Fetch())
			if err != nil {
				return err
			}
			found = append(found, reads...)
		}
		return nil
	})

	found = inOrder(found)
	slices.Reverse(found)
	found = found[:min(len(found), page.Fetch())]
	return projections.List(found, err, page, func(e domain.Recorded) (ExposureEntry, string) {
		return exposureEntry(e, seenAs(e, person, merged)), projections.PositionCursor(e.Position)
	})
}

// mergedInto returns the records that were merged into a person's.
func (r *Reports) mergedInto(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, person domain.UserID,
) ([]domain.UserID, error) {
	events, err := r.reader.InStreams(ctx, tx, tenant, domain.UserStream, []uuid.UUID{person.UUID},
		eventstore.Place{}, math.MaxInt64, math.MaxInt32)
	return domain.Fold[domain.Resident](events).Merged, err
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

	q.UpTo, q.Tenant = upTo, scope.tenant
	err = r.asTenant(ctx, scope.tenant, func(tx pgx.Tx) (err error) {
		found, err = r.readsOf(ctx, tx, q, page.Fetch())
		return err
	})
	return found, err
}

// readsOf finds the newest reads that can have covered the person whom a query is about,
// at most as many as are wanted.
func (r *Reports) readsOf(
	ctx context.Context, tx pgx.Tx, q eventstore.Query, want int,
) (found []domain.Recorded, err error) {
	c := r.coverage(tx, q.Tenant, q.Seen)
	began, err := c.began(ctx)
	if err != nil || began == 0 {
		return nil, err
	}

	q.Newest, q.Limit = true, want
	for q.After = began; ; q.Limit = max(want, readsAtOnce) {
		events, err := r.reader.Find(ctx, tx, q)
		if err != nil {
			return nil, err
		}
		covering, err := c.only(ctx, events)
		if err != nil {
			return nil, err
		}

		found = append(found, covering...)
		if len(found) >= want {
			return found[:want], nil
		}
		if len(events) < q.Limit {
			return found, nil
		}
		if q.UpTo = events[len(events)-1].Position - 1; q.UpTo <= began {
			return found, nil
		}
	}
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
