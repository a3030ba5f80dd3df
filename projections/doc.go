// Package projections holds the read tables: the code that fills them from the log, and
// the queries on them.
//
// Owns: the tables users, consents and municipalities, one file each: its follower and
// its queries.
//
// Guarantees: a read table equals a replay of the log by package domain, and Verify
// proves it; Rebuild builds a new one beside the one in use. A query sees only one
// tenant's rows: row-level security enforces that.
//
// Fails how: an event that cannot be folded halts its table's follower just before it.
// Queries return a domain.Error: not_found, validation_failed, read_model_behind,
// unavailable, timeout.
//
// Not here: following the log, exactly once and without skipping (eventstore/follow);
// reports that need no table (projections/reports); which event may follow which
// (domain); who may ask (commands, http).
package projections
