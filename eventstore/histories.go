package eventstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// Count counts the log in the transaction's snapshot. It returns the newest position,
// which is the number of all events, and how many of them belong to streams of one kind.
// It fails unless every position is there.
func (r *Reader) Count(ctx context.Context, tx pgx.Tx, kind domain.StreamType) (head, events int64, err error) {
	const count = `select count(*), count(*) filter (where stream_type = $1) from trust.events`
	const missing = `select coalesce(min(n) filter (where position <> n), count(*) + 1)
		from (select position, row_number() over (order by position) n from trust.events) e`

	if head, err = Head(ctx, tx); err != nil {
		return 0, 0, err
	}
	var all int64
	if err := tx.QueryRow(ctx, count, string(kind)).Scan(&all, &events); err != nil {
		return 0, 0, Unavailable(err)
	}
	if all == head {
		return head, events, nil
	}

	gap := &GapError{}
	if err := tx.QueryRow(ctx, missing).Scan(&gap.Want); err != nil {
		return 0, 0, Unavailable(err)
	}
	return 0, 0, gap
}

// Histories reads every stream of one kind up to a position, in order of tenant, stream
// and version, with personal parts opened. It passes them to each in pages of about so
// many events, never splitting a stream. The transaction must hold one snapshot. It takes
// memory for a page and for the longest stream.
func (r *Reader) Histories(
	ctx context.Context, tx pgx.Tx, kind domain.StreamType, upTo int64, page int, each func([]domain.Recorded) error,
) error {
	const declare = `declare histories no scroll cursor for select ` + columns + ` from trust.events
		where stream_type = $1 and position <= $2 order by tenant_id, stream_id, version`
	if _, err := tx.Exec(ctx, declare, string(kind), upTo); err != nil {
		return Unavailable(err)
	}

	fetch := fmt.Sprintf("fetch %d from histories", page)
	var rest []row // of a stream that continues in the next page
	for {
		found, err := tx.Query(ctx, fetch)
		fetched, err := collectN(int64(page), found, err)
		if err != nil {
			return Unavailable(err)
		}

		rows := append(rest, fetched...)
		whole, last := len(rows), len(fetched) < page
		if !last {
			whole = startOfLast(rows)
		}

		events, err := r.open(ctx, tx, rows[:whole])
		if err != nil {
			return err
		}
		if len(events) > 0 {
			if err := each(events); err != nil {
				return err
			}
		}

		if last {
			_, err := tx.Exec(ctx, "close histories")
			return Unavailable(err)
		}
		rest = append([]row(nil), rows[whole:]...)
	}
}

// startOfLast returns the index at which the last stream begins.
func startOfLast(rows []row) int {
	start := len(rows) - 1
	for last := rows[start]; start > 0 && rows[start-1].Tenant == last.Tenant &&
		rows[start-1].Stream == last.Stream; start-- {
	}
	return start
}
