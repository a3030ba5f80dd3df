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

// bell wakes the followers of this process when the log has grown by events that they
// want. They skip other appends at their next poll: most appends concern one follower.
// While its connection is lost, all poll.
type bell struct {
	logger *slog.Logger

	mu        sync.Mutex
	listeners map[chan struct{}][]domain.StreamType
}

// subscribe returns a channel that holds one wake-up, so none is lost between a look and
// the wait after it.
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

// ring wakes the followers of some kinds of streams, as a notification lists them. An
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
		default: // it has yet to answer the last one
		}
	}
}

// listOf names kinds of streams as a notification does; empty: all.
func listOf(kinds []domain.StreamType) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return strings.Join(names, ",")
}

// listen rings for notifications until ctx ends, connecting again when the connection
// breaks.
func (b *bell) listen(ctx context.Context, config *pgx.ConnConfig) {
	said := ""
	for ctx.Err() == nil {
		err := b.hear(ctx, config)
		if why := Describe(err); ctx.Err() == nil && why != said {
			said = why
			b.logger.WarnContext(ctx, "no wake-ups: followers poll until they are back", slog.String("error", why))
		}
		sleep(ctx, time.Second)
	}
}

func ping(ctx context.Context, conn *pgx.Conn) error {
	within, cancel := context.WithTimeout(ctx, silentAfter)
	defer cancel()
	return conn.Ping(within)
}

// deaf is after how much silence the connection is tried: a dead one is silent too.
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
	b.ring("") // for what came before listening
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
