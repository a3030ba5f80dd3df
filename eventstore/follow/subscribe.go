package follow

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/salga-trust/engine/internal/pg"
)

// How this package uses watermill-sql v3.1.0, as read in its source. Its transaction only
// looks for the next range: on Close, or when the deadline passes, it commits although
// the handler still runs, and a nack sends again within the same transaction. So the
// handler has a transaction of its own and always acks, even on failure: an ack moves
// nothing, and the next poll returns the range again. A handler never blocks the
// subscriber by waiting: pauses belong to the BackoffManager, which v3 asks once after
// each poll, before a wait that ends on Close.

// topic names the log to Watermill.
const topic = "trust.events"

// span is a message: the positions after < p ≤ upTo. A span that is empty or negative
// says that the log went backwards, and to where.
type span struct {
	After int64 `json:"after"`
	UpTo  int64 `json:"up_to"`
}

// follow subscribes and applies until term ends.
func (r *runner) follow(term context.Context, depose context.CancelCauseFunc, epoch int64, progress *progress) error {
	// Watermill's transaction is idle while the handler runs; the limit frees its locks
	// if this process stops.
	config := session(r.database, "poll", 0, 10*time.Second)
	pg.Pin(config)
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(1)
	defer func() { _ = db.Close() }()

	calm := time.Duration(0)
	if _, hurries := r.Follower.(Watched); r.isUnread() && !hurries {
		calm = r.config.PollEvery
	}
	pace := newPace(r.config.PageSize, calm)
	wake, hush := r.bell.subscribe(r.Kinds())
	defer hush()

	// 0 is refused, and any deadline would make it send again while the handler runs.
	noDeadline := time.Duration(math.MaxInt64)
	// Lowered levels: this package logs failures itself.
	logger := watermill.NewSlogLoggerWithLevelMapping(r.logger, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, slog.LevelDebug: watermill.LevelTrace, slog.LevelError: slog.LevelDebug,
	})

	subscriber, err := wmsql.NewSubscriber(db, wmsql.SubscriberConfig{
		ConsumerGroup:  r.Name(),
		AckDeadline:    &noDeadline,
		SchemaAdapter:  ranges{pace: pace, progress: progress},
		OffsetsAdapter: offsets{},
		BackoffManager: pauses{
			ended: term.Done(), depose: depose, pace: pace, progress: progress, wake: wake, poll: r.config.PollEvery,
			logger: r.logger,
		},
	}, logger)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: goodbye}, logger)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}

	h := &handler{runner: r, depose: depose, epoch: epoch, pace: pace, ahead: ahead{runner: r}, progress: progress}
	defer h.end(term)
	if watched, is := r.Follower.(Watched); is {
		watching, stop := context.WithCancel(term)
		var ended sync.WaitGroup
		ended.Go(func() { h.watch(watching, watched) })
		defer ended.Wait()
		defer stop()
	}

	router.AddConsumerHandler(r.Name(), topic, subscriber, func(m *message.Message) error {
		h.handle(term, m)
		return nil
	})
	return router.Run(term)
}

// ranges is the events table as a Watermill topic.
type ranges struct {
	pace     *pace
	progress *progress
}

var errReadOnly = errors.New("events are appended by package eventstore alone")

// InsertQuery implements the schema adapter: Watermill publishes nothing here.
func (ranges) InsertQuery(string, message.Messages) (wmsql.Query, error) {
	return wmsql.Query{}, errReadOnly
}

// SelectQuery asks for the next range; no row if there is nothing new. It is one
// statement, so it sees one snapshot; it takes no lock.
func (r ranges) SelectQuery(_, group string, _ wmsql.OffsetsAdapter) wmsql.Query {
	const sql = `select c.position, case when a.ahead then least(h.position, c.position)
			else least(h.position, c.position + $2) end
		from trust.checkpoints c, trust.head() h, lateral (select ` + isAhead + `) a (ahead)
		where c.follower = $1 and (a.ahead or c.position < h.position)`

	r.progress.works()
	return wmsql.Query{Query: sql, Args: []any{group, r.pace.size()}}
}

// UnmarshalMessage turns a row into the message of a range.
func (ranges) UnmarshalMessage(found wmsql.Scanner) (wmsql.Row, error) {
	var s span
	if err := found.Scan(&s.After, &s.UpTo); err != nil {
		return wmsql.Row{}, err
	}
	payload, err := json.Marshal(s)
	if err != nil {
		return wmsql.Row{}, err
	}
	return wmsql.Row{Offset: s.UpTo, Msg: message.NewMessage(watermill.NewUUID(), payload)}, nil
}

// SchemaInitializingQueries lists none: migrations own every table.
func (ranges) SchemaInitializingQueries(string) []wmsql.Query { return nil }

// SubscribeIsolationLevel is fixed, whatever the server's default is.
func (ranges) SubscribeIsolationLevel() stdsql.IsolationLevel { return stdsql.LevelReadCommitted }

// offsets stores nothing: the handler moves the checkpoint in its own transaction.
type offsets struct{}

// AckMessageQuery does nothing; v3 insists on a statement.
func (offsets) AckMessageQuery(string, wmsql.Row, string) wmsql.Query {
	return wmsql.Query{Query: "select"}
}

// ConsumedMessageQuery is empty, so it is not run.
func (offsets) ConsumedMessageQuery(string, wmsql.Row, string, []byte) wmsql.Query {
	return wmsql.Query{}
}

// NextOffsetQuery is not asked: SelectQuery looks at the checkpoint itself.
func (offsets) NextOffsetQuery(string, string) wmsql.Query { return wmsql.Query{} }

// SchemaInitializingQueries lists none: migrations own every table.
func (offsets) SchemaInitializingQueries(string) []wmsql.Query { return nil }

// BeforeSubscribingQueries lists none: a leader creates its checkpoint when it begins.
func (offsets) BeforeSubscribingQueries(string, string) []wmsql.Query { return nil }
