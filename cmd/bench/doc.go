// Command bench measures this event store beside others, in one run, on a Postgres of its
// own: make bench.
//
// Owns: the works that are measured, the contenders of each (bare pgx, watermill-sql,
// message-db, Emmett, ours), the order in which they take turns, and the page, the chart
// and the JSON file with the results.
//
// Guarantees: every contender of a work runs on the same server, with fsync on, with the
// same payload, in turn within each round. Each run writes what it claims: a test counts
// it, and of a projection every run does. The clock of reading and projecting starts when
// the first page is asked for, and stops when the last is committed. A baseline is what
// somebody would write well (docs/adr/0030-benchmarks.md). A contender that could not be
// measured has a row that says why; none is left out for being slow.
//
// Fails how: one line on standard error, and the earlier files stay. A contender that
// fails loses its own row, unless it is ours.
//
// Not here: benchmarks of one function (the _bench_test.go files), and the API under load
// for a long time.
package main
