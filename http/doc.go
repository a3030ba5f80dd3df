// Package http is the API over HTTP: decode, authenticate, call, encode.
//
// Owns: the route table (routes.go: every path, who may use it, how often, and which read
// table it waits for), tokens, the error format, rate limits, security headers, the
// OpenAPI document and the documentation page.
//
// Guarantees: no route without a permission; a permission is checked against the caller's
// current role, not the token's. The tenant comes from the verified token. An answer
// never repeats a refused value, and never shows SQL or a stack. A read of another
// person's data is recorded before the answer leaves.
//
// Fails how: always with application/problem+json and a stable code (RFC 9457). A failure
// of our own is 500 "internal", with its cause in the log under the answer's
// X-Request-ID.
//
// Not here: rules of any kind (packages domain and commands), queries (package
// projections), the process and its settings (cmd/trust).
//
// To add a route: write one entry in routes.go and its handler, with a tag `example:"…"`
// on each field of its body and answer. Permission, limits, waiting and documentation
// follow from these; New refuses a route without an example.
package http
