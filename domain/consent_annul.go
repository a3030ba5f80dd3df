package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// Events of a subject's consent stream about an entry made in error.
type (
	// ConsentAnnulled says that an earlier event of the stream was entered in error: on
	// the wrong person, say. As known from now on that event counts for nothing, from
	// the beginning; as known before, it stood. Both stay in the log.
	ConsentAnnulled struct {
		ConsentID ConsentID `json:"consent_id"`
		Purpose   string    `json:"purpose"`
		Entry     Entry     `json:"entry"`
		Annuls    uuid.UUID `json:"annuls"` // id of the event
		// Cause is CauseMerged or CauseUnmerged where the entry was no error, but belongs
		// to another record of the same person; MovedTo is its copy there.
		Cause   string    `json:"cause,omitempty"`
		MovedTo ConsentID `json:"moved_to,omitzero"`
		// EvidenceSHA256 is the hash of the proof of the error.
		EvidenceSHA256 string                   `json:"evidence_sha256,omitempty"`
		Private        Personal[AnnulmentFacts] `json:"-"`
	}
	// AnnulmentFacts may identify a person.
	AnnulmentFacts struct {
		Reason            string `json:"reason"`
		EvidenceReference string `json:"evidence_reference,omitempty"`
	}
)

// Why an entry was annulled although it was no error.
const (
	CauseMerged   = "merged"
	CauseUnmerged = "unmerged"
)

// Entry says which event of a consent is meant.
type Entry string

// The entries of a consent.
const (
	DecisionEntry   Entry = "decision"   // the grant or the refusal
	WithdrawalEntry Entry = "withdrawal" // the one that ended the grant
)

// Entries lists both.
func Entries() []Entry { return []Entry{DecisionEntry, WithdrawalEntry} }

// EventType implements Event.
func (*ConsentAnnulled) EventType() string { return "consent.annulled.v1" }

func (e *ConsentAnnulled) personal() Part { return &e.Private }

func (e *ConsentAnnulled) changes() []FieldChange {
	sealed := []string{"reason"}
	if e.EvidenceSHA256 != "" {
		sealed = append(sealed, "evidence_reference")
	}
	changes := append(payloadFields(e, "consent_id", "purpose"), e.Private.fieldsNamed(sealed...)...)
	return append(changes, turned("annulled", true))
}

// RecordID returns the consent the event is about.
func (e *ConsentAnnulled) RecordID() uuid.UUID { return e.ConsentID.UUID }

// annulments are the events that annul others, by the id of the event that they annul.
type annulments map[uuid.UUID]*Recorded

// annulmentsIn returns those known at an instant; zero: all. It is nil for nearly
// everybody.
func annulmentsIn(events []Recorded, knownAt time.Time) annulments {
	var found annulments
	for i := range events {
		e, is := events[i].Event.(*ConsentAnnulled)
		if !is || !knownAt.IsZero() && events[i].RecordedAt.After(knownAt) {
			continue
		}
		if found == nil {
			found = annulments{}
		}
		if found[e.Annuls] == nil {
			found[e.Annuls] = &events[i]
		}
	}
	return found
}

// of returns the event that annuls another, or nil.
func (a annulments) of(e *Recorded) *Recorded {
	if a == nil {
		return nil
	}
	return a[e.EventID]
}

// annulled returns the record of a decision that counts for nothing; none for an annulled
// withdrawal.
func annulled(r, by *Recorded) (Consent, bool) {
	d, is := decisionOf(r.Event)
	if !is {
		return Consent{}, false
	}

	c := record(r, d)
	c.AnnulledAt = by.RecordedAt
	c.Position, c.UpdatedAt, c.UpdatedBy = by.Position, by.RecordedAt, by.Actor
	c.MovedTo = by.Event.(*ConsentAnnulled).MovedTo
	return c, true
}

// AnnulConsent asks to annul an entry made in error.
type AnnulConsent struct {
	ID       ConsentID
	Entry    Entry // empty: DecisionEntry
	Reason   string
	Evidence *Evidence

	// Own and Shared are the tenant's own purpose of the consent, and the default. They
	// say when the grants ended that an annulment brings back.
	Own, Shared []Purpose
}

// Decide returns the annulment, or nothing if the entry is annulled already. history
// holds every event about the purpose. An annulment after which processing is allowed
// that was not allowed before, at any instant, needs evidence: a person's "no" is not
// talked away, and neither is the end that they agreed to. The grant that a citizen's
// account rests on is withdrawn, not annulled, since nobody has an account without it.
// Errors: validation_failed, not_found, not_granted, annulled, not_withdrawn,
// evidence_required, account_rests_on_consent.
func (c AnnulConsent) Decide(user User, history []Recorded, now time.Time) ([]Event, error) {
	c = c.tidy()
	if err := c.validate(); err != nil {
		return nil, err
	}

	consent, found := ConsentIn(history, c.ID)
	if !found {
		return nil, Refuse(CodeNotFound, "There is no such consent.")
	}
	if !consent.AnnulledAt.IsZero() {
		if c.Entry == DecisionEntry {
			return nil, nil
		}
		return nil, isAnnulled(consent)
	}

	entry, err := c.entry(consent, history)
	if err != nil {
		return nil, err
	}

	e := c.event(consent, entry)
	return []Event{e}, c.may(user, entry, history, Recorded{
		Event: e, Stream: entry.Stream, EffectiveAt: now, RecordedAt: now, Position: entry.Position,
	})
}

func (c AnnulConsent) tidy() AnnulConsent {
	if c.Entry == "" {
		c.Entry = DecisionEntry
	}
	c.Reason = TidyText(c.Reason)
	if e := c.Evidence; e != nil {
		c.Evidence = &Evidence{SHA256: e.SHA256, Reference: TidyText(e.Reference)}
	}
	return c
}

func (c AnnulConsent) validate() error {
	var f Faults
	OneOf(&f, "entry", c.Entry, Entries())
	if IsBlank(c.Reason) {
		f.Add("reason", "required", "Say what the error was.")
	}
	f.Text("reason", c.Reason, MaxReason)
	f.evidence(c.Evidence)
	return f.Err()
}

// entry finds the event to annul. Of several withdrawals it is the one that counts, which
// the consent's answer shows; once it is annulled, the next one counts.
func (c AnnulConsent) entry(consent Consent, history []Recorded) (Recorded, error) {
	if c.Entry == WithdrawalEntry && !consent.Withdrawn() {
		refusal := Refuse(CodeNotWithdrawn, "This consent is not withdrawn.")
		if !consent.Consented {
			refusal = Refuse(CodeNotGranted, "This is a refusal: there is nothing to withdraw.")
		}
		return Recorded{}, refusal
	}

	void := annulmentsIn(history, time.Time{})
	for _, r := range history {
		if void.of(&r) != nil {
			continue
		}

		switch c.Entry {
		case WithdrawalEntry:
			if ends(r, consent) {
				return r, nil
			}
		case DecisionEntry:
			if d, is := decisionOf(r.Event); is && d.ConsentID == c.ID {
				return r, nil
			}
		}
	}
	return Recorded{}, Refuse(CodeNotFound, "There is no such consent.")
}

// ends reports whether an event is the withdrawal that a record shows. A claimed one ends
// claimed grants alone.
func ends(r Recorded, c Consent) bool {
	return outcomeOf(r.Event) == OutcomeWithdrawn && PurposeNamed(r.Event) == c.Purpose &&
		r.EffectiveAt.Equal(c.WithdrawnAt) && (GradeOf(r.Event) == "" || c.Grade != "")
}

// may refuses an annulment for what would follow from it. Without the entry, processing
// is allowed that is not allowed with it, if ever, at one of these instants: when the
// entry took effect, when it ended by itself, now, or when a claim takes effect that the
// entry may outvote.
func (c AnnulConsent) may(user User, entry Recorded, history []Recorded, annulment Recorded) error {
	purpose, now := PurposeNamed(entry.Event), annulment.RecordedAt
	after := append(history[:len(history):len(history)], annulment)
	allows := func(history []Recorded, at time.Time) bool {
		in, found := ConsentsFor(purpose, history, at, time.Time{}).InForce(purpose)
		return found && c.rules(at, now).Of(in).InForce
	}

	instants := []time.Time{{}, entry.EffectiveAt}
	if outcomeOf(entry.Event) == OutcomeGranted {
		then, _ := ConsentsFor(purpose, history, entry.EffectiveAt, time.Time{}).Record(c.ID)
		instants = append(instants, c.rules(entry.EffectiveAt, now).Of(then).Until()) // or now once more
	}
	for _, r := range history {
		if GradeOf(r.Event) != "" {
			instants = append(instants, r.EffectiveAt)
		}
	}
	more := slices.ContainsFunc(instants, func(at time.Time) bool { return allows(after, at) && !allows(history, at) })

	switch {
	case more && c.Evidence == nil:
		return Refuse(CodeEvidenceRequired,
			"After this, processing would be allowed that is not allowed now: give evidence that the entry was an "+
				"error.")
	case purpose == PlatformRegistrationCode && user.restsOnConsent() &&
		allows(history, time.Time{}) && !allows(after, time.Time{}):
		return Refuse(CodeAccountRestsOn,
			"This person's account rests on this consent: withdraw it, which closes the account.")
	}
	return nil
}

func (c AnnulConsent) rules(at, now time.Time) Rules {
	return RulesOf(c.Own, c.Shared, Clocks{At: at, Now: now})
}

// restsOnConsent reports whether there is an account that needs a consent to stay open.
func (u User) restsOnConsent() bool { return u.Account && u.Active && u.Role == Citizen }

func (c AnnulConsent) event(consent Consent, entry Recorded) *ConsentAnnulled {
	e := &ConsentAnnulled{ConsentID: c.ID, Purpose: consent.Purpose, Entry: c.Entry, Annuls: entry.EventID}
	facts := AnnulmentFacts{Reason: c.Reason}
	if c.Evidence != nil {
		e.EvidenceSHA256, facts.EvidenceReference = c.Evidence.SHA256, c.Evidence.Reference
	}
	e.Private = Known(facts)
	return e
}

// isAnnulled is the refusal of a command about an entry that counts for nothing.
func isAnnulled(c Consent) *Error {
	if c.MovedTo.UUID != uuid.Nil {
		refusal := Refuse(CodeAnnulled, "This consent was moved to another record of the same person; see consent_id.")
		refusal.ConsentID = c.MovedTo
		return refusal
	}
	return Refuse(CodeAnnulled, "This entry was annulled: it counts for nothing.")
}

// WholeTail returns the tail that holds every event about the purpose of a consent.
func WholeTail(subject UserID, id ConsentID) Tail {
	return Tail{
		Stream: ConsentsOf(subject), Record: id.UUID,
		Enough: func([]Recorded) bool { return false },
	}
}
