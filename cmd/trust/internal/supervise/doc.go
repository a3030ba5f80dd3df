// Package supervise keeps the processes of trust up alive, and stops them in order.
//
// Owns: the folder DATA_DIR while a trust up holds it (its lock, the pid files), the
// processes it starts, and the private Postgres among them.
//
// Guarantees: of two supervisors of one folder the second is refused. A part that dies is
// started again; one that refuses its configuration ends everything. The API stops first,
// then everything else that uses the database, then the database. All processes end with
// the supervisor, however it ends.
//
// Fails how: Failed receives the reason why it has to end.
//
// Not here: which parts there are (trust up), what they do, and the cluster on disk
// (package localpg).
package supervise
