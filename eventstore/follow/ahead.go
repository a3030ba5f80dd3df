package follow

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pg"
)

// ahead reads the range after the one that is being applied, so that with a backlog this
// process decodes while Postgres writes. Events never change, so reading early returns
// the same as reading later. A range that cannot be read is read again when its turn
// comes, and only then does the failure count.
type ahead struct {
	runner  *runner
	conn    *pgx.Conn
	reading chan read // buffers one; nil: nothing is being read
}

type read struct {
	span   span
	events []domain.Recorded
}

// start begins to read the range after s, if the log has more.
func (a *ahead) start(ctx context.Context, s span) {
	next := make(chan read, 1)
	a.reading = next
	go func() {
		next <- a.read(ctx, s)
	}()
}

// take returns the events of a range if that is what was read, else nil.
func (a *ahead) take(s span) *[]domain.Recorded {
	if a.reading == nil {
		return nil
	}

	got := <-a.reading
	a.reading = nil
	if got.span != s {
		return nil
	}
	return &got.events
}

func (a *ahead) read(ctx context.Context, s span) read {
	var err error
	if a.conn == nil || a.conn.IsClosed() {
		if a.conn, err = pg.Dial(ctx, session(a.runner.database, "ahead", 10*time.Second, deadAfter)); err != nil {
			return read{}
		}
	}

	var got read
	_ = pgx.BeginTxFunc(ctx, a.conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadOnly},
		func(tx pgx.Tx) error {
			head, err := eventstore.Head(ctx, tx)
			if err != nil {
				return err
			}

			next := span{After: s.UpTo, UpTo: min(head, s.UpTo+(s.UpTo-s.After))}
			if next.UpTo == next.After {
				return nil
			}

			if got.events, err = a.runner.read(ctx, tx, next); err == nil {
				got.span = next
			}
			return err
		})
	return got
}

// end waits until the range being read is finished.
func (a *ahead) end(ctx context.Context) {
	if a.reading != nil {
		<-a.reading
	}
	pg.Close(ctx, a.conn)
}
