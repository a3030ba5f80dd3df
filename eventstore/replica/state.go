package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/eventstore"
)

// State says whether queries are read on the standby.
type State string

// The states. In all but Serving, queries are read on the primary.
const (
	Serving State = "serving"
	Behind  State = "behind"  // it has not replayed in time what the primary holds
	Away    State = "away"    // it does not answer
	Foreign State = "foreign" // it is no copy of the primary
)

// States lists all of them.
func States() []State { return []State{Serving, Behind, Away, Foreign} }

// Status is what is known about the standby.
type Status struct {
	State State
	Why   string // in words for operators; empty: it is serving
	// Lag is how many bytes of the write-ahead log it lacked at the last comparison.
	Lag   int64
	Since time.Time
}

// Counts are how many queries were read where. Again are those that were read on the
// primary because the standby failed meanwhile.
type Counts struct{ Replica, Primary, Again int64 }

// ForeignError says that a database is no copy of the primary.
type ForeignError struct{ why string }

func (e *ForeignError) Error() string { return "the database to read from " + e.why }

// Status returns what was last found.
func (r *Replica) Status() Status { return *r.status.Load() }

// Counts returns the numbers since the start.
func (r *Replica) Counts() Counts {
	return Counts{r.counts.replica.Load(), r.counts.primary.Load(), r.counts.again.Load()}
}

// IsPrimary reports whether the standby is the primary itself.
func (r *Replica) IsPrimary(ctx context.Context) bool {
	primary, err := r.primary.mark(ctx)
	if err != nil {
		return false
	}
	itself, err := eventstore.ReadMark(ctx, r.pool, 0)
	return err == nil && itself.Started.Equal(primary.Started)
}

// watch looks at the standby until ctx ends.
func (r *Replica) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}

		found := r.look(ctx)
		if ctx.Err() != nil {
			continue
		}
		if found.State == Away {
			r.giveUp()
		}
		r.become(ctx, found)
	}
}

// look compares the standby with the primary in both directions: a server that was
// promoted, or follows a primary that was replaced, may hold events that the primary does
// not. It returns no state if the primary does not answer.
func (r *Replica) look(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()

	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return awayBecause(err)
	}
	defer conn.Release()
	before, err := eventstore.ReadMark(ctx, conn, 0)
	if err != nil {
		return awayBecause(err)
	}
	lineage, err := eventstore.ReadLineage(ctx, conn)
	if err != nil {
		return awayBecause(err)
	}

	want, err := eventstore.ReadMark(ctx, r.primary.pool, before.Head)
	if err != nil {
		return Status{}
	}
	own, err := eventstore.ReadLineage(ctx, r.primary.pool)
	switch {
	case err != nil:
		return Status{}
	case own != lineage:
		return foreign("is another one than the primary, and no copy of it")
	case before.WAL > want.WAL || before.Event != want.Asked:
		return foreign("holds what the primary does not")
	}
	return r.compare(ctx, conn, want)
}

// compare waits for the standby behind a connection to replay what the primary holds, and
// returns whether it did.
func (r *Replica) compare(ctx context.Context, conn *pgxpool.Conn, want eventstore.Mark) Status {
	late, nudge := time.NewTimer(patience), time.NewTimer(nudgeAfter)
	defer late.Stop()
	defer nudge.Stop()

	for pause := time.Millisecond; ; pause *= 2 {
		have, err := eventstore.ReadMark(ctx, conn, want.Head)
		switch {
		case err != nil:
			return awayBecause(err)
		case !have.Standby && !have.Started.Equal(want.Started):
			return foreign("is no standby of the primary, but takes writes itself")
		case have.WAL >= want.WAL && (have.Log != want.Log || have.Asked != want.Event):
			return foreign("holds another log than the primary")
		case have.WAL >= want.WAL:
			return Status{State: Serving}
		}

		next := time.NewTimer(pause)
		select {
		case <-next.C:
			continue
		case <-nudge.C:
			next.Stop()
			r.primary.nudge(ctx)
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		next.Stop()
		lag := want.WAL - have.WAL
		return Status{State: Behind, Lag: lag, Why: fmt.Sprintf("is %d bytes of the write-ahead log behind", lag)}
	}
}

func foreign(why string) Status { return Status{State: Foreign, Why: why} }

// awayBecause describes an error without its text, which may quote an address.
func awayBecause(err error) Status {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return Status{State: Away, Why: "refuses with SQLSTATE " + said.Code}
	}
	return Status{State: Away, Why: "does not answer"}
}

// become notes what was found, if anything was, and logs it if it is new. A standby that
// failed has a rest before it serves again.
func (r *Replica) become(ctx context.Context, found Status) {
	r.mu.Lock()
	defer r.mu.Unlock()

	if found.State == "" {
		return
	}
	was := r.Status()
	found.Since = was.Since
	resting := was.State != Serving && !was.Since.IsZero() && time.Since(was.Since) < rest
	switch {
	case found.State == Serving && resting:
		return
	case found.State == was.State:
		r.status.Store(&found)
		return
	}

	found.Since = time.Now()
	if found.State == Serving {
		r.begin()
		r.logger.InfoContext(ctx, "queries are read on the replica")
	} else {
		r.logger.WarnContext(ctx, "queries are read on the primary", slog.String("replica", string(found.State)),
			slog.String("why", "it "+found.Why))
	}
	r.status.Store(&found)
}

// begin begins a time in which the standby answers; giveUp ends it.
func (r *Replica) begin() {
	if r.end != nil {
		r.end()
	}
	r.period, r.end = context.WithCancel(context.Background()) //nolint:forbidigo // it outlives every query
}

func (r *Replica) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end()
}

func (r *Replica) answering() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.period
}
