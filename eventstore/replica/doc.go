// Package replica decides where a query is read: on a standby of the database, or on the
// primary. Nothing else knows that there are two.
//
// Owns: the comparison of the two servers, and what becomes of queries when the standby
// is behind, away or not a copy of the primary.
//
// Guarantees: a query sees everything that was visible on the primary when it was asked,
// wherever it is read. So read-your-writes, Min-Event-Position and erasures hold as if
// there were no standby. While the standby cannot promise that within half a second, the
// primary answers, and after it can again, the standby does.
//
// Fails how: it does not. Whatever goes wrong with the standby, the query is read on the
// primary, and State says why. Open refuses a database that is no copy of the primary.
//
// Not here: which queries may be read there (projections, projections/reports: commands,
// sign-in and "may I?" are not among them); connections (internal/pg).
package replica
