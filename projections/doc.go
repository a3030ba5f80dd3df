// Package projections is the read tables: what fills them from the log, and the queries
// on them.
//
// Owns: the tables users, consents and municipalities, one file each: its follower and
// its queries.
//
// Guarantees: a read table equals a replay of the log by package domain, and Verify
// proves it; Rebuild makes one anew beside the one that is read. A query sees one
// tenant's rows: row-level security holds it to that.
//
// Fails how: an event that cannot be folded halts its table's follower directly before
// it. Queries answer with domain.Error: not_found, validation_failed, read_model_behind,
// unavailable, timeout.
//
// Not here: how the log is followed, exactly once and never skipping (eventstore/follow),
// what is read from the log without a table (projections/reports), what may follow what
// (domain), who may ask (commands, http).
package projections
