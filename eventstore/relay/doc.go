// Package relay hands the log to other systems: it publishes each event once, in order,
// to a stream of NATS JetStream.
//
// Owns: the subjects of messages, and the stream that it publishes to.
//
// Guarantees: the stream holds the log's events in the log's order, without a gap and
// none twice, whatever is killed and however many relays run, until somebody asks for a
// part of it again (Again). Each message names the sequence that it must follow, so of
// two relays one is refused. Which event comes next is read from the stream itself. What
// the stream loses after it has acknowledged it is published again. No sealed part and no
// key is read, and of payloads only the fields that are listed leave.
//
// Fails how: it waits for NATS, and says so as a follower that halts. It refuses, in the
// same way, a stream that would lose or mix messages, and one that ends with an event
// that this log does not hold. An event that nobody can believe halts it directly before.
//
// Not here: the form of messages, and which fields of events leave (package cloudevent);
// when to publish, checkpoints and leadership (package follow); settings (package
// settings).
package relay
