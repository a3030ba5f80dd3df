package follow

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/internal/pg"
)

// However many copies of a follower run, one leads; the others stand by and try every
// 500 ms.
//
// The leader holds a session advisory lock on a connection that Postgres ends after 1.5 s
// of silence, and pings it every 500 ms. A leader that is killed loses the lock at once;
// one that is suspended or cut off loses it in 1.5 s. The epoch stops a suspended leader
// from writing when it wakes: each new leader raises it, and a checkpoint moves only
// under the current epoch.

// errDeposed says that another leads now, or may.
var errDeposed = errors.New("lost the leadership")

// leaderSpace is the first half of the advisory locks' keys, so that they collide with no
// other lock. The append lock has a key of one part.
const leaderSpace = 7267412

// lockKey is the second half.
func lockKey(follower string) int32 {
	key := fnv.New32a()
	_, _ = key.Write([]byte(follower))
	return int32(key.Sum32())
}

type leadership struct {
	conn     *pgx.Conn
	name     string
	epoch    int64
	position int64
}

// campaign connects and waits until it leads.
func campaign(ctx context.Context, r *runner) (*leadership, error) {
	const try = `select pg_catalog.pg_try_advisory_lock($1, $2)`

	conn, err := pg.Dial(ctx, session(r.database, "leader", deadAfter, deadAfter))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := demandRole(ctx, conn); err != nil {
		pg.Close(ctx, conn)
		return nil, err
	}

	l := &leadership{conn: conn, name: r.Name()}
	for said := false; ; said = true {
		var won bool
		if err = conn.QueryRow(ctx, try, leaderSpace, lockKey(r.Name())).Scan(&won); err != nil {
			break
		}

		if won {
			if err = l.enter(ctx); err == nil {
				return l, nil
			}
			break
		}

		if !said {
			r.logger.InfoContext(ctx, "follower stands by: another process leads")
		}
		sleep(ctx, pulse)
	}

	pg.Close(ctx, l.conn)
	return nil, fmt.Errorf("wait to lead: %w", err)
}

// ErrWrongLogin says that the login may not follow the log, whatever else it is allowed
// to do.
var ErrWrongLogin = errors.New("the login is not in the role trust_projector")

func demandRole(ctx context.Context, conn *pgx.Conn) error {
	const sql = `select pg_catalog.pg_has_role(current_user, 'trust_projector', 'usage')`

	var has bool
	if err := conn.QueryRow(ctx, sql).Scan(&has); err != nil {
		return fmt.Errorf("check the login: %w", err)
	}
	if !has {
		return ErrWrongLogin
	}
	return nil
}

// enter begins a new epoch. A follower that halted stays halted until it gets past the
// event; the reason why an earlier leader stepped down is cleared.
func (l *leadership) enter(ctx context.Context) error {
	const sql = `update trust.checkpoints set epoch = epoch + 1, seen_at = clock_timestamp(),
			state = case when error_since is null then 'running' else 'halted' end,
			error = case when error_since is null then null else error end
		where follower = $1 returning epoch, position`

	if _, err := l.conn.Exec(ctx, makeCheckpoint, l.name); err != nil {
		return err
	}
	return l.conn.QueryRow(ctx, sql, l.name).Scan(&l.epoch, &l.position)
}

// hold pings until the leadership or ctx ends, or the work makes no progress. At most
// once a second it also leaves a sign of life, without waiting for the transaction that
// moves the checkpoint, which leaves one itself.
func (l *leadership) hold(ctx context.Context, progress *progress) error {
	const ping = `with sign as (
			update trust.checkpoints set seen_at = clock_timestamp() where follower = (
				select follower from trust.checkpoints
				where follower = $1 and epoch = $2
					and seen_at not between clock_timestamp() - interval '1 second' and clock_timestamp()
				for update skip locked))
		select epoch from trust.checkpoints where follower = $1`

	tick := time.NewTicker(pulse)
	defer tick.Stop()

	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}

		var epoch int64
		// Not ctx itself: when it ended it would cut off the ping, and close the
		// connection.
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadAfter)
		err := l.conn.QueryRow(within, ping, l.name, l.epoch).Scan(&epoch)
		cancel()
		if ctx.Err() == nil && (err != nil || epoch != l.epoch) {
			return errors.Join(errDeposed, err)
		}
		if progress.stalled() {
			return errStalled
		}
	}
}

// leave records that the follower stopped, if it still leads, and why if it stepped down.
// It gives up the lock by closing the connection.
func (l *leadership) leave(ctx context.Context, cause error) {
	const sql = `update trust.checkpoints
		set state = 'stopped', seen_at = clock_timestamp(), error = coalesce(error, $3)
		where follower = $1 and epoch = $2`

	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()

	var why *string
	if stepsDown(cause) {
		text := "stepped down: " + Describe(cause)
		why = &text
	}

	// If this fails, the silence says so.
	_, _ = l.conn.Exec(within, sql, l.name, l.epoch, why)
	pg.Close(ctx, l.conn)
}
