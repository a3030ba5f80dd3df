package projections

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
)

// verifyTable compares a read table with a replay of its streams up to its checkpoint,
// stream by stream. total is how many events the log has in streams of that kind.
func verifyTable(
	ctx context.Context, tx pgx.Tx, r *eventstore.Reader, p Projection, total int64,
	progress func(string, int64, int64),
) error {
	checkpoint, err := follow.Position(ctx, tx, p.Name())
	if backwards, ok := errors.AsType[*follow.BackwardsError](err); ok {
		return &Difference{Projection: p.Name(), What: backwards.Error(), cause: backwards}
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	erasing, err := erasedAfter(ctx, tx, checkpoint)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}

	source := p.source()
	var done, rows int64
	err = r.Histories(ctx, tx, source.kind, checkpoint, pageSize, func(events []domain.Recorded) error {
		n, err := source.verify(ctx, tx, events, erasing)
		if err != nil {
			return err
		}

		rows += n
		done += int64(len(events))
		progress(p.Name(), done, total)
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify %s: %w", p.Name(), err)
	}

	return noMore(ctx, tx, p, checkpoint, rows)
}

// erasedAfter returns the people erased in the log after a checkpoint: their key is gone
// already, but their row is not blank yet.
func erasedAfter(ctx context.Context, tx pgx.Tx, checkpoint int64) (map[stream]bool, error) {
	const sql = `select tenant_id, stream_id from trust.events where position > $1 and event_type = $2`
	found, err := tx.Query(ctx, sql, checkpoint, (*domain.UserErased)(nil).EventType())
	if err != nil {
		return nil, err
	}

	erased := map[stream]bool{}
	var s stream
	_, err = pgx.ForEachRow(found, []any{&s.tenant, &s.id}, func() error {
		erased[s] = true
		return nil
	})
	return erased, err
}

// noMore finds a row whose stream the log does not have, if the table has more rows than
// were found right.
func noMore(ctx context.Context, tx pgx.Tx, p Projection, checkpoint, right int64) error {
	const sql = `select t.id from %[1]s t where not exists (
			select from trust.events e where e.tenant_id = t.%[2]s and e.stream_type = $1 and e.stream_id = t.%[3]s
				and e.version = 1 and e.position <= $2)
		order by t.id limit 1`

	var rows int64
	if err := tx.QueryRow(ctx, "select count(*) from "+view(p.Name())).Scan(&rows); err != nil {
		return fmt.Errorf("verify %s: %w", p.Name(), err)
	}
	if rows == right {
		return nil
	}

	source, id := p.source(), uuid.UUID{}
	statement := fmt.Sprintf(sql, view(p.Name()), source.stream[0], source.stream[1])
	err := tx.QueryRow(ctx, statement, string(source.kind), checkpoint).Scan((*[16]byte)(&id))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("verify %s: %w", p.Name(), err)
	}
	return &Difference{Projection: p.Name(), ID: id, What: "is not in the log"}
}

// verify compares the rows wanted of some streams with all the rows that the table has of
// them, and returns how many there are. ease adapts a wanted row to the one found.
func (t readTable[R]) verify(
	ctx context.Context, tx pgx.Tx, streams []stream, wanted []R, ease func(want, have R) R,
) (int64, error) {
	there, err := t.ofStreams(ctx, tx, view(t.name), streams)
	if err != nil {
		return 0, err
	}
	differs := func(key stream, what string) error { return &Difference{Projection: t.name, ID: key.id, What: what} }

	for _, want := range wanted {
		key := t.keyOf(want)
		have, ok := there[key]
		if !ok {
			return 0, differs(key, "is missing")
		}
		if field := differing(reflect.ValueOf(ease(want, have)), reflect.ValueOf(have)); field != "" {
			return 0, differs(key, field+" differs from the log")
		}
		delete(there, key)
	}

	for key := range there {
		return 0, differs(key, "is not in the log")
	}
	return int64(len(wanted)), nil
}
