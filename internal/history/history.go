// Package history judges a run of the log: whether what callers were told, and what
// readers saw, agrees with the log that is left.
//
// Owns: what is recorded of a run, and the rules by which it is judged.
//
// Guarantees: it knows only what was recorded outside, asks no database, and trusts no
// single witness. A violation is one under every order of commits that the recorded
// moments allow, so an honest run never has any.
//
// Fails how: not at all. It returns every violation that it finds, with its kind and what
// it is about.
//
// Not here: how a run is made and disturbed (cmd/trust, the soak).
package history

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// Moment is when something happened, measured from the start of the run by one clock that
// never runs backwards.
type Moment = time.Duration

// Stream names a stream of the log.
type Stream struct {
	Tenant uuid.UUID
	Kind   string
	ID     uuid.UUID
}

// Event is an event with its place, in the log or as the answer to an append said. In an
// answer, a zero version, id or record means that it was not in the answer.
type Event struct {
	Position int64
	ID       uuid.UUID
	Append   uuid.UUID // the append it belongs to; zero: nobody recorded it
	Stream   Stream
	Version  int
	Record   uuid.UUID // what it is about
}

// Outcome is the answer to an append.
type Outcome int

// The outcomes.
const (
	// Unknown is no answer, or one that leaves it open.
	Unknown Outcome = iota
	// Added says which events the append has.
	Added
	// Conflicting says that a stream had another version.
	Conflicting
	// Taken says that another holder has the claim.
	Taken
	// Refused is any other answer that says that the append is not in the log, and never
	// will be.
	Refused
)

// AnyVersion is what an append expects if its author does not know a stream's version.
const AnyVersion = -1

// Write is what an append asks for: events at the end of a stream, if the stream has the
// expected version.
type Write struct {
	Stream   Stream
	Expected int
	Records  []uuid.UUID // what each event should be about; zero: its author cannot know
}

// Append is one append, from the first time it was sent until its last answer. Sent again
// under its id it is the same append.
type Append struct {
	ID       uuid.UUID
	Writes   []Write
	Sent     Moment
	Asked    Moment // when the answered attempt was sent; its answer is no older than that
	Answered Moment
	Outcome  Outcome
	Events   []Event  // as answered, if it was added
	Conflict Conflict // if that is why it was refused
	Claim    string   // taken for good; empty: none
}

// size returns how many events the append has.
func (a *Append) size() (n int) {
	for _, w := range a.Writes {
		n += len(w.Records)
	}
	return n
}

// expects reports whether the append expects a version of a stream.
func (a *Append) expects(stream Stream, version int) bool {
	return slices.ContainsFunc(a.Writes, func(w Write) bool { return w.Stream == stream && w.Expected == version })
}

// Conflict is a version that was expected, and the one that the answer names.
type Conflict struct {
	Stream           Stream
	Expected, Actual int
}

// Look is one look of a reader that tails the log: everything behind its place at a
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
// and Ended. The newest event that it shows belongs to Append.
type Read struct {
	Began, Ended Moment
	Stream       Stream
	Record       uuid.UUID // zero: any
	Append       uuid.UUID
}

// about reports whether the answer should take an event into account.
func (r Read) about(e Event) bool {
	return e.Stream == r.Stream && (r.Record == uuid.Nil || e.Record == r.Record)
}

// upTo returns the reader's place after the look.
func (l Look) upTo() int64 {
	if len(l.Seen) == 0 {
		return l.After
	}
	return l.Seen[len(l.Seen)-1].Position
}

// Table is a read table as it is, and as a fresh fold of the log makes it: rows, or their
// digests, by key.
type Table struct {
	Name        string
	Rows, Fresh map[string]string
}

// Run is all that was recorded of a run, and the log and tables it left.
type Run struct {
	Appends []Append
	Looks   []Look // in order for each reader
	Reads   []Read
	Log     []Event // in order of position
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

// Violation is one thing that must not be.
type Violation struct {
	Kind  Kind
	About string // ids, positions and versions
}
