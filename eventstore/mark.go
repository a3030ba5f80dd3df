package eventstore

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Mark is how far a server has come: a primary by what is durable there, a standby by
// what it has replayed. A standby whose WAL is no less than that of its primary shows
// everything that was visible on the primary when that was asked.
type Mark struct {
	WAL     int64 // bytes of the write-ahead log
	Standby bool
	Started time.Time // when the server was; tells a server from its copies

	Log   uuid.UUID // which log it is
	Head  int64
	Event uuid.UUID // at Head; zero: the log is empty
	Asked uuid.UUID // the event at the position that was asked about; zero: there is none
}

// ReadMark reads the mark of a server, and the event that it holds at a position. The
// role needs the rights of trust_query. Error: CodeUnavailable.
func ReadMark(ctx context.Context, db Querier, position int64) (m Mark, err error) {
	// What a commit made visible was flushed before, and only what was flushed is
	// replicated.
	const sql = `select (coalesce(case when s.standby then pg_catalog.pg_last_wal_replay_lsn()
				else pg_catalog.pg_current_wal_flush_lsn() end, '0/0'::pg_catalog.pg_lsn)
				- '0/0'::pg_catalog.pg_lsn)::bigint,
			s.standby, pg_catalog.pg_postmaster_start_time(), l.id, h.position, trust.event_at(h.position),
			trust.event_at($1)
		from (select pg_catalog.pg_is_in_recovery()) s (standby), trust.log l, trust.head() h`

	var newest, asked uuid.NullUUID
	err = db.QueryRow(ctx, sql, position).Scan(&m.WAL, &m.Standby, &m.Started, (*[16]byte)(&m.Log), &m.Head, &newest,
		&asked)
	m.Event, m.Asked = newest.UUID, asked.UUID
	return m, Unavailable(err)
}

// Lineage is what a database and its physical copies have in common, and no other.
type Lineage struct {
	System   int64
	Database uint32
}

// ReadLineage reads the lineage of a database. Error: CodeUnavailable.
func ReadLineage(ctx context.Context, db Querier) (l Lineage, err error) {
	const sql = `select s.system_identifier, d.oid from pg_catalog.pg_control_system() s, pg_catalog.pg_database d
		where d.datname = pg_catalog.current_database()`
	err = db.QueryRow(ctx, sql).Scan(&l.System, &l.Database)
	return l, Unavailable(err)
}
