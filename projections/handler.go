package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// handler folds ranges during one leadership, one at a time.
type handler struct {
	*projector
	term   context.Context //nolint:containedctx // the leadership; a message's own context ends later
	depose context.CancelCauseFunc
	epoch  int64
	pace   *pace
	busy   sync.Mutex // held while a range is folded: Watermill stops waiting for it after a while
	conn   *pgx.Conn
	ahead  ahead
	said   string // the last failure that was logged
}

// errMoved says that the checkpoint is neither before the range nor behind it: somebody else moved it. The next look tells.
var errMoved = errors.New("the checkpoint was moved")

var errPanicked = errors.New("the projection panicked; the log has the stack")

// handle folds a range. It never fails towards Watermill: see subscribe.go.
func (h *handler) handle(m *message.Message) error {
	var s span
	if err := json.Unmarshal(m.Payload, &s); err != nil {
		return nil //nolint:nilerr // made by ranges.UnmarshalMessage
	}
	h.busy.Lock()
	defer h.busy.Unlock()
	began := time.Now()
	err := h.fold(s)
	switch {
	case err == nil: // also when the term has just ended: it was committed
		h.pace.succeeded(s)
		h.said = ""
		if h.config.Committed != nil {
			h.config.Committed(h.Name(), s.After, s.UpTo, time.Since(began))
		}
	case h.term.Err() != nil:
	case errors.Is(err, errDeposed):
		h.depose(err)
	default:
		h.failed(s, h.orMoved(s, err))
	}
	return nil
}

// fold brings rows and checkpoint from s.After to s.UpTo in one transaction. A panic in a projection is an error like others.
func (h *handler) fold(s span) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			h.logger.Error("projection panicked", slog.String("stack", string(debug.Stack())))
			err = errPanicked
			h.close() // whatever state the transaction is in
		}
	}()
	events, ok := h.ahead.take(s)
	if s.UpTo-s.After == h.pace.full { // so there may be a backlog
		h.ahead.start(h.term, s)
	}
	if err := h.connect(); err != nil {
		return err
	}
	if !ok {
		if events, err = h.reader.RangeOf(h.term, h.conn, h.source().kind, s.After, s.UpTo); err != nil {
			return err
		}
	}
	if len(events) == 0 { // nothing for this table, so there is nothing to do at once
		_, err := h.advance(h.conn, s)
		return err
	}
	tx, err := h.conn.BeginTx(h.term, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			h.rollback(tx)
		}
	}()
	if err := h.Fold(h.term, tx, h.reader, events, s.UpTo); err != nil {
		return err
	}
	done, err := h.advance(tx, s)
	if err != nil {
		return err
	}
	if done {
		h.rollback(tx)
		return nil
	}
	return tx.Commit(h.term)
}

// database is what a connection and a transaction have in common.
type database interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// advance moves the checkpoint, if it stands where the range begins and the epoch is ours. done tells that the range was
// folded before, so what was folded now must not be committed.
func (h *handler) advance(db database, s span) (done bool, err error) {
	const move = `update trust.checkpoints set position = $3, seen_at = clock_timestamp(), state = 'running', error = null,
			error_since = null
		where projection = $1 and position = $2 and epoch = $4`
	const look = `select c.position, c.epoch from trust.checkpoints c where c.projection = $1`
	moved, err := db.Exec(h.term, move, h.Name(), s.After, s.UpTo, h.epoch)
	if err != nil || moved.RowsAffected() == 1 {
		return false, err
	}
	var position, epoch int64
	if err := db.QueryRow(h.term, look, h.Name()).Scan(&position, &epoch); err != nil {
		return false, err
	}
	switch {
	case epoch != h.epoch:
		return false, errDeposed
	case position < s.UpTo:
		return false, errMoved
	}
	return true, nil
}

// orMoved tells that the range was no longer the next one, if that is why it could not be folded: a rebuild brings the table forward.
func (h *handler) orMoved(s span, cause error) error {
	const look = `select position <> $2 from trust.checkpoints where projection = $1`
	var moved bool
	if h.connect() == nil && h.conn.QueryRow(h.term, look, h.Name(), s.After).Scan(&moved) == nil && moved {
		return errMoved
	}
	return cause
}

// failed narrows the range, or, when it is down to one event that cannot be folded, halts visibly at that event.
func (h *handler) failed(s span, cause error) {
	why := describe(cause)
	lost := h.conn == nil || h.conn.IsClosed()
	passes := passing(cause) || errors.Is(cause, errMoved) || lost && !errors.Is(cause, errPanicked)
	if single := h.pace.failed(s, passes); !passes && single {
		why = fmt.Sprintf("event %d: %s", s.UpTo, why)
		h.halt(s.After, why)
	} else if !passes {
		return // narrowing
	}
	if why != h.said {
		h.said = why
		h.logger.Error("cannot project", slog.Int64("after", s.After), slog.Int64("up_to", s.UpTo),
			slog.String("error", why), slog.Bool("halted", !passes))
	}
}

// halt makes the halt visible, unless a rebuild has just brought the table past the event.
func (h *handler) halt(at int64, why string) {
	const sql = `update trust.checkpoints set state = 'halted', error = $3, error_since = coalesce(error_since, clock_timestamp()),
			seen_at = clock_timestamp()
		where projection = $1 and epoch = $2 and position = $4 and (state <> 'halted' or error is distinct from $3)`
	err := h.connect()
	if err == nil {
		_, err = h.conn.Exec(h.term, sql, h.Name(), h.epoch, why, at)
	}
	if err != nil {
		h.logger.Warn("cannot tell that the projector halted", slog.String("error", describe(err)))
	}
}

// connect makes sure of a connection. Postgres ends it if this process stands still within a transaction.
func (h *handler) connect() (err error) {
	if h.conn == nil || h.conn.IsClosed() {
		h.conn, err = pgx.ConnectConfig(h.term, session(h.database, "fold", 0, deadAfter))
	}
	return err
}

func (h *handler) rollback(tx pgx.Tx) {
	within, cancel := context.WithTimeout(context.WithoutCancel(h.term), goodbye)
	defer cancel()
	if err := tx.Rollback(within); err != nil {
		h.close()
	}
}

// end waits for the range being folded, which the end of the term cuts short.
func (h *handler) end() {
	h.busy.Lock()
	defer h.busy.Unlock()
	h.ahead.end(h.term)
	h.close()
}

func (h *handler) close() { closeConn(h.term, h.conn) }

// closeConn closes a connection, also after ctx has ended; nil is none.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	if conn == nil {
		return
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	_ = conn.Close(within) // whatever it says, it is gone
}
