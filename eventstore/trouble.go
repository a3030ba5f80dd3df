package eventstore

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/internal/pg"
)

// troubleCounts is how long a failed append says something about the database if nothing
// newer does. A load balancer that heard of the failure sends no more appends, and only
// another append can tell that the trouble has passed.
const troubleCounts = 20 * time.Second

// lastAppend holds why the database did not accept the last append; nil: it did.
type lastAppend struct{ trouble atomic.Pointer[trouble] }

type trouble struct {
	at  time.Time
	why string
}

// note records how a call of the append function ended, as far as that concerns the
// database.
func (l *lastAppend) note(err error) {
	switch pg.Classify(err) {
	case pg.Away, pg.Ours, pg.Settings:
		// What the database said a moment ago tells more than its silence now.
		if _, answered := errors.AsType[*pgconn.PgError](err); answered || l.why() == "" {
			l.trouble.Store(&trouble{time.Now(), inWords(err)})
		}

	case pg.None, pg.Again: // it answered
		l.trouble.Store(nil)
	}
}

// Trouble tells operators why the database did not accept the last append. It is empty if
// it did, if there was none yet, and if that was more than 20 seconds ago.
func (s *Store) Trouble() string { return s.appender.last.why() }

func (l *lastAppend) why() string {
	last := l.trouble.Load()
	if last == nil || time.Since(last.at) > troubleCounts {
		return ""
	}
	return last.why
}

func inWords(err error) string {
	said, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return "the database did not answer the last append"
	}

	switch {
	case said.Code == pgerrcode.DiskFull:
		return "the database's disk is full"
	case said.Code == pgerrcode.ReadOnlySQLTransaction:
		return "the database is read-only"
	case pgerrcode.IsInsufficientResources(said.Code):
		return "the database lacks memory or connections (SQLSTATE " + said.Code + ")"
	default:
		return "the database refused the last append (SQLSTATE " + said.Code + ")"
	}
}
