package follow

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/internal/pg"
)

// Some followers write outside of the database: their work may be lost there, although
// their checkpoint counts it as done, or hindered while no event comes that would show
// it.

// checkEvery is how often a leader checks what its follower wrote elsewhere, in polls: by
// default every 5 s, which is about as often as a halted follower tries again.
const checkEvery = 20

// watch checks a follower until the term ends.
func (h *handler) watch(term context.Context, follower Watched) {
	for term.Err() == nil {
		h.look(term, follower)
		sleep(term, checkEvery*h.config.PollEvery)
	}
}

// look checks once, while no range is applied.
func (h *handler) look(term context.Context, follower Watched) {
	h.busy.Lock()
	defer h.busy.Unlock()

	within, cancel := context.WithTimeout(term, applyAtMost)
	defer cancel()
	position, err := h.check(within, follower)
	if err != nil && term.Err() == nil {
		h.fails()
	}

	switch {
	case term.Err() != nil:
	case err == nil:
		h.recovered(term, position)
	case errors.Is(err, errSilent):
		h.depose(err)
	case within.Err() != nil:
		// It is looked at again.
	case h.outside(term, position, err), pg.Classify(err) != pg.None:
		// Trouble with the database shows itself at the next poll.
	default:
		h.halt(term, position, Describe(err))
		h.say(term, position, Describe(err))
	}
}

// check returns the position of the checkpoint, and what the follower says.
func (h *handler) check(term context.Context, follower Watched) (position int64, err error) {
	if err := h.connect(term); err != nil {
		return 0, err
	}
	tx, err := h.conn.BeginTx(term, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return 0, err
	}
	defer h.rollback(term, tx)

	// A follower that is ahead of its log halts with the next poll.
	if position, err = Position(term, tx, h.Name()); err != nil {
		return position, err
	}
	defer h.caught(term, &err)
	return position, follower.Check(term, Tx{Tx: tx, Log: h.reader})
}

// outside deals with errors that are not about the database and not about an event. It
// tells whether err is one.
func (h *handler) outside(term context.Context, at int64, err error) bool {
	if behind, is := errors.AsType[*BehindError](err); is {
		h.goBack(term, at, behind)
		return true
	}
	if away, is := errors.AsType[*AwayError](err); is {
		h.halt(term, at, away.Text)
		h.say(term, at, away.Text)
		return true
	}
	return false
}

// say logs why the follower halted, once.
func (h *handler) say(term context.Context, at int64, why string) {
	if why != h.said {
		h.said = why
		h.logger.ErrorContext(term, "cannot follow", slog.Int64("after", at), slog.String("error", why),
			slog.Bool("halted", true))
	}
}

// goBack moves the checkpoint back, if it is still where the follower found itself
// behind.
func (h *handler) goBack(term context.Context, from int64, behind *BehindError) {
	const sql = `update trust.checkpoints set position = $4, event_position = $4, event_id = trust.event_at($4),
			seen_at = clock_timestamp()
		where follower = $1 and epoch = $2 and position = $3 and $4 < $3`

	h.logger.WarnContext(term, "follower goes back", slog.Int64("from", from), slog.Int64("to", behind.Position))
	err := h.connect(term)
	if err == nil {
		_, err = h.conn.Exec(term, sql, h.Name(), h.epoch, from, behind.Position)
	}
	if err != nil {
		// It finds itself behind again.
		h.logger.WarnContext(term, "cannot move the checkpoint back", slog.String("error", Describe(err)))
	}
}

// recovered ends a halt of a follower that has nothing left to apply. Otherwise the next
// range does, or shows why not.
func (h *handler) recovered(term context.Context, position int64) {
	const sql = `update trust.checkpoints c set state = 'running', error = null, error_since = null,
			seen_at = clock_timestamp()
		from trust.head() h
		where c.follower = $1 and c.epoch = $2 and c.position = $3 and c.position = h.position and c.state = 'halted'`

	ended, err := h.conn.Exec(term, sql, h.Name(), h.epoch, position)
	if err == nil && ended.RowsAffected() == 1 {
		h.said = ""
	}
}
