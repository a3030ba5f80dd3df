// Package importer registers municipalities, defines purposes and records claimed
// consents from CSV files: those of an operator, and the built-in ones.
//
// Owns: the form of these files, and which command each row becomes.
//
// Guarantees: a row is imported whole, or reported with its line and the reason, which
// repeats no value. An import can be repeated: a row that was imported before is left as
// it is. Consents are read a row at a time, in memory that does not grow with the file.
//
// Fails how: for a file that cannot be read or lacks a column, before anything is
// imported; when the database stays away, after some rows were imported.
//
// Not here: the rules on values (package domain), and the data (package data).
package importer
