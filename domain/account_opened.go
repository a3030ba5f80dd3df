package domain

import "github.com/google/uuid"

// AccountOpened says that somebody whom staff had recorded redeemed a code for an
// account: the same person, with everything recorded about them, now signs in. The
// consent that the account rests on is in the same append.
type AccountOpened struct {
	CodeID uuid.UUID `json:"code_id"` // as the event of its issue names it
	// Email is the address they sign in with, and the one to write to that was recorded
	// before, if any.
	Email Personal[Change[string]] `json:"-"`
}

// EventType implements Event.
func (*AccountOpened) EventType() string { return "user.account_opened.v1" }

func (e *AccountOpened) personal() Part { return &e.Email }

func (e *AccountOpened) changes() []FieldChange {
	c := FieldChange{Field: "email", Personal: e.Email.State()}
	if email, open := e.Email.Get(); open {
		c.Old, c.New = email.Old, email.New
	}
	return append(payloadFields(e), c, turned("has_account", true))
}

// IssueSignInCode asks for a code that a resident without an account redeems for one.
type IssueSignInCode struct {
	IdentityDocument string // that was seen
}

// Decide refuses what must not be. Errors: validation_failed, subject_erased,
// subject_merged, has_account.
func (c IssueSignInCode) Decide(u User) (IdentityFacts, error) {
	facts, err := identified(c.IdentityDocument)
	if err != nil {
		return facts, err
	}
	if err := u.TakesCommands(); err != nil {
		return facts, err
	}
	if u.Account {
		return facts, Refuse(CodeHasAccount, "This person has an account: what they may need is a new password.")
	}
	return facts, nil
}

// OpenAccount asks, with a code, for an account.
type OpenAccount struct{ Email, Password string }

// Validate returns every fault of the input.
func (c OpenAccount) Validate() error {
	var f Faults
	f.Email("email", CanonicalEmail(c.Email))
	f.Password("password", c.Password)
	return f.Err()
}

// Decide returns the event. If the person cannot have an account, the code is of no use.
// Errors: validation_failed, code_invalid.
func (c OpenAccount) Decide(u User, code uuid.UUID) ([]Event, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if u.Account || !u.Active || u.TakesCommands() != nil {
		return nil, InvalidCode()
	}
	return []Event{&AccountOpened{
		CodeID: code, Email: Known(Change[string]{Old: u.storedEmail(), New: CanonicalEmail(c.Email)}),
	}}, nil
}
