package main

import (
	"cmp"
	"context"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/replica"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/migrations"
)

const (
	// readyPatience bounds one look: an orchestrator's probe waits a second by default,
	// and "not ready" in time says more than no answer.
	readyPatience = 900 * time.Millisecond
	// behindAfter is how long a projector may take for an event before it counts as
	// behind: as long as a query waits for it.
	behindAfter = 2 * time.Second
)

// readiness finds out what keeps the system from serving well. It does not check the
// keys: the API is not in place before they are proven.
type readiness struct {
	pool     *pgxpool.Pool
	store    *eventstore.Store
	replica  *replica.Replica
	observer *follow.Observer
	started  string // file that exists once the first import is done; empty: nobody imports

	sharing sync.Mutex
	seen    apphttp.ReadyState // the newest look; see shared
	seenAt  time.Time          // when it began

	mu       sync.Mutex
	imported bool             // never false again
	goal     int64            // position at which the first import is projected; 0: not known yet
	waiting  map[string]await // by projector: the position it has yet to reach
}

// await is a position and since when it is waited for.
type await struct {
	position int64
	since    time.Time
}

func newReadiness(o *opened, observer *follow.Observer) *readiness {
	r := &readiness{
		pool: o.pool, store: o.store, replica: o.replica, observer: observer, waiting: map[string]await{},
	}
	if os.Getenv(exit.PartVariable) != "" {
		r.started = o.config.ImportedFile()
	}
	return r
}

// shared is look for GET /ready, which has no rate limit: there is one look at a time,
// and it serves everyone who asked before it began.
func (r *readiness) shared(ctx context.Context) apphttp.ReadyState {
	asked := time.Now()
	r.sharing.Lock()
	defer r.sharing.Unlock()

	if !r.seenAt.After(asked) {
		r.seenAt = time.Now()
		r.seen = r.look(context.WithoutCancel(ctx)) // for all who wait, though this one may leave
	}
	return r.seen
}

// look asks the database once.
func (r *readiness) look(ctx context.Context) apphttp.ReadyState {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()

	if failed, why := r.failing(ctx); failed != "" {
		return apphttp.ReadyState{Failed: []string{failed}, Why: why}
	}

	status, err := r.observer.Status(ctx)
	if err != nil {
		return apphttp.ReadyState{Failed: []string{"database"}}
	}
	clocks, err := eventstore.ReadClocks(ctx, r.pool)
	if err != nil {
		return apphttp.ReadyState{Failed: []string{"database"}}
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	state := apphttp.ReadyState{Projectors: r.late(status, time.Now()), Warnings: clockWarnings(clocks)}
	if replicaTrouble(r.replica) != "" {
		state.Warnings = append(state.Warnings, replicaUnused)
	}
	if !r.isImported(status) {
		state.Failed = append(state.Failed, "importing")
	}
	return state
}

// failing returns the part that keeps the database from serving, and why, if that is
// known. It tries no write: the errors that appends met say enough.
func (r *readiness) failing(ctx context.Context) (part, why string) {
	const looks = 3 // a pooled connection may have broken since its last use

	for range looks {
		var err error
		if part, why, err = r.probe(ctx); err == nil {
			return part, why
		}
	}
	return "database", ""
}

func (r *readiness) probe(ctx context.Context) (part, why string, err error) {
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return "", "", err
	}
	defer conn.Release()

	have, want, err := migrations.Current(ctx, conn.Conn())
	if err != nil {
		return "", "", err
	}
	if have < want {
		return "migrations", "", nil
	}

	if why, err = takesNoWrites(ctx, conn.Conn()); err != nil {
		return "", "", err
	}
	if why = cmp.Or(why, r.store.Trouble()); why != "" {
		part = "database"
	}
	return part, why, nil
}

// takesNoWrites returns why the server refuses writes; empty if it takes them.
func takesNoWrites(ctx context.Context, conn *pgx.Conn) (why string, err error) {
	const sql = `select case when pg_catalog.pg_is_in_recovery() then 'the database is a standby, in recovery'
		when current_setting('transaction_read_only')::boolean then 'the database is read-only' else '' end`

	err = conn.QueryRow(ctx, sql).Scan(&why)
	return why, err
}

// isImported reports whether the municipalities of the first import can be read. Without
// trust up there is no first import.
func (r *readiness) isImported(status follow.Status) bool {
	if r.imported || r.started == "" {
		return true
	}
	if _, err := os.Stat(r.started); err != nil {
		return false
	}

	if r.goal == 0 || r.goal > status.Head { // beyond the head: the log went backwards
		r.goal = status.Head
	}

	for _, p := range status.Followers {
		// A halted projector must not keep the API from its clients.
		if p.Name == "municipalities" && p.Position < r.goal && p.State != follow.Halted {
			return false
		}
	}

	r.imported = true
	return true
}

// late returns the projectors that are behind: halted, stopped with events left, or too
// slow for the queries.
func (r *readiness) late(status follow.Status, now time.Time) []apphttp.ProjectorState {
	var late []apphttp.ProjectorState
	for _, p := range status.Followers {
		state := ""
		goal, known := r.waiting[p.Name]
		switch {
		case p.State == follow.Halted:
			state = "halted"
		case p.Lag == 0:
			delete(r.waiting, p.Name)
		case p.State == follow.Stopped:
			state = "behind"
		case !known || p.Position >= goal.position:
			r.waiting[p.Name] = await{status.Head, now}
		case now.Sub(goal.since) > behindAfter:
			state = "behind"
		}

		if state != "" {
			late = append(late, apphttp.ProjectorState{Name: p.Name, State: state})
		}
	}
	return late
}
