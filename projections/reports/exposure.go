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

// ExposureFilter asks who saw a person, or whom an account saw: exactly one of both.
type ExposureFilter struct {
	Subject domain.UserID
	Actor   domain.UserID
	From    time.Time // recorded at this instant or later; zero: from the first
	To      time.Time // recorded before this instant; zero: up to now
}

// Matched says why a read is among those that covered a person.
type Matched string

// How a read covers a person.
const (
	MatchedSubject Matched = "subject" // it names the person alone
	MatchedList    Matched = "list"    // it names the person among others
	// MatchedFilter: it covered more people than are named, so only its filter is known; the person may be among them.
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
	Matched   Matched // empty when an actor was asked for
}

// Exposure lists the reads of personal data in a tenant, newest first. Errors: validation_failed, unavailable.
func (r *Reports) Exposure(ctx context.Context, tenant domain.TenantID, filter ExposureFilter, page projections.Page) (projections.Listing[ExposureEntry], error) {
	if filter.Subject.IsZero() == filter.Actor.IsZero() {
		var f domain.Faults
		f.Add("subject_id", "invalid", "Give either subject_id or actor_id.")
		return projections.Listing[ExposureEntry]{}, f.Err()
	}

	events, err := r.newest(ctx, AuditScope{tenant: tenant}, eventstore.Query{
		Tenant: tenant, Seen: filter.Subject, Actor: filter.Actor, From: filter.From, To: filter.To,
		Types: []string{(*domain.PersonalDataRead)(nil).EventType()},
	}, page)
	if err != nil {
		return projections.Listing[ExposureEntry]{}, err
	}

	return projections.List(events, nil, page, func(e domain.Recorded) (ExposureEntry, string) {
		return exposureEntry(e, filter.Subject), projections.PositionCursor(e.Position)
	})
}

func exposureEntry(r domain.Recorded, subject domain.UserID) ExposureEntry {
	x := ExposureEntry{
		Position: r.Position, EventID: r.EventID, Timestamp: r.RecordedAt, Actor: r.Actor, ActorRole: r.Metadata.ActorRole,
	}
	if e, ok := r.Event.(*domain.PersonalDataRead); ok {
		x.Route, x.Fields, x.Head, x.Subjects, x.Filter, x.Reason = e.Route, e.Fields, e.Head, e.Subjects, e.Filter, e.Private
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

// newest finds a page of events, newest first, and one more if there is one.
func (r *Reports) newest(ctx context.Context, scope AuditScope, q eventstore.Query, page projections.Page) (events []domain.Recorded, err error) {
	if page.After != "" {
		after, err := page.AfterPosition()
		if err != nil {
			return nil, err
		}
		if q.UpTo = after - 1; q.UpTo < 1 {
			return nil, nil
		}
	}

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
