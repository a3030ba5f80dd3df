package domain

import (
	"time"

	"github.com/google/uuid"
)

// Event is a fact about one aggregate. Implementations are pointers to plain structs
// whose JSON is the payload; what identifies a person is in a Personal field tagged
// `json:"-"`.
type Event interface {
	// EventType is the explicit, versioned name, such as "consent.granted.v1". It is
	// never derived from a Go type.
	EventType() string
}

// Optional interfaces of an event.
type (
	// holdsPersonal is implemented by events with a personal part.
	holdsPersonal interface{ personal() Part }
	// aboutRecord is implemented by events about a record within the stream; without it
	// the record is the stream's own id.
	aboutRecord interface{ RecordID() uuid.UUID }
	// aboutSubject is implemented by events whose stream does not name the person they
	// are about.
	aboutSubject interface{ SubjectID() UserID }
	// effective is implemented by events that take effect at a stated instant. Without
	// it, or if it is zero, an event takes effect when it is recorded.
	effective interface{ EffectiveAt() time.Time }
	// tellsChanges is implemented by events that change more than the fields they hold,
	// or others; without it the audit shows the fields an event holds.
	tellsChanges interface{ changes() []FieldChange }
)

// StreamType is a kind of aggregate.
type StreamType string

// The kinds of streams, each with what its id names.
const (
	MunicipalityStream StreamType = "municipality" // the tenant
	UserStream         StreamType = "user"         // the user
	AdminsStream       StreamType = "admins"       // the tenant
	OfficersStream     StreamType = "officers"     // the tenant
	ConsentStream      StreamType = "consent"      // the subject: all their consents
	PurposeStream      StreamType = "purpose"      // tenant and purpose code, see PurposeOf
	SessionStream      StreamType = "session"      // the user: their sessions and failed sign-ins
	RightsStream       StreamType = "rights"       // the subject: their requests and holds
	AccessStream       StreamType = "access"       // one request: a read, or a tenant mismatch
	LogStream          StreamType = "log"          // the log itself, see DisowningOf and Forks
	ProofStream        StreamType = "proof"        // the subject: what states the ends of their consent stream

	ServiceAccountStream StreamType = "service_account" // the service account
	WebhookStream        StreamType = "webhook"         // the webhook
)

// Stream names one aggregate's events within a tenant.
type Stream struct {
	Type StreamType
	ID   uuid.UUID
}

// AboutPerson reports whether the stream's id names a subject.
func (s Stream) AboutPerson() bool {
	switch s.Type {
	case UserStream, ConsentStream, SessionStream, RightsStream, ProofStream:
		return true
	default:
		return false
	}
}

// Subject is the person the stream is about, or the zero id.
func (s Stream) Subject() UserID {
	if s.AboutPerson() {
		return UserID{s.ID}
	}
	return UserID{}
}

// MunicipalityOf names the stream of a tenant's own municipality.
func MunicipalityOf(t TenantID) Stream { return Stream{MunicipalityStream, t.UUID} }

// UserOf names the stream of a user.
func UserOf(u UserID) Stream { return Stream{UserStream, u.UUID} }

// AdminsOf names the stream of a tenant's admins.
func AdminsOf(t TenantID) Stream { return Stream{AdminsStream, t.UUID} }

// OfficersOf names the stream of a tenant's officers.
func OfficersOf(t TenantID) Stream { return Stream{OfficersStream, t.UUID} }

// ConsentsOf names the stream of all consents of a subject.
func ConsentsOf(u UserID) Stream { return Stream{ConsentStream, u.UUID} }

// SessionsOf names the stream of all sessions of a user.
func SessionsOf(u UserID) Stream { return Stream{SessionStream, u.UUID} }

// RightsOf names the stream of a subject's requests and of holds on their data.
func RightsOf(u UserID) Stream { return Stream{RightsStream, u.UUID} }

// ServiceAccountOf names the stream of a service account.
func ServiceAccountOf(s ServiceAccountID) Stream { return Stream{ServiceAccountStream, s.UUID} }

// WebhookOf names the stream of a webhook.
func WebhookOf(w WebhookID) Stream { return Stream{WebhookStream, w.UUID} }

// PurposeOf names the stream of a purpose of a tenant. Its id is derived from tenant and
// code (RFC 9562 §5.5), so the stream's first version can exist only once and a purpose
// is found without an index.
func PurposeOf(t TenantID, code string) Stream {
	return Stream{PurposeStream, uuid.NewSHA1(t.UUID, []byte("purpose:"+code))}
}

// Recorded is an event as stored in the log.
type Recorded struct {
	Position    int64
	Tenant      TenantID
	Stream      Stream
	Version     int // within the stream, from 1
	EventID     uuid.UUID
	AppendID    uuid.UUID
	Ordinal     int    // within the append, from 1
	Subject     UserID // zero: nobody
	Record      uuid.UUID
	Actor       UserID // zero: unknown; a program's, see Metadata.ActorRole
	Event       Event
	Metadata    Metadata
	Origin      Personal[Origin]
	EffectiveAt time.Time // when it takes effect
	RecordedAt  time.Time // never decreases as Position grows
}

// Metadata says how an event came about. Nothing in it identifies a person.
type Metadata struct {
	// ActorRole is a Role, RoleSystem (an operator's command), RoleProgram (the actor is
	// a service account) or RoleAnonymous.
	ActorRole   string    `json:"actor_role"`
	Correlation uuid.UUID `json:"correlation,omitzero"`
	// Fingerprint is the keyed hash of the request, in hexadecimal, for commands that
	// carried an Idempotency-Key.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Command names what was asked, such as "consent.grant".
	Command string `json:"command,omitempty"`
}

// Actor roles that are not those of people's accounts.
const (
	RoleSystem    = "system"
	RoleProgram   = "program"
	RoleAnonymous = "anonymous"
)

// Origin is where a request came from. It is sealed under the actor's key.
type Origin struct {
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
}

// RecordOf returns the record an event is about.
func RecordOf(e Event, s Stream) uuid.UUID {
	if r, ok := e.(aboutRecord); ok && r.RecordID() != uuid.Nil {
		return r.RecordID()
	}
	return s.ID
}

// SubjectOf returns the person an event is about, or the zero id.
func SubjectOf(e Event, s Stream) UserID {
	if a, ok := e.(aboutSubject); ok {
		return a.SubjectID()
	}
	return s.Subject()
}

// EffectiveOf returns the stated instant at which the event takes effect, or zero if it
// does when it is recorded.
func EffectiveOf(e Event) time.Time {
	if t, ok := e.(effective); ok {
		return t.EffectiveAt()
	}
	return time.Time{}
}
