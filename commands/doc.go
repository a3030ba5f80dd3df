// Package commands is what may be asked of the system: one file per command, each load, decide, append.
//
// Owns: the order of a command's steps (idempotency, load, decide, append, retry), sign-in and sessions, the hashing of passwords,
// who may act for whom, and the registry of purposes in force.
//
// Guarantees: a command is decided on what the log says, never on a read table; it appends once however often it is retried
// under its idempotency key; what it was decided on is still true when its events are appended.
//
// Fails how: every refusal is a *domain.Error; a stream that moved is decided again, up to maxTries times, then "busy".
//
// Not here: rules of the aggregates (package domain), storage and sealing (package eventstore), HTTP and tokens (package http),
// queries (package projections).
package commands
