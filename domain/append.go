package domain

import (
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Append is one atomic addition to the log: events in one or more streams, the conditions
// that must still hold for them, and the side writes that succeed or fail with them. All
// streams belong to one tenant.
type Append struct {
	// ID names the append for ever: sending it again changes nothing and returns the
	// stored positions.
	ID     uuid.UUID
	Tenant TenantID
	Actor  UserID // zero: unknown
	// ActorTenant is the actor's own tenant, whose keys seal the origin; zero: Tenant.
	ActorTenant TenantID
	Origin      Origin
	Metadata    Metadata

	Writes  []Write
	Expects []Expectation // streams that were read and must not have moved
	Side    []SideWrite
}

// AnyVersion as an expected version means that the stream's version does not matter.
const AnyVersion = -1

// Write adds events to one stream.
type Write struct {
	Stream   Stream
	Expected int // the version the decision was made on; 0: the stream must not exist
	Events   []Event
}

// Expectation demands that a stream, of this tenant or another, still has the version a
// decision was made on.
type Expectation struct {
	Tenant  TenantID
	Stream  Stream
	Version int
}

// Appended is what an append left in the log.
type Appended struct {
	// Events are in order. Their personal parts are as they were given, or withheld for a
	// repeat.
	Events []Recorded
	// Repeat is true if the append was already in the log: Events are the stored ones.
	Repeat bool
}

// Position returns the last position of the append, or 0 if it held no events.
func (a Appended) Position() int64 {
	if len(a.Events) == 0 {
		return 0
	}
	return a.Events[len(a.Events)-1].Position
}

// SideWrite changes the command side's own tables in the same transaction, with the same
// outcome.
type SideWrite interface{ sideWrite() }

// ClaimKind is a kind of value that may be held only once within a tenant.
type ClaimKind string

// The kinds of claims. Municipalities' claims are held in the platform tenant.
const (
	EmailClaim            ClaimKind = "email"
	MunicipalityCodeClaim ClaimKind = "municipality_code"
	MunicipalityNameClaim ClaimKind = "municipality_name"
	ExternalIDClaim       ClaimKind = "external_id" // of a resident; Value is type:value
)

// Claim is a value held at most once within a tenant. Value is in canonical form; only
// its keyed digest is stored.
type Claim struct {
	Tenant TenantID
	Kind   ClaimKind
	Value  string
}

// The side writes.
type (
	// TakeClaim takes a claim for a holder; a claim held by another makes the append fail
	// with *ClaimTakenError.
	TakeClaim struct {
		Claim  Claim
		Holder uuid.UUID
	}
	// ReleaseClaim releases a claim, if the holder has it.
	ReleaseClaim struct {
		Claim  Claim
		Holder uuid.UUID
	}
	// SetCredential sets what a user signs in with. Verifier is an Argon2id hash in PHC
	// form. An empty field keeps its current value.
	SetCredential struct {
		User     UserID
		Email    string
		Verifier string
	}
	// DeleteCredential removes what a user signs in with.
	DeleteCredential struct{ User UserID }
	// OfferSecondFactor keeps the secret of a new authenticator until it is confirmed,
	// and forgets one that was offered before.
	OfferSecondFactor struct {
		User      UserID
		Factor    uuid.UUID
		Secret    []byte // sealed under the user's key before it is stored
		ExpiresAt time.Time
	}
	// SetSecondFactor puts the offered one in force. Step is the step of the code that
	// confirmed it, which is thereby used. If another one has been offered by now, the
	// append fails with *CodeStaleError.
	SetSecondFactor struct {
		User   UserID
		Factor uuid.UUID
		Step   int64
	}
	// SpendCode marks a code as used. If the second factor is another one, or is no
	// longer at Seen, the append fails with *CodeStaleError: when one code is shown twice
	// at once, the second finds it used.
	SpendCode struct {
		User   UserID
		Factor uuid.UUID
		Step   int64
		Seen   CodesSeen
	}
	// CountWrongCode counts a code that was wrong, at an instant. It fails as SpendCode
	// does, so that each of many simultaneous guesses is judged in the light of those
	// before it.
	CountWrongCode struct {
		User   UserID
		Factor uuid.UUID
		At     time.Time
		Seen   CodesSeen
	}
	// RemoveSecondFactor forgets a user's second factor, both the one in force and the
	// one offered.
	RemoveSecondFactor struct{ User UserID }
	// CreateSubjectKey creates the key that seals a subject's personal data. It is
	// created at registration only; if the key exists or was destroyed, the append fails.
	CreateSubjectKey struct{ Subject UserID }
	// CreateTenantKey creates the key that wraps a tenant's subject keys, when the
	// municipality is registered.
	CreateTenantKey struct{ Tenant TenantID }
	// CreateMonthKey creates the key of a month for the append's tenant, which seals the
	// origins of unknown actors.
	CreateMonthKey struct{ Month time.Time }
	// DestroySubjectKey destroys a subject's key, leaving a tombstone.
	DestroySubjectKey struct{ Subject UserID }
	// DemandNoActs makes the append fail with *StaffRecordError if the user ever acted in
	// office, in any tenant: nobody erases their own trail, see InOffice. The check runs
	// under the append's lock, and never in one batch with an act of theirs, so none
	// slips in between.
	DemandNoActs struct{ User UserID }
	// StartSession opens a family of refresh tokens. Token is the SHA-256 of the first
	// one's id.
	StartSession struct {
		Session   uuid.UUID
		User      UserID
		Token     [32]byte
		ExpiresAt time.Time
	}
	// RotateSession replaces the current token of a session. If From is not the current
	// one, the append fails with *SessionStaleError. But if To replaced From at most 10 s
	// ago, it counts as that same append, and changes nothing.
	RotateSession struct {
		Session   uuid.UUID
		From, To  [32]byte
		ExpiresAt time.Time
	}
	// EndSession ends one session. If it has already ended, the append fails with
	// *SessionStaleError, so that an end is recorded once.
	EndSession struct{ Session uuid.UUID }
	// EndAllSessions ends everybody's sessions in the append's tenant.
	EndAllSessions struct{}
	// EndSessions ends all sessions of a user, except Except unless it is zero.
	EndSessions struct {
		User   UserID
		Except uuid.UUID
	}
)

func (TakeClaim) sideWrite()         {}
func (ReleaseClaim) sideWrite()      {}
func (SetCredential) sideWrite()     {}
func (DeleteCredential) sideWrite()  {}
func (CreateSubjectKey) sideWrite()  {}
func (CreateTenantKey) sideWrite()   {}
func (CreateMonthKey) sideWrite()    {}
func (DestroySubjectKey) sideWrite() {}
func (DemandNoActs) sideWrite()      {}
func (StartSession) sideWrite()      {}
func (RotateSession) sideWrite()     {}
func (EndSession) sideWrite()        {}
func (EndAllSessions) sideWrite()    {}
func (EndSessions) sideWrite()       {}

func (OfferSecondFactor) sideWrite()  {}
func (SetSecondFactor) sideWrite()    {}
func (SpendCode) sideWrite()          {}
func (CountWrongCode) sideWrite()     {}
func (RemoveSecondFactor) sideWrite() {}

// CodesSeen is the state of a second factor when a code was judged: the step of the
// newest accepted code, and how many were wrong since.
type CodesSeen struct {
	Step  int64
	Wrong int
}

// ConflictError says that a stream has moved since the decision was made. Load it again
// and decide afresh.
type ConflictError struct {
	Stream           Stream
	Expected, Actual int
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("stream %s %s is at version %d, not %d", e.Stream.Type, e.Stream.ID, e.Actual, e.Expected)
}

// ClaimTakenError says that another holder has the claim.
type ClaimTakenError struct{ Kind ClaimKind }

func (e *ClaimTakenError) Error() string { return fmt.Sprintf("another holder has this %s", e.Kind) }

// SessionStaleError says that the token shown is not the session's current one, or that
// the session has ended.
type SessionStaleError struct{}

func (*SessionStaleError) Error() string {
	return "this is not the session's current token, or the session has ended"
}

// CodeStaleError says that a second factor has changed since a code was judged. Read it
// again and judge afresh.
type CodeStaleError struct{}

func (*CodeStaleError) Error() string {
	return "the second factor has changed since the code was judged"
}

// KeyExistsError says that a key with this name exists or existed.
type KeyExistsError struct{}

func (*KeyExistsError) Error() string { return "a key with this name exists or was destroyed" }

// StaffRecordError says that a user acted in office, so that who they are must stay.
type StaffRecordError struct{}

func (*StaffRecordError) Error() string { return "this user acted in office" }
