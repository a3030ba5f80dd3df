// Package settings is the configuration of this program: from flags, the environment,
// .env and the file env in DATA_DIR.
//
// Owns: the list of variables with their defaults and flags, the order of the sources,
// the checks, the addresses that are derived for each database role, and the file env, in
// which trust up keeps the settings that it made.
//
// Guarantees: a half-set security setting is refused, and no error repeats the value of a
// secret. A value that is kept is on disk before Keep returns. The environment of this
// process stays as it is.
//
// Fails how: with one sentence that names the variable, and the exit code of wrong usage.
//
// Not here: the settings that are made when they are missing (trust up), and whether an
// address answers (the commands).
package settings
