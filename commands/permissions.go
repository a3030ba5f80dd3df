package commands

import "github.com/salga-trust/engine/domain"

// IsPlatformAdmin reports whether the caller administers all municipalities.
func (c Call) IsPlatformAdmin() bool { return c.Tenant.IsPlatform() && c.isAdmin() }

// ActsForOthers reports whether the caller may act for other people of their tenant.
// Staff may, unless the call is about the caller alone.
func (c Call) ActsForOthers() bool {
	if c.SelfOnly {
		return false
	}

	switch c.actor.Role {
	case domain.FieldWorker, domain.Manager, domain.Admin:
		return true
	default:
		return c.system
	}
}

// Subject returns the person that a call is about: the caller if asked is zero, or
// another person of the tenant, whom only staff may ask about. Error: forbidden.
func (c Call) Subject(asked domain.UserID) (domain.UserID, error) {
	if asked.IsZero() || asked == c.User {
		return c.User, nil
	}

	if !c.ActsForOthers() {
		return domain.UserID{}, domain.Refuse(domain.CodeForbidden, "Only staff may act for another person.")
	}

	return asked, nil
}

func (c Call) isAdmin() bool { return c.system || c.actor.Role == domain.Admin }

// demandStaff refuses everybody but staff who may act for other people.
func (c Call) demandStaff() error {
	if !c.ActsForOthers() {
		return domain.Refuse(domain.CodeForbidden, "Only staff may act for another person.")
	}
	return nil
}

// demandAdmin refuses everybody but an admin. act completes the sentence "Only an admin
// may …".
func (c Call) demandAdmin(act string) error {
	if !c.isAdmin() {
		return domain.Refuse(domain.CodeForbidden, "Only an admin may %s.", act)
	}
	return nil
}

func (c Call) demandPlatformAdmin() error {
	if !c.IsPlatformAdmin() {
		return domain.Refuse(domain.CodeForbidden, "Only SALGA's admins may change municipalities.")
	}
	return nil
}
