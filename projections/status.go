package projections

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// States of a projector.
const (
	Running = "running"
	Halted  = "halted" // at the event after its position
	Stopped = "stopped"
)

// silence is how long a projector gives no sign of life before it counts as stopped. It gives one at least every 1.5 s.
const silence = 5 * time.Second

// Status is how far the log and each projection are.
type Status struct {
	Head        int64              `json:"head"`
	Projections []ProjectionStatus `json:"projections"`
}

// ProjectionStatus is how far one projection is. Lag counts events. Error is why it halted.
type ProjectionStatus struct {
	Name       string     `json:"name"`
	Position   int64      `json:"position"`
	Lag        int64      `json:"lag"`
	State      string     `json:"state"`
	Error      string     `json:"error,omitempty"`
	ErrorSince *time.Time `json:"error_since,omitempty"`
	SeenAt     *time.Time `json:"seen_at,omitempty"`
}

// Status reads how far the log and each projection are, in order of name.
func (q *Queries) Status(ctx context.Context) (Status, error) {
	const sql = `select h.position, c.projection, c.position, h.position - c.position,
			case when c.seen_at >= clock_timestamp() - $1::interval then c.state else 'stopped' end,
			coalesce(c.error, ''), c.error_since, c.seen_at
		from trust.checkpoints c, trust.head() h order by c.projection`
	var s Status
	found, err := q.pool.Query(ctx, sql, silence)
	if err != nil {
		return s, Unavailable(err)
	}
	s.Projections, err = pgx.CollectRows(found, func(r pgx.CollectableRow) (p ProjectionStatus, err error) {
		err = r.Scan(&s.Head, &p.Name, &p.Position, &p.Lag, &p.State, &p.Error, &p.ErrorSince, &p.SeenAt)
		return p, err
	})
	return s, Unavailable(err)
}

// wake wakes a projector, as an append of its kind does. If it cannot, the projector comes by itself.
func (q *Queries) wake(ctx context.Context, projection string) {
	if p, ok := ByName(projection); ok {
		_, _ = q.pool.Exec(ctx, "select pg_notify('trust_events', $1)", string(p.source().kind))
	}
}

// checkpoints reads every projection's position.
func (q *Queries) checkpoints(ctx context.Context) (map[string]int64, error) {
	const sql = `select c.projection, c.position from trust.checkpoints c`
	found, err := q.pool.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	reached := make(map[string]int64)
	var name string
	var position int64
	_, err = pgx.ForEachRow(found, []any{&name, &position}, func() error {
		reached[name] = position
		return nil
	})
	return reached, err
}
