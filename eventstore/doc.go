// Package eventstore is the log.
//
// Owns: the events table and the command side's own tables (claims, credentials, keys,
// sessions), their only writer, the sealing of personal data, and every read of raw
// events.
//
// Guarantees: positions are 1, 2, 3 … without a gap, assigned in commit order; a reader
// that sees position p sees everything below it. An append is atomic and idempotent: its
// events and side writes succeed or fail together, and sending it again changes nothing.
// A refused append never enters the log later. Data that identifies a person is readable
// only as long as that person's key exists.
//
// Fails how: a stream that moved is *domain.ConflictError, a claim held by another
// *domain.ClaimTakenError. A full queue answers "overloaded" at once; an unreachable
// database answers "unavailable", or "outcome_unknown" once an append was sent. A gap, an
// unknown event type or a wrong master key stops the reader with an error.
//
// Not here: which events may follow which (package domain), who may ask (package
// commands), read tables (package projections).
package eventstore
