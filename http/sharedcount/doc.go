// Package sharedcount counts requests in Redis, for limits that all API processes share.
//
// Owns: the keys below trust:limit: in Redis, the scripts that count there, and the
// judgement whether Redis can be used.
//
// Guarantees: in any period at most as many requests pass as the limit says, whichever
// processes they came to: each is counted in one step, by the clock of Redis. No request
// waits for Redis longer than patience, and once it has not answered, none waits until it
// does. A key holds a name and a digest, a value holds times.
//
// Fails how: a caller is told that a request was not counted, and counts it itself. The
// log says once that Redis is away, and once that it is back.
//
// Not here: what is limited and how often (package http), and the memory that counts in
// its place.
package sharedcount
