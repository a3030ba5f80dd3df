package eventstore

import (
	"errors"
	"fmt"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// Unavailable turns temporary trouble with the database into a refusal: CodeUnavailable,
// or CodeTimeout if a statement took too long. Every other error stays as it is: nil,
// refusals, and settings that the server rejects, which no retry can fix.
func Unavailable(err error) error {
	if _, refused := errors.AsType[*domain.Error](err); refused {
		return err
	}

	switch pg.Classify(err) {
	case pg.Away, pg.Again:
		return domain.Refuse(domain.CodeUnavailable, "The database is not responding; try again shortly.").Because(err)
	case pg.Ours:
		return domain.Refuse(domain.CodeTimeout, "The database took too long; try again shortly.").Because(err)
	default:
		return err
	}
}

// UnknownPosition refuses a position that the log has not assigned.
func UnknownPosition() error {
	return domain.Refuse(domain.CodeUnknownPosition, "The log has no such position: read again without it.")
}

// undecodable is the error of an event that cannot be decoded: CodeNewerLog if its type
// is unknown, which only means that this program is older than the log.
func undecodable(position int64, err error) error {
	err = fmt.Errorf("event at position %d: %w", position, err)
	if _, unknown := errors.AsType[*domain.UnknownEventError](err); unknown {
		return domain.Refuse(domain.CodeNewerLog,
			"The log holds events of a newer release than this server, which is about to be replaced; try again.").
			Because(err)
	}
	return err
}
