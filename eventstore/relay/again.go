package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
)

// againWithin is how long Again may take.
const againWithin = 10 * time.Second

// Again has the events from a position on published again: it publishes the first of them
// after whatever the stream holds, and moves the follower's checkpoint there, so that the
// relay publishes the rest. If the log lost its newest events, position must be at most
// the first that the stream holds otherwise than the log does. It returns the position up
// to which the stream was published.
//
// Errors: *RefusedError, *follow.AwayError.
func (r *Relay) Again(
	ctx context.Context, pool *pgxpool.Pool, reader *eventstore.Reader, position int64,
) (until int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, againWithin)
	defer cancel()

	for range tries {
		moved := false
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			// The relay that leads does not go on meanwhile.
			_, err := follow.Hold(ctx, tx, Name)
			if _, ahead := errors.AsType[*follow.BackwardsError](err); err != nil && !ahead {
				return err
			}
			at := int64(0)
			until, at, moved, err = r.again(ctx, follow.Tx{Tx: tx, Log: reader}, position)
			if err != nil || moved {
				return err
			}
			return follow.Advance(ctx, tx, Name, at)
		})
		if err != nil || !moved {
			return until, err
		}
	}
	return 0, &follow.AwayError{Text: "the stream grew meanwhile; try again"}
}

// again publishes one event again, and returns where the checkpoint is to be. moved tells
// that the stream grew meanwhile, and that nothing was done.
func (r *Relay) again(
	ctx context.Context, tx follow.Tx, position int64,
) (until, at int64, moved bool, err error) {
	stream, err := r.stream(ctx)
	if err != nil {
		return 0, 0, false, err
	}
	if r.end, err = r.last(ctx, stream); err != nil {
		return 0, 0, false, err
	}
	// An empty stream is filled from the first event on.
	if r.end.position == 0 && position == 1 {
		return 0, 0, false, nil
	}
	if err := r.mayBegin(ctx, tx, stream, position); err != nil {
		return 0, 0, false, err
	}

	until = r.end.position
	r.end.round++
	messages, err := r.messages(ctx, tx, position-1, position, r.end.round)
	if err != nil {
		return 0, 0, false, err
	}
	moved, err = r.publish(ctx, messages)
	return until, position, moved, err
}

// mayBegin refuses a position that would leave a gap.
func (r *Relay) mayBegin(ctx context.Context, tx follow.Tx, stream jetstream.Stream, position int64) error {
	head, err := eventstore.Head(ctx, tx)
	if err != nil {
		return err
	}
	if position > head {
		return errNothing("the log ends at event %d", head)
	}
	if r.end.position == 0 {
		return errNothing("the stream %s is empty, so give --from 1", r.config.Stream)
	}
	if position > r.end.position {
		return errNothing("event %d was not published yet: the stream ends with event %d", position, r.end.position)
	}

	id, err := eventstore.EventAt(ctx, tx, r.end.position)
	if err != nil || id == r.end.id {
		return err
	}
	same, err := r.agree(ctx, tx, stream, r.end)
	if err == nil && position > same+1 {
		return errNothing("the stream holds the events of this log up to %d alone: give --from %d, or less",
			same, same+1)
	}
	return err
}

// RefusedError says why nothing is published again.
type RefusedError struct{ Why string }

func (e *RefusedError) Error() string { return e.Why }

func errNothing(why string, args ...any) error { return &RefusedError{fmt.Sprintf(why, args...)} }
