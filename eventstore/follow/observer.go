package follow

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/eventstore"
)

// Observer reports how far followers are, and waits for them. It is safe for concurrent
// use.
type Observer struct {
	pool      *pgxpool.Pool
	followers []Follower
	await     awaiter
}

// NewObserver returns an observer of some followers, on a pool that connects as
// trust_query.
func NewObserver(pool *pgxpool.Pool, followers ...Follower) *Observer {
	o := &Observer{pool: pool, followers: followers}
	o.await.look, o.await.wake = o.positions, o.wake
	return o
}

// State is what a follower is doing.
type State string

// The states.
const (
	Running State = "running"
	Halted  State = "halted" // at the event after its position
	Stopped State = "stopped"
)

// silence is how long a follower gives no sign of life before it counts as stopped. It
// gives one at least every 1.5 s. A sign from further than that in the future does not
// count either: the database's clock was set back.
const silence = 5 * time.Second

// Status is how far the log and each follower are.
type Status struct {
	Head      int64            `json:"head"`
	Followers []FollowerStatus `json:"projections"` // as status --json has always named them
	// Notifications is how full the cluster's queue of notifications is, from 0 to 1.
	// When it is full, appends wake nobody.
	Notifications float64 `json:"-"`
}

// FollowerStatus is how far one follower is. Lag counts events. Error says why it halted
// or, without ErrorSince, why its leader stepped down.
type FollowerStatus struct {
	Name       string     `json:"name"`
	Position   int64      `json:"position"`
	Lag        int64      `json:"lag"`
	State      State      `json:"state"`
	Error      string     `json:"error,omitempty"`
	ErrorSince *time.Time `json:"error_since,omitempty"`
	SeenAt     *time.Time `json:"seen_at,omitempty"`
	// Ahead tells that the follower has applied events that the log does not hold. It is
	// then halted, whether or not a process runs it.
	Ahead bool `json:"-"`
}

// Status reads how far the log and each follower are, in order of name. A follower that
// never ran is stopped, at position 0. Error: unavailable.
func (o *Observer) Status(ctx context.Context) (Status, error) {
	const sql = `select h.position, f.name, coalesce(c.position, 0), greatest(h.position - coalesce(c.position, 0), 0),
			case when ` + isAhead + ` then 'halted' when c.seen_at >= clock_timestamp() - $2::interval
				and (c.seen_at <= clock_timestamp() + $2::interval or c.state = 'halted') then c.state
				else 'stopped' end,
			coalesce(c.error, ''), c.error_since, c.seen_at, pg_notification_queue_usage(), coalesce(` + isAhead +
		`, false)
		from unnest($1::text[]) f (name) left join trust.checkpoints c on c.follower = f.name, trust.head() h
		order by f.name`

	names := make([]string, len(o.followers))
	for i, f := range o.followers {
		names[i] = f.Name()
	}
	found, err := o.pool.Query(ctx, sql, names, silence)
	if err != nil {
		return Status{}, eventstore.Unavailable(err)
	}

	var s Status
	s.Followers, err = pgx.CollectRows(found, func(r pgx.CollectableRow) (f FollowerStatus, err error) {
		err = r.Scan(&s.Head, &f.Name, &f.Position, &f.Lag, &f.State, &f.Error, &f.ErrorSince, &f.SeenAt,
			&s.Notifications, &f.Ahead)
		if f.Ahead {
			f.Error = (&BackwardsError{Position: f.Position, Head: s.Head}).Error()
		}
		return f, err
	})
	return s, eventstore.Unavailable(err)
}

// Lag returns how far a follower is behind the log: in events, and since when the oldest
// of these is recorded. A follower that never ran is behind by all of them.
func Lag(ctx context.Context, db eventstore.Querier, name string) (events int64, age time.Duration, err error) {
	const sql = `select greatest(h.position - c.position, 0),
			coalesce(greatest(extract(epoch from clock_timestamp() - e.recorded_at), 0), 0)::float8
		from (select coalesce(max(position), 0) from trust.checkpoints where follower = $1) c (position)
			cross join trust.head() h left join trust.events e on e.position = c.position + 1`

	var seconds float64
	err = db.QueryRow(ctx, sql, name).Scan(&events, &seconds)
	return events, time.Duration(seconds * float64(time.Second)), eventstore.Unavailable(err)
}

// wake wakes a follower, as an append of a kind that it wants does. If that fails, the
// follower polls by itself.
func (o *Observer) wake(ctx context.Context, name string) {
	for _, f := range o.followers {
		if f.Name() == name {
			_, _ = o.pool.Exec(ctx, "select pg_notify('trust_events', $1)", listOf(f.Kinds()))
		}
	}
}

// positions reads the log's head and every follower's position at one instant. A follower
// that is ahead of its log has reached nothing.
func (o *Observer) positions(ctx context.Context) (reached map[string]int64, head int64, err error) {
	const sql = `select h.position, coalesce(c.follower, ''), case when ` + isAhead +
		` then 0 else coalesce(c.position, 0) end
		from trust.head() h left join trust.checkpoints c on true`

	found, err := o.pool.Query(ctx, sql)
	if err != nil {
		return nil, 0, err
	}

	reached = make(map[string]int64)
	var name string
	var position int64
	_, err = pgx.ForEachRow(found, []any{&head, &name, &position}, func() error {
		reached[name] = position
		return nil
	})
	return reached, head, err
}
