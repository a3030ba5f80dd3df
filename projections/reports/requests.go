package reports

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// Requests lists a tenant's requests of one status, by due date, earliest first. They are
// folded from the streams of rights, see keptRights; only those of the page are opened.
// Errors: validation_failed, unavailable.
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
	err := r.withRights(ctx, tenant, func(tx pgx.Tx, all domain.Rights) error {
		due = dueAfter(all, status, after)
		due = due[:min(len(due), page.Fetch())]
		return r.openRequests(ctx, tx, due)
	})
	return projections.List(due, err, page, func(q domain.Request) (domain.Request, string) {
		return q, projections.IDCursor(q.ID.UUID)
	})
}

// dueAfter returns the requests of one status that are due after another one, in that
// order. If that one does not exist, it returns all of them.
func dueAfter(all domain.Rights, status domain.RequestStatus, after domain.RequestID) (due []domain.Request) {
	behind := func(a, b domain.Request) int {
		return cmp.Or(cmp.Compare(a.DueOn, b.DueOn), bytes.Compare(a.ID.UUID[:], b.ID.UUID[:]))
	}
	last, more := all.Request(after) // whatever its status is by now

	for _, q := range all.Requests {
		if q.Status == status && (!more || behind(q, last) > 0) {
			due = append(due, q)
		}
	}
	slices.SortFunc(due, behind)
	return due
}

// openRequests replaces sealed requests by the same ones with their texts opened.
func (r *Reports) openRequests(ctx context.Context, tx pgx.Tx, requests []domain.Request) error {
	opened, err := rightsOf(ctx, r, tx, requests, func(q domain.Request) domain.UserID { return q.Subject })
	if err != nil {
		return err
	}
	for i, q := range requests {
		if open, found := opened.Request(q.ID); found {
			requests[i] = open
		}
	}
	return nil
}

// rightsOf returns the requests and the holds of the people whom some of them are about,
// with their texts opened.
func rightsOf[T any](
	ctx context.Context, r *Reports, tx pgx.Tx, some []T, subject func(T) domain.UserID,
) (domain.Rights, error) {
	var people []domain.UserID
	for _, one := range some {
		if !slices.Contains(people, subject(one)) {
			people = append(people, subject(one))
		}
	}
	if len(people) == 0 {
		return domain.Rights{}, nil
	}

	events, err := r.reader.Streams(ctx, tx, domain.RightsStream, people, math.MaxInt64)
	return domain.Fold[domain.Rights](events), err
}
