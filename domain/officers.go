package domain

import (
	"slices"

	"github.com/google/uuid"
)

// Events of a tenant's stream of officers: the active accounts of managers and admins. It
// exists for one rule that spans many users: nobody erases another person alone while a
// second officer is there to do it with. A decision expects this stream's version, so an
// officer added at the same time is not overlooked.
type (
	// OfficersListed says who the officers are, according to the accounts in the log, in
	// a tenant that had officers before this stream existed. It replaces what was known
	// before.
	OfficersListed struct {
		Users []UserID `json:"user_ids"`
	}
	// OfficerAdded says that an account is an officer's from now on.
	OfficerAdded struct {
		User UserID `json:"user_id"`
	}
	// OfficerRemoved says that it no longer is.
	OfficerRemoved struct {
		User UserID `json:"user_id"`
	}
)

// EventType implements Event.
func (*OfficersListed) EventType() string { return "officers.listed.v1" }

// EventType implements Event.
func (*OfficerAdded) EventType() string { return "officer.added.v1" }

// EventType implements Event.
func (*OfficerRemoved) EventType() string { return "officer.removed.v1" }

func (e *OfficerRemoved) changes() []FieldChange {
	return []FieldChange{{Field: "user_id", Old: e.User}}
}

// RecordID returns the account the event is about.
func (e *OfficerAdded) RecordID() uuid.UUID { return e.User.UUID }

// RecordID returns the account the event is about.
func (e *OfficerRemoved) RecordID() uuid.UUID { return e.User.UUID }

// SubjectID returns the account the event is about.
func (e *OfficerAdded) SubjectID() UserID { return e.User }

// SubjectID returns the account the event is about.
func (e *OfficerRemoved) SubjectID() UserID { return e.User }

// OfficerRoles are the roles that make an account an officer's.
func OfficerRoles() []Role { return []Role{Manager, Admin} }

// IsOfficer reports whether the account is an officer's: an active manager's or admin's.
func (u User) IsOfficer() bool { return u.Active && slices.Contains(OfficerRoles(), u.Role) }

// OfficersAfter returns the events for the stream of officers that follow from some
// events of a user's stream; before is the account without them.
func OfficersAfter(before User, events []Event) []Event {
	after := before
	for _, e := range events {
		after = after.Evolve(Recorded{Event: e})
	}

	switch {
	case after.IsOfficer() == before.IsOfficer():
		return nil
	case after.IsOfficer():
		return []Event{&OfficerAdded{User: before.ID}}
	default:
		return []Event{&OfficerRemoved{User: before.ID}}
	}
}

// Officers lists a tenant's officers.
type Officers struct {
	Users   []UserID
	Listed  bool // false: officers from before this stream are missing
	Version int
}

// Evolve returns the state after one more event.
func (o Officers) Evolve(r Recorded) Officers {
	without := func(user UserID) []UserID {
		return slices.DeleteFunc(slices.Clone(o.Users), func(u UserID) bool { return u == user })
	}

	switch e := r.Event.(type) {
	case *OfficersListed:
		o.Users, o.Listed = e.Users, true
	case *OfficerAdded:
		o.Users = append(without(e.User), e.User)
	case *OfficerRemoved:
		o.Users = without(e.User)
	}

	o.Version = r.Version
	return o
}

// SecondPerson reports whether an erasure lacks a second person: the account that carries
// out the request also lodged it, and there is no other officer to leave it to besides
// the person themself. Error: second_person_required, if there is one.
func (o Officers) SecondPerson(q Request, by UserID) (lacking bool, err error) {
	if q.Lodger != by {
		return false, nil
	}

	if slices.ContainsFunc(o.Users, func(u UserID) bool { return u != by && u != q.Subject }) {
		return false, Refuse(CodeSecondPerson,
			"Another manager or admin must lodge this request, or another admin must carry it out: nobody erases a "+
				"person alone.")
	}
	return true, nil
}
