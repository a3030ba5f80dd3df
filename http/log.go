package http

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// A position belongs to one log, which Event-Log names: after a restore, or a failover
// that lost events, positions are given out again. A client that sends the id of its log
// is told about this before anything is done.

// logAge is how old our knowledge of the log's id may be when a request is compared with
// it or an answer names it.
const logAge = time.Second

// sameLog refuses a request with the id of another log.
func (s *server) sameLog(ctx context.Context, r *http.Request) error {
	for _, text := range r.Header.Values(headerLog) {
		if text == "" {
			continue
		}
		id, ok := parseID(text)
		if !ok {
			return domain.Refuse(codeMalformed, "Event-Log is not an id.")
		}

		if err := s.isLog(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// isLog checks again before it refuses: the id that this process knows may be out of
// date.
func (s *server) isLog(ctx context.Context, id uuid.UUID) error {
	for _, age := range []time.Duration{logAge, 0} {
		is, err := s.config.Commands.Store.Log(ctx, age)
		if err != nil {
			return err
		}
		if is == id {
			return nil
		}
	}
	return domain.Refuse(codeAnotherLog, "This is another log: discard the positions you hold and read again.")
}

// logNamer adds the id of the log to each answer with a position.
type logNamer struct {
	http.ResponseWriter
	log   func() (uuid.UUID, error)
	wrote bool
}

// WriteHeader implements http.ResponseWriter.
func (n *logNamer) WriteHeader(status int) {
	n.wrote = true
	if h := n.Header(); h.Get(headerPosition) != "" && h.Get(headerLog) == "" {
		if id, _ := n.log(); id != uuid.Nil { // on an error, the last known id
			h.Set(headerLog, id.String())
		}
	}
	n.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (n *logNamer) Write(b []byte) (int, error) {
	if !n.wrote {
		n.WriteHeader(http.StatusOK)
	}
	return n.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (n *logNamer) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// isBeyond reports whether a text is a whole number greater than any position.
func isBeyond(text string) bool {
	digits := strings.TrimLeft(text, "0")
	const greatest = "9223372036854775807"
	return digits != "" && strings.Trim(digits, "0123456789") == "" &&
		(len(digits) > len(greatest) || len(digits) == len(greatest) && digits > greatest)
}

func unknownPosition() error {
	return domain.Refuse(domain.CodeUnknownPosition, "The log has no such position: read again without it.")
}
