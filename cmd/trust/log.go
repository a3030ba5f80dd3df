package main

import (
	"io"
	"log/slog"
)

// newLogger logs types, ids, codes and counts: never bodies, secrets or personal data. process tells the parts of trust up apart.
func newLogger(w io.Writer, c *config, process string) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.level()}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if c.logFormat == "json" {
		handler = slog.NewJSONHandler(w, options)
	}
	return slog.New(handler).With(slog.String("process", process))
}
