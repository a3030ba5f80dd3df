package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// Config says how followers run in one process.
type Config struct {
	// DatabaseURL connects as trust_projector, without a pooler: it would break sessions,
	// locks and LISTEN.
	DatabaseURL string
	// MasterKey opens personal parts.
	MasterKey []byte
	// PageSize is the most events that one transaction applies; 0: 5000. It applies fewer
	// if they would take longer than about a second.
	PageSize int
	// PollEvery is the longest that an idle follower sleeps without a wake-up; 0: 250 ms.
	PollEvery time.Duration
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
	// Committed, if set, is called for every page after its commit, with the positions
	// after < p ≤ upTo and how long it took.
	Committed func(follower string, after, upTo int64, took time.Duration)
	// Failed, if set, is called for every attempt of a follower that fails.
	Failed func(follower string)
}

const (
	defaultPage = 5000
	defaultPoll = 250 * time.Millisecond
	// deadAfter is how long Postgres waits for a silent leader, or for one that is idle
	// within a transaction.
	deadAfter = 1500 * time.Millisecond
	// pulse is how often a leader shows that it is alive and a standby tries to lead: a
	// third of deadAfter.
	pulse = 500 * time.Millisecond
	// aside is how long a leader that stepped down leaves the lead to its standbys.
	aside = 2 * deadAfter
	// goodbye limits how long a stopping follower still talks to the database.
	goodbye = time.Second
)

// Worker runs followers in this process, each with its own leadership, connections and
// Watermill subscriber; one LISTEN connection wakes those that an append concerns.
type Worker struct {
	config    Config
	followers []Follower
}

// NewWorker returns a worker for one or more followers.
func NewWorker(config Config, followers ...Follower) *Worker {
	if config.PageSize <= 0 {
		config.PageSize = defaultPage
	}
	if config.PollEvery <= 0 {
		config.PollEvery = defaultPoll
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	return &Worker{config: config, followers: followers}
}

// Run follows the log until ctx ends, which is not an error, and then returns within
// about two seconds. It returns early only for errors that waiting cannot fix: a wrong
// database URL, login or master key.
func (w *Worker) Run(ctx context.Context) error {
	database, err := pgx.ParseConfig(w.config.DatabaseURL)
	if err != nil {
		// Without the parser's text, which may hold a password.
		return errors.New("the followers' database URL is not valid")
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var listening sync.WaitGroup
	defer listening.Wait()
	bell := &bell{logger: w.config.Logger}
	listening.Go(func() { bell.listen(ctx, session(database, "listen", 0, 0)) })

	errs := make([]error, len(w.followers))
	var running sync.WaitGroup
	for i, f := range w.followers {
		r := &runner{
			Follower: f, config: w.config, database: database, bell: bell,
			logger: w.config.Logger.With(slog.String("follower", f.Name())),
		}
		running.Go(func() {
			if errs[i] = r.run(ctx); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}

	running.Wait()
	cancel(nil)
	return errors.Join(errs...)
}

// session returns the configuration of one kind of connection. Postgres ends the session
// after it was idle, or idle within a transaction, for the given times; 0: never. The
// other limits are those of silence.go.
func session(database *pgx.ConnConfig, use string, idle, inTransaction time.Duration) *pgx.ConnConfig {
	c := database.Copy()
	eventstore.PlanByIndex(c)
	// Listening is silent by nature, so it is checked by a ping.
	if use != "listen" {
		listenFor(&c.Config)
	}

	c.RuntimeParams["application_name"] = "trust-follow-" + use
	c.RuntimeParams["idle_session_timeout"] = strconv.FormatInt(idle.Milliseconds(), 10)
	c.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(inTransaction.Milliseconds(), 10)
	c.RuntimeParams["lock_timeout"] = strconv.FormatInt(lockedAtMost.Milliseconds(), 10)
	c.RuntimeParams["statement_timeout"] = strconv.FormatInt(statementAtMost.Milliseconds(), 10)
	return c
}

// runner runs one follower: it waits to lead, then leads until it is deposed or stopped,
// over and over.
type runner struct {
	Follower
	config   Config
	database *pgx.ConnConfig
	bell     *bell
	logger   *slog.Logger
	reader   *eventstore.Reader
}

func (r *runner) run(ctx context.Context) error {
	// An outage is logged once, not twice a second.
	said := ""
	for {
		err := r.serve(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to stop
		}
		if !passes(err) {
			return fmt.Errorf("follower %s: %w", r.Name(), err)
		}

		if why := Describe(err); why != said {
			said = why
			r.logger.WarnContext(ctx, "follower starts over", slog.String("why", why))
		}
		if stepsDown(err) {
			sleep(ctx, aside)
		}
		sleep(ctx, pulse)
	}
}

// serve is one leadership, from candidacy to end.
func (r *runner) serve(ctx context.Context) (err error) {
	lead, err := campaign(ctx, r)
	if err != nil {
		return err
	}
	defer func() { lead.leave(ctx, err) }()

	if r.reader == nil {
		if r.reader, err = eventstore.NewReader(ctx, lead.conn, r.config.MasterKey); err != nil {
			return err
		}
	}
	r.logger.InfoContext(ctx, "follower leads", slog.Int64("epoch", lead.epoch), slog.Int64("position", lead.position))

	term, cancel := context.WithCancelCause(ctx)
	var holding sync.WaitGroup
	progress := &progress{}
	holding.Go(func() { cancel(r.hold(term, lead, progress)) })
	err = r.follow(term, cancel, lead.epoch, progress)
	cancel(err)
	holding.Wait()
	return context.Cause(term)
}

// hold keeps the leadership while there is progress. Work that stalls cannot be told to
// end, so the lead is given up at once.
func (r *runner) hold(term context.Context, lead *leadership, progress *progress) error {
	err := lead.hold(term, progress)
	if errors.Is(err, errStalled) {
		r.logger.ErrorContext(term, "follower steps down", slog.String("why", Describe(err)))
		lead.leave(term, err)
	}
	return err
}

// read returns the events of a range that the follower wants.
func (r *runner) read(ctx context.Context, db eventstore.Querier, s span) ([]domain.Recorded, error) {
	return r.reader.RangeOf(ctx, db, r.Kinds(), s.After, s.UpTo)
}

// isUnread tells whether the follower reads its ranges itself.
func (r *runner) isUnread() bool {
	_, is := r.Follower.(Unread)
	return is
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
