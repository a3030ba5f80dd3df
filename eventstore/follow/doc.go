// Package follow lets anything follow the log: read tables today; a relay, webhooks, a
// sealer tomorrow.
//
// Owns: the checkpoints and everything that moves them: workers, leadership, the wiring
// of Watermill, wake-ups, pace, status. The events table is the Watermill topic; a
// message is a range of positions.
//
// Guarantees: every event of the kinds that a follower wants is applied exactly once, in
// the log's order: what Apply writes in its transaction commits together with the
// checkpoint, which moves by compare-and-set under the leader's epoch. Nothing is ever
// skipped. However many copies of a follower run, one leads and the others stand by.
//
// Fails how: an event that cannot be applied halts its follower just before it, visibly
// (see Status), and the follower goes on by itself once the cause is fixed. It waits for
// a database that is unreachable. A leader that makes no progress steps down and says so:
// nothing waits for ever (silence.go has the limits). A worker that lost its leadership
// writes nothing.
//
// Not here: what followers do with events (projections), how events are stored and read
// (eventstore).
package follow
