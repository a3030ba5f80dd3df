// Package reports answers officers' and residents' questions from the log itself: the
// audit, a person's history of consent, who saw whose data (exposure), what was in force
// at an instant (replay), everything about one person (dossier), requests and their due
// dates, and people as they are now.
//
// Owns: the form of each report. It reads no table, not even those of package
// projections: it reads events and folds them by package domain.
//
// Guarantees: a report is of one snapshot, and includes every event that was acknowledged
// before the question. It sees only one tenant's events: row-level security enforces
// that. The platform's audit of all tenants runs in a role that sees no key, so it opens
// nothing. An erased person's events stay; whatever identified the person reads as
// erased. A replay of a position is the same for ever.
//
// Fails how: with a domain.Error: validation_failed, forbidden, unavailable. An event
// that this program does not know fails the report; it is never left out.
//
// Not here: which record an event changes, and how (domain/registry.go); who may ask, and
// recording that they asked (commands, http); lists and searches (projections).
package reports
