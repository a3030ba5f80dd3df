package domain

import "slices"

// InOffice reports whether an event is an act in office: something its actor did that is
// not about the actor alone. Nobody who acted in office, in any tenant, can be erased:
// nobody erases their own trail. Migration 018 says the same in SQL; a test compares the
// two.
func InOffice(r Recorded) bool {
	eventType := r.Event.EventType()
	switch {
	case r.Actor.IsZero():
		return false
	case slices.Contains(officesAlone(), eventType):
		return true
	case eventType == (*TenantMismatch)(nil).EventType():
		return false // about a header of the caller's own request, and nobody's data
	default:
		// No subject also counts: a purpose, a municipality, the data of several people.
		return r.Subject != r.Actor
	}
}

// officesAlone lists the events that need an office even when they are about oneself.
func officesAlone() []string {
	return []string{
		(*PersonalDataRead)(nil).EventType(), (*UserRoleChanged)(nil).EventType(), (*RequestFulfilled)(nil).EventType(),
		(*RequestRefused)(nil).EventType(), (*HoldPlaced)(nil).EventType(), (*HoldLifted)(nil).EventType(),
	}
}
