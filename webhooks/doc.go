// Package webhooks sends events to other systems over HTTP, for those who have no message
// broker.
//
// Owns: trust.webhooks, trust.webhook_deliveries and trust.webhook_lanes; the follower of
// the log that fills them; the sender that works them off; which addresses may be called
// (Network).
//
// Guarantees: every event that a webhook wants, from its registration on, is sent until
// the recipient acknowledges it, with the same webhook-id and the same body each time.
// Nothing is skipped: a webhook is paused instead, visibly, and resumed where it stopped.
// Of one person's events, the next is sent only when the former was acknowledged; what
// concerns others goes on. However many copies of the sender run, each delivery is with
// one of them at a time. An address is judged when it is registered, and again each time
// it is dialled.
//
// Fails how: a recipient that fails in any way costs a bounded time and is tried again
// later, see retry. A sender that is killed leaves its deliveries to others after half a
// minute. It waits for a database that is away.
//
// Not here: which webhooks there are (domain, commands), what of an event leaves and in
// which form (eventstore/cloudevent), how the log is followed (eventstore/follow).
package webhooks
