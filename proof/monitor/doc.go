// Package monitor looks at a log from outside, over HTTP alone, as a stranger would: it
// believes the keys of a policy, and what it saw before.
//
// Owns: the comparison of what a log shows now with what it showed before and with what
// its witnesses know.
//
// Guarantees: a log that passes begins with every tree that it was seen with, and with
// those that its witnesses cosigned and show. Every answer is read within bounds.
//
// Fails how: *FaultError names what the log does that it must not, or does not that it
// must. Any other error means that nothing could be found out.
//
// Not here: where what was seen is kept, and alarms (cmd/trust); the entries of the log,
// which nobody publishes.
package monitor
