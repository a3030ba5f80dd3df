package domain

import (
	"time"

	"github.com/google/uuid"
)

// Events of a user's stream about a second factor: an authenticator whose codes are asked
// for at sign-in besides the password. None holds a secret or a code: like passwords,
// they are not history.
type (
	// SecondFactorBegun says that the secret of a new one was shown, once, and waits
	// until it expires to be confirmed by a code.
	SecondFactorBegun struct {
		FactorID  uuid.UUID `json:"factor_id"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	// SecondFactorSet says that its first code was right: from now on sign-in asks for
	// codes.
	SecondFactorSet struct {
		FactorID uuid.UUID `json:"factor_id"`
	}
	// SecondFactorRemoved says that sign-in no longer asks for its codes. Its owner
	// removes it with password and code; another admin, or an operator, must state a
	// reason.
	SecondFactorRemoved struct {
		FactorID uuid.UUID `json:"factor_id"`
		Cause    string    `json:"cause"` // BySelf or CauseRecovery
		// EvidenceSHA256 is the hash of the proof that its owner asked for it.
		EvidenceSHA256 string                  `json:"evidence_sha256,omitempty"`
		Private        Personal[RecoveryFacts] `json:"-"`
	}
	// RecoveryFacts may identify a person.
	RecoveryFacts struct {
		Reason            string `json:"reason"`
		EvidenceReference string `json:"evidence_reference,omitempty"`
	}
)

// CauseRecovery is the cause where somebody other than its owner removed a second factor.
const CauseRecovery = "recovery"

// EventType implements Event.
func (*SecondFactorBegun) EventType() string { return "user.second_factor_begun.v1" }

// EventType implements Event.
func (*SecondFactorSet) EventType() string { return "user.second_factor_set.v1" }

// EventType implements Event.
func (*SecondFactorRemoved) EventType() string { return "user.second_factor_removed.v1" }

func (e *SecondFactorRemoved) personal() Part { return &e.Private }

func (e *SecondFactorSet) changes() []FieldChange {
	return append(fieldsOf(e), turned("second_factor", true))
}

func (e *SecondFactorRemoved) changes() []FieldChange {
	return append(fieldsOf(e), turned("second_factor", false))
}

// SecondFactor is what a user's stream says about it. It is a state of its own because
// only commands need it.
type SecondFactor struct {
	ID uuid.UUID // the one that sign-in asks for; zero: none
}

// Evolve returns the state after one more event.
func (f SecondFactor) Evolve(r Recorded) SecondFactor {
	switch e := r.Event.(type) {
	case *SecondFactorSet:
		f.ID = e.FactorID
	case *SecondFactorRemoved, *UserErased:
		f.ID = uuid.Nil
	}
	return f
}

// IsSet reports whether sign-in asks for a code.
func (f SecondFactor) IsSet() bool { return f.ID != uuid.Nil }

// Authenticator is what a second factor's codes are checked against. It is not history:
// it is kept beside the password's hash, its secrets sealed under the person's own key.
type Authenticator struct {
	Factor uuid.UUID // zero: none
	Secret []byte
	// Step is that of the newest accepted code. No code of this step or an earlier one is
	// ever accepted again.
	Step       int64
	WrongCodes int       // since the last right one
	WrongAt    time.Time // of the newest wrong code

	Offered       uuid.UUID // a new one, not yet confirmed; zero: none
	OfferedSecret []byte
	OfferedUntil  time.Time
}

// How often a code may be wrong before none is checked for a while, each time for twice
// as long. With a million codes, three of them valid at a time, somebody who knows a
// password finds a code within a year with a chance of about one in a thousand.
const (
	freeWrongCodes   = 5
	firstCodePause   = time.Minute
	longestCodePause = 24 * time.Hour
)

// LockedUntil returns when a code is checked again; it is in the past if the second
// factor is not locked.
func (a Authenticator) LockedUntil() time.Time {
	if a.WrongCodes < freeWrongCodes {
		return time.Time{}
	}

	pause := firstCodePause
	for n := freeWrongCodes; n < a.WrongCodes && pause < longestCodePause; n++ {
		pause *= 2
	}
	return a.WrongAt.Add(min(pause, longestCodePause))
}

// RecoverSecondFactor asks to remove another person's second factor, because they lost
// the device that makes its codes.
type RecoverSecondFactor struct {
	Reason   string
	Evidence *Evidence
}

// Decide returns the event. Errors: validation_failed; not_found if there is none to
// remove.
func (c RecoverSecondFactor) Decide(factor SecondFactor) ([]Event, error) {
	c.Reason = TidyText(c.Reason)
	if e := c.Evidence; e != nil {
		c.Evidence = &Evidence{SHA256: e.SHA256, Reference: TidyText(e.Reference)}
	}

	var f Faults
	if c.Reason == "" {
		f.Add("reason", "required", "Say why: how it is known that the person asked for it.")
	}
	f.Text("reason", c.Reason, MaxReason)
	f.evidence(c.Evidence)
	if err := f.Err(); err != nil {
		return nil, err
	}

	if !factor.IsSet() {
		return nil, NoSecondFactor()
	}

	removed := &SecondFactorRemoved{FactorID: factor.ID, Cause: CauseRecovery}
	facts := RecoveryFacts{Reason: c.Reason}
	if c.Evidence != nil {
		removed.EvidenceSHA256, facts.EvidenceReference = c.Evidence.SHA256, c.Evidence.Reference
	}

	removed.Private = Known(facts)
	return []Event{removed}, nil
}

// NoSecondFactor is the refusal of a command that needs a second factor, where none is
// set.
func NoSecondFactor() *Error { return Refuse(CodeNotFound, "This account has no second factor.") }
