// Package pg is how this program talks to Postgres, whatever it asks.
//
// Owns: what an error of the database means for whoever asked, what each session pins,
// pools that outlive a failover, the pause between two attempts, queries under one
// tenant's row-level security, and SQL conditions with their arguments.
//
// Guarantees: an error means the same everywhere. A session depends on no setting of its
// login or database, and is refused where a pooler would share it. A connection on which
// the server said that it cannot serve is used no more; if it said that it is no primary
// or shuts down, no connection of its pool is. Making, asking after and ending a
// connection has a limit; a statement has the one of its context, and operators' commands
// have none but the kernel's keep-alive: a server that hangs cannot be told from a long
// statement.
//
// Fails how: it makes no sentences for clients; callers turn a Trouble into their own
// refusals.
//
// Not here: SQL of the log (package eventstore) or of read tables (package projections),
// schemas (package migrations), servers (internal/localpg).
package pg
