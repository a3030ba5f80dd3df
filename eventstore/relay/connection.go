package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pg"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// dialWithin is how long one attempt to connect may take.
	dialWithin = 2 * time.Second
	// pingEvery is how often a silent connection is tested; after two pings without an
	// answer it counts as lost.
	pingEvery = 5 * time.Second
)

// connect begins to connect, and goes on trying for ever.
func (r *Relay) connect() (err error) {
	pauses := pg.NewBackoff(firstPause, longestPause)
	options := []nats.Option{
		nats.Name("trust relay"), nats.Timeout(dialWithin), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(func(int) time.Duration { return pauses.Next() }),
		nats.ReconnectHandler(func(*nats.Conn) { pauses.Reset() }),
		// Nothing is sent late: what is sent is either stored at once, or not.
		nats.ReconnectBufSize(-1),
		// The default prints. What is wrong shows itself in what fails.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}
	if r.config.CredsFile != "" {
		options = append(options, nats.UserCredentials(r.config.CredsFile))
	}

	if r.conn, err = nats.Connect(r.config.URL, options...); err != nil {
		return &follow.AwayError{Text: "NATS: " + inWords(err), Err: err}
	}
	r.js, err = jetstream.New(r.conn, jetstream.WithPublishAsyncMaxPending(2*atOnce),
		jetstream.WithPublishAsyncTimeout(unanswered))
	return err
}

// connected returns an error unless the server is there.
func (r *Relay) connected() error {
	if r.conn.IsConnected() {
		return nil
	}
	err := r.conn.LastError()
	if err == nil {
		err = nats.ErrNoServers
	}
	return &follow.AwayError{Text: "NATS: " + inWords(err), Err: err}
}

// away says what keeps NATS from taking messages.
func (r *Relay) away(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if gone := r.connected(); gone != nil {
		return gone
	}
	return &follow.AwayError{Text: "NATS: " + inWords(err), Err: err}
}

// inWords says what is wrong with NATS, without the text of an error that may name an
// address, a user or a file.
func inWords(err error) string {
	for known, words := range map[error]string{
		nats.ErrAuthorization:                      "it refuses the user or the credentials",
		nats.ErrAuthExpired:                        "the credentials have expired",
		nats.ErrAuthRevoked:                        "the credentials were revoked",
		nats.ErrAccountAuthExpired:                 "the account has expired",
		nats.ErrPermissionViolation:                "the user may not do this",
		nats.ErrSecureConnWanted:                   "it offers no TLS",
		nats.ErrNoResponders:                       "it has no JetStream for this account, or JetStream is starting",
		jetstream.ErrNoStreamResponse:              "no stream takes the message",
		jetstream.ErrJetStreamNotEnabled:           "JetStream is not enabled",
		jetstream.ErrStreamNotFound:                "the stream is gone",
		nats.ErrMaxPayload:                         "a message is larger than its max_payload",
		jetstream.ErrMsgNotFound:                   "the last message of the stream cannot be read",
		jetstream.ErrJetStreamNotEnabledForAccount: "JetStream is not enabled for this account",
	} {
		if errors.Is(err, known) {
			return words
		}
	}

	if refused, is := errors.AsType[*jetstream.APIError](err); is {
		return fmt.Sprintf("JetStream refuses with error %d", refused.ErrorCode)
	}
	for _, silent := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoServers, nats.ErrDisconnected, nats.ErrConnectionClosed,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, jetstream.ErrAsyncPublishTimeout,
	} {
		if errors.Is(err, silent) {
			return "it does not answer"
		}
	}
	return fmt.Sprintf("it cannot be reached (%T)", err)
}
