// Package pg is how this program talks to Postgres.
//
// Owns: what an error of the database means for its caller, what each session pins, pools
// that outlive a failover, the pause between two attempts, queries under one tenant's
// row-level security, and SQL conditions with their arguments.
//
// Guarantees: an error means the same everywhere. A session depends on no setting of its
// login or database, and is refused where a pooler would share it. A connection on which
// the server said that it cannot serve is never used again; if it said that it is not a
// primary or is shutting down, neither is any other connection of the pool. Opening,
// pinging and closing a connection are bounded in time. A statement is bounded by its
// context, and operators' commands only by the kernel's keep-alive, because a server that
// hangs looks the same as a long statement.
//
// Fails how: it writes no sentences for clients; callers turn a Trouble into their own
// refusals.
//
// Not here: SQL of the log (package eventstore) or of read tables (package projections),
// schemas (package migrations), servers (internal/localpg).
package pg
