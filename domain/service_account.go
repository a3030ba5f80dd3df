package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// ServiceAccountID names a service account: what a program signs in with. It is no user,
// and never the subject of anything.
type ServiceAccountID struct{ uuid.UUID }

// Actor returns the id under which the log names what the program did. Metadata.ActorRole
// is then RoleProgram.
func (s ServiceAccountID) Actor() UserID { return UserID(s) }

// IsZero reports whether no service account is named.
func (s ServiceAccountID) IsZero() bool { return s.UUID == uuid.Nil }

// Scope is something that a program may be allowed to do.
type Scope string

// The scopes.
const (
	ScopeCheck  Scope = "consents:check"  // ask whether data may be processed
	ScopeRecord Scope = "consents:record" // record and withdraw consents for people
	ScopeRead   Scope = "consents:read"   // read the consents of people
	ScopeEvents Scope = "events:read"     // read the consent events of people
)

// Scopes lists every scope.
func Scopes() []Scope { return []Scope{ScopeCheck, ScopeRecord, ScopeRead, ScopeEvents} }

// Events of a service account's stream. None holds a secret, or a hash of one: like
// passwords, they are not history. Nothing in them identifies a person.
type (
	// ServiceAccountCreated creates what a program signs in with, and its first secret.
	ServiceAccountCreated struct {
		Name     string    `json:"name"`
		Scopes   []Scope   `json:"scopes"`
		SecretID uuid.UUID `json:"secret_id"`
	}
	// ServiceAccountSecretRotated makes another secret.
	ServiceAccountSecretRotated struct {
		SecretID uuid.UUID `json:"secret_id"`
		// FormerUntil is when the secrets made before it end, unless they end earlier;
		// zero: with this event, whatever a clock says.
		FormerUntil time.Time `json:"former_until,omitzero"`
	}
	// ServiceAccountRevoked ends a service account, its secrets and its tokens, for good.
	ServiceAccountRevoked struct{}
)

// EventType implements Event.
func (*ServiceAccountCreated) EventType() string { return "service_account.created.v1" }

// EventType implements Event.
func (*ServiceAccountSecretRotated) EventType() string { return "service_account.secret_rotated.v1" }

// EventType implements Event.
func (*ServiceAccountRevoked) EventType() string { return "service_account.revoked.v1" }

func (*ServiceAccountRevoked) changes() []FieldChange { return []FieldChange{turned("revoked", true)} }

// ServiceAccount is the state its events fold into.
type ServiceAccount struct {
	ID        ServiceAccountID
	Tenant    TenantID
	Name      string
	Scopes    []Scope
	Secrets   []ClientSecret // oldest first, without those that an event has ended
	CreatedAt time.Time
	CreatedBy UserID    // zero: an operator
	RotatedAt time.Time // zero: never
	RevokedAt time.Time // zero: not revoked
	Version   int
}

// ClientSecret is one secret of a service account, without the secret.
type ClientSecret struct {
	ID    uuid.UUID
	Until time.Time // zero: until another is made
}

// ClientDigest is what a client secret is proved by. It is not history: it is kept on the
// command side, and only there.
type ClientDigest struct {
	Tenant TenantID
	Secret uuid.UUID
	Digest [32]byte
}

func (s ClientSecret) isLiving(now time.Time) bool { return s.Until.IsZero() || now.Before(s.Until) }

// Evolve returns the state after one more event.
func (a ServiceAccount) Evolve(r Recorded) ServiceAccount {
	switch e := r.Event.(type) {
	case *ServiceAccountCreated:
		a = ServiceAccount{
			ID: ServiceAccountID{r.Stream.ID}, Tenant: r.Tenant, Name: e.Name, Scopes: e.Scopes,
			Secrets: []ClientSecret{{ID: e.SecretID}}, CreatedAt: r.RecordedAt, CreatedBy: r.Actor,
		}
	case *ServiceAccountSecretRotated:
		a.Secrets = append(a.ending(e.FormerUntil), ClientSecret{ID: e.SecretID})
		a.RotatedAt = r.RecordedAt
	case *ServiceAccountRevoked:
		a.Secrets, a.RevokedAt = nil, r.RecordedAt
	}

	a.Version = r.Version
	return a
}

// ending returns the secrets as they are once all of them end at an instant; zero: now.
func (a ServiceAccount) ending(until time.Time) []ClientSecret {
	if until.IsZero() {
		return nil
	}

	ending := slices.Clone(a.Secrets)
	for i, s := range ending {
		if s.Until.IsZero() || until.Before(s.Until) {
			ending[i].Until = until
		}
	}
	return ending
}

// Exists reports whether the service account was ever created.
func (a ServiceAccount) Exists() bool { return !a.ID.IsZero() }

// Revoked reports whether it was revoked.
func (a ServiceAccount) Revoked() bool { return !a.RevokedAt.IsZero() }

// Accepts reports whether a secret, and every token that was made with it, is good at an
// instant.
func (a ServiceAccount) Accepts(secret uuid.UUID, now time.Time) bool {
	return slices.ContainsFunc(a.Secrets, func(s ClientSecret) bool { return s.ID == secret && s.isLiving(now) })
}

// CreateServiceAccount asks to create one.
type CreateServiceAccount struct {
	Name   string  `json:"name"`
	Scopes []Scope `json:"scopes"`
}

// Decide returns the event; secret is the id of the first secret. Error:
// validation_failed.
func (c CreateServiceAccount) Decide(secret uuid.UUID) ([]Event, error) {
	c.Name = TidyName(c.Name)

	var f Faults
	f.Name("name", c.Name, MinName)
	if len(c.Scopes) == 0 {
		f.Add("scopes", "required", "Name at least one scope.")
	}
	if i := slices.IndexFunc(c.Scopes, func(s Scope) bool { return !slices.Contains(Scopes(), s) }); i >= 0 {
		OneOf(&f, "scopes", c.Scopes[i], Scopes())
	}
	if err := f.Err(); err != nil {
		return nil, err
	}

	// In one order and each once, however they were named.
	scopes := slices.DeleteFunc(Scopes(), func(s Scope) bool { return !slices.Contains(c.Scopes, s) })
	return []Event{&ServiceAccountCreated{Name: c.Name, Scopes: scopes, SecretID: secret}}, nil
}

// How long the former secret goes on after a rotation, so that a program can be given the
// new one without a gap.
const (
	SecretOverlap    = 24 * time.Hour
	MaxSecretOverlap = 7 * 24 * time.Hour
	// maxLivingSecrets bounds how many secrets are good at once. Two suffice; more come
	// from rotations that were lost on the way.
	maxLivingSecrets = 10
)

// RotateSecret asks for another secret.
type RotateSecret struct {
	Overlap time.Duration // how long the former ones go on; 0: they end at once
}

// Decide returns the event; secret is the id of the new secret. Errors:
// validation_failed, service_account_revoked, too_many_secrets.
func (c RotateSecret) Decide(a ServiceAccount, secret uuid.UUID, now time.Time) ([]Event, error) {
	if c.Overlap < 0 || c.Overlap > MaxSecretOverlap {
		var f Faults
		f.Add("overlap_seconds", "invalid", "Give 0 to 604800 seconds, which is 7 days.")
		return nil, f.Err()
	}
	if a.Revoked() {
		return nil, Refuse(CodeServiceAccountRevoked, "This service account was revoked: create another.")
	}

	rotated := &ServiceAccountSecretRotated{SecretID: secret}
	if c.Overlap == 0 {
		return []Event{rotated}, nil
	}

	living := slices.DeleteFunc(slices.Clone(a.Secrets), func(s ClientSecret) bool { return !s.isLiving(now) })
	if len(living) >= maxLivingSecrets {
		return nil, Refuse(CodeTooManySecrets,
			"This service account already has 10 good secrets: end them, with overlap_seconds 0.")
	}
	rotated.FormerUntil = stated(now.Add(c.Overlap))
	return []Event{rotated}, nil
}

// Ended returns the secrets of a service account that are no longer good once an event
// has been recorded, so that nothing of them need be kept.
func (a ServiceAccount) Ended(e Event, now time.Time) (ended []uuid.UUID) {
	after := a.Evolve(Recorded{Event: e})
	for _, s := range a.Secrets {
		if !after.Accepts(s.ID, now) {
			ended = append(ended, s.ID)
		}
	}
	return ended
}

// Revoke returns the event, or nothing if it was revoked before.
func (a ServiceAccount) Revoke() []Event {
	if a.Revoked() {
		return nil
	}
	return []Event{&ServiceAccountRevoked{}}
}
