// Package http is how the system is reached: decode, authenticate, call, encode.
//
// Owns: the route table (routes.go: every path, who may use it, how often, and which read
// table it waits for), tokens, the error format, rate limits, security headers, the
// OpenAPI document and the documentation page.
//
// Guarantees: no route without a permission; a permission is checked against the caller's
// role of this moment, not the token's. The tenant comes from the verified token. An
// answer never repeats a value that was refused, and never shows SQL or a stack. What
// another person's data shows is recorded before the answer leaves.
//
// Fails how: always application/problem+json with a stable code (RFC 9457). What is
// nobody's fault but ours is 500 "internal", its cause in the log under the answer's
// X-Request-ID.
//
// Not here: rules of any kind (packages domain and commands), queries (package
// projections), the process and its settings (cmd/trust).
//
// To add a route: one line in routes.go and its handler, with a tag `example:"…"` on each
// field of its body and answer. The permission, limits, waiting, and documentation follow
// from these; New refuses a route without an example.
package http
