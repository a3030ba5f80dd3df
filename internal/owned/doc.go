// Package owned recognises what another user of this machine could have put in our way: a
// folder made before ours, a link in place of a file, a file of settings.
//
// Owns: nothing.
//
// Guarantees: a folder that passes Folder, and a file that passes Read, belongs to root
// or to the user of this process, and so does a link that led there; nobody else can
// write to it. OpenFolder opens the very folder that it checked. What Create makes is
// new.
//
// Fails how: with one sentence that names what is in the way; nothing is read, written or
// removed.
//
// Not here: folders further up. The owner of one can put another folder in place of ours,
// which Folder then refuses.
package owned
