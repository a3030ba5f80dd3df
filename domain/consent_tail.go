package domain

import (
	"time"

	"github.com/google/uuid"
)

// Tail says which events of a subject's consent stream a question needs: the newest about
// one purpose, back to where earlier ones cannot change the answer. One person may have
// very many events, and usually the last few decide.
type Tail struct {
	Stream  Stream
	Purpose string    // empty: that of Record
	Record  uuid.UUID // a decision in the stream
	// Enough reports whether these events suffice: the newest about the purpose, in order
	// of position.
	Enough func(newest []Recorded) bool
}

// PersonDecisions is what a check of one person among many rests on.
type PersonDecisions struct {
	Person   []Recorded // the first event of their record, and what merged it into another or undid that
	Consents []Recorded // their newest decisions about the purpose
}

// TailFor returns the tail that ConsentsFor needs to say what is in force.
func TailFor(subject UserID, purpose string, at, knownAt time.Time) Tail {
	return Tail{
		Stream: ConsentsOf(subject), Purpose: purpose,
		Enough: func(newest []Recorded) bool { return Settles(newest, at, knownAt) },
	}
}

// TailOf returns the tail that ConsentIn needs.
func TailOf(subject UserID, id ConsentID) Tail {
	return Tail{
		Stream: ConsentsOf(subject), Record: id.UUID,
		Enough: func(newest []Recorded) bool {
			consent, found := ConsentIn(newest, id)
			return found && consent.Grade == "" && !consent.GivenAt.Before(newest[0].RecordedAt)
		},
	}
}

// TailForClaim returns the tail that ClaimConsent needs, for a decision that is said to
// have been given at an instant.
func TailForClaim(subject UserID, purpose string, given time.Time) Tail {
	return Tail{
		Stream: ConsentsOf(subject), Purpose: purpose,
		Enough: func(newest []Recorded) bool { return outvotes(newest, purpose, given) },
	}
}

// Settles reports whether events about one purpose decide what is in force, whatever came
// before them. What ends without an event needs no more of them: the newest decision
// alone says when it ends, and older ones do not revive.
//
// Nothing takes effect later than it was recorded, and nothing before these
// events was recorded later than the oldest of them; so a grant that takes effect at that
// instant or later comes after everything before, and so does all that follows. A refusal
// does too, but after one it matters to a withdrawal whether a grant was still open.
// Claims settle nothing: whether they count may depend on what came before these events.
func Settles(newest []Recorded, at, knownAt time.Time) bool {
	var known []held
	void := annulmentsIn(newest, knownAt) // an event is annulled by a later one only
	for i := range newest {
		counts := void.of(&newest[i]) == nil && PurposeNamed(newest[i].Event) != "" && GradeOf(newest[i].Event) == ""
		if counts && (knownAt.IsZero() || !newest[i].RecordedAt.After(knownAt)) {
			known = append(known, hold(&newest[i]))
		}
	}

	refused := false
	for _, h := range inOrder(known) {
		if !at.IsZero() && h.from.After(at) {
			break
		}

		after := !h.from.Before(newest[0].RecordedAt) && h.place == h.Position // a copy may come before what is older
		switch h.Event.(type) {
		case *ConsentGranted:
			if after {
				return true
			}
			refused = false
		case *ConsentRefused:
			refused = after
		case *ConsentWithdrawn:
			refused = false
		}
	}
	return refused
}
