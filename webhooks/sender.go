package webhooks

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pg"
)

const (
	// atOnce is how many deliveries one process sends at once, and perWebhook how many of
	// them to one webhook, so that a recipient that is slow holds up no other.
	atOnce, perWebhook = 64, 8
	// lease is how long a delivery belongs to the process that sends it; the process may
	// have died meanwhile. It is well above patience.
	lease = 30 * time.Second

	// firstPause is before the first retry; each pause is twice the former, up to
	// longestPause.
	firstPause, longestPause = time.Second, time.Hour
	// giveUpAfter is how long an event is tried before its webhook is paused.
	giveUpAfter = 72 * time.Hour

	// pollEvery is how often the sender looks for what is due.
	pollEvery = 500 * time.Millisecond
	// keptFor is how long acknowledged deliveries can be seen, and dropEvery how often
	// older ones are dropped.
	keptFor, dropEvery = 30 * 24 * time.Hour, time.Hour
)

// Config is what a Sender needs.
type Config struct {
	// Pool connects as trust_projector.
	Pool *pgxpool.Pool
	// Digest is the keyed hash that secrets come from, see domain.WebhookSecret.
	Digest func(parts ...string) [32]byte
	// Pause records that a webhook was paused.
	Pause func(ctx context.Context, tenant domain.TenantID, webhook domain.WebhookID, reason domain.PauseReason) error
	// Network knows which addresses may be called.
	Network *Network
	Now     func() time.Time // nil: the clock
	Logger  *slog.Logger
}

// Sender works off deliveries. Any number of them may run.
type Sender struct {
	config Config
	left   chan struct{} // buffers one: a delivery has ended

	mu   sync.Mutex
	busy map[uuid.UUID]int // deliveries under way, by webhook
	all  int
	jobs sync.WaitGroup
}

// NewSender returns a sender.
func NewSender(c Config) *Sender {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Sender{config: c, left: make(chan struct{}, 1), busy: map[uuid.UUID]int{}}
}

// Run sends until ctx ends. It waits out trouble with the database.
func (s *Sender) Run(ctx context.Context) {
	defer s.jobs.Wait()
	pauses := pg.NewBackoff(100*time.Millisecond, 5*time.Second)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()

	var dropped time.Time
	for said := ""; ctx.Err() == nil; {
		_, err := s.start(ctx)
		if now := s.now(); err == nil && now.Sub(dropped) >= dropEvery {
			dropped, err = now, s.dropOld(ctx)
		}

		if err != nil && ctx.Err() == nil {
			if why := err.Error(); why != said {
				said = why
				s.config.Logger.WarnContext(ctx, "cannot look for deliveries", slog.String("error", why))
			}
			pauses.Wait(ctx)
			continue
		}
		said = ""
		pauses.Reset()

		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-s.left:
		}
	}
}

func (s *Sender) now() time.Time { return s.config.Now().UTC().Truncate(time.Microsecond) }

// start takes what is due, as far as there is room, and sends each in a goroutine.
func (s *Sender) start(ctx context.Context) (started int, err error) {
	due, err := s.take(ctx)
	if err != nil {
		return 0, err
	}

	for _, d := range due {
		s.enter(d)
		s.jobs.Go(func() {
			defer s.leave(d)
			s.send(ctx, d)
		})
	}
	return len(due), nil
}

func (s *Sender) enter(d delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[d.webhook]++
	s.all++
}

func (s *Sender) leave(d delivery) {
	s.mu.Lock()
	if s.busy[d.webhook]--; s.busy[d.webhook] == 0 {
		delete(s.busy, d.webhook)
	}
	s.all--
	s.mu.Unlock()

	select {
	case s.left <- struct{}{}:
	default: // it is told already
	}
}

// underWay returns how many deliveries are under way: to each webhook, and in all.
func (s *Sender) underWay() (webhooks [][16]byte, counts []int32, all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.busy {
		webhooks, counts = append(webhooks, id), append(counts, int32(n))
	}
	return webhooks, counts, s.all
}

// send tries a delivery, and records what came of it. If the process was told to stop
// meanwhile, the delivery counts as not tried: the recipient may see it again.
func (s *Sender) send(ctx context.Context, d delivery) {
	secret := domain.WebhookSecret(s.config.Digest, domain.WebhookID{UUID: d.webhook})
	came := s.config.Network.post(ctx, d, secret, s.now())

	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease-patience)
	defer cancel()
	var err error
	switch {
	case came.failure == "":
		err = s.acknowledged(within, d, came)
	case ctx.Err() != nil:
		err = s.release(within, d)
	default:
		err = s.failed(within, d, came)
	}

	if err != nil {
		s.config.Logger.WarnContext(ctx, "cannot record what came of a delivery; it is sent again",
			slog.String("webhook", d.webhook.String()), slog.Int64("position", d.position),
			slog.String("error", eventstore.Unavailable(err).Error()))
	}
}

// failed decides what happens next: another try, or a pause of the webhook until an admin
// resumes it.
func (s *Sender) failed(ctx context.Context, d delivery, came result) error {
	now := s.now()
	since := d.failingSince
	if since.IsZero() {
		since = now
	}

	next := now.Add(pauseAfter(d.failures))
	reason := domain.PausedUnanswered
	if came.status == goneStatus {
		reason = domain.PausedGone
	}
	if reason == domain.PausedGone || next.Sub(since) > giveUpAfter {
		// Should this process die before the try is recorded, the webhook is paused all
		// the same. If it cannot be paused, the next try does it.
		err := s.config.Pause(ctx, domain.TenantID{UUID: d.tenant}, domain.WebhookID{UUID: d.webhook}, reason)
		if err != nil {
			s.config.Logger.WarnContext(ctx, "cannot pause a webhook", slog.String("webhook", d.webhook.String()),
				slog.String("error", err.Error()))
		}
		next = now.Add(longestPause)
	}
	return s.recordFailure(ctx, d, came, now, next)
}

// pauseAfter returns the pause before the next try, after so many tries that failed
// before this one.
func pauseAfter(failures int) time.Duration {
	const doublings = 12 // more than an hour
	return min(firstPause<<min(failures, doublings), longestPause)
}
