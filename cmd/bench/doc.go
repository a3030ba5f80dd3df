// Command bench measures this event store beside others, in one run, on a Postgres of its
// own: make bench.
//
// Owns: the works that are measured, the contenders of each (bare pgx, watermill-sql,
// message-db, Emmett, ours), the order in which they take turns, and the page, the chart
// and the JSON file that say how it went.
//
// Guarantees: every contender of a work runs on the same server, with fsync on, against
// the same payload, in turn within each round, and each run writes what it claims, which
// a test counts. A baseline is what somebody would write well
// (docs/adr/0030-benchmarks.md). What could not be measured has a row that says why;
// nothing is left out for being slow.
//
// Fails how: one line on standard error, and the files that stood there before stay. A
// contender that fails costs its own row, unless it is ours.
//
// Not here: benchmarks of one function (the _bench_test.go files), and what the API does
// under load for a long time.
package main
