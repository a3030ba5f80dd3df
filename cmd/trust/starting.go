package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pg"
)

// starting answers while the log is not open: healthy, as the process lives, and not
// ready. part is what is waited for.
func starting(part string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"healthy","version":"`+version+`"}`+"\n")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w,
			`{"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable",`+
				`"detail":"Not ready: `+part+`.","errors":[{"field":"`+part+`","code":"not_ready","message":"This part is not ready."}]}`+"\n")
	})
	return mux
}

// openAPI opens the log, as soon as the database answers and has its schema, and puts the
// API in place. It fails for what waiting does not mend, such as a key that was read when
// the process started.
func openAPI(ctx context.Context, o *opened, log *slog.Logger, current *swap) (err error) {
	if o.pool, err = openPool(ctx, o.address, o.config.PoolSize, o.config.RequestTimeout); err != nil {
		return err
	}

	pauses := pg.NewBackoff(50*time.Millisecond, 2*time.Second)
	for {
		err := o.openLog(ctx)
		if err == nil {
			handler, err := newAPI(o, log)
			if err == nil {
				current.use(handler)
			}
			return err
		}
		if !passes(err) || ctx.Err() != nil {
			return err
		}

		part := "database"
		switch {
		case exit.IsUnmigrated(err):
			part = "migrations"
		case exit.IsClosed(err):
			part = "restore"
		}

		current.use(starting(part))
		log.WarnContext(ctx, "waiting", slog.String("for", part), slog.String("why", exit.OneLine(err)))
		if !pauses.Wait(ctx) {
			return ctx.Err()
		}
	}
}

// passes tells whether what keeps the log from being opened may mend itself: a server
// that starts, migrations or a restore on their way, but neither a key nor a login that
// is wrong, or lacks a right.
func passes(err error) bool {
	failed, ok := errors.AsType[*exit.Error](err)
	return ok && failed.Code == exit.CodeUnreachable && !errors.Is(err, eventstore.ErrWrongMasterKey) &&
		pg.Classify(err) != pg.Settings && !exit.IsRefused(err)
}
