package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/salga-trust/engine/domain"
)

const (
	// maxWaiting is how many letters wait at once; each is a few hundred bytes.
	maxWaiting = 1_000
	// atOnce is how many are handed over at the same time: a mail server takes hundreds a
	// second one by one, and many refuse a sender with more connections.
	atOnce = 2
	// tries is how often a letter is tried, firstPause and longestPause what lies between:
	// together less than the code lives.
	tries        = 5
	firstPause   = 2 * time.Second
	longestPause = 2 * time.Minute

	dialPatience = 10 * time.Second
	talkPatience = 30 * time.Second
)

// Sender sends letters in the background. Create it with New.
type Sender struct {
	server *Server
	log    *slog.Logger

	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	roots *x509.CertPool // nil: the system's
	first time.Duration

	waiting chan struct{} // a place for each letter
	sending chan struct{} // a turn for each connection
	letters sync.WaitGroup
	ctx     context.Context //nolint:containedctx // of all letters: ended by Close, after the requests they came with
	stop    context.CancelFunc
}

// New makes a Sender. Close it.
func New(ctx context.Context, server *Server, log *slog.Logger) *Sender {
	s := &Sender{
		server: server, log: log, dial: (&net.Dialer{Timeout: dialPatience}).DialContext, first: firstPause,
		waiting: make(chan struct{}, maxWaiting), sending: make(chan struct{}, atOnce),
	}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// Close waits until the letters that wait are sent, at most until ctx ends, and drops the
// rest.
func (s *Sender) Close(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		s.letters.Wait()
		close(done)
	}()

	select {
	case <-done:
	case <-ctx.Done():
	}
	s.stop()
	<-done
}

// Send takes a letter over and returns at once. Error: overloaded.
func (s *Sender) Send(l domain.Letter) error {
	select {
	case s.waiting <- struct{}{}:
	default:
		return domain.Refuse(domain.CodeOverloaded, "Too many letters are waiting to be sent; try again.")
	}

	s.letters.Go(func() {
		defer func() { <-s.waiting }()
		s.deliver(l)
	})
	return nil
}

// deliver tries until the server takes the letter, refuses it for good, or its code is
// about to expire.
func (s *Sender) deliver(l domain.Letter) {
	ctx, cancel := context.WithDeadline(s.ctx, l.ExpiresAt)
	defer cancel()

	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval, pauses.Multiplier = s.first, longestPause, 4
	tried := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		tried++
		return struct{}{}, s.hand(ctx, l)
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(domain.CodeLasts))
	if err != nil {
		s.log.Warn("a letter was not sent",
			slog.String("kind", string(l.Kind)), slog.Int("tries", tried), slog.String("reason", reason(err)))
	}
}

// hand gives a letter to the server, in one connection.
func (s *Sender) hand(ctx context.Context, l domain.Letter) error {
	select {
	case s.sending <- struct{}{}:
		defer func() { <-s.sending }()
	case <-ctx.Done():
		return ctx.Err()
	}

	text, err := message(s.server.from, l, time.Now())
	if err != nil {
		return backoff.Permanent(err)
	}

	client, err := s.connect(ctx)
	if err != nil {
		return lasting(err)
	}
	defer func() { _ = client.Close() }()

	if s.server.user != "" {
		if err := client.Auth(sasl.NewPlainClient("", s.server.user, s.server.password)); err != nil {
			return lasting(err)
		}
	}
	if err := client.SendMail(s.server.from.Address, []string{l.To}, bytes.NewReader(text)); err != nil {
		return lasting(err)
	}
	_ = client.Quit() // the letter is theirs already
	return nil
}

// connect opens a connection that nobody can listen in on. To this machine, TLS is used
// if it is offered, and its certificate, which is often of the server's own making, does
// not matter.
func (s *Sender) connect(ctx context.Context) (*smtp.Client, error) {
	secure := &tls.Config{
		ServerName: s.server.host, RootCAs: s.roots, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: s.server.local(), //nolint:gosec // see above
	}

	conn, err := s.dial(ctx, "tcp", s.server.address())
	if err != nil {
		return nil, err
	}
	if s.server.tlsFirst {
		return patient(smtp.NewClient(tls.Client(conn, secure))), nil
	}

	if s.server.local() {
		client := patient(smtp.NewClient(conn))
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return client, nil
		}

		_ = client.Close()
		if conn, err = s.dial(ctx, "tcp", s.server.address()); err != nil {
			return nil, err
		}
	}

	// Before the client has its own patience.
	if err := conn.SetDeadline(time.Now().Add(talkPatience)); err != nil {
		return nil, err
	}
	client, err := smtp.NewClientStartTLS(conn, secure)
	if err != nil {
		return nil, fmt.Errorf("start TLS: %w", err)
	}
	return patient(client), nil
}

func patient(c *smtp.Client) *smtp.Client {
	c.CommandTimeout, c.SubmissionTimeout = talkPatience, talkPatience
	return c
}

// lasting marks an error that another try would meet again.
func lasting(err error) error {
	if refused, is := errors.AsType[*smtp.SMTPError](err); is && !refused.Temporary() {
		return backoff.Permanent(err)
	}
	return err
}

// reason says why a letter was not sent, for the log. Servers repeat addresses in their
// answers, so of those only the numbers are said.
func reason(err error) string {
	if refused, is := errors.AsType[*smtp.SMTPError](err); is {
		code := refused.EnhancedCode
		return fmt.Sprintf("the mail server answered %d %d.%d.%d", refused.Code, code[0], code[1], code[2])
	}
	return err.Error()
}
