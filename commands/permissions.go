package commands

import "github.com/salga-trust/engine/domain"

// IsPlatformAdmin reports whether the caller administers all municipalities.
func (c Call) IsPlatformAdmin() bool { return c.Tenant.IsPlatform() && c.isAdmin() }

// ActsForOthers reports whether the caller may act for other people of their tenant.
// Staff may, unless the call is about the caller alone. So may a program, which has
// nobody's data of its own; package http lets it do what its scopes allow.
func (c Call) ActsForOthers() bool {
	if c.SelfOnly {
		return false
	}
	if c.IsProgram() {
		return true
	}

	switch c.actor.Role {
	case domain.FieldWorker, domain.Manager, domain.Admin:
		return true
	default:
		return c.system
	}
}

// Subject returns the person that a call is about: the caller if asked is zero, or
// another person of the tenant, whom only staff may ask about. A program must name
// somebody. Errors: forbidden, validation_failed.
func (c Call) Subject(asked domain.UserID) (domain.UserID, error) {
	if asked.IsZero() && c.IsProgram() {
		var f domain.Faults
		f.Add("subject_id", "required", "A program must name the person.")
		return domain.UserID{}, f.Err()
	}
	if asked.IsZero() || asked == c.User {
		return c.User, nil
	}

	if !c.ActsForOthers() {
		return domain.UserID{}, domain.Refuse(domain.CodeForbidden, "Only staff may act for another person.")
	}

	return asked, nil
}

func (c Call) isAdmin() bool { return c.system || c.actor.Role == domain.Admin }

// demandStaff refuses everybody but staff who may act for other people, programs too.
func (c Call) demandStaff() error {
	if !c.ActsForOthers() || c.IsProgram() {
		return domain.Refuse(domain.CodeForbidden, "Only staff may act for another person.")
	}
	return nil
}

// demandOverseer refuses everybody but managers and admins. act completes the sentence
// "Only a manager or admin may …".
func (c Call) demandOverseer(act string) error {
	if !c.isAdmin() && c.actor.Role != domain.Manager {
		return domain.Refuse(domain.CodeForbidden, "Only a manager or admin may %s.", act)
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
