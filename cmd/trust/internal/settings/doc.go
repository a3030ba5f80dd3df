// Package settings is what this program was told: by flags, the environment, .env and the
// file env in DATA_DIR.
//
// Owns: the list of variables with their defaults and flags, the order of the sources,
// the checks, the addresses that are derived for each database role, and the file env in
// which trust up keeps what it made.
//
// Guarantees: a half-set security setting is refused, and no sentence repeats the value
// of a secret. A value that is kept is on disk before Keep returns. Nothing is put into
// the environment of this process.
//
// Fails how: with one sentence that names the variable, and the exit code of wrong usage.
//
// Not here: what is made when it is missing (trust up), and whether an address answers
// (the commands).
package settings
