// Package projections is the read tables: the workers that fill them from the log, and the queries on them.
//
// Owns: the tables users, consents and municipalities (one file each: its writer and its queries), the checkpoints, and
// Watermill's wiring. The events table is the Watermill topic; a message is a range of positions.
//
// Guarantees: every event is folded exactly once into each table, in the log's order: rows and checkpoint move in one
// transaction, the checkpoint by compare-and-set under the leader's epoch. Nothing is ever skipped. A read table equals a replay
// of the log by package domain, and Verify proves it; Rebuild makes one anew beside the one that is read. A query sees one
// tenant's rows: row-level security holds it to that.
//
// Fails how: an event that cannot be folded halts its projector directly before it, visibly (see Status), and the projector goes
// on by itself once the cause is fixed. A database that is away is waited for. A worker that lost its leadership writes nothing.
// Queries answer with domain.Error: not_found, validation_failed, read_model_behind, unavailable.
//
// Not here: what is read from the log without a table (projections/reports), what may follow what (domain), who may ask
// (commands, http), how events are stored and sealed (eventstore).
package projections
