package follow

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// bell wakes the followers of this process when events that they want were appended. They
// pass over other appends at their next poll, because most appends concern one follower.
// While the bell's connection is lost, all followers poll.
type bell struct {
	logger *slog.Logger

	mu        sync.Mutex
	listeners map[chan struct{}][]domain.StreamType
}

// subscribe returns a channel that buffers one wake-up, so that none is lost between a
// poll and the wait after it.
func (b *bell) subscribe(kinds []domain.StreamType) (wake <-chan struct{}, hush func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = make(map[chan struct{}][]domain.StreamType)
	}

	c := make(chan struct{}, 1)
	b.listeners[c] = kinds
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, c)
	}
}

// ring wakes the followers of some kinds of streams, listed as in a notification. An
// empty list wakes all.
func (b *bell) ring(list string) {
	grown := strings.Split(list, ",")

	b.mu.Lock()
	defer b.mu.Unlock()
	for c, kinds := range b.listeners {
		wanted := func(kind string) bool { return slices.Contains(kinds, domain.StreamType(kind)) }
		if list != "" && len(kinds) > 0 && !slices.ContainsFunc(grown, wanted) {
			continue
		}

		select {
		case c <- struct{}{}:
		default: // it has not yet seen the last one
		}
	}
}

// listOf lists kinds of streams as a notification does; empty: all.
func listOf(kinds []domain.StreamType) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return strings.Join(names, ",")
}

// listen rings for notifications until ctx ends, and reconnects when the connection
// breaks.
func (b *bell) listen(ctx context.Context, config *pgx.ConnConfig) {
	said := ""
	for ctx.Err() == nil {
		err := b.hear(ctx, config)
		if why := Describe(err); ctx.Err() == nil && why != said {
			said = why
			b.logger.WarnContext(ctx, "no wake-ups: until they are back, followers poll", slog.String("error", why))
		}
		sleep(ctx, time.Second)
	}
}

func ping(ctx context.Context, conn *pgx.Conn) error {
	within, cancel := context.WithTimeout(ctx, silentAfter)
	defer cancel()
	return conn.Ping(within)
}

// deaf is the length of silence after which the connection is pinged, because a dead
// connection is silent too.
const deaf = 30 * time.Second

func (b *bell) hear(ctx context.Context, config *pgx.ConnConfig) error {
	within, cancel := context.WithTimeout(ctx, applyAtMost)
	defer cancel()
	conn, err := pg.Dial(within, config)
	if err != nil {
		return err
	}
	defer pg.Close(ctx, conn)

	if _, err := conn.Exec(within, "listen trust_events"); err != nil {
		return err
	}
	b.ring("") // for what was appended before listening

	for {
		wait, cancel := context.WithTimeout(ctx, deaf)
		n, err := conn.WaitForNotification(wait)
		quiet := wait.Err() != nil
		cancel()
		if err == nil {
			b.ring(n.Payload)
			continue
		}

		if quiet && ctx.Err() == nil {
			err = ping(ctx, conn)
		}
		if err != nil {
			return err
		}
	}
}
