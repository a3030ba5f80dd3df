package eventstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// The log has an id, because positions count within one log. Only Restore and RenewLog
// change it. A process learns the id with the answer to every append and every read of
// the head. In between it trusts the last one for as long as its caller allows, because
// another database may be restored or promoted at the same address.

// Log implements commands.Store.
func (s *Store) Log(ctx context.Context, age time.Duration) (uuid.UUID, error) {
	if seen := s.log.seen.Load(); seen != nil && time.Since(seen.asked) < age {
		return seen.id, nil
	}

	_, err := s.Head(ctx)
	return s.log.last(), err
}

// Head implements commands.Store.
func (s *Store) Head(ctx context.Context) (position int64, err error) {
	const sql = "select l.id, h.position from trust.log l, trust.head() h"

	asked, id := time.Now(), uuid.UUID{}
	if err := s.pool.QueryRow(ctx, sql).Scan((*[16]byte)(&id), &position); err != nil {
		return 0, Unavailable(err)
	}
	s.log.note(id, asked)
	return position, nil
}

// logID is the log's id as this process last saw it.
type logID struct{ seen atomic.Pointer[seenLog] }

type seenLog struct {
	id    uuid.UUID
	asked time.Time // before the statement that read it was sent
}

func (l *logID) last() uuid.UUID {
	if seen := l.seen.Load(); seen != nil {
		return seen.id
	}
	return uuid.Nil
}

// note keeps the id that was asked for last: an append that waited for its turn may
// answer after a later question.
func (l *logID) note(id uuid.UUID, asked time.Time) {
	for {
		before := l.seen.Load()
		if before != nil && !asked.After(before.asked) || l.seen.CompareAndSwap(before, &seenLog{id, asked}) {
			return
		}
	}
}

// LogID reads the id of the log.
func LogID(ctx context.Context, db Querier) (id uuid.UUID, err error) {
	err = db.QueryRow(ctx, "select id from trust.log").Scan((*[16]byte)(&id))
	return id, Unavailable(err)
}

// RenewLog gives the log another id, in a transaction of the role trust_owner. It checks
// nothing: every client, and everything else that holds earlier positions, learns that
// they belong to another log.
func RenewLog(ctx context.Context, tx pgx.Tx) (was, is uuid.UUID, err error) {
	const sql = `update trust.log l set id = gen_random_uuid(), since = clock_timestamp()
		from (select id from trust.log for update) before returning before.id, l.id`
	err = tx.QueryRow(ctx, sql).Scan((*[16]byte)(&was), (*[16]byte)(&is))
	return was, is, Unavailable(err)
}
