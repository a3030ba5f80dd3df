// Package seal makes the log provable: nobody can change, drop or move an event unnoticed
// once others hold a checkpoint that covers it.
//
// Owns: the tree over the log (trust.log_hashes), the checkpoints that were signed and
// under which keys, and the cosignatures of witnesses.
//
// Guarantees: leaf n - 1 of the tree is the event at position n, as its row holds it. A
// checkpoint is signed only if it is consistent with the newest one in the database and
// with the copy that is kept outside of it, and is kept there before anybody sees it. A
// log that went back is signed under another origin alone, and only once an event in it
// names the head that was lost.
//
// Fails how: the sealer waits for a database that is away. It signs nothing that is not
// consistent, halts instead, says why, and goes on once that is mended. *Difference is
// the first event, hash or checkpoint that does not fit the rest.
//
// Not here: the form of leaves, checkpoints and proofs (package proof), where the copy is
// kept and how keys come in (cmd/trust), who is asked to witness.
package seal
