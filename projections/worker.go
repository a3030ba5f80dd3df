package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/eventstore"
)

// WorkerConfig says how projectors run in one process.
type WorkerConfig struct {
	// DatabaseURL connects as trust_projector, directly: sessions, locks and LISTEN do not survive a pooler.
	DatabaseURL string
	MasterKey   []byte
	PageSize    int           // events in a transaction, at most; 0: 5000
	PollEvery   time.Duration // the longest an idle projector sleeps without a wake-up; 0: 250 ms
	Logger      *slog.Logger  // nil: slog.Default()
	// Committed, if set, is told of every page after its commit: the positions after < p ≤ upTo and how long it took.
	Committed func(projection string, after, upTo int64, took time.Duration)
}

const (
	defaultPage = 5000
	defaultPoll = 250 * time.Millisecond
	// deadAfter is how long Postgres waits for a silent leader, or for one that stands still within a transaction.
	deadAfter = 1500 * time.Millisecond
	// pulse is how often a leader shows that it lives and a standby tries to lead: a third of deadAfter.
	pulse = 500 * time.Millisecond
	// goodbye bounds what a stopping projector still says to the database.
	goodbye = time.Second
)

// Worker runs projectors in this process, each with its own leadership, connections and Watermill subscriber; one LISTEN
// connection wakes those that an append concerns.
type Worker struct {
	config      WorkerConfig
	projections []Projection
}

// NewWorker makes a worker for one or more projections.
func NewWorker(config WorkerConfig, projections ...Projection) *Worker {
	if config.PageSize <= 0 {
		config.PageSize = defaultPage
	}
	if config.PollEvery <= 0 {
		config.PollEvery = defaultPoll
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	return &Worker{config: config, projections: projections}
}

// Run projects until ctx ends, which is no error, and then returns within about two seconds. It returns early only for what
// waiting cannot mend: a database URL or a master key that is wrong.
func (w *Worker) Run(ctx context.Context) error {
	database, err := pgx.ParseConfig(w.config.DatabaseURL)
	if err != nil {
		return errors.New("the projector's database URL is not valid") // without its text, which may hold a password
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	defer running.Wait()
	bell := &bell{logger: w.config.Logger}
	running.Go(func() { bell.listen(ctx, session(database, "listen", 0, 0)) })
	errs := make([]error, len(w.projections))
	var projectors sync.WaitGroup
	for i, p := range w.projections {
		projector := &projector{
			Projection: p, config: w.config, database: database, bell: bell,
			logger: w.config.Logger.With(slog.String("projection", p.Name())),
		}
		projectors.Go(func() {
			if errs[i] = projector.run(ctx); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	projectors.Wait()
	cancel(nil)
	return errors.Join(errs...)
}

// session is a configuration for one kind of connection. Postgres ends the session after standing idle, or idle within a
// transaction, for so long; 0: never.
func session(database *pgx.ConnConfig, use string, idle, inTransaction time.Duration) *pgx.ConnConfig {
	c := database.Copy()
	eventstore.PlanByIndex(c)
	c.RuntimeParams["application_name"] = "trust-projector-" + use
	c.RuntimeParams["idle_session_timeout"] = strconv.FormatInt(idle.Milliseconds(), 10)
	c.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(inTransaction.Milliseconds(), 10)
	return c
}

// projector runs one projection: it waits to lead, then leads until it is deposed or stopped, again and again.
type projector struct {
	Projection
	config   WorkerConfig
	database *pgx.ConnConfig
	bell     *bell
	logger   *slog.Logger
	reader   *eventstore.Reader
}

func (p *projector) run(ctx context.Context) error {
	said := "" // an outage is told once, not twice a second
	for {
		err := p.serve(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to stop
		}
		if !passing(err) && !errors.Is(err, errDeposed) {
			return fmt.Errorf("projector %s: %w", p.Name(), err)
		}
		if why := describe(err); why != said {
			said = why
			p.logger.WarnContext(ctx, "projector starts over", slog.String("why", why))
		}
		sleep(ctx, pulse)
	}
}

// serve is one leadership from candidacy to end.
func (p *projector) serve(ctx context.Context) error {
	lead, err := campaign(ctx, p)
	if err != nil {
		return err
	}
	defer lead.leave(ctx)
	if p.reader == nil {
		if p.reader, err = eventstore.NewReader(ctx, lead.conn, p.config.MasterKey); err != nil {
			return err
		}
	}
	p.logger.InfoContext(ctx, "projector leads", slog.Int64("epoch", lead.epoch), slog.Int64("position", lead.position))
	term, cancel := context.WithCancelCause(ctx)
	var holding sync.WaitGroup
	holding.Go(func() { cancel(lead.hold(term)) })
	err = p.project(term, cancel, lead.epoch)
	cancel(err)
	holding.Wait()
	return context.Cause(term)
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
