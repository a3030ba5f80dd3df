package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/seal"
)

// Name is the relay's name as a follower.
const Name = "relay"

// Config says where to publish.
type Config struct {
	// URL lists servers, separated by commas: nats:// or tls://, perhaps with user and
	// password.
	URL string
	// CredsFile holds the credentials of a user; empty: none are needed.
	CredsFile string
	// Stream is the name of the stream.
	Stream string
	// Origin is the source of messages; empty: the log's own name, see
	// seal.DefaultOrigin.
	Origin string
}

// Relay is a follower of the log. Its zero value only has a name. It is not safe for
// concurrent use: a worker calls it from one place at a time.
type Relay struct {
	config Config
	conn   *nats.Conn
	js     jetstream.JetStream

	end   *end                       // of the stream, as it was last seen; nil: to be read
	codes map[domain.TenantID]string // of municipalities
}

// end is the last message of the stream.
type end struct {
	sequence uint64
	position int64 // 0: there is none
	id       uuid.UUID
	round    int
}

const (
	// inTime is how long an answer of NATS is waited for. It is less than a leader may be
	// idle within a transaction.
	inTime = time.Second
	// atOnce is how many events are read, and sent before the first is acknowledged.
	atOnce = 500
	// tries is how often the end of the stream is read anew because something else was
	// published meanwhile.
	tries = 3
)

// Open returns a relay. It does not wait for a server that is away.
func Open(config Config) (*Relay, error) {
	r := &Relay{config: config, codes: map[domain.TenantID]string{}}
	return r, r.connect()
}

// Close ends the connection.
func (r *Relay) Close() { r.conn.Close() }

// Name implements follow.Follower.
func (*Relay) Name() string { return Name }

// Kinds implements follow.Follower: all events leave.
func (*Relay) Kinds() []domain.StreamType { return nil }

// Unread implements follow.Unread: the relay reads events without opening them.
func (*Relay) Unread() {}

// Apply implements follow.Follower.
func (r *Relay) Apply(ctx context.Context, tx follow.Tx, _ []domain.Recorded, upTo int64) error {
	after, err := follow.Position(ctx, tx, Name)
	if err != nil {
		return err
	}

	if r.end == nil || r.end.position != after {
		if err := r.look(ctx, tx); err != nil {
			return err
		}
	}
	if r.end.position < after {
		return &follow.BehindError{Position: r.end.position}
	}
	return r.publishUpTo(ctx, tx, upTo)
}

// Check implements follow.Watched.
func (r *Relay) Check(ctx context.Context, tx follow.Tx) error {
	after, err := follow.Position(ctx, tx, Name)
	if err != nil {
		return err
	}
	if err := r.look(ctx, tx); err != nil {
		return err
	}
	if r.end.position < after {
		return &follow.BehindError{Position: r.end.position}
	}
	return nil
}

// publishUpTo publishes what the stream lacks up to a position. An earlier attempt may
// have published more than its transaction could tell.
func (r *Relay) publishUpTo(ctx context.Context, tx follow.Tx, upTo int64) error {
	for missed := 0; r.end.position < upTo; {
		to := min(upTo, r.end.position+atOnce)
		messages, err := r.messages(ctx, tx, r.end.position, to, r.end.round)
		if err != nil {
			return err
		}

		moved, err := r.publish(ctx, messages)
		if err != nil {
			return err
		}
		if !moved {
			continue
		}

		if missed++; missed == tries {
			return &follow.AwayError{Text: fmt.Sprintf("something else publishes to the stream %s", r.config.Stream)}
		}
		if err := r.look(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// messages returns the messages of the events at the positions after < p ≤ upTo.
func (r *Relay) messages(
	ctx context.Context, tx follow.Tx, after, upTo int64, round int,
) ([]message, error) {
	source, err := r.source(ctx, tx)
	if err != nil {
		return nil, err
	}
	events, err := tx.Log.Closed(ctx, tx, after, upTo)
	if err != nil {
		return nil, err
	}

	messages := make([]message, len(events))
	for i, e := range events {
		code, err := r.code(ctx, tx, e.Tenant)
		if err != nil {
			return nil, err
		}
		if messages[i], err = messageOf(e, source, code, round); err != nil {
			return nil, fmt.Errorf("message of event %d: %w", e.Position, err)
		}
	}
	return messages, nil
}

// source returns the log's name.
func (r *Relay) source(ctx context.Context, db eventstore.Querier) (string, error) {
	if r.config.Origin != "" {
		return r.config.Origin, nil
	}
	return seal.DefaultOrigin(ctx, db)
}

// code returns the code of a municipality.
func (r *Relay) code(ctx context.Context, tx follow.Tx, tenant domain.TenantID) (string, error) {
	if code, known := r.codes[tenant]; known {
		return code, nil
	}

	code, err := tx.Log.MunicipalityCode(ctx, tx, tenant)
	if err == nil && code != "" {
		r.codes[tenant] = code
	}
	return code, err
}
