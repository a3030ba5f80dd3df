package domain

import (
	"slices"

	"github.com/google/uuid"
)

// Events of a tenant's stream of admins. It exists for one rule that spans many users: a
// tenant never loses its last admin, not even by two requests at once. Both expect this
// stream's version, so one of them is decided again.
type (
	// AdminAdded says that an active account is an admin of the tenant from now on.
	AdminAdded struct {
		User UserID `json:"user_id"`
	}
	// AdminRemoved says that it no longer is.
	AdminRemoved struct {
		User UserID `json:"user_id"`
	}
)

// EventType implements Event.
func (*AdminAdded) EventType() string { return "admin.added.v1" }

// EventType implements Event.
func (*AdminRemoved) EventType() string { return "admin.removed.v1" }

func (e *AdminRemoved) changes() []FieldChange {
	return []FieldChange{{Field: "user_id", Old: e.User}}
}

// RecordID returns the account the event is about.
func (e *AdminAdded) RecordID() uuid.UUID { return e.User.UUID }

// RecordID returns the account the event is about.
func (e *AdminRemoved) RecordID() uuid.UUID { return e.User.UUID }

// SubjectID returns the account the event is about.
func (e *AdminAdded) SubjectID() UserID { return e.User }

// SubjectID returns the account the event is about.
func (e *AdminRemoved) SubjectID() UserID { return e.User }

// Admins lists a tenant's admins.
type Admins struct {
	Users   []UserID
	Version int
}

// Evolve returns the state after one more event.
func (a Admins) Evolve(r Recorded) Admins {
	switch e := r.Event.(type) {
	case *AdminAdded:
		a.Users = append(a.Users[:len(a.Users):len(a.Users)], e.User)
	case *AdminRemoved:
		a.Users = slices.DeleteFunc(slices.Clone(a.Users), func(u UserID) bool { return u == e.User })
	}

	a.Version = r.Version
	return a
}

// Add returns the event that makes a user an admin, or nothing if they are one.
func (a Admins) Add(user UserID) []Event {
	if slices.Contains(a.Users, user) {
		return nil
	}
	return []Event{&AdminAdded{User: user}}
}

// Remove returns the event that a user is no longer an admin, or nothing if they are not
// one. It refuses for the last admin.
func (a Admins) Remove(user UserID) ([]Event, error) {
	switch {
	case !slices.Contains(a.Users, user):
		return nil, nil
	case len(a.Users) == 1:
		return nil, Refuse(CodeLastAdmin, "This is the last admin of this municipality: appoint another first.")
	default:
		return []Event{&AdminRemoved{User: user}}, nil
	}
}
