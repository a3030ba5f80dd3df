// Command trust is the SALGA Trust Engine: one binary that serves, projects, imports,
// checks and supervises.
//
// Owns: the command line and its help, what each command opens (open.go) and prints,
// signals, the processes that trust up runs, and how the packages are wired together.
//
// Guarantees: the exit code says what kind of answer it is (0 done, 1 the thing asked
// about is not so, 2 wrong usage, 3 could not reach what it needs). A half-set security
// setting is refused at the start. No secret, no password in a URL and no personal data
// is ever printed or logged, except the first admin's password on a terminal. Everything
// that trust up starts ends with it, however it ends.
//
// Fails how: one line on standard error that says what to do next. A part of trust up
// that dies is started again; one that refuses its configuration stops the whole system.
//
// Not here: exit codes and their sentences (package exit), the configuration (package
// settings), keeping processes alive (package supervise), the import of CSV files
// (package importer) and made-up people (package seed); nor the rules (package domain),
// commands (package commands), the log (package eventstore), read tables and their
// workers (package projections), routes (package http), the schema (package migrations)
// and the private Postgres (package localpg). Nothing imports this.
package main
