package seal

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/eventstore"
)

// Witnessed is the newest checkpoint that a witness vouches for.
type Witnessed struct {
	Size uint64    // 0: it has vouched for none
	At   time.Time // when its signature came
}

// LastWitnessed returns the newest checkpoint of an origin that the key of a witness has
// cosigned.
func LastWitnessed(ctx context.Context, db eventstore.Querier, origin, witness string) (Witnessed, error) {
	const sql = `select c.size, s.received_at from trust.log_cosignatures s
		join trust.log_checkpoints c on c.number = s.number
		where s.witness = $1 and c.origin = $2 order by s.number desc limit 1`

	rows, err := db.Query(ctx, sql, witness, origin)
	if err != nil {
		return Witnessed{}, eventstore.Unavailable(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w Witnessed, err error) {
		var size int64
		err = row.Scan(&size, &w.At)
		w.Size = uint64(size)
		return w, err
	})
	if err != nil || len(all) == 0 {
		return Witnessed{}, eventstore.Unavailable(err)
	}
	return all[0], nil
}

// WaitingSince returns when the oldest checkpoint after a size was signed; the zero
// instant if there is none.
func WaitingSince(ctx context.Context, db eventstore.Querier, origin string, after uint64) (time.Time, error) {
	const sql = `select signed_at from trust.log_checkpoints where origin = $1 and size > $2 order by size limit 1`

	rows, err := db.Query(ctx, sql, origin, int64(after))
	if err != nil {
		return time.Time{}, eventstore.Unavailable(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil || len(all) == 0 {
		return time.Time{}, eventstore.Unavailable(err)
	}
	return all[0], nil
}
