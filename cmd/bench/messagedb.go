package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
)

// messageDB is the schema of @eventide/message-db, called through pgx, the leanest client
// that it could have.
func messageDB() contender {
	return contender{
		name: "message-db", npm: true,
		about: "write_message with the expected version, called by pgx; read by get_category_messages in pages of " +
			"5 000; projected by an upsert for each of 1 000 messages in one batch, with the position in the same " +
			"transaction; polling every 100 ms, Eventide's default",
		setUp: setUpMessageDB,
		append: withPool(func(ctx context.Context, pool *pgxpool.Pool, p params) (sample, error) {
			return drive(ctx, p.callers, p.howLong, func(ctx context.Context, _ int) (int, error) {
				return 1, writeMessage(ctx, pool, uuid.Must(uuid.NewV7()))
			})
		}),
		appended: "select count(*) from message_store.messages where position = 0",
		fill:     fillMessageDB, read: withPool(readMessages),
		project: withPool(projectMessages), projected: countConsents,
		visible: visibleMessageDB,
	}
}

// setUpMessageDB does what the package's install.sh does, in its order, without psql and
// without the roles.
func setUpMessageDB(ctx context.Context, e *env, database string) error {
	var scripts []string
	base := filepath.Join(e.modules, "node_modules/@eventide/message-db/database")
	for _, name := range strings.Fields(`schema/message-store extensions/pgcrypto tables/messages types/message
		functions/message-store-version functions/hash-64 functions/acquire-lock functions/category
		functions/is-category functions/id functions/cardinal-id functions/stream-version
		functions/write-message functions/get-stream-messages
		functions/get-category-messages functions/get-last-stream-message
		indexes/messages-id indexes/messages-stream indexes/messages-category`) {
		text, err := os.ReadFile(filepath.Join(base, name+".sql"))
		if err != nil {
			return err
		}

		// CREATE INDEX CONCURRENTLY refuses to share a query string.
		if strings.HasPrefix(name, "indexes/") {
			scripts = append(scripts, statements(string(text))...)
			continue
		}
		scripts = append(scripts, "set search_path = message_store, public;\n"+string(text))
	}

	scripts = append(scripts,
		// As its own clients do.
		"alter database "+pgx.Identifier{database}.Sanitize()+" set search_path = message_store, public",
		"set search_path = public; create table checkpoint (position bigint not null); "+
			"insert into checkpoint values (0);"+readTable)
	return e.server.exec(ctx, database, scripts...)
}

// statements splits a script at its semicolons.
func statements(script string) (parts []string) {
	for part := range strings.SplitSeq(script, ";") {
		if strings.TrimSpace(part) != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// writeMessage writes the first message of a stream; -1 is the version of a stream that
// does not exist.
func writeMessage(ctx context.Context, pool *pgxpool.Pool, id uuid.UUID) error {
	payload, err := encoded()
	if err != nil {
		return err
	}
	_, err = pool.Exec(ctx,
		"select message_store.write_message($1::varchar, $2::varchar, $3::varchar, $4::jsonb, null, -1)",
		id.String(), "consent-"+id.String(), eventType, payload)
	return err
}

func fillMessageDB(ctx context.Context, e *env, database string, events int) error {
	payload, err := encoded()
	if err != nil {
		return err
	}
	return e.server.exec(ctx, database,
		fmt.Sprintf(`insert into messages (position, stream_name, type, data)
			select 0, 'consent-' || gen_random_uuid(), '%s', replace('%s', '%s', gen_random_uuid()::text)::jsonb
			from generate_series(1, %d)`,
			eventType, payload, consentIn(payload), events), "vacuum analyze messages")
}

// stored is a message as get_category_messages returns it.
type stored struct {
	stream   string
	position int64
	data     []byte
	at       time.Time
}

func categoryPage(ctx context.Context, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, from int64, limit int,
) ([]stored, error) {
	rows, err := db.Query(ctx,
		`select stream_name, global_position, data, "time" from message_store.get_category_messages('consent', $1, $2)`,
		from, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (m stored, err error) {
		return m, row.Scan(&m.stream, &m.position, &m.data, &m.at)
	})
}

func readMessages(ctx context.Context, pool *pgxpool.Pool, p params) (sample, error) {
	from := int64(1)
	return pages(p, func() (int, error) {
		page, err := categoryPage(ctx, pool, from, readPage)
		if len(page) > 0 {
			from = page[len(page)-1].position + 1
		}
		return len(page), err
	})
}

func projectMessages(ctx context.Context, pool *pgxpool.Pool, p params) (sample, error) {
	if _, err := pool.Exec(ctx, "truncate public.consents; update public.checkpoint set position = 0"); err != nil {
		return sample{}, err
	}
	return pages(p, func() (n int, err error) {
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			var after int64
			if err := tx.QueryRow(ctx, "select position from public.checkpoint for update").Scan(&after); err != nil {
				return err
			}
			page, err := categoryPage(ctx, tx, after+1, projectPage)
			if n = len(page); err != nil || n == 0 {
				return err
			}

			batch := &pgx.Batch{}
			for _, m := range page {
				var e domain.ConsentGranted
				if err := json.Unmarshal(m.data, &e); err != nil {
					return err
				}
				batch.Queue(upsert, e.ConsentID.UUID, strings.TrimPrefix(m.stream, "consent-"), e.Purpose,
					e.NoticeVersion, e.Wording, e.SHA256, string(e.Language), string(e.Channel), m.at, m.position)
			}
			batch.Queue("update public.checkpoint set position = $1", page[n-1].position)
			return tx.SendBatch(ctx, batch).Close()
		})
		return n, err
	})
}

func visibleMessageDB(ctx context.Context, e *env, database string, p params) (s sample, err error) {
	pool, err := e.server.pool(ctx, database, "", 2)
	if err != nil {
		return sample{}, err
	}
	defer pool.Close()

	way, from := newWay(), int64(1)
	if err := pool.QueryRow(ctx, "select coalesce(max(global_position), 0) + 1 from message_store.messages").
		Scan(&from); err != nil {
		return sample{}, err
	}

	follow := func(ctx context.Context) error {
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			page, err := categoryPage(ctx, pool, from, projectPage)
			if err != nil {
				return err
			}
			for _, m := range page {
				id, err := uuid.Parse(strings.TrimPrefix(m.stream, "consent-"))
				if err != nil {
					return errors.New("a stream has another name")
				}
				way.seen(id)
				from = m.position + 1
			}

			if len(page) == projectPage {
				continue
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}

	return way.time(ctx, p, follow, func(ctx context.Context, id uuid.UUID) error {
		return writeMessage(ctx, pool, id)
	})
}
