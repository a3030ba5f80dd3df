package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	apphttp "github.com/salga-trust/engine/http"
)

type serveCmd struct{}

// Time limits of the server. A handler may stream a replay for minutes, so writing has no
// limit of its own; a client that does not send its request, or holds an idle connection,
// has one.
const (
	headerPatience = 5 * time.Second
	bodyPatience   = 30 * time.Second
	idlePatience   = 2 * time.Minute
	stopPatience   = 10 * time.Second // less than the grace under trust up
	maxHeader      = 32 << 10
)

// Run listens at once, answers "not ready" until the log is open, and serves until a
// signal comes. Then it finishes the requests under way.
func (serveCmd) Run(ctx context.Context, p *program) error {
	outliveReaders()
	o, err := p.check(needs{commands: true, queries: true, keys: settings.Secrets{Secret: true}})
	if err != nil {
		return err
	}

	if err := unwrapMasterKey(ctx, o.config); err != nil {
		return err
	}

	log := newLogger(p.stderr, o.config, "serve")
	o.log = log
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.config.HTTPAddr)
	if err != nil {
		return exit.Unreachable(err, "cannot listen on HTTP_ADDR; end what listens there, or set another address")
	}

	current := &swap{}
	current.use(starting("database"))
	server := &http.Server{
		Handler: current, ReadHeaderTimeout: headerPatience, ReadTimeout: bodyPatience, IdleTimeout: idlePatience,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: apphttp.OnConnection,
	}
	log.InfoContext(ctx, "listening", slog.String("address", listener.Addr().String()))

	told := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	var opening sync.WaitGroup
	opening.Go(func() {
		err := openAPI(ctx, o, log, current)
		if err == nil {
			err = watchMasterKey(ctx, o.pool, o.config, true)
		}
		if err != nil && ctx.Err() == nil {
			stop(err)
		}
	})

	err = serveUntil(ctx, server, listener)
	if err == nil {
		err = whyEnded(told, ctx)
	}

	stop(nil)
	opening.Wait()
	o.close(ctx)
	log.InfoContext(ctx, "stopped")
	return err
}

// serveUntil serves until ctx ends, and then gives the requests under way time to finish.
// It returns an error if serving ended before ctx did.
func serveUntil(ctx context.Context, server *http.Server, listener net.Listener) error {
	broken := make(chan error, 1)
	go func() { broken <- server.Serve(listener) }()

	select {
	case err := <-broken:
		return exit.Unreachable(err, "the server stopped")
	case <-ctx.Done():
	}

	patience, done := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer done()
	if server.Shutdown(patience) != nil {
		_ = server.Close() // requests that take longer are cut off
	}
	return nil
}

// whyEnded returns the failure that ended ctx, whatever it is; nil when a signal ended
// told, which is ctx's parent.
func whyEnded(told, ctx context.Context) error {
	cause := context.Cause(ctx)
	if stopped := told.Err() != nil || errors.Is(cause, context.Canceled); !stopped {
		return exit.Explain(cause)
	}
	return nil
}

// swap is a handler that can be replaced while it serves.
type swap struct{ handler atomic.Pointer[http.Handler] }

func (s *swap) use(h http.Handler) { s.handler.Store(&h) }

// ServeHTTP calls the present handler.
func (s *swap) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*s.handler.Load()).ServeHTTP(w, r) }
