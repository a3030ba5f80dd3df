package domain

import (
	"encoding/json"
	"fmt"
	"slices"
)

// eventTypes is the list of every event type ever released. A released line is never changed or removed: a new version of an
// event is a new type with a line of its own. testdata/events holds the frozen wire form of each.
func eventTypes() map[string]func(payload []byte) (Event, error) {
	return map[string]func([]byte) (Event, error){
		"municipality.registered.v1":      decode[MunicipalityRegistered],
		"municipality.details_changed.v1": decode[MunicipalityDetailsChanged],
		"municipality.deactivated.v1":     decode[MunicipalityDeactivated],
		"municipality.reactivated.v1":     decode[MunicipalityReactivated],
		"user.registered.v1":              decode[UserRegistered],
		"user.profile_changed.v1":         decode[UserProfileChanged],
		"user.email_changed.v1":           decode[UserEmailChanged],
		"user.role_changed.v1":            decode[UserRoleChanged],
		"user.password_changed.v1":        decode[UserPasswordChanged],
		"user.deactivated.v1":             decode[UserDeactivated],
		"user.reactivated.v1":             decode[UserReactivated],
		"user.erased.v1":                  decode[UserErased],
		"admin.added.v1":                  decode[AdminAdded],
		"admin.removed.v1":                decode[AdminRemoved],
		"access.tenant_mismatch.v1":       decode[TenantMismatch],
		"consent.granted.v1":              decode[ConsentGranted],
		"consent.refused.v1":              decode[ConsentRefused],
		"consent.withdrawn.v1":            decode[ConsentWithdrawn],
		"purpose.defined.v1":              decode[PurposeDefined],
		"purpose.notice_published.v1":     decode[PurposeNoticePublished],
		"purpose.retired.v1":              decode[PurposeRetired],
		"session.started.v1":              decode[SessionStarted],
		"session.ended.v1":                decode[SessionEnded],
		"session.reuse_detected.v1":       decode[SessionReuseDetected],
		"session.sign_in_failed.v1":       decode[SignInFailed],
		"rights.request_lodged.v1":        decode[RequestLodged],
		"rights.request_fulfilled.v1":     decode[RequestFulfilled],
		"rights.request_refused.v1":       decode[RequestRefused],
		"rights.hold_placed.v1":           decode[HoldPlaced],
		"rights.hold_lifted.v1":           decode[HoldLifted],
		"personal_data.read.v1":           decode[PersonalDataRead],
	}
}

var registry = eventTypes() //nolint:gochecknoglobals // built once from the list above and never written

// EventTypes lists every registered event type in alphabetical order.
func EventTypes() []string {
	names := make([]string, 0, len(registry))
	for name := range registry {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Knows tells whether an event type is registered.
func Knows(eventType string) bool {
	_, ok := registry[eventType]
	return ok
}

// Encode gives an event's payload and, for an event with a readable personal part, the bytes to seal. It refuses an event that
// is not registered, so nothing enters the log that could not be read back.
func Encode(e Event) (payload, personal []byte, err error) {
	if _, ok := registry[e.EventType()]; !ok {
		return nil, nil, &UnknownEventError{Type: e.EventType()}
	}
	if payload, err = json.Marshal(e); err != nil {
		return nil, nil, fmt.Errorf("encode %s: %w", e.EventType(), err)
	}
	if h, ok := e.(holdsPersonal); ok {
		if personal, err = h.personal().Bytes(); err != nil {
			return nil, nil, fmt.Errorf("encode the personal part of %s: %w", e.EventType(), err)
		}
	}
	return payload, personal, nil
}

// Opener tells what became of an event's personal part: its bytes when state is Open, else only the state. An event without a
// sealed part gives Absent.
type Opener func() (plain []byte, state PersonalState, err error)

// Decode gives the event that was stored. An unknown type or version is an *UnknownEventError.
func Decode(eventType string, payload []byte, open Opener) (Event, error) {
	decoder, ok := registry[eventType]
	if !ok {
		return nil, &UnknownEventError{Type: eventType}
	}
	event, err := decoder(payload)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", eventType, err)
	}
	h, ok := event.(holdsPersonal)
	if !ok || open == nil {
		return event, nil
	}
	plain, state, err := open()
	if err != nil {
		return nil, fmt.Errorf("open the personal part of %s: %w", eventType, err)
	}
	if state != Open {
		h.personal().SetState(state)
	} else if err := h.personal().SetBytes(plain); err != nil {
		return nil, fmt.Errorf("decode the personal part of %s: %w", eventType, err)
	}
	return event, nil
}

func decode[T any, P interface {
	*T
	Event
}](payload []byte) (Event, error) {
	event := P(new(T))
	if err := json.Unmarshal(payload, event); err != nil {
		return nil, err
	}
	return event, nil
}

// UnknownEventError says that the log holds an event this program does not know: it is older than the log.
type UnknownEventError struct{ Type string }

func (e *UnknownEventError) Error() string {
	return fmt.Sprintf("unknown event type %q: this program is older than the log it reads", e.Type)
}

// HasPersonal tells whether an event holds a readable personal part, so that it needs its subject's key to be stored.
func HasPersonal(e Event) bool {
	h, ok := e.(holdsPersonal)
	return ok && h.personal().Readable()
}
