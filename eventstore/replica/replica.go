package replica

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pg"
)

const (
	// patience is how long a query waits for the standby to replay what the primary
	// holds.
	patience = 500 * time.Millisecond
	// nudgeAfter is how long it waits before it has the primary flush, see nudge.
	nudgeAfter = 50 * time.Millisecond
	// lookEvery is how often the standby is looked at when nobody asks.
	lookEvery = time.Second
	// silence is how long it may take to answer such a look. Then it is away, and what is
	// being read there is read again on the primary.
	silence = 2 * time.Second
	// rest is how long it is left alone after it failed, so that a standby that just
	// keeps up is not used and given up again all the time.
	rest = 5 * time.Second
)

// Replica is a standby that queries are read from; nil: there is none. It is safe for
// concurrent use.
type Replica struct {
	pool    *pgxpool.Pool // the standby's
	primary *primary
	logger  *slog.Logger

	status atomic.Pointer[Status]
	counts struct{ replica, primary, again atomic.Int64 }

	mu     sync.Mutex
	period context.Context //nolint:containedctx // ends when the standby is away
	end    context.CancelFunc

	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// Open compares a standby with its primary, on pools that connect as trust_query. The
// pools stay the caller's. A standby that does not answer is not used until it does; a
// database that is no copy of the primary is a *ForeignError.
func Open(ctx context.Context, primaryPool, pool *pgxpool.Pool, logger *slog.Logger) (*Replica, error) {
	r := &Replica{pool: pool, primary: &primary{pool: primaryPool}, logger: logger}
	r.status.Store(&Status{Why: "has not been looked at yet"})
	r.begin()

	found := r.look(ctx)
	if found.State == Foreign {
		r.end()
		return nil, &ForeignError{found.Why}
	}
	r.become(ctx, found)

	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.stopped.Go(func() { r.watch(life) })
	return r, nil
}

// Close ends what goes on between queries; nil is ignored.
func (r *Replica) Close() {
	if r == nil {
		return
	}
	r.stop()
	r.stopped.Wait()
	r.end()
}

// Read runs a query on the standby if that holds everything that the primary does, and
// otherwise on the primary. If the standby fails meanwhile, or cancels the query because
// it stands in the way of replication, the query runs a second time, on the primary: it
// must be such that this does no harm.
func (r *Replica) Read(ctx context.Context, primary *pgxpool.Pool, query func(*pgxpool.Conn) error) error {
	if r == nil {
		return primary.AcquireFunc(ctx, query)
	}

	if r.Status().State == Serving {
		if answered, err := r.onStandby(ctx, query); answered {
			r.counts.replica.Add(1)
			return err
		}
	}
	r.counts.primary.Add(1)
	return primary.AcquireFunc(ctx, query)
}

// onStandby reports whether the standby has settled what becomes of the query.
func (r *Replica) onStandby(ctx context.Context, query func(*pgxpool.Conn) error) (answered bool, err error) {
	conn := r.upToDate(ctx)
	if conn == nil {
		return false, nil
	}
	defer conn.Release()

	// A server that hangs would keep the query for as long as its client waits.
	socket := conn.Conn().PgConn().Conn()
	stop := context.AfterFunc(r.answering(), func() { //nolint:contextcheck // it ends when the standby fails
		_ = socket.SetDeadline(time.Unix(1, 0)) // fails if it is closed
	})
	defer stop()

	err = query(conn)
	if ctx.Err() == nil && (conn.Conn().IsClosed() || wasStopped(err)) {
		r.counts.again.Add(1)
		return false, nil
	}
	return true, err
}

// wasStopped reports whether the server broke a query off, such as one that conflicts
// with recovery.
func wasStopped(err error) bool {
	said, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains([]pg.Trouble{pg.Again, pg.Away}, pg.Classify(said))
}

// upToDate returns a connection to the standby that shows all that the primary holds now;
// nil: there is none in time. It looks at the connection that the query will use, so that
// it does not matter where others lead.
func (r *Replica) upToDate(ctx context.Context) *pgxpool.Conn {
	want, err := r.primary.mark(ctx)
	if err != nil {
		return nil // which says nothing about the standby
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	conn, err := r.pool.Acquire(within)
	if err != nil {
		if within.Err() == nil {
			r.become(ctx, awayBecause(err))
		}
		return nil // it is busy, or the next look says what is the matter
	}

	found := r.compare(within, conn, want)
	if found.State == Serving {
		return conn
	}
	conn.Release()
	if ctx.Err() == nil {
		r.become(ctx, found)
	}
	return nil
}

// primary reads the primary's mark. It does so over the pool of the commands, which learn
// of a failover.
type primary struct {
	pool *pgxpool.Pool

	mu    sync.Mutex
	began time.Time // when the newest look began
	found eventstore.Mark
	err   error
}

// mark returns a mark of now or later. There is one look at a time, and it serves
// everybody who asked before it began.
func (p *primary) mark(ctx context.Context) (eventstore.Mark, error) {
	asked := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()

	if !p.began.After(asked) {
		p.began = time.Now()
		// For all who wait, though this one may leave.
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		p.found, p.err = eventstore.ReadMark(within, p.pool, 0)
	}
	return p.found, p.err
}

// nudge makes the primary flush its write-ahead log up to the end. It may have flushed
// half a record, which a standby cannot replay, and in a quiet hour the other half waits
// for the next commit.
func (p *primary) nudge(ctx context.Context) {
	_, _ = p.pool.Exec(ctx, "select pg_catalog.pg_current_xact_id()")
}
