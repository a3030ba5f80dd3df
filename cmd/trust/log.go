package main

import (
	"io"
	"log/slog"

	"github.com/salga-trust/engine/cmd/trust/internal/settings"
)

// newLogger returns a logger for types, ids, codes and counts, never for bodies, secrets
// or personal data. process tells the parts of trust up apart.
func newLogger(w io.Writer, c *settings.Config, process string) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level()}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if c.LogFormat == "json" {
		handler = slog.NewJSONHandler(w, options)
	}
	return slog.New(handler).With(slog.String("process", process))
}
