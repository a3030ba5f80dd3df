// Package cloudevent gives events the form in which other systems receive them.
//
// Owns: that form (CloudEvents 1.0 in JSON), and which fields of events leave.
//
// Guarantees: of a payload only the fields that are listed leave, and nothing that is
// sealed. The same event has the same form each time it is sent by one release.
//
// Fails how: it does not, on events that domain decoded.
//
// Not here: how events are sent (packages relay, webhooks).
package cloudevent
