package domain

import "time"

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
	// ReasonExpired: the consent held until an instant that has come.
	ReasonExpired Reason = "expired"
	// ReasonSuperseded: a newer notice demands that people are asked again, and they were
	// not.
	ReasonSuperseded Reason = "notice_superseded"
	// ReasonNotYetGiven: a consent is known that takes effect later.
	ReasonNotYetGiven Reason = "not_yet_given"
	ReasonNeverAsked  Reason = "never_asked"
)

// Inquiry asks whether a person's data may be processed for a purpose. It holds all that
// bears on the answer: histories, in order of position.
type Inquiry struct {
	Clocks

	Purpose  string // its code
	Person   []Recorded
	Own      []Recorded // of the tenant's own purpose of this code
	Default  []Recorded // of the platform's purpose; the tenant's own hides it
	Consents []Recorded // of the person
}

// Check is the answer to an Inquiry.
type Check struct {
	Allowed    bool
	Reason     Reason
	Basis      Basis
	ValidUntil time.Time // from when a grant no longer holds, as far as is known; zero: no end
	Decided    bool      // false: no event decides it
	By         EventRef  // the event that decides
	Grade      Grade     // if the answer rests on a claim: what that rests on
}

// Answer returns the answer of the first rule that applies, in the order of the reasons.
// Error: unknown_purpose, for a code that no purpose has, whatever instant is asked
// about.
func (q Inquiry) Answer() (Check, error) {
	terms, err := q.Terms()
	if err != nil {
		return Check{}, err
	}
	return q.Under(terms), nil
}

// Terms returns the terms of the purpose, which are the same for every person. Error:
// unknown_purpose.
func (q Inquiry) Terms() (Terms, error) {
	own, shared := Fold[Purpose](q.Own), Fold[Purpose](q.Default)
	if q.Purpose == PlatformRegistrationCode {
		own, shared = Purpose{}, PlatformRegistration()
	}

	terms := TermsOf(own, shared, q.Clocks)
	if !terms.Purpose.Exists() {
		return Terms{}, Refuse(CodeUnknownPurpose, "This municipality has no such purpose.")
	}
	return terms, nil
}

// Under returns the answer under the terms of the purpose.
func (q Inquiry) Under(terms Terms) Check {
	check := Check{Basis: terms.Purpose.Basis}
	if len(q.Person) == 0 || !q.knows(q.Person[0].RecordedAt) {
		check.Reason = ReasonUnknownSubject
		return check
	}
	if end, retired := terms.Retired(); retired {
		check.Reason, check.Decided, check.By = ReasonPurposeRetired, true, end
		return check
	}
	if terms.Lawful() {
		check.Allowed, check.Reason = true, ReasonLawful
		return check
	}
	return q.consent(terms, check)
}

// consent completes a check with the person's decisions.
func (q Inquiry) consent(terms Terms, check Check) Check {
	consents := ConsentsFor(q.Purpose, q.Consents, q.At, q.KnownAt)
	_, by, decided := consents.Check(q.Purpose)
	if !decided {
		check.Reason = q.undecided()
		return check
	}

	check.Decided, check.By, check.Grade = true, by.Ref(), GradeOf(by.Event)
	switch outcomeOf(by.Event) {
	case OutcomeGranted:
		grant, _ := consents.InForce(q.Purpose)
		check.granted(terms.Of(grant))
	case OutcomeRefused:
		check.Reason = ReasonRefused
	case OutcomeWithdrawn:
		check.Reason = ReasonWithdrawn
	}
	return check
}

// granted completes a check that rests on a grant. A notice that ended it is the event
// that decides: it takes effect when it demands a new answer.
func (c *Check) granted(d Decided) {
	c.ValidUntil = d.Until()
	switch d.Status {
	case StatusExpired:
		c.Reason = ReasonExpired
	case StatusLapsed:
		c.Reason, c.By = ReasonSuperseded, d.Lapse.By
		c.By.At = d.Lapse.At
	default:
		c.Allowed, c.Reason = true, ReasonGranted
	}
}

// undecided returns the reason where nothing was decided by the instant asked about.
func (q Inquiry) undecided() Reason {
	for _, c := range ConsentsFor(q.Purpose, q.Consents, time.Time{}, q.KnownAt).Records() {
		if c.Consented && c.AnnulledAt.IsZero() {
			return ReasonNotYetGiven
		}
	}
	return ReasonNeverAsked
}
