package domaintest

import (
	"slices"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Beside adds to an append the events that must accompany its side writes in a real log,
// for tests that are about side writes alone. None of them needs a key, so a claim comes
// with a change of a municipality's details, whoever holds it.
func Beside(a domain.Append) domain.Append {
	a.Writes = slices.Clone(a.Writes)
	for _, side := range a.Side {
		if stream, event := beside(a.Tenant, side); event != nil {
			a.Writes = withEvent(a.Writes, stream, event)
		}
	}
	return a
}

func withEvent(writes []domain.Write, stream domain.Stream, event domain.Event) []domain.Write {
	i := slices.IndexFunc(writes, func(w domain.Write) bool { return w.Stream == stream })
	if i < 0 {
		return append(writes, domain.Write{Stream: stream, Expected: domain.AnyVersion, Events: []domain.Event{event}})
	}

	writes[i].Events = append(slices.Clone(writes[i].Events), event)
	return writes
}

func beside(tenant domain.TenantID, side domain.SideWrite) (domain.Stream, domain.Event) {
	switch w := side.(type) {
	case domain.TakeClaim:
		return municipality(w.Holder), &domain.MunicipalityDetailsChanged{}
	case domain.ReleaseClaim:
		return municipality(w.Holder), &domain.MunicipalityDetailsChanged{}
	case domain.CreateTenantKey:
		return municipality(w.Tenant.UUID), &domain.MunicipalityRegistered{}
	case domain.EndAllSessions:
		return municipality(tenant.UUID), &domain.MunicipalityDeactivated{}

	case domain.CreateSubjectKey:
		return domain.UserOf(w.Subject), &domain.UserRegistered{}
	case domain.SetCredential:
		return domain.UserOf(w.User), &domain.UserPasswordChanged{}
	case domain.DeleteCredential:
		return domain.UserOf(w.User), &domain.UserErased{}
	case domain.DestroySubjectKey:
		return domain.UserOf(w.Subject), &domain.UserErased{}

	case domain.AddClientSecret:
		return domain.ServiceAccountOf(w.Account), &domain.ServiceAccountSecretRotated{SecretID: w.Secret}
	case domain.DropClientSecret:
		return domain.ServiceAccountOf(w.Account), &domain.ServiceAccountRevoked{}

	case domain.StartSession:
		return domain.SessionsOf(w.User), &domain.SessionStarted{SessionID: w.Session, ExpiresAt: w.ExpiresAt}
	case domain.EndSession:
		return domain.Stream{Type: domain.SessionStream, ID: w.Session}, &domain.SessionEnded{SessionID: w.Session}
	case domain.EndSessions:
		return domain.SessionsOf(w.User), &domain.SessionEnded{SessionID: w.Except, Scope: domain.ScopeAll}
	}
	return domain.Stream{}, nil
}

func municipality(id uuid.UUID) domain.Stream {
	return domain.MunicipalityOf(domain.TenantID{UUID: id})
}
