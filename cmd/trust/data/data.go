// Package data holds the CSV files that are built into the program. README.md names their
// sources and their terms of use.
//
// Owns: the files beside it.
//
// Guarantees: only what the tests of package importer and package seed check.
//
// Fails how: it cannot.
//
// Not here: what a row means (package importer, package seed).
package data

import "embed"

// Files are municipalities.csv, purposes.csv and names.csv.
//
//go:embed municipalities.csv purposes.csv names.csv
var Files embed.FS

// Credit is the credit that Statistics South Africa asks of users of its figures.
const Credit = "Source: Statistics South Africa, Census 2022; own processing."
