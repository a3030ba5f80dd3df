// Package seed makes up residents and staff of municipalities, and has them act.
//
// Owns: how many people live where, their names, their decisions, the cases of some
// offices, and how all that gets into the log.
//
// Guarantees: the same seed makes up the same people, and nobody real. Everything they do
// goes through the same commands as HTTP, each as the person who does it. A run that was
// stopped can be continued, and one that is repeated changes nothing.
//
// Fails how: when municipalities or purposes were not imported, before anything is done.
// Whatever is in the log by then stays.
//
// Not here: whether a system may be seeded (the command), the rules (package domain), and
// the names themselves (package data).
package seed
