package projections

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// bell wakes the projectors of this process when the log has grown by what concerns them. What does not they go past when they poll:
// most appends concern one of them. A lost connection only means that all poll meanwhile.
type bell struct {
	logger *slog.Logger

	mu        sync.Mutex
	listeners map[chan struct{}]domain.StreamType
}

// subscribe gives a channel that holds one wake-up, so none is lost between a look and the wait after it.
func (b *bell) subscribe(kind domain.StreamType) (wake <-chan struct{}, hush func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = make(map[chan struct{}]domain.StreamType)
	}
	c := make(chan struct{}, 1)
	b.listeners[c] = kind
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, c)
	}
}

// ring wakes the projectors of some kinds of streams, as a notification lists them. An empty list wakes all.
func (b *bell) ring(list string) {
	kinds := strings.Split(list, ",")
	b.mu.Lock()
	defer b.mu.Unlock()
	for c, kind := range b.listeners {
		if list != "" && !slices.Contains(kinds, string(kind)) {
			continue
		}
		select {
		case c <- struct{}{}:
		default: // it has yet to answer the last one
		}
	}
}

// listen rings for notifications until ctx ends, connecting again when the connection breaks.
func (b *bell) listen(ctx context.Context, config *pgx.ConnConfig) {
	said := ""
	for ctx.Err() == nil {
		err := b.hear(ctx, config)
		if why := describe(err); ctx.Err() == nil && why != said {
			said = why
			b.logger.WarnContext(ctx, "no wake-ups: projectors poll until they are back", slog.String("error", why))
		}
		sleep(ctx, time.Second)
	}
}

// deaf is after how much silence the connection is tried: a dead one is silent too.
const deaf = 30 * time.Second

func (b *bell) hear(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if _, err := conn.Exec(ctx, "listen trust_events"); err != nil {
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
			err = conn.Ping(ctx)
		}
		if err != nil {
			return err
		}
	}
}
