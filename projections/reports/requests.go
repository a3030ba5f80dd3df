package reports

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// Requests lists a tenant's requests of one status, by due date, earliest first. They are
// folded from the streams of rights, which hold only requests and holds; only those of
// the page are opened. Errors: validation_failed, unavailable.
func (r *Reports) Requests(
	ctx context.Context, tenant domain.TenantID, status domain.RequestStatus, page projections.Page,
) (projections.Listing[domain.Request], error) {
	var after domain.RequestID
	if page.After != "" {
		id, err := page.AfterID()
		if err != nil {
			return projections.Listing[domain.Request]{}, err
		}
		after.UUID = id
	}

	var due []domain.Request
	err := r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		events, err := r.reader.InStreams(ctx, tx, tenant, domain.RightsStream, nil, eventstore.Place{},
			math.MaxInt64, math.MaxInt32)
		if err != nil {
			return err
		}

		due = dueAfter(domain.Fold[domain.Rights](events), status, after)
		due = due[:min(len(due), page.Fetch())]
		return r.openRequests(ctx, tx, due)
	})
	return projections.List(due, err, page, func(q domain.Request) (domain.Request, string) {
		return q, projections.IDCursor(q.ID.UUID)
	})
}

// dueAfter returns the requests of one status that are due after another one, in that
// order. If that one does not exist, it returns all of them.
func dueAfter(all domain.Rights, status domain.RequestStatus, after domain.RequestID) []domain.Request {
	behind := func(a, b domain.Request) int {
		return cmp.Or(cmp.Compare(a.DueOn, b.DueOn), cmp.Compare(a.ID.String(), b.ID.String()))
	}
	last, more := all.Request(after) // whatever its status is by now

	due := slices.DeleteFunc(all.Requests, func(q domain.Request) bool {
		return q.Status != status || more && behind(q, last) <= 0
	})
	slices.SortFunc(due, behind)
	return due
}

// openRequests replaces sealed requests by the same ones with their texts opened.
func (r *Reports) openRequests(ctx context.Context, tx pgx.Tx, requests []domain.Request) error {
	var people []domain.UserID
	for _, q := range requests {
		if !slices.Contains(people, q.Subject) {
			people = append(people, q.Subject)
		}
	}
	if len(people) == 0 {
		return nil
	}

	events, err := r.reader.Streams(ctx, tx, domain.RightsStream, people, math.MaxInt64)
	if err != nil {
		return err
	}

	opened := domain.Fold[domain.Rights](events)
	for i, q := range requests {
		if open, found := opened.Request(q.ID); found {
			requests[i] = open
		}
	}
	return nil
}
