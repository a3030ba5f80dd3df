// Package wrapping keeps the master key outside the configuration: a file holds it
// wrapped, by a key management service or for an age identity, and it is unwrapped once,
// when a process starts.
//
// Owns: the file of wrappings, what is said to OpenBao or Vault (transit), and what age
// does for us.
//
// Guarantees: all wrappings of a file are of one key, whose fingerprint stands there;
// what is opened is compared with it. Nothing but loopback is spoken to without TLS. No
// error repeats a key, a token or an identity.
//
// Fails how: with one sentence that says what to do; exit code 2 for what has to be
// corrected, 3 for a service that is away or denies its use.
//
// Not here: whether a key is that of a database (package eventstore), and the key's
// change (trust keys rotate).
package wrapping
