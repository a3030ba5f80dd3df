package http

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Nobody waits for ever. A request is answered within Config.RequestTimeout, or with 503;
// what the answer needs ends a little before, so that there is time to say so. A client
// has as long again to take each piece of an answer.
const (
	defaultTimeout = 10 * time.Second
	longest        = 15 * time.Minute // for all of an export: its snapshot keeps the whole database from being vacuumed
	pieceSize      = 32 << 10         // bytes
)

// atWork is how long an answer may be worked on.
func (s *server) atWork() time.Duration {
	limit := s.config.RequestTimeout
	return limit - min(limit/10, 500*time.Millisecond)
}

// within gives a request its deadline, also for its body to arrive.
func (s *server) within(ctx context.Context, w http.ResponseWriter) (context.Context, context.CancelFunc) {
	limit := s.atWork()
	traceOf(ctx).gone = ctx.Done()
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(limit)) // a recorder in tests has none
	return context.WithTimeout(ctx, limit)
}

// endReading lifts the deadline for the body. It would end an answer that takes longer:
// net/http goes on reading, to see whether the client leaves. After a refusal it stays,
// for net/http then waits for the rest of the body.
func endReading(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// eachPage returns a context without the request's deadline, for an export. It ends when
// the client leaves, when everything took too long, or when renew was not called for as
// long as another request may take.
func (s *server) eachPage(ctx context.Context) (paged context.Context, renew, end func()) {
	gone, limit := traceOf(ctx).gone, s.atWork()
	paged, cancel := context.WithTimeout(context.WithoutCancel(ctx), longest)
	page := time.AfterFunc(limit, cancel)
	go func() {
		select {
		case <-gone:
			cancel()
		case <-paged.Done():
		}
	}()

	return paged, func() { page.Reset(limit) }, func() {
		page.Stop()
		cancel()
	}
}

// pace gives the client some time for each piece of an answer: as long as it reads, an
// answer may take; one that stopped reading lets go of everything that its request holds.
func (s *server) pace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &paced{ResponseWriter: w, control: http.NewResponseController(w), patience: s.config.RequestTimeout}
		p.socket, _ = r.Context().Value(connectionKey{}).(net.Conn)
		p.renew(s.config.RequestTimeout + p.patience) // also in place of what the connection's last request left
		next.ServeHTTP(p, r)
		if !p.arrived() {
			cut(w)
		}
	})
}

// paced is an answer whose pieces each have a deadline.
type paced struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	socket   net.Conn // nil: not known
	written  int
	failed   bool
}

// Unwrap is for http.ResponseController.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Write implements http.ResponseWriter.
func (p *paced) Write(b []byte) (written int, err error) {
	for {
		piece := b[:min(len(b), pieceSize)]
		if p.written <= held && p.written+len(piece) > held {
			setLinger(p.socket, 0) // until all of it has arrived
		}
		p.renew(p.patience)
		n, err := p.ResponseWriter.Write(piece)
		written, p.written = written+n, p.written+n
		p.failed = p.failed || (err != nil && !errors.Is(err, http.ErrBodyNotAllowed))
		if b = b[len(piece):]; err != nil || len(b) == 0 {
			return written, err
		}
	}
}

// held is what net/http may keep back of an answer until it is whole. What is not longer
// than that is sent with its length.
const held = 2 << 10 // bytes

// arrived sends what net/http kept back, and tells whether the network took all of the
// answer.
func (p *paced) arrived() bool {
	if !p.failed && p.written > held {
		p.renew(p.patience)
		err := p.control.Flush()
		p.failed = err != nil && !errors.Is(err, http.ErrNotSupported)
	}
	if !p.failed {
		setLinger(p.socket, -1)
	}
	return !p.failed
}

func (p *paced) renew(after time.Duration) {
	_ = p.control.SetWriteDeadline(time.Now().Add(after)) // a recorder in tests has none
}
