// Package eventstore is the log.
//
// Owns: the events table and the command side's own tables (claims, credentials, keys,
// sessions), their only writer, the sealing of personal data, and every read of raw
// events.
//
// Guarantees: positions are 1, 2, 3 … without a gap, assigned in commit order; whoever
// sees position p sees everything below it. An append is one truth: its events and side
// writes stand or fall together, and sending it again changes nothing. One that was
// refused does not come into the log later. What identifies a person is readable only as
// long as that person's key exists.
//
// Fails how: a stream that moved is *domain.ConflictError, a claim held by another
// *domain.ClaimTakenError; a full queue answers "overloaded" at once, a database that is
// away "unavailable", or "outcome_unknown" if an append was sent; a gap, an unknown event
// type or a wrong master key stops the reader loudly.
//
// Not here: what may follow what (package domain), who may ask (package commands), read
// tables (package projections).
package eventstore
