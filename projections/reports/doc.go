// Package reports answers officers' and residents' questions from the log itself: the
// audit, a person's history of consent, who saw whose data (exposure), what held at an
// instant (replay), everything about one person (dossier), requests and their due dates,
// and people as they are now.
//
// Owns: the form of each report. It has no table, and none of package projections: it
// reads events and folds them by package domain.
//
// Guarantees: a report includes every event that was acknowledged before the question,
// and is of one snapshot. It sees one tenant's events: row-level security holds it to
// that. The platform's audit of all tenants runs in a role that sees no key, so it opens
// nothing. An erased person's events stay; what identified the person reads as erased. A
// replay of a position is the same for ever.
//
// Fails how: with domain.Error: validation_failed, forbidden, unavailable. An event that
// this program does not know fails the report; it is never left out.
//
// Not here: what an event does to which record (domain/registry.go), who may ask and that
// asking is recorded (commands, http), lists and searches (projections).
package reports
