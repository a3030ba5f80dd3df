// Package propagation says how long withdrawals of consent take to reach the other
// systems that must act on them.
//
// Owns: what counts as a withdrawal, as outstanding and as overdue; trust.relay_consumers
// and trust.relay_receipts, which say what the consumers of the relay's stream have
// acknowledged.
//
// Guarantees: a withdrawal is outstanding for a recipient from the moment it is recorded,
// also while the process that should hand it on stands still, until the recipient has
// acknowledged it. Nothing that was acknowledged becomes outstanding again. A consumer
// counts from when it was first seen. A municipality sees figures of its own withdrawals
// only.
//
// Fails how: times of consumers are those at which their progress was seen, so they are
// late by as much as nobody looked.
//
// Not here: deliveries to webhooks (package webhooks), how consumers are asked (package
// eventstore/relay).
package propagation
