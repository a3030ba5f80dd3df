// Package domain holds the rules: events, the state they fold into, and the decisions on
// which events may follow.
//
// Owns: every event type and its wire form, every aggregate (municipality, user, consent,
// purpose, session), every validation rule and error code, and the shape of an append.
//
// Guarantees: pure. Time and ids are arguments; nothing here reads a clock, a random
// source, a file or a network, so folding the same events yields the same state on every
// machine and in every year. An event of an unknown type or version is an error, never
// skipped.
//
// Fails how: every refusal is an [Error] with a stable [Code] and a sentence for people;
// invalid input lists all its faults at once.
//
// Not here: who may call what (package commands), how events are stored and sealed
// (package eventstore), how they are read (package projections).
//
// One word per concept:
//
//	tenant     one municipality, by its id; the platform tenant is SALGA itself
//	subject    the person the data is about
//	actor      who did it
//	stream     one aggregate's events, versions 1, 2, 3 …
//	position   place in the whole log, 1, 2, 3 … without a gap
//	purpose    what personal data is processed for; notice: its versioned wording
//	consent    one recorded decision of a subject about a purpose: a grant or a refusal
//	given at   when the person decided; recorded at: when the log learned of it
package domain
