package domain

import "github.com/google/uuid"

// UserErased says that the person's key was destroyed, in the same transaction (POPIA
// s24(1)(b), s14(4)). It is the certificate of the erasure, named by the id of its
// append; nothing in it identifies anybody.
type UserErased struct {
	Cause     string      `json:"cause"`               // BySelf, CauseRequest or CauseMerged
	RequestID RequestID   `json:"request_id,omitzero"` // the request that was fulfilled
	Keys      []uuid.UUID `json:"keys"`                // ids of the keys that were destroyed
	Destroyed []Remnant   `json:"destroyed"`
	Kept      []Remnant   `json:"kept"`
	// NoSecondPerson says that one account lodged the request and carried it out, because
	// the tenant had no other officer.
	NoSecondPerson bool `json:"no_second_person,omitzero"`
}

// CauseRequest is the cause of an erasure that the person did not carry out themselves: a
// request was lodged.
const CauseRequest = "request"

// Remnant names something that was held about a person when they were erased.
type Remnant string

// What an erasure destroys, and what it keeps.
const (
	// RemnantProfile: every name, e-mail address and phone number they ever had.
	RemnantProfile Remnant = "profile"
	// RemnantFreeText: reasons, evidence references, competent persons, request details.
	RemnantFreeText Remnant = "free_text"
	// RemnantOrigins: the addresses and programs that the person used.
	RemnantOrigins Remnant = "origins"
	// RemnantCredentials: what they signed in with, and the claim on the e-mail address.
	RemnantCredentials Remnant = "credentials"
	// RemnantSessions: their open sessions.
	RemnantSessions Remnant = "sessions"
	// RemnantConsents: that somebody decided, on what, when, in which words: s11(2)(a).
	RemnantConsents Remnant = "consents"
	// RemnantAudit: that somebody acted, how and when: s14(1)(a), s17, s19.
	RemnantAudit Remnant = "audit"
	// RemnantStatistics: counts, which identify nobody: s14(2).
	RemnantStatistics Remnant = "statistics"
)

// EventType implements Event.
func (*UserErased) EventType() string { return "user.erased.v1" }

// Erase returns the event that erases a person for good. An erasure of held data is
// refused until the holds are lifted. Errors: subject_erased, retention_hold.
func (u User) Erase(rights Rights, cause string, request RequestID) ([]Event, error) {
	switch {
	case u.Erased:
		return nil, Refuse(CodeSubjectErased, "This person's data was erased.")
	case rights.Held():
		return nil, Refuse(CodeRetentionHold,
			"This person's data is under a retention hold and cannot be erased until the hold is lifted.")
	}

	return []Event{&UserErased{
		Cause: cause, RequestID: request, Keys: []uuid.UUID{u.ID.UUID},
		Destroyed: []Remnant{RemnantProfile, RemnantFreeText, RemnantOrigins, RemnantCredentials, RemnantSessions},
		Kept:      []Remnant{RemnantConsents, RemnantAudit, RemnantStatistics},
	}}, nil
}
