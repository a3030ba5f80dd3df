// Package witness asks others to vouch for a log, and vouches for the logs of others
// (C2SP tlog-witness, tlog-cosignature).
//
// Owns: the folder of a witness: its keys, and the newest checkpoint that it cosigned of
// each log.
//
// Guarantees: a witness never cosigns two trees of one log of which neither begins the
// other, whatever it is asked, in whatever order, by however many at once, and wherever
// it is killed: a checkpoint is on disk before its cosignature is given to anybody. The
// folder is held by one process. A client returns only cosignatures that it has verified.
//
// Fails how: the server answers with the statuses of tlog-witness, and with 500 without a
// cosignature when it cannot write. The client says in one sentence what a witness did
// not do; *SplitViewError says that the witness knows another tree than the log shows.
//
// Not here: the form of checkpoints, keys, proofs and policies (package proof), where a
// log keeps its checkpoints and cosignatures (eventstore/seal), the process that serves
// (cmd/trust).
package witness
