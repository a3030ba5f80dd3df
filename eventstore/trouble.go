package eventstore

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/internal/pg"
)

// troubleCounts is how long a failed append says something about the database when
// nothing newer does. A load balancer that heard of it sends no more appends, and only
// another append can tell that the trouble has passed.
const troubleCounts = 20 * time.Second

// lastAppend keeps why the database did not take the last append; nil: it did.
type lastAppend struct{ trouble atomic.Pointer[trouble] }

type trouble struct {
	at  time.Time
	why string
}

// note keeps how a call of the append function ended, as far as that is about the
// database.
func (l *lastAppend) note(err error) {
	switch pg.Classify(err) {
	case pg.Away, pg.Ours, pg.Settings:
		if _, answered := errors.AsType[*pgconn.PgError](err); answered || l.why() == "" {
			l.trouble.Store(&trouble{time.Now(), inWords(err)})
		} // else what it said a moment ago tells more than that it is silent now
	case pg.None, pg.Again: // it answered
		l.trouble.Store(nil)
	}
}

// Trouble returns why the database did not take the last append, for operators. It is
// empty when it took it, when there was none yet, and when that was longer than 20
// seconds ago.
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
