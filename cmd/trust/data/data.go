// Package data holds the CSV files that are built into the program. README.md says where
// they are from, and on which terms.
//
// Owns: the files beside it.
//
// Guarantees: nothing but what the tests of package importer and package seed say of
// them.
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

// Credit is what Statistics South Africa asks of those who use its figures.
const Credit = "Source: Statistics South Africa, Census 2022; own processing."
