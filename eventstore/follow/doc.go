// Package follow lets anything follow the log: read tables today; a relay, webhooks, a
// sealer tomorrow.
//
// Owns: the checkpoints, and what moves them: workers, leadership, Watermill's wiring,
// wake-ups, pace, status. The events table is the Watermill topic; a message is a range
// of positions.
//
// Guarantees: every event of the kinds that a follower wants is applied exactly once, in
// the log's order: what Apply writes in its transaction and the checkpoint commit
// together, the checkpoint by compare-and-set under the leader's epoch. Nothing is ever
// skipped. Of any number of copies of a follower one leads and the others stand by.
//
// Fails how: an event that cannot be applied halts its follower directly before it,
// visibly (see Status), and the follower goes on by itself once the cause is mended. A
// database that is away is waited for. A leader that makes no progress steps down and
// says so: nothing waits for ever (silence.go has the bounds). A worker that lost its
// leadership writes nothing.
//
// Not here: what followers make of events (projections), how events are stored and read
// (eventstore).
package follow
