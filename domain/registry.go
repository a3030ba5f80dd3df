package domain

import (
	"encoding/json"
	"fmt"
	"slices"
)

// eventTypes lists every event type ever released: its struct, its stream, and how the
// audit shows it, as an operation on a record of a table. A released line is never
// changed or removed; a new version of an event is a new type with its own line.
// testdata/events holds the frozen wire form of each.
func eventTypes() map[string]registration {
	return map[string]registration{
		"municipality.registered.v1": registered[MunicipalityRegistered](MunicipalityStream, OpCreate,
			"municipalities"),
		"municipality.details_changed.v1": registered[MunicipalityDetailsChanged](MunicipalityStream, OpUpdate,
			"municipalities"),
		"municipality.deactivated.v1": registered[MunicipalityDeactivated](MunicipalityStream, OpUpdate,
			"municipalities"),
		"municipality.reactivated.v1": registered[MunicipalityReactivated](MunicipalityStream, OpUpdate,
			"municipalities"),

		"user.registered.v1":            registered[UserRegistered](UserStream, OpCreate, "users"),
		"user.profile_changed.v1":       registered[UserProfileChanged](UserStream, OpUpdate, "users"),
		"user.email_changed.v1":         registered[UserEmailChanged](UserStream, OpUpdate, "users"),
		"user.role_changed.v1":          registered[UserRoleChanged](UserStream, OpUpdate, "users"),
		"user.password_changed.v1":      registered[UserPasswordChanged](UserStream, OpUpdate, "users"),
		"user.password_rehashed.v1":     registered[UserPasswordRehashed](UserStream, OpUpdate, "users"),
		"user.deactivated.v1":           registered[UserDeactivated](UserStream, OpUpdate, "users"),
		"user.reactivated.v1":           registered[UserReactivated](UserStream, OpUpdate, "users"),
		"user.second_factor_begun.v1":   registered[SecondFactorBegun](UserStream, OpUpdate, "users"),
		"user.second_factor_set.v1":     registered[SecondFactorSet](UserStream, OpUpdate, "users"),
		"user.second_factor_removed.v1": registered[SecondFactorRemoved](UserStream, OpUpdate, "users"),

		"user.reset_code_issued.v1":        registered[ResetCodeIssued](UserStream, OpUpdate, "users"),
		"user.sign_in_code_issued.v1":      registered[SignInCodeIssued](UserStream, OpUpdate, "users"),
		"user.email_verification_begun.v1": registered[EmailVerificationBegun](UserStream, OpUpdate, "users"),
		"user.email_verified.v1":           registered[EmailVerified](UserStream, OpUpdate, "users"),

		"user.erased.v1": registered[UserErased](UserStream, OpDelete, "users"),

		"resident.recorded.v1":        registered[ResidentRecorded](UserStream, OpCreate, "users"),
		"resident.details_changed.v1": registered[ResidentDetailsChanged](UserStream, OpUpdate, "users"),
		"resident.merged.v1":          registered[ResidentMerged](UserStream, OpUpdate, "users"),
		"resident.unmerged.v1":        registered[ResidentUnmerged](UserStream, OpUpdate, "users"),
		"user.account_opened.v1":      registered[AccountOpened](UserStream, OpUpdate, "users"),

		"admin.added.v1":     registered[AdminAdded](AdminsStream, OpCreate, "admins"),
		"admin.removed.v1":   registered[AdminRemoved](AdminsStream, OpDelete, "admins"),
		"officers.listed.v1": registered[OfficersListed](OfficersStream, OpUpdate, "officers"),
		"officer.added.v1":   registered[OfficerAdded](OfficersStream, OpCreate, "officers"),
		"officer.removed.v1": registered[OfficerRemoved](OfficersStream, OpDelete, "officers"),

		"access.tenant_mismatch.v1": registered[TenantMismatch](AccessStream, OpCreate, "tenant_mismatches"),

		"consent.granted.v1":   registered[ConsentGranted](ConsentStream, OpCreate, "consents"),
		"consent.refused.v1":   registered[ConsentRefused](ConsentStream, OpCreate, "consents"),
		"consent.withdrawn.v1": registered[ConsentWithdrawn](ConsentStream, OpUpdate, "consents"),
		"consent.annulled.v1":  registered[ConsentAnnulled](ConsentStream, OpUpdate, "consents"),
		"consent.claimed.v1":   registered[ConsentClaimed](ConsentStream, OpCreate, "consents"),

		"purpose.defined.v1":          registered[PurposeDefined](PurposeStream, OpCreate, "purposes"),
		"purpose.notice_published.v1": registered[PurposeNoticePublished](PurposeStream, OpCreate, "notices"),
		"purpose.retired.v1":          registered[PurposeRetired](PurposeStream, OpUpdate, "purposes"),

		"session.started.v1":        registered[SessionStarted](SessionStream, OpCreate, "sessions"),
		"session.ended.v1":          registered[SessionEnded](SessionStream, OpDelete, "sessions"),
		"session.reuse_detected.v1": registered[SessionReuseDetected](SessionStream, OpUpdate, "sessions"),
		"session.sign_in_failed.v1": registered[SignInFailed](SessionStream, OpCreate, "sign_in_failures"),

		"rights.request_lodged.v1":    registered[RequestLodged](RightsStream, OpCreate, "data_rights_requests"),
		"rights.request_fulfilled.v1": registered[RequestFulfilled](RightsStream, OpUpdate, "data_rights_requests"),
		"rights.request_refused.v1":   registered[RequestRefused](RightsStream, OpUpdate, "data_rights_requests"),
		"rights.hold_placed.v1":       registered[HoldPlaced](RightsStream, OpCreate, "retention_holds"),
		"rights.hold_lifted.v1":       registered[HoldLifted](RightsStream, OpUpdate, "retention_holds"),

		"service_account.created.v1": registered[ServiceAccountCreated](ServiceAccountStream, OpCreate,
			"service_accounts"),
		"service_account.secret_rotated.v1": registered[ServiceAccountSecretRotated](ServiceAccountStream, OpUpdate,
			"service_accounts"),
		"service_account.revoked.v1": registered[ServiceAccountRevoked](ServiceAccountStream, OpUpdate,
			"service_accounts"),

		"proof.issued.v1": registered[ProofIssued](ProofStream, OpCreate, "proofs"),

		"webhook.registered.v1": registered[WebhookRegistered](WebhookStream, OpCreate, "webhooks"),
		"webhook.paused.v1":     registered[WebhookPaused](WebhookStream, OpUpdate, "webhooks"),
		"webhook.resumed.v1":    registered[WebhookResumed](WebhookStream, OpUpdate, "webhooks"),
		"webhook.deleted.v1":    registered[WebhookDeleted](WebhookStream, OpDelete, "webhooks"),

		"personal_data.read.v1": registered[PersonalDataRead](AccessStream, OpRead, "personal_data"),
		"log.event_disowned.v1": registered[EventDisowned](LogStream, OpCreate, "disowned_events"),
		"log.forked.v1":         registered[LogForked](LogStream, OpCreate, "lost_checkpoints"),
	}
}

// registration is what must be known about an event type besides its struct.
type registration struct {
	construct func() Event
	stream    StreamType // the only kind that holds such events
	operation Operation
	table     string
}

func registered[T any, P interface {
	*T
	Event
}](stream StreamType, operation Operation, table string) registration {
	return registration{
		construct: func() Event { return P(new(T)) },
		stream:    stream, operation: operation, table: table,
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

// Knows reports whether an event type is registered.
func Knows(eventType string) bool {
	_, ok := registry[eventType]
	return ok
}

// StreamTypeOf returns the kind of stream that holds events of a type, or "" if the type
// is not registered.
func StreamTypeOf(eventType string) StreamType { return registry[eventType].stream }

// OperationOf returns what an event of a type does, and to a record of which table, as an
// auditor reads it. Both are empty for a type that is not registered.
func OperationOf(eventType string) (operation Operation, table string) {
	r := registry[eventType]
	return r.operation, r.table
}

// Encode returns an event's payload and, for an event with a readable personal part, the
// bytes to seal. It refuses an event that is not registered, so nothing enters the log
// that could not be read back.
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

// Opener returns an event's personal part: its bytes if state is Open, else only the
// state, which is Absent for an event without a sealed part.
type Opener func() (plain []byte, state PersonalState, err error)

// Decode returns the event that was stored. An unknown type or version is an
// *UnknownEventError.
func Decode(eventType string, payload []byte, open Opener) (Event, error) {
	r, ok := registry[eventType]
	if !ok {
		return nil, &UnknownEventError{Type: eventType}
	}

	event := r.construct()
	if err := json.Unmarshal(payload, event); err != nil {
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

// UnknownEventError says that the log holds an event this program does not know, because
// the program is older than the log.
type UnknownEventError struct{ Type string }

func (e *UnknownEventError) Error() string {
	return fmt.Sprintf("unknown event type %q: a newer release wrote it; run a newer trust", e.Type)
}

// HasPersonal reports whether an event holds a readable personal part, so that storing it
// needs its subject's key.
func HasPersonal(e Event) bool {
	h, ok := e.(holdsPersonal)
	return ok && h.personal().Readable()
}
