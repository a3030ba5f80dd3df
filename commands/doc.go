// Package commands carries out what callers ask of the system: load, decide, append.
//
// Owns: the order of a command's steps (idempotency, load, decide, append, retry),
// sign-in and sessions, the hashing of passwords, who may act for whom, and the registry
// of purposes in force.
//
// Guarantees: a command is decided on what the log says, never on a read table; it
// appends once, however often it is retried under its idempotency key; what the decision
// rests on is still true when its events are appended.
//
// Fails how: every refusal is a *domain.Error; a command whose stream moved is decided
// again, up to maxTries times, then refused as busy.
//
// Not here: rules of the aggregates (package domain), storage and sealing (package
// eventstore), HTTP and tokens (package http), lists and reports (package projections).
//
// # Files
//
// One file per aggregate holds all its commands: consent, user, staff (an admin's changes
// of users), second_factor (of users), session, municipality, purpose, rights, erasure,
// access. Every command has one shape, which a test checks:
//
//	func (h *Handler) VerbNoun(ctx context.Context, call Call, c VerbNoun) (Answer[T], error)
//
// VerbNoun is a struct of this package, or of package domain where that one already holds
// the whole request; a command with nothing to show returns an Answer[struct{}].
//
// queries.go holds the methods that append nothing. They are here and not in projections
// because they answer from the log, on the state that commands decide on: a client can
// act on an answer at once, however far the read tables lag, and the answer to "may this
// be processed?" is never out of date.
//
// tally.go counts what a stranger can make happen again and again, so that the log gets
// at most one event a minute for it.
//
// permissions.go alone says who may act for whom; package http asks it too.
package commands
