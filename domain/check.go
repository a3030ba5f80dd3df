package domain

import (
	"slices"
	"time"
)

// Reason says in one word why processing is allowed or not.
type Reason string

// The reasons, in the order in which they are tried.
const (
	// ReasonUnknownSubject: nobody with this id was known then.
	ReasonUnknownSubject Reason = "unknown_subject"
	// ReasonPurposeRetired: nothing may be done for the purpose any more.
	ReasonPurposeRetired Reason = "purpose_retired"
	// ReasonLawful: the purpose rests on a ground of POPIA s11 other than consent.
	ReasonLawful Reason = "lawful_without_consent"

	ReasonGranted   Reason = "granted"
	ReasonRefused   Reason = "refused"
	ReasonWithdrawn Reason = "withdrawn"
	// ReasonNotYetGiven: a consent is known that takes effect later.
	ReasonNotYetGiven Reason = "not_yet_given"
	ReasonNeverAsked  Reason = "never_asked"
)

// Inquiry asks whether a person's data may be processed for a purpose. It holds all that
// bears on the answer: histories, in order of position.
type Inquiry struct {
	Purpose  string    // its code
	At       time.Time // the instant of processing; zero: no bound
	KnownAt  time.Time // counts only what was recorded by then; zero: no bound
	Person   []Recorded
	Own      []Recorded // of the tenant's own purpose of this code
	Default  []Recorded // of the platform's purpose; the tenant's own hides it
	Consents []Recorded // of the person
}

// Check is the answer to an Inquiry.
type Check struct {
	Allowed bool
	Reason  Reason
	Basis   Basis
	Decided bool     // false: no event decides it
	By      Recorded // the event that decides
	Grade   Grade    // if that is a claim: what it rests on
}

// Answer returns the answer of the first rule that applies, in the order of the reasons.
// Error: unknown_purpose, for a code that no purpose has, whatever instant is asked
// about.
func (q Inquiry) Answer() (Check, error) {
	purpose, history := PlatformRegistration(), []Recorded(nil)
	if q.Purpose != PlatformRegistrationCode {
		if history = q.Own; len(history) == 0 || !q.inUse(history) && len(q.Default) > 0 {
			history = q.Default
		}
		purpose = Fold[Purpose](history)
	}
	if !purpose.Exists() {
		return Check{}, Refuse(CodeUnknownPurpose, "This municipality has no such purpose.")
	}

	check := Check{Basis: purpose.Basis}
	if len(q.Person) == 0 || !q.knows(q.Person[0]) {
		check.Reason = ReasonUnknownSubject
		return check, nil
	}
	if end, retired := q.retirement(history); retired {
		check.Reason, check.Decided, check.By = ReasonPurposeRetired, true, end
		return check, nil
	}
	if purpose.Basis != ConsentBasis && q.inUse(history) {
		check.Allowed, check.Reason = true, ReasonLawful
		return check, nil
	}
	return q.consent(check), nil
}

// inUse reports whether a purpose was known at KnownAt and in use at At. One that was
// defined later says nothing about the time before it, unless its words were in use by
// then.
func (q Inquiry) inUse(history []Recorded) bool {
	defined := slices.IndexFunc(history, func(r Recorded) bool { return !r.IsVoid() })
	return defined >= 0 && q.knows(history[defined]) && Fold[Purpose](history).WasInUse(q.At)
}

// consent completes a check with the person's decisions.
func (q Inquiry) consent(check Check) Check {
	check.Allowed, check.By, check.Decided = ConsentsFor(q.Purpose, q.Consents, q.At, q.KnownAt).Check(q.Purpose)
	if check.Decided {
		check.Grade = GradeOf(check.By.Event)
		switch outcomeOf(check.By.Event) {
		case OutcomeGranted:
			check.Reason = ReasonGranted
		case OutcomeRefused:
			check.Reason = ReasonRefused
		case OutcomeWithdrawn:
			check.Reason = ReasonWithdrawn
		}
		return check
	}

	check.Reason = ReasonNeverAsked
	for _, c := range ConsentsFor(q.Purpose, q.Consents, time.Time{}, q.KnownAt).Records() {
		if c.Consented {
			check.Reason = ReasonNotYetGiven
		}
	}
	return check
}

// retirement returns the event that had ended a purpose by the instant asked about.
func (q Inquiry) retirement(history []Recorded) (Recorded, bool) {
	for _, e := range history {
		if _, ends := e.Event.(*PurposeRetired); ends && q.knows(e) && (q.At.IsZero() || !e.EffectiveAt.After(q.At)) {
			return e, true
		}
	}
	return Recorded{}, false
}

// knows reports whether an event was recorded by KnownAt.
func (q Inquiry) knows(e Recorded) bool { return q.KnownAt.IsZero() || !e.RecordedAt.After(q.KnownAt) }
