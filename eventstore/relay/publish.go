package relay

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/eventstore/follow"
)

// unanswered is how long an acknowledgement is remembered that nobody waits for.
const unanswered = 5 * time.Second

// publish appends messages to the stream, each after the one before it. moved tells that
// the stream does not end any more as it was last seen to.
func (r *Relay) publish(ctx context.Context, messages []message) (moved bool, err error) {
	within, cancel := context.WithTimeout(ctx, inTime)
	defer cancel()
	began := r.end.position
	moved, err = r.send(within, messages)
	if err == nil && !moved {
		return false, nil
	}

	// What came of the rest is not known.
	reached := r.end.position
	r.end = nil
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, context.DeadlineExceeded) && reached > began:
		return false, follow.ErrTooSlow
	default:
		return false, r.away(ctx, err)
	}
}

// send sends messages at once and waits for each to be stored. The end of the stream is
// that of the last one that was.
func (r *Relay) send(ctx context.Context, messages []message) (moved bool, err error) {
	acks := make([]jetstream.PubAckFuture, len(messages))
	for i, m := range messages {
		acks[i], err = r.js.PublishMsgAsync(m.msg, jetstream.WithMsgID(m.id),
			jetstream.WithExpectStream(r.config.Stream), jetstream.WithRetryAttempts(0),
			jetstream.WithExpectLastSequence(r.end.sequence+uint64(i)))
		if err != nil {
			return false, err
		}
	}

	for i, m := range messages {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case err := <-acks[i].Err():
			if isMoved(err) {
				return true, nil
			}
			return false, err
		case ack := <-acks[i].Ok():
			if ack.Sequence != r.end.sequence+1 {
				return true, nil // it takes the message for one that came earlier
			}
			r.end = &end{sequence: ack.Sequence, position: m.position, id: m.event, round: r.end.round}
		}
	}
	return false, nil
}

// isMoved tells whether a message was refused because the stream has another end.
func isMoved(err error) bool {
	refused, is := errors.AsType[*jetstream.APIError](err)
	return is && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
