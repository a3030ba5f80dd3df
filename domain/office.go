package domain

import "slices"

// InOffice reports whether an event is an act in office: something that its actor did
// which is not about the actor alone. Whoever acted in office, in whatever tenant, cannot
// be erased: nobody erases their own trail. Migration 018 says the same in SQL; a test
// holds both together.
func InOffice(r Recorded) bool {
	eventType := r.Event.EventType()
	switch {
	case r.Actor.IsZero():
		return false
	case slices.Contains(officesAlone(), eventType):
		return true
	case eventType == (*TenantMismatch)(nil).EventType(): // a header of the caller's own request, and nobody's data
		return false
	default:
		return r.Subject != r.Actor // nobody: a purpose, a municipality, the data of several people
	}
}

// officesAlone are the events that take an office also where they are about oneself.
func officesAlone() []string {
	return []string{
		(*PersonalDataRead)(nil).EventType(), (*UserRoleChanged)(nil).EventType(), (*RequestFulfilled)(nil).EventType(),
		(*RequestRefused)(nil).EventType(), (*HoldPlaced)(nil).EventType(), (*HoldLifted)(nil).EventType(),
	}
}
