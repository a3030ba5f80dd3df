// Package seed makes up residents and staff of municipalities, and has them act.
//
// Owns: how many people live where, what they are called, what they decide, and how they
// are brought into the log.
//
// Guarantees: the same seed makes up the same people, and nobody real. All that they do
// goes through the same commands as HTTP, each as the person who does it. A run that was
// stopped is gone on with, and a repeated one changes nothing.
//
// Fails how: before anything is done when municipalities or purposes were not imported.
// What is in the log stays.
//
// Not here: whether a system may be seeded (the command), the rules (package domain), and
// the names themselves (package data).
package seed
