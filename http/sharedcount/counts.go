package sharedcount

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

const (
	// prefix is before all keys, so that the login of Redis can be confined to them.
	prefix = "trust:limit:"
	// rest is how long Redis is left alone after it did not answer.
	rest = 2 * time.Second
	// probePatience bounds the question whether Redis is back, for which nobody waits.
	probePatience = time.Second
)

// Limit is what is counted under one key: at most Count in any period of Per, which has
// whole milliseconds.
type Limit struct {
	Count int
	Per   time.Duration
}

// Redis counts requests. A nil *Redis counts none.
type Redis struct {
	client *redis.Client
	log    *slog.Logger

	up     atomic.Bool
	broken chan struct{} // one, when Redis did not answer

	stop    context.CancelFunc
	stopped chan struct{}
}

// Open asks Redis once whether it can count, and looks after it until Close. That it is
// away is no failure. The context is the process's.
func Open(ctx context.Context, server *Server, log *slog.Logger) *Redis {
	redis.SetLogger(&logging.VoidLogger{}) // it would write to standard error, in a form of its own

	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Redis{
		client: redis.NewClient(server.options), log: log, broken: make(chan struct{}, 1), stop: stop,
		stopped: make(chan struct{}),
	}
	if err := r.probe(ctx); err != nil {
		r.sayAway(ctx, err)
		r.broken <- struct{}{}
	} else {
		r.up.Store(true)
		log.InfoContext(ctx, "rate limits are counted in Redis")
	}

	go r.watch(ctx)
	return r
}

// Close ends what Open began. Nothing is counted in Redis afterwards.
func (r *Redis) Close() {
	if r == nil {
		return
	}
	r.stop()
	<-r.stopped
	r.up.Store(false)
	_ = r.client.Close() // nothing is left to write
}

// Up reports whether requests are counted in Redis now.
func (r *Redis) Up() bool { return r != nil && r.up.Load() }

// Take counts one request under a key, unless its limit is reached: then it returns how
// long to wait. Not counted: the caller has to.
func (r *Redis) Take(ctx context.Context, key string, l Limit) (wait time.Duration, counted bool) {
	ms, counted := r.run(ctx, func(ctx context.Context) (int64, error) { return r.take(ctx, key, l) })
	return time.Duration(ms) * time.Millisecond, counted
}

// Over counts one request even beyond the limit, and returns by how many it is exceeded.
// The newest most requests are remembered.
func (r *Redis) Over(ctx context.Context, key string, l Limit, most int) (over int, counted bool) {
	n, counted := r.run(ctx, func(ctx context.Context) (int64, error) {
		return overScript().Run(ctx, r.client, []string{prefix + key}, l.Count, l.Per.Milliseconds(), most).Int64()
	})
	return int(n), counted
}

// GiveBack removes the newest count of a key.
func (r *Redis) GiveBack(ctx context.Context, key string) {
	_, _ = r.run(ctx, func(ctx context.Context) (int64, error) { return 0, r.giveBack(ctx, key) })
}

func (r *Redis) take(ctx context.Context, key string, l Limit) (int64, error) {
	return takeScript().Run(ctx, r.client, []string{prefix + key}, l.Count, l.Per.Milliseconds()).Int64()
}

func (r *Redis) giveBack(ctx context.Context, key string) error {
	if err := r.client.RPop(ctx, prefix+key).Err(); !errors.Is(err, redis.Nil) { // which says that there was none
		return err
	}
	return nil
}

// run asks Redis, unless it is away. A client that leaves does not make it so.
func (r *Redis) run(ctx context.Context, ask func(context.Context) (int64, error)) (int64, bool) {
	if !r.Up() {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()

	n, err := ask(ctx)
	if err == nil {
		return n, true
	}
	if r.up.CompareAndSwap(true, false) {
		r.sayAway(ctx, err)
		r.broken <- struct{}{}
	}
	return 0, false
}

func (r *Redis) sayAway(ctx context.Context, err error) {
	r.log.WarnContext(ctx, "Redis cannot be used: each process counts rate limits in its memory until it is back",
		slog.String("why", err.Error()))
}

// watch waits until Redis does not answer, and then until it does again.
func (r *Redis) watch(ctx context.Context) {
	defer close(r.stopped)
	pause := time.NewTicker(rest)
	defer pause.Stop()

	for {
		select {
		case <-r.broken:
		case <-ctx.Done():
			return
		}

		for away := true; away; {
			pause.Reset(rest)
			select {
			case <-pause.C:
				away = r.probe(ctx) != nil
			case <-ctx.Done():
				return
			}
		}
		r.up.Store(true)
		r.log.InfoContext(ctx, "Redis is back: rate limits are counted there again")
	}
}

// probe does what requests do: a server that answers may still refuse to write.
func (r *Redis) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()

	if _, err := r.take(ctx, "probe", Limit{Count: 1000, Per: time.Second}); err != nil {
		return err
	}
	return r.giveBack(ctx, "probe")
}
