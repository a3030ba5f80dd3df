// Package proof lets a stranger check what the log says, with a file and this package
// alone: offline, without a database, a configuration or anybody's word.
//
// Owns: the form of a leaf, of a decision bundle and of its receipt; how checkpoints are
// signed, and what a policy accepts.
//
// Guarantees: no two headers have the same leaf. What Check says was proven follows from
// the bytes of the bundle and the keys of the policy. Whatever is read is read strictly:
// one meaning has one form, and the rest is refused.
//
// Fails how: with one sentence that names the first thing that does not hold; an error
// that is ErrUnreadable means that the file is no bundle that this version can read.
// Nothing that a stranger wrote makes it panic or read without bound.
//
// Not here: the log, and who reads it (eventstore); tiles and checkpoints in the
// database; witnesses and their servers. The package imports none of them, so that it
// can be imported by anybody and compiled to WebAssembly (proof/wasm).
package proof
