package domain

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Events about two records that are of one person. Each stands on the streams of both
// records.
type (
	// ResidentMerged says that one record goes on in another: it takes no more commands,
	// and what was decided there is copied to the other.
	ResidentMerged struct {
		From UserID `json:"from"`
		Into UserID `json:"into"`
		// EvidenceSHA256 is the hash of the proof that they are one person.
		EvidenceSHA256 string               `json:"evidence_sha256,omitempty"`
		Private        Personal[MergeFacts] `json:"-"`
	}
	// ResidentUnmerged takes that back.
	ResidentUnmerged struct {
		From           UserID               `json:"from"`
		Into           UserID               `json:"into"`
		EvidenceSHA256 string               `json:"evidence_sha256,omitempty"`
		Private        Personal[MergeFacts] `json:"-"`
	}
	// MergeFacts may identify a person.
	MergeFacts struct {
		Reason            string `json:"reason,omitempty"`
		EvidenceReference string `json:"evidence_reference,omitempty"`
	}
	// CopyOf says where a decision was recorded that is copied from one record of a
	// person to another. The copy counts as if it had been recorded here: in the place
	// that it has among all that the person said.
	CopyOf struct {
		Subject  UserID    `json:"subject_id"` // the record it comes from
		Event    uuid.UUID `json:"event_id"`
		Position int64     `json:"position"` // where it was first recorded
		// Unstated is true if nobody stated when it was given: the copy states when it
		// took effect.
		Unstated bool `json:"unstated,omitempty"`
	}
)

// maxMoved is how many events of a consent stream a merge copies: each is sealed again,
// under the key of the other record.
const maxMoved = 500

// EventType implements Event.
func (*ResidentMerged) EventType() string { return "resident.merged.v1" }

// EventType implements Event.
func (*ResidentUnmerged) EventType() string { return "resident.unmerged.v1" }

func (e *ResidentMerged) personal() Part   { return &e.Private }
func (e *ResidentUnmerged) personal() Part { return &e.Private }

// IsCopy reports whether an event was copied from another record of the person.
func IsCopy(e Event) bool { return copyOf(e) != nil }

func copyOf(e Event) *CopyOf {
	if w, is := e.(*ConsentWithdrawn); is {
		return w.Copy
	}
	d, _ := decisionOf(e)
	return d.Copy
}

// IsMerged reports whether another record goes on in this one's place.
func (u User) IsMerged() bool { return !u.MergedInto.IsZero() }

// merged is the refusal of a command about a record that goes on elsewhere.
func (u User) merged() *Error {
	refusal := Refuse(CodeMerged,
		"This record was merged into another of the same person: use that one; see subject_id.")
	refusal.SubjectID = u.MergedInto
	return refusal
}

// TakesCommands refuses a command about a person who was erased, or a record that was
// merged into another. Errors: subject_erased, subject_merged.
func (u User) TakesCommands() error {
	switch {
	case u.Erased:
		return Refuse(CodeSubjectErased, "This person's data was erased.")
	case u.IsMerged():
		return u.merged()
	default:
		return nil
	}
}

// File is one record of a person with everything that a merge rests on, opened.
type File struct {
	Resident Resident
	History  []Recorded // of the user stream
	Consents []Recorded
	Rights   Rights
}

// mergedAt returns the position at which another record was merged into this one.
func (f File) mergedAt(from UserID) (position int64) {
	for _, r := range f.History {
		if e, is := r.Event.(*ResidentMerged); is && e.From == from {
			position = r.Position
		}
	}
	return position
}

// rests reports whether the consent that an account rests on is in force, after events
// were copied to the record.
func (f File) rests(copies []Event) bool {
	history := f.Consents[:len(f.Consents):len(f.Consents)]
	for _, e := range copies {
		history = append(history, Recorded{Stream: ConsentsOf(f.Resident.ID), Event: e, EffectiveAt: EffectiveOf(e)})
	}
	const account = PlatformRegistrationCode
	_, rests := ConsentsFor(account, history, time.Time{}, time.Time{}).InForce(account)
	return rests
}

// Merge is what merging two records, or undoing that, adds to the streams of each.
type Merge struct {
	From, Into                 []Event // to the two user streams
	FromConsents, IntoConsents []Event
}

// MergeResidents asks to merge one record of a person into another, or to undo it.
type MergeResidents struct {
	Reason   string
	Evidence *Evidence
	NewID    func() ConsentID // of a copied decision
}

// Decide merges from into into. Every decision that counts is copied, with the place it
// has among all that the person said, so that both records' decisions count as one
// history from now on: of two about one purpose the later one, whichever record it came
// from. As known before, each record stood alone. If that left a citizen's account
// without the consent that it rests on, the account must be closed first. Errors:
// validation_failed, subject_erased, subject_merged, has_account, has_merged,
// requests_open, too_many_decisions, account_rests_on_consent.
func (c MergeResidents) Decide(from, into File) (Merge, error) {
	c, err := c.checked()
	if err != nil {
		return Merge{}, err
	}

	for _, r := range []Resident{from.Resident, into.Resident} {
		if err := r.TakesCommands(); err != nil {
			return Merge{}, err
		}
	}
	switch {
	case from.Resident.Account:
		return Merge{}, Refuse(CodeHasAccount,
			"This record has an account, which cannot be merged away: merge the other one into it, if that has none.")
	case len(from.Resident.Merged) > 0:
		return Merge{}, Refuse(CodeHasMerged,
			"Other records were merged into this one: merge the other way round, or undo that first.")
	case from.Rights.Held(), slices.ContainsFunc(from.Rights.Requests, Request.isOpen):
		return Merge{}, Refuse(CodeRequestsOpen, "This record has open requests or holds: close and lift them first.")
	}

	moved := move(from, func(Recorded) (copied, annulled bool) { return true, true }, CauseMerged, c.NewID)
	if into.Resident.restsOnConsent() && into.rests(nil) && !into.rests(moved.copies) {
		return Merge{}, Refuse(CodeAccountRestsOn,
			"In this record the person said no to an account later than they said yes to the one that they have: "+
				"withdraw that consent first, which closes the account.")
	}

	event := &ResidentMerged{From: from.Resident.ID, Into: into.Resident.ID}
	event.EvidenceSHA256, event.Private = c.proof()
	return Merge{
		From: []Event{event}, Into: []Event{event}, FromConsents: moved.annulments, IntoConsents: moved.copies,
	}, moved.bounded()
}

// Undo takes a merge back: what came from the record returns to it. A refusal or a
// withdrawal that was recorded since is copied to it too, because it may have been about
// either. The consent that an account rests on stays as well: whoever opened it agreed.
// Errors: validation_failed, subject_erased, not_merged, too_many_decisions.
func (c MergeResidents) Undo(from, into File) (Merge, error) {
	c, err := c.checked()
	switch {
	case err != nil:
		return Merge{}, err
	case from.Resident.Erased, into.Resident.Erased:
		return Merge{}, Refuse(CodeSubjectErased, "This person's data was erased.")
	case from.Resident.MergedInto != into.Resident.ID:
		return Merge{}, notMerged()
	}

	since := into.mergedAt(from.Resident.ID)
	back := move(into, func(r Recorded) (copied, annulled bool) {
		if c := copyOf(r.Event); c != nil {
			account := into.Resident.restsOnConsent() && PurposeNamed(r.Event) == PlatformRegistrationCode
			return c.Subject == from.Resident.ID, !account
		}
		return outcomeOf(r.Event) != OutcomeGranted && r.Position > since, false
	}, CauseUnmerged, c.NewID)

	event := &ResidentUnmerged{From: from.Resident.ID, Into: into.Resident.ID}
	event.EvidenceSHA256, event.Private = c.proof()
	return Merge{
		From: []Event{event}, Into: []Event{event}, FromConsents: back.copies, IntoConsents: back.annulments,
	}, back.bounded()
}

func notMerged() *Error { return Refuse(CodeNotMerged, "This record is not merged into another.") }

func (c MergeResidents) checked() (MergeResidents, error) {
	c.Reason = TidyText(c.Reason)
	if e := c.Evidence; e != nil {
		c.Evidence = &Evidence{SHA256: e.SHA256, Reference: TidyText(e.Reference)}
	}

	var f Faults
	f.Text("reason", c.Reason, MaxReason)
	f.evidence(c.Evidence)
	return c, f.Err()
}

func (c MergeResidents) proof() (sha256 string, private Personal[MergeFacts]) {
	facts := MergeFacts{Reason: c.Reason}
	if c.Evidence != nil {
		sha256, facts.EvidenceReference = c.Evidence.SHA256, c.Evidence.Reference
	}
	if facts != (MergeFacts{}) {
		private = Known(facts)
	}
	return sha256, private
}

// moved is what moving decisions from one record to another adds to the streams of each.
type moved struct{ annulments, copies []Event }

func (m moved) bounded() error {
	if len(m.copies) > maxMoved {
		return Refuse(CodeTooManyDecisions,
			"This record has more than %s decisions: too many to merge.", strconv.Itoa(maxMoved))
	}
	return nil
}

// move copies events that count, in the order in which they were said, and annuls them
// where they come from; which says what is to be done with each.
func move(
	from File, which func(Recorded) (copied, annulled bool), cause string, newID func() ConsentID,
) (m moved) {
	void := annulmentsIn(from.Consents, time.Time{})
	var said []held
	for i := range from.Consents {
		r := &from.Consents[i]
		if PurposeNamed(r.Event) == "" || void.of(r) != nil {
			continue
		}
		if copied, _ := which(*r); copied {
			said = append(said, hold(r))
		}
	}
	slices.SortFunc(said, func(a, b held) int { return cmp.Compare(a.place, b.place) })

	ids := map[ConsentID]ConsentID{} // of the copies, by that of the decision
	for _, h := range said {
		at := &CopyOf{
			Subject: from.Resident.ID, Event: h.EventID, Position: h.place, Unstated: !h.stated,
		}
		annulment := &ConsentAnnulled{
			Purpose: PurposeNamed(h.Event), Entry: DecisionEntry, Annuls: h.EventID, Cause: cause,
		}

		if d, is := decisionOf(h.Event); is {
			annulment.ConsentID, annulment.MovedTo = d.ConsentID, newID()
			ids[d.ConsentID] = annulment.MovedTo
			d.ConsentID, d.GivenAt, d.Copy = annulment.MovedTo, h.EffectiveAt, at
			m.copies = append(m.copies, withDecision(h.Event, d))
		} else if e, is := h.Event.(*ConsentWithdrawn); is {
			annulment.ConsentID, annulment.Entry = e.ConsentID, WithdrawalEntry
			w := *e
			if id, is := ids[e.ConsentID]; is {
				w.ConsentID = id
			}
			w.GivenAt, w.Copy = h.EffectiveAt, at
			m.copies = append(m.copies, &w)
		}
		if _, annulled := which(*h.Recorded); annulled {
			m.annulments = append(m.annulments, annulment)
		}
	}
	return m
}

// withDecision returns an event of the same kind with another decision.
func withDecision(e Event, d Decision) Event {
	switch e := e.(type) {
	case *ConsentGranted:
		return &ConsentGranted{Decision: d, ValidUntil: e.ValidUntil, ValidityDays: e.ValidityDays}
	case *ConsentClaimed:
		return &ConsentClaimed{Decision: d, Claim: e.Claim, ValidityDays: e.ValidityDays}
	default:
		return &ConsentRefused{d}
	}
}
