package commands

import (
	"github.com/salga-trust/engine/domain"
)

// isStaff tells whether the caller may act for others of the own tenant.
func (c Call) isStaff() bool {
	switch c.actor.Role {
	case domain.FieldWorker, domain.Manager, domain.Admin:
		return true
	default:
		return c.system
	}
}

// isPlatformAdmin tells whether the caller administers all municipalities.
func (c Call) isPlatformAdmin() bool {
	return c.Tenant.IsPlatform() && (c.system || c.actor.Role == domain.Admin)
}

// Subject gives whose consents a call is about: the caller's own, or those of another person of the tenant, which only staff may
// ask for.
func (c Call) Subject(asked domain.UserID) (domain.UserID, error) {
	if asked.IsZero() || asked == c.User {
		return c.User, nil
	}
	if !c.isStaff() {
		return domain.UserID{}, domain.Refuse(domain.CodeForbidden, "Only staff may act for another person.")
	}
	return asked, nil
}
