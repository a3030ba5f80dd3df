package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
)

// forget is how long the server knows the ids of messages, so that one that is sent twice
// within it is stored once. Nothing rests on it alone.
const forget = 2 * time.Minute

// look reads how the stream ends, and makes the stream if there is none. The stream must
// keep what it takes, and end with an event of this log.
func (r *Relay) look(ctx context.Context, db eventstore.Querier) error {
	r.end = nil
	within, cancel := context.WithTimeout(ctx, inTime)
	defer cancel()
	stream, err := r.stream(within)
	if err != nil {
		return err
	}
	last, err := r.last(within, stream)
	if err != nil {
		return err
	}

	if last.position > 0 {
		id, err := eventstore.EventAt(ctx, db, last.position)
		if err != nil {
			return err
		}
		if id != last.id {
			return r.refuse("ends with event %d as this log does not hold it: the log went backwards, or the "+
				"stream is another log's; see docs/relay.md, The log went backwards", last.position)
		}
	}
	r.end = last
	return nil
}

// stream returns the stream, which it makes if there is none.
func (r *Relay) stream(ctx context.Context) (jetstream.Stream, error) {
	if err := r.connected(); err != nil {
		return nil, err
	}

	stream, err := r.js.Stream(ctx, r.config.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = r.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: r.config.Stream, Description: "The events of SALGA Trust Engine, in order: docs/relay.md.",
			Subjects: []string{subjects}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
			MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, Discard: jetstream.DiscardNew,
			Duplicates: forget, DenyDelete: true,
		})
	}
	if err != nil {
		return nil, r.away(ctx, err)
	}

	if wrong := unfit(stream.CachedInfo().Config); len(wrong) > 0 {
		return nil, r.refuse("has another configuration than the relay needs: %s; mend that, or name another in "+
			"RELAY_STREAM", strings.Join(wrong, ", "))
	}
	return stream, nil
}

// unfit lists what keeps a stream from holding every event once and in order.
func unfit(c jetstream.StreamConfig) (wrong []string) {
	rules := []struct {
		broken bool
		says   string
	}{
		{!slices.Equal(c.Subjects, []string{subjects}), "its subjects are not " + subjects},
		{c.Storage != jetstream.FileStorage, "its storage is not a file"},
		{c.Retention != jetstream.LimitsPolicy, "its retention is not by limits"},
		{c.MaxMsgs > 0, "it limits the number of messages"},
		{c.MaxBytes > 0, "it limits the bytes"},
		{c.MaxAge > 0, "it limits the age of messages"},
		{c.MaxMsgsPerSubject > 0, "it limits the messages for each subject"},
		{c.MaxMsgSize > 0, "it limits the size of a message"},
		{!c.DenyDelete, "single messages can be deleted (deny_delete is not set)"},
		{c.AllowRollup, "messages can replace others (allow_rollup_hdrs)"},
		{c.AllowMsgTTL, "messages can expire (allow_msg_ttl)"},
		{c.NoAck, "it does not acknowledge (no_ack)"},
		{c.Sealed, "it is sealed"},
		{c.Mirror != nil || len(c.Sources) > 0, "it takes messages from another stream"},
		{c.SubjectTransform != nil, "it changes subjects"},
		{c.PersistMode == jetstream.AsyncPersistMode, "it acknowledges what is not written (persist_mode)"},
	}

	for _, rule := range rules {
		if rule.broken {
			wrong = append(wrong, rule.says)
		}
	}
	return wrong
}

// last returns the last message of the stream.
func (r *Relay) last(ctx context.Context, stream jetstream.Stream) (*end, error) {
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return &end{sequence: state.LastSeq}, nil
	}

	found, err := stream.GetMsg(ctx, state.LastSeq)
	if err != nil {
		return nil, r.away(ctx, err)
	}
	last, err := endOf(found.Sequence, found.Header, found.Data)
	if err != nil {
		return nil, r.refuse("ends with a message that is not of a relay; publish nothing else to %s", subjects)
	}
	return last, nil
}

// refuse says why the stream cannot be published to.
func (r *Relay) refuse(why string, args ...any) error {
	return &follow.AwayError{Text: "the stream " + r.config.Stream + " " + fmt.Sprintf(why, args...)}
}

// agree returns the newest position up to which the stream holds this log's events, if
// it ends otherwise: the log has lost its newest events since they were published. At 0
// there is no such position, or it cannot be found.
func (r *Relay) agree(ctx context.Context, db eventstore.Querier, stream jetstream.Stream, last *end) (int64, error) {
	differ := func(position int64) (bool, error) {
		found, err := stream.GetMsg(ctx, last.sequence-uint64(last.position-position))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return true, nil
		}
		if err != nil {
			return false, r.away(ctx, err)
		}
		there, err := endOf(found.Sequence, found.Header, found.Data)
		if err != nil || there.position != position {
			return true, nil //nolint:nilerr // it is not this event
		}
		id, err := eventstore.EventAt(ctx, db, position)
		return id == uuid.Nil || id != there.id, err
	}

	// Between same and other, the first that differs is searched for by halves.
	same, other := int64(0), last.position
	if uint64(last.position) > last.sequence {
		same = last.position - int64(last.sequence)
	}
	for other-same > 1 {
		middle := same + (other-same)/2
		differs, err := differ(middle)
		if err != nil {
			return 0, err
		}
		if differs {
			other = middle
		} else {
			same = middle
		}
	}
	return same, nil
}
