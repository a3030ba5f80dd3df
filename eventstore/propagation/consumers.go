package propagation

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/eventstore"
)

// Progress is how far a consumer of the relay's stream has come.
type Progress struct {
	Name    string
	Created time.Time
	// Municipalities are the codes of those whose withdrawals it takes; nil: all.
	Municipalities []string
	// Acknowledged is the position up to which it has acknowledged all that it takes.
	Acknowledged int64
}

// Lock makes one process at a time observe, until the transaction ends. It returns false
// if another one does.
func Lock(ctx context.Context, tx pgx.Tx) (locked bool, err error) {
	const sql = "select pg_try_advisory_xact_lock(hashtext('trust.relay_consumers'))"
	err = tx.QueryRow(ctx, sql).Scan(&locked)
	return locked, eventstore.Unavailable(err)
}

// Observe notes what was seen of all consumers that take withdrawals, under Lock, as
// trust_projector. One that is seen for the first time counts from now on: when it got
// what came before is not known. One that is not seen any more is forgotten, unless it is
// among those that are silent.
func Observe(ctx context.Context, tx pgx.Tx, seen []Progress, silent []string, now time.Time) error {
	const forget = `with gone as (
			delete from trust.relay_consumers c where c.consumer <> all($3::text[]) and not exists (
				select from unnest($1::text[], $2::timestamptz[]) s (name, created)
				where s.name = c.consumer and s.created = c.created_at)
			returning c.consumer
		)
		delete from trust.relay_receipts r using gone where r.consumer = gone.consumer`
	const meet = `insert into trust.relay_consumers (consumer, created_at, municipalities, position)
		select $1, $2, $3, position from trust.head()
		on conflict (consumer) do update set municipalities = excluded.municipalities
			where relay_consumers.municipalities is distinct from excluded.municipalities`
	const receive = `insert into trust.relay_receipts (consumer, position, tenant_id, recorded_at, acknowledged_at)
		select c.consumer, w.position, w.tenant_id, w.recorded_at, $3
		from trust.relay_consumers c cross join lateral trust.withdrawals_after(c.position) w
		where c.consumer = $1 and w.position <= $2 and trust.among(c.municipalities, w.tenant_id)`
	const move = "update trust.relay_consumers set position = $2 where consumer = $1 and position < $2"

	names, created := make([]string, len(seen)), make([]time.Time, len(seen))
	for i, p := range seen {
		// As Postgres keeps it.
		names[i], created[i] = p.Name, p.Created.Truncate(time.Microsecond)
	}

	batch := &pgx.Batch{}
	batch.Queue(forget, names, created, append([]string{}, silent...))
	for i, p := range seen {
		batch.Queue(meet, p.Name, created[i], p.Municipalities)
		batch.Queue(receive, p.Name, p.Acknowledged, now)
		batch.Queue(move, p.Name, p.Acknowledged)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("note what consumers acknowledged: %w", eventstore.Unavailable(err))
	}
	return nil
}

// DropOld drops receipts that are not measured any more.
func DropOld(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	_, err := pool.Exec(ctx, "delete from trust.relay_receipts where acknowledged_at < $1", now.Add(-Window))
	return eventstore.Unavailable(err)
}

// Restart forgets what was acknowledged of events that the log lost, in a transaction of
// the role trust_owner. Events that take their positions are outstanding again.
func Restart(ctx context.Context, tx pgx.Tx) error {
	const back = `update trust.relay_consumers c set position = h.position from trust.head() h
		where c.position > h.position`
	const lost = "delete from trust.relay_receipts r using trust.head() h where r.position > h.position"

	for _, sql := range []string{back, lost} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("forget what was acknowledged of lost events: %w", eventstore.Unavailable(err))
		}
	}
	return nil
}
