package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/salga-trust/engine/domain"
)

const topic = "consents"

// watermillStock is watermill-sql as it comes: its default schema, offsets and polling.
// It knows no versions, so it refuses none.
func watermillStock() contender {
	return contender{
		name: "watermill-sql/v3",
		about: "as it comes, and without versions, which it does not know: Publish of one message; a subscriber " +
			"of pages of 10 000 to read and of 1 000 to project, with an upsert in the message's own transaction; " +
			"polling every second, its default",
		setUp: func(ctx context.Context, e *env, database string) error {
			subscriber, db, err := subscribe(e, database, readPage, time.Second)
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			defer func() { _ = subscriber.Close() }()
			if err := subscriber.SubscribeInitialize(topic); err != nil {
				return err
			}
			return e.server.exec(ctx, database, readTable)
		},
		append: publish, appended: "select count(*) from watermill_" + topic,
		fill: fillWatermill, read: readWatermill,
		project: projectWatermill, projected: countConsents,
		visible: visibleWatermill,
	}
}

// openSQL opens a database/sql pool that keeps all its connections.
func openSQL(e *env, database string, connections int) (*sql.DB, error) {
	config, err := pgx.ParseConfig(e.server.url(database, ""))
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

func newPublisher(db *sql.DB) (*wmsql.Publisher, error) {
	return wmsql.NewPublisher(db, wmsql.PublisherConfig{SchemaAdapter: wmsql.DefaultPostgreSQLSchema{}},
		watermill.NopLogger{})
}

// subscribe makes a subscriber in a consumer group of its own, so that it begins with the
// first event.
func subscribe(e *env, database string, page int, poll time.Duration) (*wmsql.Subscriber, *sql.DB, error) {
	db, err := openSQL(e, database, 4)
	if err != nil {
		return nil, nil, err
	}
	subscriber, err := wmsql.NewSubscriber(db, wmsql.SubscriberConfig{
		ConsumerGroup: "g" + uuid.NewString(), SchemaAdapter: wmsql.DefaultPostgreSQLSchema{SubscribeBatchSize: page},
		OffsetsAdapter: wmsql.DefaultPostgreSQLOffsetsAdapter{}, InitializeSchema: true, PollInterval: poll,
	}, watermill.NopLogger{})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return subscriber, db, nil
}

func publish(ctx context.Context, e *env, database string, p params) (sample, error) {
	db, err := openSQL(e, database, max(2, min(p.callers, e.connections)))
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = db.Close() }()
	publisher, err := newPublisher(db)
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = publisher.Close() }()

	return drive(ctx, p.callers, p.howLong, func(ctx context.Context, _ int) (int, error) {
		payload, err := encoded()
		if err != nil {
			return 0, err
		}
		m := message.NewMessage(uuid.Must(uuid.NewV7()).String(), payload)
		m.SetContext(ctx)
		return 1, publisher.Publish(topic, m)
	})
}

func fillWatermill(ctx context.Context, e *env, database string, events int) error {
	payload, err := encoded()
	if err != nil {
		return err
	}
	return e.server.exec(ctx, database, fmt.Sprintf(`insert into watermill_%s (uuid, payload, metadata, transaction_id)
		select gen_random_uuid()::text, replace('%s', '%s', gen_random_uuid()::text)::json, '{}', pg_current_xact_id()
		from generate_series(1, %d)`, topic, payload, consentIn(payload), events), "vacuum analyze watermill_"+topic)
}

// consume handles the messages of a topic from the first on. Its clock ends when the last
// page is committed.
func consume(
	ctx context.Context, e *env, database string, page int, p params,
	handle func(context.Context, *message.Message) error,
) (s sample, err error) {
	subscriber, db, err := subscribe(e, database, page, 10*time.Millisecond)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	messages, err := subscriber.Subscribe(ctx, topic)
	if err != nil {
		return sample{}, err
	}
	began := time.Now() // the tables are there, and it asks for the first page
	//nolint:contextcheck // a message brings the context of its transaction
	handled, failed := take(messages, began, p, handle)

	// Close ends the last page at the message that was acknowledged last, and waits for
	// its commit. Were the context ended instead, the page would be rolled back.
	if err := errors.Join(failed, subscriber.Close()); err != nil {
		return sample{}, err
	}
	return sample{Events: handled, Seconds: time.Since(began).Seconds(), Wrote: handled}, nil
}

// take handles and acknowledges messages until it has all of them, or the time is over.
func take(
	messages <-chan *message.Message, began time.Time, p params, handle func(context.Context, *message.Message) error,
) (handled int64, err error) {
	over := time.NewTimer(p.howLong)
	defer over.Stop()

	for handled < int64(p.events) && time.Since(began) < p.howLong {
		select {
		case m := <-messages:
			if err := handle(m.Context(), m); err != nil {
				return handled, err
			}
			m.Ack()
			handled++
		case <-over.C:
		}
	}
	return handled, nil
}

func readWatermill(ctx context.Context, e *env, database string, p params) (sample, error) {
	return consume(ctx, e, database, 2*readPage, p, func(context.Context, *message.Message) error { return nil })
}

const upsert = `insert into consents
		(id, subject_id, purpose, notice_version, wording, sha256, language, channel, recorded_at, position)
	values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
	on conflict (id) do update set purpose = excluded.purpose, position = excluded.position`

func projectWatermill(ctx context.Context, e *env, database string, p params) (sample, error) {
	if err := e.server.exec(ctx, database, "truncate consents"); err != nil {
		return sample{}, err
	}

	position := int64(0)
	return consume(ctx, e, database, projectPage, p, func(ctx context.Context, m *message.Message) error {
		position++
		return upsertMessage(ctx, m, position)
	})
}

func upsertMessage(ctx context.Context, m *message.Message, position int64) error {
	var e domain.ConsentGranted
	if err := json.Unmarshal(m.Payload, &e); err != nil {
		return err
	}
	tx, known := wmsql.TxFromContext(ctx)
	if !known {
		return errors.New("the message has no transaction")
	}

	_, err := tx.ExecContext(ctx, upsert, e.ConsentID.UUID, e.ConsentID.UUID, e.Purpose, e.NoticeVersion,
		e.Wording, e.SHA256, string(e.Language), string(e.Channel), time.Now(), position)
	return err
}

// visibleWatermill uses a topic of its own, so that the new consumer group does not have
// to read the events of earlier rounds first.
func visibleWatermill(ctx context.Context, e *env, database string, p params) (s sample, err error) {
	db, err := openSQL(e, database, 4)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	publisher, err := newPublisher(db)
	if err != nil {
		return sample{}, err
	}

	subscriber, readers, err := subscribe(e, database, readPage, time.Second)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, subscriber.Close(), readers.Close()) }()

	topic := "visible_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if err := subscriber.SubscribeInitialize(topic); err != nil {
		return sample{}, err
	}

	way := newWay()
	follow := func(ctx context.Context) error {
		messages, err := subscriber.Subscribe(ctx, topic)
		if err != nil {
			return err
		}
		for m := range messages {
			if id, err := uuid.Parse(m.UUID); err == nil {
				way.seen(id)
			}
			m.Ack()
		}
		return nil
	}

	return way.time(ctx, p, follow, func(ctx context.Context, id uuid.UUID) error {
		payload, err := encoded()
		if err != nil {
			return err
		}
		m := message.NewMessage(id.String(), payload)
		m.SetContext(ctx)
		return publisher.Publish(topic, m)
	})
}
