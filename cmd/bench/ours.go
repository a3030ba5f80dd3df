package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/migrations"
	"github.com/salga-trust/engine/projections"
)

const masterKey = "a master key of at least thirty-two characters"

const oursName = "ours"

// ours is this repository's event store as the API and the projectors use it.
func ours() contender {
	return contender{
		name: oursName,
		about: "Store.Append with the expected version, all indexes and row-level security; Reader.Range in pages of " +
			"5 000, decoded; the worker of the table consents with its defaults; visible is the committed row in " +
			"that table",
		setUp: func(ctx context.Context, e *env, database string) error {
			_, err := migrations.Up(ctx, e.server.url(database, ""))
			return err
		},
		append: appendOurs, appended: "select count(*) from trust.events where version = 1",
		fill: fillOurs, read: readOurs,
		project: projectOurs, projected: func(ctx context.Context, e *env, database string) (int64, error) {
			return e.server.count(ctx, again(database), "select count(distinct id) from trust.consents")
		},
		visible: visibleOurs,
	}
}

// withStore opens the log as the API does.
func withStore(ctx context.Context, e *env, database string, do func(*eventstore.Store) error) error {
	pool, err := e.server.pool(ctx, database, "trust_query", 4)
	if err != nil {
		return err
	}
	defer pool.Close()

	// A busy machine is no failure, hence the long patience.
	store, err := eventstore.Open(ctx, pool, []byte(masterKey), eventstore.Patience(time.Minute))
	if err != nil {
		return err
	}
	defer store.Close()
	return do(store)
}

// grants is an append of new consents, each of another subject.
func grants(subjects ...uuid.UUID) domain.Append {
	a := domain.Append{ID: uuid.New(), Tenant: domain.PlatformTenant()}
	for _, subject := range subjects {
		a.Writes = append(a.Writes, domain.Write{
			Stream: domain.ConsentsOf(domain.UserID{UUID: subject}), Events: []domain.Event{granted()},
		})
	}
	return a
}

func appendOurs(ctx context.Context, e *env, database string, p params) (s sample, err error) {
	err = withStore(ctx, e, database, func(store *eventstore.Store) error {
		s, err = drive(ctx, p.callers, p.howLong, func(ctx context.Context, _ int) (int, error) {
			_, err := store.Append(ctx, grants(uuid.Must(uuid.NewV7())))
			return 1, err
		})
		return err
	})
	return s, err
}

// fillOurs fills the log through the append function, without which it need not be
// readable.
func fillOurs(ctx context.Context, e *env, database string, events int) error {
	const together, callers = 50, 16
	err := withStore(ctx, e, database, func(store *eventstore.Store) error {
		return atOnce((events+together-1)/together, callers, func(i int) error {
			subjects := make([]uuid.UUID, min(together, events-i*together))
			for i := range subjects {
				subjects[i] = uuid.Must(uuid.NewV7())
			}
			_, err := store.Append(ctx, grants(subjects...))
			return err
		})
	})
	return errors.Join(err, e.server.exec(ctx, database, "vacuum analyze trust.events"))
}

func readOurs(ctx context.Context, e *env, database string, p params) (s sample, err error) {
	conn, err := pgx.Connect(ctx, e.server.url(database, "trust_projector"))
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	reader, err := eventstore.NewReader(ctx, conn, []byte(masterKey))
	if err != nil {
		return sample{}, err
	}

	after := int64(0)
	return pages(p, func() (n int, err error) {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			events, err := reader.Range(ctx, tx, after, min(after+readPage, int64(p.events)))
			n, after = len(events), after+int64(len(events))
			return err
		})
		return n, err
	})
}

// following runs the projector of consents until stop is called, and calls committed
// after each page.
func following(
	ctx context.Context, e *env, database string, committed func(upTo int64, took time.Duration),
) (stop func() error, err error) {
	consents, known := projections.ByName("consents")
	if !known {
		return nil, errors.New("there is no table consents")
	}
	worker := follow.NewWorker(follow.Config{
		DatabaseURL: e.server.url(database, "trust_projector"), MasterKey: []byte(masterKey),
		Logger:    slog.New(slog.DiscardHandler),
		Committed: func(_ string, _, upTo int64, took time.Duration) { committed(upTo, took) },
	}, consents)

	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}, nil
}

// again is the copy of a database that projectOurs works on.
func again(database string) string { return database + "_again" }

// projectOurs works on a copy of the database, because a projector that has read the log
// does not read it again.
func projectOurs(ctx context.Context, e *env, database string, p params) (s sample, err error) {
	if err := e.server.create(ctx, again(database), database); err != nil {
		return sample{}, err
	}
	// So that the run does not pay for the writes of the copy.
	if err := e.server.exec(ctx, "postgres", "checkpoint"); err != nil {
		return sample{}, err
	}

	done := make(chan struct{})
	var mu sync.Mutex
	var began, ended time.Time
	stop, err := following(ctx, e, again(database), func(upTo int64, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if began.IsZero() {
			began = time.Now().Add(-took) // when it asked for the first page
		}
		if upTo >= int64(p.events) && ended.IsZero() {
			ended = time.Now()
			close(done)
		}
	})
	if err != nil {
		return sample{}, err
	}

	select {
	case <-done:
	case <-time.After(p.howLong + time.Minute):
		err = errors.New("the projector did not come to the end")
	}
	if err := errors.Join(err, stop()); err != nil {
		return sample{}, err
	}

	return sample{Events: int64(p.events), Seconds: ended.Sub(began).Seconds()}, nil
}

func visibleOurs(ctx context.Context, e *env, database string, p params) (s sample, err error) {
	err = withStore(ctx, e, database, func(store *eventstore.Store) error {
		s, err = visibleIn(ctx, e, database, store, p)
		return err
	})
	return s, err
}

func visibleIn(ctx context.Context, e *env, database string, store *eventstore.Store, p params) (sample, error) {
	// A page may be committed before the append's caller knows the position.
	way := newWay()
	var mu sync.Mutex
	reached, waiting := int64(0), map[int64]uuid.UUID{}
	arrive := func() {
		for position, id := range waiting {
			if position <= reached {
				way.seen(id)
				delete(waiting, position)
			}
		}
	}

	stop, err := following(ctx, e, database, func(upTo int64, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		reached = upTo
		arrive()
	})
	if err != nil {
		return sample{}, err
	}

	write := func(ctx context.Context, id uuid.UUID) error {
		appended, err := store.Append(ctx, grants(id))
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		waiting[appended.Position()] = id
		arrive()
		return nil
	}

	s, err := way.time(ctx, p, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, write)
	if err := stop(); err != nil {
		return sample{}, fmt.Errorf("the projector: %w", err)
	}
	return s, err
}
