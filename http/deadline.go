package http

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Nobody waits for ever. A request is answered within Config.RequestTimeout, or with 503.
// Work on the answer ends a little before that, to leave time for the 503. A client then
// has the same time again to take each piece of an answer.
const (
	defaultTimeout = 10 * time.Second
	// longest is for a whole export: its snapshot keeps the database from being vacuumed.
	longest   = 15 * time.Minute
	pieceSize = 32 << 10 // bytes
)

// atWork returns how long an answer may be worked on.
func (s *server) atWork() time.Duration {
	limit := s.config.RequestTimeout
	return limit - min(limit/10, 500*time.Millisecond)
}

// within sets the deadline of a request, which is also that of its body.
func (s *server) within(ctx context.Context, w http.ResponseWriter) (context.Context, context.CancelFunc) {
	limit := s.atWork()
	if t := traceOf(ctx); !t.inside { // a page leaves when its own client does
		t.gone = ctx.Done()
	}
	// A recorder in tests has no deadlines, so the error is ignored.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(limit))
	return context.WithTimeout(ctx, limit)
}

// endReading lifts the body's deadline. It would end an answer that takes longer, because
// net/http goes on reading to see whether the client leaves. After a refusal the deadline
// stays, because net/http then waits for the rest of the body.
func endReading(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// eachPage returns a context for an export, without the request's deadline. It ends when
// the client leaves, when the export as a whole takes too long, or when renew has not
// been called for as long as another request may take.
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

// pace limits the time that a client has for each piece of an answer. A client that keeps
// reading may take as long as it needs; for one that stops, everything that its request
// holds is released.
func (s *server) pace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &paced{ResponseWriter: w, control: http.NewResponseController(w), patience: s.config.RequestTimeout}
		p.socket, _ = r.Context().Value(connectionKey{}).(net.Conn)
		// This also replaces the deadline that the connection's last request left.
		p.renew(s.config.RequestTimeout + p.patience)

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
	socket   net.Conn // nil: unknown
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

// held is how many bytes of an answer net/http may keep back until the answer is
// complete. A shorter answer is sent with its length.
const held = 2 << 10

// arrived sends what net/http kept back, and reports whether the network took the whole
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
	// A recorder in tests has no deadlines, so the error is ignored.
	_ = p.control.SetWriteDeadline(time.Now().Add(after))
}
