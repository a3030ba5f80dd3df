package projections

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// bell wakes every projector of this process when the log has grown. A lost connection only means that they poll meanwhile.
type bell struct {
	logger *slog.Logger

	mu        sync.Mutex
	listeners map[chan struct{}]struct{}
}

// subscribe gives a channel that holds one wake-up, so none is lost between a look and the wait after it.
func (b *bell) subscribe() (wake <-chan struct{}, hush func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = make(map[chan struct{}]struct{})
	}
	c := make(chan struct{}, 1)
	b.listeners[c] = struct{}{}
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, c)
	}
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.listeners {
		select {
		case c <- struct{}{}:
		default: // it has yet to answer the last one
		}
	}
}

// listen rings for every notification until ctx ends, connecting again when the connection breaks.
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
	for {
		b.ring() // first of all for what came before listening
		wait, cancel := context.WithTimeout(ctx, deaf)
		_, err := conn.WaitForNotification(wait)
		quiet := wait.Err() != nil
		cancel()
		if err != nil && quiet && ctx.Err() == nil {
			err = conn.Ping(ctx)
		}
		if err != nil {
			return err
		}
	}
}
