package relay

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/propagation"
	"github.com/salga-trust/engine/internal/pg"
)

const (
	// lookEvery is how often consumers are looked at, and so how exact times are.
	lookEvery = 500 * time.Millisecond
	// dropEvery is how often old receipts are dropped.
	dropEvery = time.Hour
)

// Watcher notes when the durable consumers of the stream have acknowledged withdrawals.
// Any number may run beside relays that lead or stand by: one at a time looks.
type Watcher struct {
	relay  *Relay
	pool   *pgxpool.Pool
	logger *slog.Logger
	now    func() time.Time

	// floors are the messages up to which consumers have acknowledged, by consumer: most
	// have not moved since the last look.
	floors map[string]end
}

// NewWatcher returns a watcher of the stream that a relay publishes to. pool connects as
// trust_projector.
func NewWatcher(r *Relay, pool *pgxpool.Pool, logger *slog.Logger) *Watcher {
	return &Watcher{relay: r, pool: pool, logger: logger, now: time.Now, floors: map[string]end{}}
}

// Run watches until ctx ends. While NATS or the database is away, nothing is noted.
func (w *Watcher) Run(ctx context.Context) {
	pauses := pg.NewBackoff(firstPause, longestPause)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()

	var dropped time.Time
	for said := ""; ctx.Err() == nil; {
		err := w.look(ctx)
		if now := w.now(); err == nil && now.Sub(dropped) >= dropEvery {
			dropped, err = now, propagation.DropOld(ctx, w.pool, now)
		}

		if err != nil && ctx.Err() == nil {
			if why := follow.Describe(err); why != said {
				said = why
				w.logger.WarnContext(ctx, "cannot see what consumers acknowledged", slog.String("why", why))
			}
			pauses.Wait(ctx)
			continue
		}
		said = ""
		pauses.Reset()

		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// look notes how far each consumer is.
func (w *Watcher) look(ctx context.Context) error {
	if err := w.relay.connected(); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, 2*inTime)
	defer cancel()

	return pgx.BeginFunc(within, w.pool, func(tx pgx.Tx) error {
		locked, err := propagation.Lock(within, tx)
		if err != nil || !locked {
			return err
		}
		seen, silent, err := w.consumers(within, tx)
		if err != nil {
			return err
		}
		return propagation.Observe(within, tx, seen, silent, w.now())
	})
}

// consumers lists those that take withdrawals, with what they have acknowledged, and the
// names of those that the servers said nothing of. A consumer that does not outlive its
// connection is no recipient, and of one that acknowledges nothing it is not known what
// it got.
func (w *Watcher) consumers(
	ctx context.Context, db eventstore.Querier,
) (seen []propagation.Progress, silent []string, err error) {
	stream, err := w.relay.js.Stream(ctx, w.relay.config.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil, nil // and so no consumer
	}
	if err != nil {
		return nil, nil, w.relay.away(ctx, err)
	}
	infos, silent, err := consumersOf(ctx, stream)
	if err != nil {
		return nil, nil, w.relay.away(ctx, err)
	}

	floors := map[string]end{}
	for _, info := range infos {
		municipalities, takes := withdrawalsIn(info.Config)
		if info.Config.Durable == "" || info.Config.AckPolicy == jetstream.AckNonePolicy || !takes {
			continue
		}

		if floors[info.Name], err = w.floor(ctx, stream, info); err != nil {
			return nil, nil, err
		}
		position, err := held(ctx, db, floors[info.Name])
		if err != nil {
			return nil, nil, err
		}
		seen = append(seen, propagation.Progress{
			Name: info.Name, Created: info.Created, Municipalities: municipalities, Acknowledged: position,
		})
	}
	w.floors = floors
	return seen, silent, nil
}

// consumersOf describes a stream's consumers. In a cluster, the server of one may be
// away, which makes it silent: it is there, and nobody can say more.
func consumersOf(
	ctx context.Context, stream jetstream.Stream,
) (infos []*jetstream.ConsumerInfo, silent []string, err error) {
	described := map[string]bool{}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		infos, described[info.Name] = append(infos, info), true
	}
	if err := list.Err(); err != nil {
		return nil, nil, err
	}

	names := stream.ConsumerNames(ctx)
	for name := range names.Name() {
		if !described[name] {
			silent = append(silent, name)
		}
	}
	return infos, silent, names.Err()
}

// floor returns the message up to which a consumer has acknowledged. Its position is 0 if
// the message is not there, because the stream was purged past it: what the consumer has
// acknowledged is known again with the next one.
func (w *Watcher) floor(ctx context.Context, stream jetstream.Stream, info *jetstream.ConsumerInfo) (end, error) {
	// The stream's end was read before: whoever has nothing left has acknowledged it.
	state, sequence := stream.CachedInfo().State, info.AckFloor.Stream
	if info.NumPending == 0 && info.NumAckPending == 0 {
		sequence = max(sequence, state.LastSeq)
	}
	if known := w.floors[info.Name]; known.sequence == sequence && known.position > 0 {
		return known, nil
	}

	none := end{sequence: sequence}
	if sequence == 0 || sequence < state.FirstSeq || state.Msgs == 0 {
		return none, nil
	}
	message, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return none, nil
	}
	if err != nil {
		return none, w.relay.away(ctx, err)
	}

	at, err := endOf(message.Sequence, message.Header, message.Data)
	if err != nil {
		return none, nil //nolint:nilerr // it is nothing of a relay, and the relay says so
	}
	return *at, nil
}

// held returns the position of a message if the log holds its event, and 0 otherwise: of
// a log that went backwards, a consumer may have got what is lost.
func held(ctx context.Context, db eventstore.Querier, at end) (int64, error) {
	if at.position == 0 {
		return 0, nil
	}
	id, err := eventstore.EventAt(ctx, db, at.position)
	if err != nil || id != at.id {
		return 0, err
	}
	return at.position, nil
}

// withdrawalsIn tells whether a consumer takes withdrawals, and of which municipalities;
// nil: of all.
func withdrawalsIn(c jetstream.ConsumerConfig) (municipalities []string, takes bool) {
	filters := c.FilterSubjects
	if c.FilterSubject != "" {
		filters = append(slices.Clone(filters), c.FilterSubject)
	}
	if len(filters) == 0 {
		return nil, true
	}

	for _, filter := range filters {
		municipality, matches := withdrawalsOf(filter)
		switch {
		case matches && municipality == "":
			return nil, true
		case matches:
			municipalities = append(municipalities, municipality)
		}
	}
	return municipalities, len(municipalities) > 0
}

// withdrawalsOf tells whether a filter takes withdrawals, and of which municipality;
// empty: of any.
func withdrawalsOf(filter string) (municipality string, takes bool) {
	// The second is the municipality.
	want := strings.Split("trust.*."+propagation.Withdrawal, ".")
	got := strings.Split(filter, ".")

	for i, token := range got {
		switch {
		case i == len(want):
			return "", false
		case token == ">":
			return municipality, true
		case i == 1 && token != "*":
			municipality = token
		case token != "*" && token != want[i]:
			return "", false
		}
	}
	return municipality, len(got) == len(want)
}
