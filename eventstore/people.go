package eventstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// fewDecisions is how many of each person's decisions are read at first. Hardly anybody
// has decided more often about one purpose.
const fewDecisions = 16

// selectAccounts reads the first event of each of some people's accounts. The "order by"
// inside makes Postgres join stream by stream along their index, see selectStreams.
const selectAccounts = `select e.* from unnest($2::uuid[]) s (id), lateral (
	select ` + columns + ` from trust.events
	where tenant_id = $1 and stream_type = 'user' and stream_id = s.id and position <= $3 order by version limit 1) e`

// selectDecisions reads the newest decisions of each of some people about one purpose.
const selectDecisions = `select e.* from unnest($2::uuid[]) s (id), lateral (
	select ` + columns + ` from trust.events
	where tenant_id = $1 and stream_type = 'consent' and stream_id = s.id and position <= $3
		and payload ->> 'purpose' = $4
	order by version desc limit $5) e`

// LoadPeople implements commands.Store. Whoever has decided very often is read again,
// further back, together with all others of whom that is true. Somebody whom the tenant
// does not have takes the same two searches of an index as everybody else.
func (s *Store) LoadPeople(
	ctx context.Context, tenant domain.TenantID, people []domain.UserID, purpose string, upTo int64,
	enough func(newest []domain.Recorded) bool,
) (map[domain.UserID]domain.PersonDecisions, error) {
	ids := make([][16]byte, len(people))
	for i, p := range people {
		ids[i] = p.UUID
	}

	var accounts, rows []row
	err := s.asTenant(ctx, tenant, func(b *pgx.Batch) {
		b.Queue(selectAccounts, [16]byte(tenant.UUID), ids, upTo).Query(rowsInto(&accounts))
		queueDecisions(b, tenant, ids, upTo, purpose, fewDecisions, &rows)
	})
	if err != nil {
		return nil, err
	}

	found := make(map[domain.UserID]domain.PersonDecisions, len(accounts))
	known, err := s.withheld(ctx, tenant, accounts)
	if err != nil {
		return nil, err
	}
	for _, e := range known {
		found[domain.UserID{UUID: e.Stream.ID}] = domain.PersonDecisions{Person: []domain.Recorded{e}}
	}

	for page := fewDecisions; ; {
		unsettled, err := s.decisions(ctx, tenant, rows, page, enough, found)
		if err != nil || len(unsettled) == 0 {
			return found, err
		}

		page *= pageGrowth
		if page == fewDecisions*pageGrowth*pageGrowth {
			if err := s.long.Acquire(ctx, 1); err != nil {
				return nil, Unavailable(err)
			}
			defer s.long.Release(1)
		}

		rows = nil
		err = s.asTenant(ctx, tenant, func(b *pgx.Batch) {
			queueDecisions(b, tenant, unsettled, upTo, purpose, page, &rows)
		})
		if err != nil {
			return nil, err
		}
	}
}

func queueDecisions(
	b *pgx.Batch, tenant domain.TenantID, people [][16]byte, upTo int64, purpose string, each int, dst *[]row,
) {
	b.Queue(selectDecisions, [16]byte(tenant.UUID), people, upTo, purpose, each).Query(rowsInto(dst))
}

// decisions puts a page of each person's decisions among what was found, and returns the
// people who need more.
func (s *Store) decisions(
	ctx context.Context, tenant domain.TenantID, rows []row, page int, enough func([]domain.Recorded) bool,
	found map[domain.UserID]domain.PersonDecisions,
) (unsettled [][16]byte, err error) {
	events, err := s.withheld(ctx, tenant, rows)
	if err != nil {
		return nil, err
	}

	newest := map[domain.UserID][]domain.Recorded{}
	for _, e := range events {
		id := domain.UserID{UUID: e.Stream.ID}
		newest[id] = append(newest[id], e)
	}

	for id, decisions := range newest {
		of := found[id]
		of.Consents = decisions
		found[id] = of
		if len(decisions) == page && !enough(decisions) {
			unsettled = append(unsettled, id.UUID)
		}
	}
	return unsettled, nil
}
