package http

import (
	"context"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// programNames holds the names of programs by the id under which the log names them.
type programNames map[uuid.UUID]string

// namesOf returns the names of a municipality's programs, also of revoked ones, if one of
// the roles under which something was done is a program's.
func (s *server) namesOf(ctx context.Context, tenant domain.TenantID, roles ...string) (programNames, error) {
	names := programNames{}
	for _, role := range roles {
		if role != domain.RoleProgram {
			continue
		}

		accounts, err := s.config.Commands.ServiceAccounts(ctx, tenant)
		if err != nil {
			return nil, err
		}
		for _, a := range accounts {
			names[a.ID.UUID] = a.Name
		}
		break
	}
	return names, nil
}

// of returns the name of an actor that is a program; nil for everybody else.
func (n programNames) of(actor uuid.UUID) *string { return orNull(n[actor]) }

// actorKind says what an actor is by the role under which it acted.
func actorKind(role string) string {
	switch role {
	case domain.RoleProgram:
		return "program"
	case domain.RoleSystem:
		return "operator"
	case domain.RoleAnonymous:
		return "anonymous"
	default:
		return "person"
	}
}
