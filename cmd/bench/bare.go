package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
)

// bareSchema is what a good programmer would write who needs nothing else: to append, the
// narrowest table that refuses a wrong version; to read in order, one with a position;
// and a read table with an index for its one query.
const bareSchema = `
	create table appended (
		stream_id uuid, version integer, event_type text not null, payload json not null,
		primary key (stream_id, version));
	create table log (
		position bigint generated always as identity primary key, stream_id uuid not null, version integer not null,
		event_type text not null, payload json not null, recorded_at timestamptz not null default now());
	create table checkpoint (position bigint not null);
	insert into checkpoint values (0);` + readTable

// readTable is what every contender projects into, except ours, which brings its own.
const readTable = `
	create table consents (
		id uuid primary key, subject_id uuid not null, purpose text not null, notice_version integer not null,
		wording text not null, sha256 text not null, language text not null, channel text not null,
		recorded_at timestamptz not null, position bigint not null);
	create index on consents (subject_id, position);`

// countConsents counts the events in the read table of everybody but ours.
func countConsents(ctx context.Context, e *env, database string) (int64, error) {
	return e.server.count(ctx, database, "select count(distinct id) from consents")
}

// barest returns what all bare contenders have in common.
func barest(name, about string) contender {
	return contender{
		name: name, about: about, appended: "select count(*) from appended where version = 1",
		setUp: func(ctx context.Context, e *env, database string) error {
			return e.server.exec(ctx, database, bareSchema)
		},
	}
}

const insertAppended = "insert into appended (stream_id, version, event_type, payload) values ($1, 1, '" + eventType +
	"', $2)"

func bareInsert() contender {
	c := barest("pgx: one INSERT, one transaction",
		"the baseline: a prepared INSERT for each event, refused by the primary key if the version is taken; "+
			"read in pages without decoding; projected by an unnest of 1 000 events with the checkpoint "+
			"in the same transaction; followers are woken by NOTIFY")

	c.append = withPool(func(ctx context.Context, pool *pgxpool.Pool, p params) (sample, error) {
		return drive(ctx, p.callers, p.howLong, func(ctx context.Context, _ int) (int, error) {
			payload, err := encoded()
			if err != nil {
				return 0, err
			}
			_, err = pool.Exec(ctx, insertAppended, uuid.Must(uuid.NewV7()), payload)
			return 1, err
		})
	})

	c.fill = fillBare
	c.read = withPool(readBare)
	c.project, c.projected = withPool(projectBare), countConsents
	c.visible = visibleBare
	return c
}

func bareBatch() contender {
	c := barest("pgx: batches of 100",
		"100 such INSERTs in one transaction and one round trip, of at most 8 callers at once: a ceiling, because a "+
			"caller who waits for an answer has no 100 events")
	c.append = withPool(func(ctx context.Context, pool *pgxpool.Pool, p params) (sample, error) {
		return drive(ctx, min(p.callers, 8), p.howLong, func(ctx context.Context, _ int) (int, error) {
			batch := &pgx.Batch{}
			for range batchRows {
				payload, err := encoded()
				if err != nil {
					return 0, err
				}
				batch.Queue(insertAppended, uuid.Must(uuid.NewV7()), payload)
			}
			return batchRows, pool.SendBatch(ctx, batch).Close()
		})
	})
	return c
}

func bareCopy() contender {
	c := barest("pgx: COPY of 1 000",
		"COPY of 1 000 events a transaction, of at most 8 callers at once: likewise a ceiling")
	c.append = withPool(func(ctx context.Context, pool *pgxpool.Pool, p params) (sample, error) {
		return drive(ctx, min(p.callers, 8), p.howLong, func(ctx context.Context, _ int) (int, error) {
			rows := pgx.CopyFromSlice(copyRows, func(int) ([]any, error) {
				payload, err := encoded()
				return []any{uuid.Must(uuid.NewV7()), int32(1), eventType, payload}, err
			})
			n, err := pool.CopyFrom(ctx, pgx.Identifier{"appended"},
				[]string{"stream_id", "version", "event_type", "payload"}, rows)
			return int(n), err
		})
	})
	return c
}

// withPool gives a work as many connections as it has callers, but no more than calibrate
// found best.
func withPool(do func(ctx context.Context, pool *pgxpool.Pool, p params) (sample, error)) run {
	return func(ctx context.Context, e *env, database string, p params) (sample, error) {
		pool, err := e.server.pool(ctx, database, "", max(2, min(p.callers, e.connections)))
		if err != nil {
			return sample{}, err
		}
		defer pool.Close()
		return do(ctx, pool, p)
	}
}

func fillBare(ctx context.Context, e *env, database string, events int) error {
	payload, err := encoded()
	if err != nil {
		return err
	}
	return e.server.exec(ctx, database, fmt.Sprintf(`insert into log (stream_id, version, event_type, payload)
		select gen_random_uuid(), 1, '%s', replace('%s', '%s', gen_random_uuid()::text)::json
		from generate_series(1, %d)`,
		eventType, payload, consentIn(payload), events), "vacuum analyze log")
}

// consentIn returns the id of the consent in an event, which is replaced in each copy of
// the event.
func consentIn(payload []byte) string {
	var e domain.ConsentGranted
	if err := json.Unmarshal(payload, &e); err != nil {
		panic(err) // it was encoded here
	}
	return e.ConsentID.String()
}

// bareRow is a row as a plain program scans it.
type bareRow struct {
	position int64
	stream   [16]byte
	version  int32
	kind     string
	payload  []byte
	recorded time.Time
}

func pageOfBare(ctx context.Context, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, after int64, limit int,
) ([]bareRow, error) {
	rows, err := db.Query(ctx, `select position, stream_id, version, event_type, payload, recorded_at from log
		where position > $1 order by position limit $2`, after, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r bareRow, err error) {
		return r, row.Scan(&r.position, &r.stream, &r.version, &r.kind, &r.payload, &r.recorded)
	})
}

func readBare(ctx context.Context, pool *pgxpool.Pool, p params) (sample, error) {
	after := int64(0)
	return pages(p, func() (int, error) {
		rows, err := pageOfBare(ctx, pool, after, readPage)
		if len(rows) > 0 {
			after = rows[len(rows)-1].position
		}
		return len(rows), err
	})
}

// pages takes page after page until it has all events, or the time is over.
func pages(p params, next func() (int, error)) (s sample, err error) {
	began := time.Now()
	for s.Events < int64(p.events) && time.Since(began) < p.howLong {
		n, err := next()
		if err != nil {
			return s, err
		}
		if n == 0 {
			return s, fmt.Errorf("only %d of %d events are there", s.Events, p.events)
		}
		s.Events += int64(n)
	}

	s.Seconds, s.Wrote = time.Since(began).Seconds(), s.Events
	return s, nil
}

func projectBare(ctx context.Context, pool *pgxpool.Pool, p params) (sample, error) {
	if _, err := pool.Exec(ctx, "truncate consents; update checkpoint set position = 0"); err != nil {
		return sample{}, err
	}

	return pages(p, func() (n int, err error) {
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			var after int64
			if err := tx.QueryRow(ctx, "select position from checkpoint for update").Scan(&after); err != nil {
				return err
			}
			rows, err := pageOfBare(ctx, tx, after, projectPage)
			if n = len(rows); err != nil || n == 0 {
				return err
			}
			if err := foldBare(ctx, tx, rows); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "update checkpoint set position = $1", rows[n-1].position)
			return err
		})
		return n, err
	})
}

// foldBare decodes events and writes their rows in one statement.
func foldBare(ctx context.Context, tx pgx.Tx, events []bareRow) error {
	var ids, subjects [][16]byte
	var purposes, wordings, hashes, languages, channels []string
	var versions []int32
	var recorded []time.Time
	var positions []int64

	for _, row := range events {
		var e domain.ConsentGranted
		if err := json.Unmarshal(row.payload, &e); err != nil {
			return err
		}
		ids, subjects = append(ids, e.ConsentID.UUID), append(subjects, row.stream)
		purposes, wordings, hashes = append(purposes, e.Purpose), append(wordings, e.Wording), append(hashes, e.SHA256)
		languages, channels = append(languages, string(e.Language)), append(channels, string(e.Channel))
		versions, recorded, positions = append(versions, int32(e.NoticeVersion)), append(recorded, row.recorded),
			append(positions, row.position)
	}

	_, err := tx.Exec(ctx, `insert into consents
			(id, subject_id, purpose, notice_version, wording, sha256, language, channel, recorded_at, position)
		select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[],
			$8::text[], $9::timestamptz[], $10::bigint[])
		on conflict (id) do update set purpose = excluded.purpose, position = excluded.position`,
		ids, subjects, purposes, versions, wordings, hashes, languages, channels, recorded, positions)
	return err
}

// visibleBare has a reader listen, and read the new events at each notification.
func visibleBare(ctx context.Context, e *env, database string, p params) (s sample, err error) {
	pool, err := e.server.pool(ctx, database, "", 2)
	if err != nil {
		return sample{}, err
	}
	defer pool.Close()

	reader, err := pgx.Connect(ctx, e.server.url(database, ""))
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, reader.Close(context.WithoutCancel(ctx))) }()
	if _, err := reader.Exec(ctx, "listen log"); err != nil {
		return sample{}, err
	}

	way := newWay()
	var after int64
	if err := reader.QueryRow(ctx, "select coalesce(max(position), 0) from log").Scan(&after); err != nil {
		return sample{}, err
	}

	follow := func(ctx context.Context) error {
		for {
			rows, err := pageOfBare(ctx, reader, after, projectPage)
			if err != nil {
				return err
			}
			for _, row := range rows {
				way.seen(uuid.UUID(row.stream))
				after = row.position
			}
			if _, err := reader.WaitForNotification(ctx); err != nil {
				return err
			}
		}
	}

	return way.time(ctx, p, follow, func(ctx context.Context, id uuid.UUID) error {
		payload, err := encoded()
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue("insert into log (stream_id, version, event_type, payload) values ($1, 1, $2, $3)", id, eventType,
			payload)
		batch.Queue("notify log")
		return pool.SendBatch(ctx, batch).Close()
	})
}
