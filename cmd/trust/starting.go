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

// starting returns the handler that answers until the log is open: healthy, because the
// process lives, but not ready. part names what it waits for.
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
				`"detail":"Not ready: `+part+`.","errors":[{"field":"`+part+`","code":"not_ready",`+
				`"message":"This part is not ready."}]}`+"\n")
	})
	return mux
}

// openAPI opens the log as soon as the database answers and has its schema, and then puts
// the API in place. It fails where waiting does not help: a wrong key, for example, which
// was read when the process started.
func openAPI(ctx context.Context, o *opened, log *slog.Logger, current *swap) (err error) {
	if o.pool, err = openPool(ctx, o.address, o.config.PoolSize, o.config.RequestTimeout); err != nil {
		return err
	}

	pauses := pg.NewBackoff(50*time.Millisecond, 2*time.Second)
	for {
		err := o.openLog(ctx)
		if err == nil {
			handler, err := newAPI(ctx, o, log)
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

// passes reports whether an error of opening the log may pass by itself: a server that is
// starting, migrations or a restore under way, but not a wrong key, nor a login that is
// wrong or lacks a right.
func passes(err error) bool {
	failed, ok := errors.AsType[*exit.Error](err)
	return ok && failed.Code == exit.CodeUnreachable && !errors.Is(err, eventstore.ErrWrongMasterKey) &&
		pg.Classify(err) != pg.Settings && !exit.IsRefused(err)
}
