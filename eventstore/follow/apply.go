package follow

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

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// handler applies ranges during one leadership, one at a time.
type handler struct {
	*runner
	depose context.CancelCauseFunc
	epoch  int64
	pace   *pace
	ahead  ahead
	*progress

	busy sync.Mutex // held while a range is applied: Watermill stops waiting for it after a while
	conn *pgx.Conn
	said string // the last failure that was logged
}

// errMoved says that the checkpoint is neither at the start of the range nor past its
// end: somebody else moved it. The next poll reads where it is.
var errMoved = errors.New("the checkpoint was moved")

// ErrTooSlow is for a follower that cannot apply so many events at once in time: the next
// range is shorter.
var ErrTooSlow = errors.New("it takes too long for what the follower writes to")

var errPanicked = errors.New("the follower panicked; the log has the stack")

// handle applies a range. term is the leadership; the message's own context ends later.
// It never returns an error to Watermill: see subscribe.go.
func (h *handler) handle(term context.Context, m *message.Message) {
	var s span
	if err := json.Unmarshal(m.Payload, &s); err != nil {
		// This cannot happen: ranges.UnmarshalMessage made the payload.
		return
	}

	h.busy.Lock()
	defer h.busy.Unlock()

	// This step is followed by Watermill's part.
	h.works()
	defer h.works()

	if s.UpTo <= s.After {
		h.wentBackwards(term, &BackwardsError{Position: s.After, Head: s.UpTo})
		return
	}

	began := time.Now()
	ahead := h.ahead.take(s)
	// A full page, so there may be a backlog.
	if s.UpTo-s.After >= h.pace.size() && !h.isUnread() {
		h.ahead.start(term, s)
	}
	err := h.within(term, s, ahead)

	switch {
	// Committed, even if the term has just ended.
	case err == nil:
		h.pace.succeeded(s, time.Since(began))
		h.said = ""
		if h.config.Committed != nil {
			h.config.Committed(h.Name(), s.After, s.UpTo, time.Since(began))
		}
	case term.Err() != nil:
	case errors.Is(err, errDeposed), errors.Is(err, errSilent):
		h.depose(err)
	default:
		h.fails()
		// Looked at before orMoved connects again.
		lost := h.conn == nil || h.conn.IsClosed()
		took := time.Since(began)
		h.failed(term, s, h.orMoved(term, s, err), lost, took)
	}
}

// fails tells whoever counts that an attempt failed.
func (h *handler) fails() {
	if h.config.Failed != nil {
		h.config.Failed(h.Name())
	}
}

// errTooLong says that a range took too long, although none of its statements did.
var errTooLong = fmt.Errorf("it takes longer than %s", applyAtMost)

// within applies a range within applyAtMost.
func (h *handler) within(term context.Context, s span, ahead *[]domain.Recorded) error {
	within, cancel := context.WithTimeout(term, applyAtMost)
	defer cancel()

	err := h.apply(within, s, ahead)
	if err != nil && within.Err() != nil && term.Err() == nil && !errors.Is(err, errSilent) {
		return errTooLong
	}
	return err
}

// apply brings the follower and its checkpoint from s.After to s.UpTo in one transaction.
// ahead is what was read in advance; nil: nothing.
func (h *handler) apply(term context.Context, s span, ahead *[]domain.Recorded) error {
	if err := h.connect(term); err != nil {
		return err
	}
	events, err := h.events(term, s, ahead)
	if err != nil {
		return err
	}
	// Nothing to apply, so one statement is enough.
	if len(events) == 0 && !h.isUnread() {
		_, err := h.advance(term, h.conn, s, domain.Recorded{})
		return err
	}

	tx, err := h.conn.BeginTx(term, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	done, err := h.applyIn(term, tx, events, s)
	if err != nil || done {
		h.rollback(term, tx)
		return err
	}
	return tx.Commit(term)
}

func (h *handler) events(term context.Context, s span, ahead *[]domain.Recorded) ([]domain.Recorded, error) {
	switch {
	case ahead != nil:
		return *ahead, nil
	case h.isUnread():
		return nil, nil
	}
	return h.read(term, h.conn, s)
}

// caught turns a panic of the follower into an error like any other.
func (h *handler) caught(term context.Context, err *error) {
	if cause := recover(); cause != nil {
		h.logger.ErrorContext(term, "follower panicked", slog.String("stack", string(debug.Stack())))
		*err = errPanicked
		// The transaction may be in any state.
		h.close(term)
	}
}

// applyIn applies events and moves the checkpoint. done tells that the range had been
// applied before.
func (h *handler) applyIn(term context.Context, tx pgx.Tx, events []domain.Recorded, s span) (done bool, err error) {
	defer h.caught(term, &err)

	if err := h.Apply(term, Tx{Tx: tx, Log: h.reader}, events, s.UpTo); err != nil {
		return false, err
	}
	var last domain.Recorded
	if len(events) > 0 {
		last = events[len(events)-1]
	}
	return h.advance(term, tx, s, last)
}

// database is what connections and transactions have in common.
type database interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// advance moves the checkpoint if it is at the start of the range, the epoch is ours, and
// the log holds two events: the one at the checkpoint, and the last of the range, which
// may have been read ahead from a server that was replaced since. done tells that the
// range had been applied before, so that what was applied now must not be committed.
func (h *handler) advance(term context.Context, db database, s span, last domain.Recorded) (done bool, err error) {
	const move = `update trust.checkpoints c set position = $3, event_position = $3, event_id = trust.event_at($3),
			seen_at = clock_timestamp(), state = 'running', error = null, error_since = null
		from trust.head() h
		where c.follower = $1 and c.position = $2 and c.epoch = $4 and not ` + isAhead + `
			and ($5 = 0 or trust.event_at($5) = $6)`
	const look = `select c.position, c.epoch, h.position, ` + isAhead +
		` from trust.checkpoints c, trust.head() h where c.follower = $1`

	moved, err := db.Exec(term, move, h.Name(), s.After, s.UpTo, h.epoch, last.Position, [16]byte(last.EventID))
	if err != nil || moved.RowsAffected() == 1 {
		return false, err
	}

	var position, epoch, head int64
	var ahead bool
	if err := db.QueryRow(term, look, h.Name()).Scan(&position, &epoch, &head, &ahead); err != nil {
		return false, err
	}
	switch {
	case epoch == h.epoch && ahead:
		return false, &BackwardsError{Position: position, Head: head}
	case epoch == h.epoch && position == s.After:
		// The events read ahead are no longer in this log: they are read again.
		return false, errMoved
	case epoch != h.epoch:
		return false, errDeposed
	case position < s.UpTo:
		return false, errMoved
	}
	return true, nil
}

// orMoved returns errMoved if the range is no longer the next one, which may be why it
// failed: a rebuild moves the table forward. Otherwise it returns cause.
func (h *handler) orMoved(term context.Context, s span, cause error) error {
	const look = `select position <> $2 from trust.checkpoints where follower = $1`

	var moved bool
	if h.connect(term) == nil && h.conn.QueryRow(term, look, h.Name(), s.After).Scan(&moved) == nil && moved {
		return errMoved
	}
	return cause
}

// failed narrows the range. Once it is down to one event that cannot be applied, it halts
// visibly at that event.
func (h *handler) failed(term context.Context, s span, cause error, lost bool, took time.Duration) {
	if backwards, ok := errors.AsType[*BackwardsError](cause); ok {
		h.wentBackwards(term, backwards)
		return
	}

	if h.outside(term, s.After, cause) {
		h.pace.rest()
		return
	}

	found := judge(cause, lost, took)
	if found == hopeless {
		h.depose(cause)
		return
	}

	why := Describe(cause)
	if found == tooSlow && pg.Classify(cause) == pg.Away {
		why = fmt.Sprintf("its transaction was idle for longer than %s, and Postgres ended it", deadAfter)
	}

	halted := h.pace.failed(s, found)
	if halted {
		why = fmt.Sprintf("event %d: %s", s.UpTo, why)
		h.halt(term, s.After, why)
	} else if found == atFault {
		return // the range is narrowed, which is not worth a message
	}

	if why != h.said {
		h.said = why
		h.logger.ErrorContext(term, "cannot follow", slog.Int64("after", s.After), slog.Int64("up_to", s.UpTo),
			slog.String("error", why), slog.Bool("halted", halted))
	}
}

// wentBackwards halts for good, even if the log grows past the checkpoint: if the
// checkpoint's event is not known, it is set to one that no log holds.
func (h *handler) wentBackwards(term context.Context, cause *BackwardsError) {
	const stay = `update trust.checkpoints
		set event_position = position, event_id = '00000000-0000-0000-0000-000000000000'
		where follower = $1 and epoch = $2 and position = $3 and (event_id is null or event_position < position)`

	h.pace.rest()
	err := h.connect(term)
	if err == nil && cause.Position > cause.Head {
		_, err = h.conn.Exec(term, stay, h.Name(), h.epoch, cause.Position)
	}
	if err != nil {
		return // the next poll tries again
	}
	h.halt(term, cause.Position, cause.Error())
	h.say(term, cause.Position, cause.Error())
}

// halt makes the halt visible, unless a rebuild has just moved the table past the event.
func (h *handler) halt(term context.Context, at int64, why string) {
	const sql = `update trust.checkpoints set state = 'halted', error = $3,
			error_since = coalesce(error_since, clock_timestamp()), seen_at = clock_timestamp()
		where follower = $1 and epoch = $2 and position = $4 and (state <> 'halted' or error is distinct from $3)`

	err := h.connect(term)
	if err == nil {
		_, err = h.conn.Exec(term, sql, h.Name(), h.epoch, why, at)
	}
	if err != nil {
		h.logger.WarnContext(term, "cannot record that the follower halted", slog.String("error", Describe(err)))
	}
}

// connect opens a connection if there is none. Postgres closes it if this process stops
// within a transaction.
func (h *handler) connect(term context.Context) (err error) {
	if h.conn == nil || h.conn.IsClosed() {
		h.conn, err = pg.Dial(term, session(h.database, "apply", 0, deadAfter))
	}
	return err
}

func (h *handler) rollback(term context.Context, tx pgx.Tx) {
	within, cancel := context.WithTimeout(context.WithoutCancel(term), goodbye)
	defer cancel()
	if err := tx.Rollback(within); err != nil {
		h.close(term)
	}
}

// end waits for the range being applied, which is cut short when the term ends.
func (h *handler) end(term context.Context) {
	h.busy.Lock()
	defer h.busy.Unlock()
	h.ahead.end(term)
	h.close(term)
}

func (h *handler) close(term context.Context) { pg.Close(term, h.conn) }
