// Package history judges a run of the log: whether what callers were told, and what
// readers saw, is one history that the log which is left tells as well.
//
// Owns: what is recorded of a run, and the rules that it is judged by.
//
// Guarantees: it knows nothing but what was recorded outside, asks no database, and
// believes no single witness. What it calls a violation is one under every order of
// commits that the recorded moments allow; so an honest run never has any.
//
// Fails how: not at all. It returns every violation that it finds, each with its kind and
// what it is about.
//
// Not here: how a run is made, and trouble for it (cmd/trust, the soak).
package history

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// Moment is when something happened, since the run began: of one clock that never runs
// backwards.
type Moment = time.Duration

// Stream names a stream of the log.
type Stream struct {
	Tenant uuid.UUID
	Kind   string
	ID     uuid.UUID
}

// Event is an event with its place, in the log or as an append was told; there no version,
// no id and no record are none that was told.
type Event struct {
	Position int64
	ID       uuid.UUID
	Append   uuid.UUID // which append it belongs to; zero: of somebody who recorded nothing
	Stream   Stream
	Version  int
	Record   uuid.UUID // what it is about
}

// Outcome is what an append was told.
type Outcome int

// The outcomes.
const (
	// Unknown is no answer, or one that says as much.
	Unknown Outcome = iota
	// Added says which events the append has.
	Added
	// Conflicting says that a stream had another version.
	Conflicting
	// Taken says that another holds the claim.
	Taken
	// Refused is any other answer that says that the append is not in the log, and never
	// will be.
	Refused
)

// AnyVersion is expected by who does not know which version a stream has.
const AnyVersion = -1

// Write is what an append asks for: events at the end of a stream, if that has the version
// expected.
type Write struct {
	Stream   Stream
	Expected int
	Records  []uuid.UUID // what each of its events is to be about; zero: what its author cannot know
}

// Append is one append, from when it was sent first until its last answer. Sent again
// under its id it is the same.
type Append struct {
	ID       uuid.UUID
	Writes   []Write
	Sent     Moment
	Asked    Moment // when the attempt was sent that was answered; before it no other can answer
	Answered Moment
	Outcome  Outcome
	Events   []Event  // of one that was added, as it was told
	Conflict Conflict // of one that was refused for it
	Claim    string   // which it takes for good; empty: none
}

// size is how many events it has.
func (a *Append) size() (n int) {
	for _, w := range a.Writes {
		n += len(w.Records)
	}
	return n
}

// expects tells whether it asked for a version of a stream.
func (a *Append) expects(stream Stream, version int) bool {
	return slices.ContainsFunc(a.Writes, func(w Write) bool { return w.Stream == stream && w.Expected == version })
}

// Conflict is a version that was expected, and the one that the answer names.
type Conflict struct {
	Stream           Stream
	Expected, Actual int
}

// Look is one look of a reader that tails the log: all that stood behind its place at a
// moment between Began and Ended.
type Look struct {
	Reader       int
	Began, Ended Moment
	After        int64 // its place before the look
	Seen         []Seen
}

// Seen is an event that a reader saw.
type Seen struct {
	Position int64
	Event    uuid.UUID
}

// Read is an answer about a stream, or about one record of it, at a moment between Began
// and Ended: the newest event that it shows is of an append.
type Read struct {
	Began, Ended Moment
	Stream       Stream
	Record       uuid.UUID // zero: any
	Append       uuid.UUID
}

// about tells whether it should show an event.
func (r Read) about(e Event) bool {
	return e.Stream == r.Stream && (r.Record == uuid.Nil || e.Record == r.Record)
}

// upTo is the reader's place after the look.
func (l Look) upTo() int64 {
	if len(l.Seen) == 0 {
		return l.After
	}
	return l.Seen[len(l.Seen)-1].Position
}

// Table is a read table as it is, and as a fresh fold of the log makes it: rows, or their
// digests, by their keys.
type Table struct {
	Name        string
	Rows, Fresh map[string]string
}

// Run is all that was recorded of a run, and what is left of it.
type Run struct {
	Appends []Append
	Looks   []Look // of each reader in order
	Reads   []Read
	Log     []Event // in the order of positions
	Tables  []Table
}

// Kind is a kind of violation.
type Kind string

// The kinds of violations.
const (
	Broken    Kind = "a log with a gap"
	Unasked   Kind = "an event that nobody appended"
	Twice     Kind = "one append that answers for two"
	Lost      Kind = "acknowledged and lost"
	Partial   Kind = "in the log in part"
	Doubled   Kind = "doubled"
	Moved     Kind = "not where it was told"
	Otherwise Kind = "not as it was asked"
	Present   Kind = "refused and yet present"
	Untrue    Kind = "a conflict that never was"
	Unheld    Kind = "a claim taken by nobody"
	HeldTwice Kind = "a claim held twice"
	Skipped   Kind = "a reader skipped an event"
	Unlike    Kind = "a reader saw another event"
	Early     Kind = "a reader saw an event too early"
	Behind    Kind = "a reader missed what was acknowledged"
	Outdated  Kind = "a stale read"
	Stale     Kind = "a read table unlike a fresh fold"
)

// Violation is one thing that cannot be.
type Violation struct {
	Kind  Kind
	About string // ids, positions and versions
}
