package domain

import "github.com/google/uuid"

// TenantID names a tenant. It is a type of its own so that a signature shows which
// tenant's data a function touches.
type TenantID struct{ uuid.UUID }

// UserID names a user, who is also the subject of what is recorded about them.
type UserID struct{ uuid.UUID }

// ConsentID names one recorded decision, a grant or a refusal.
type ConsentID struct{ uuid.UUID }

// PlatformCode is the code of the platform tenant, which is SALGA itself. It has no
// municipality behind it, so its id and code are constants; its admins are the platform's
// admins. It is unlisted and takes no registrations.
const PlatformCode = "SALGA"

// PlatformTenant returns the id of the platform tenant, the same in every installation.
func PlatformTenant() TenantID {
	return TenantID{uuid.UUID{15: 1, 6: 0x70, 8: 0x80}} // 00000000-0000-7000-8000-000000000001
}

// IsPlatform reports whether the tenant is SALGA itself.
func (t TenantID) IsPlatform() bool { return t == PlatformTenant() }

// IsZero reports whether no user is named: an anonymous or system actor, an event about
// nobody.
func (u UserID) IsZero() bool { return u.UUID == uuid.Nil }

// IsZero reports whether no tenant is named.
func (t TenantID) IsZero() bool { return t.UUID == uuid.Nil }
