package commands

import (
	"context"
	"errors"

	"github.com/salga-trust/engine/domain"
)

// RegisterMunicipality creates a tenant, with its claims on code and name and its key in
// the same append. Only for platform admins. Errors: validation_failed, forbidden,
// code_taken, name_taken.
func (h *Handler) RegisterMunicipality(
	ctx context.Context, call Call, c domain.RegisterMunicipality,
) (Answer[domain.Municipality], error) {
	if err := call.demandPlatformAdmin(); err != nil {
		return Answer[domain.Municipality]{}, err
	}

	c.Name = domain.TidyName(c.Name)
	id := domain.TenantID{UUID: h.newID()}

	r := request{name: "municipality.register", scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(context.Context, Call) (domain.Append, error) {
		events, err := c.Decide()
		if err != nil {
			return domain.Append{}, err
		}

		m := events[0].(*domain.MunicipalityRegistered)
		return domain.Append{
			Tenant: id,
			Writes: []domain.Write{{Stream: domain.MunicipalityOf(id), Events: events}},
			Side: []domain.SideWrite{
				domain.CreateTenantKey{Tenant: id},
				domain.TakeClaim{Claim: codeClaim(m.Code), Holder: id.UUID},
				domain.TakeClaim{Claim: nameClaim(m.Name), Holder: id.UUID},
			},
		}, nil
	})
	return h.municipalityAnswer(ctx, done, err)
}

// ChangeMunicipality asks to change a municipality's details.
type ChangeMunicipality struct {
	Municipality domain.TenantID
	Details      domain.ChangeMunicipality
}

// ChangeMunicipality changes a municipality's details. Only for platform admins. Errors:
// validation_failed, forbidden, not_found, stale, name_taken.
func (h *Handler) ChangeMunicipality(
	ctx context.Context, call Call, c ChangeMunicipality,
) (Answer[domain.Municipality], error) {
	id, details := c.Municipality, c.Details
	if details.Name != nil {
		details.Name = new(domain.TidyName(*details.Name))
	}

	decide := func(m domain.Municipality, a *domain.Append) ([]domain.Event, error) {
		events, err := details.Decide(m)
		if err != nil || len(events) == 0 {
			return nil, err
		}

		name := events[0].(*domain.MunicipalityDetailsChanged).Name
		if name != nil && domain.CanonicalName(name.Old) != domain.CanonicalName(name.New) {
			a.Side = []domain.SideWrite{
				domain.TakeClaim{Claim: nameClaim(name.New), Holder: id.UUID},
				domain.ReleaseClaim{Claim: nameClaim(name.Old), Holder: id.UUID},
			}
		}
		return events, nil
	}
	return h.changeMunicipality(ctx, call, "municipality.change", id, details, decide)
}

// SetMunicipalityActive asks to open or close a municipality.
type SetMunicipalityActive struct {
	Municipality domain.TenantID
	Active       bool
}

// SetMunicipalityActive opens or closes a municipality; one that is so already stays as
// it is. Closing it ends its people's sessions. Only for platform admins. Errors:
// forbidden, not_found, stale.
func (h *Handler) SetMunicipalityActive(
	ctx context.Context, call Call, c SetMunicipalityActive,
) (Answer[domain.Municipality], error) {
	decide := func(m domain.Municipality, a *domain.Append) ([]domain.Event, error) {
		if m.Active && !c.Active {
			a.Side = append(a.Side, domain.EndAllSessions{}) // so that none revives when it opens again
		}
		return m.SetActive(c.Active), nil
	}
	return h.changeMunicipality(ctx, call, "municipality.set_active", c.Municipality, c.Active, decide)
}

func (h *Handler) changeMunicipality(ctx context.Context, call Call, name string, id domain.TenantID, body any,
	decide func(domain.Municipality, *domain.Append) ([]domain.Event, error),
) (Answer[domain.Municipality], error) {
	if err := call.demandPlatformAdmin(); err != nil {
		return Answer[domain.Municipality]{}, err
	}

	stream := domain.MunicipalityOf(id)
	var unchanged Answer[domain.Municipality]

	r := request{name: name, tenant: id, scope: scopeOf(call), body: []any{id, body}}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		history, err := h.Store.Load(ctx, id, stream)
		if err != nil {
			return domain.Append{}, err
		}

		m := domain.Fold[domain.Municipality](history)
		if !m.Exists() {
			return domain.Append{}, domain.Refuse(domain.CodeNotFound, "There is no such municipality.")
		}
		if err := matching(call, m.Version); err != nil {
			return domain.Append{}, err
		}

		a := domain.Append{Tenant: id}
		events, err := decide(m, &a)
		if err != nil || len(events) == 0 {
			unchanged = Answer[domain.Municipality]{Value: m, Position: history[len(history)-1].Position}
			return domain.Append{}, err
		}

		a.Writes = []domain.Write{{Stream: stream, Expected: m.Version, Events: events}}
		return a, nil
	})

	if err == nil && len(done.Events) == 0 {
		return unchanged, nil
	}
	return h.municipalityAnswer(ctx, done, err)
}

// municipalityAnswer returns the municipality as an append left it.
func (h *Handler) municipalityAnswer(
	ctx context.Context, done domain.Appended, err error,
) (Answer[domain.Municipality], error) {
	if taken, ok := errors.AsType[*domain.ClaimTakenError](err); ok {
		code, what := domain.CodeCodeTaken, "code"
		if taken.Kind == domain.MunicipalityNameClaim {
			code, what = domain.CodeNameTaken, "name"
		}
		return Answer[domain.Municipality]{}, domain.Refuse(code, "Another municipality has this %s.", what).
			Because(err)
	}
	if err != nil {
		return Answer[domain.Municipality]{}, err
	}

	first := done.Events[0]
	history, err := h.Store.Load(ctx, first.Tenant, first.Stream)
	if err != nil {
		return Answer[domain.Municipality]{}, err
	}

	m := domain.Fold[domain.Municipality](until(history, done.Position()))
	return Answer[domain.Municipality]{Value: m, Position: done.Position()}, nil
}

// tenantOf finds the tenant with a code, in any letter case.
func (h *Handler) tenantOf(ctx context.Context, code string) (domain.TenantID, bool, error) {
	if domain.Oversize(code, domain.MaxMunicipalityCode) {
		code = "" // nobody's either
	}

	code = domain.CanonicalMunicipalityCode(code)
	if code == domain.PlatformCode {
		return domain.PlatformTenant(), true, nil
	}

	id, found, err := h.Store.Holder(ctx, codeClaim(code))
	return domain.TenantID{UUID: id}, found, err
}

// openMunicipality finds the municipality that a person wants to register in. SALGA
// itself accepts no registrations.
func (h *Handler) openMunicipality(ctx context.Context, code string) (domain.Municipality, error) {
	id, err := h.TenantOf(ctx, code)
	if err != nil {
		return domain.Municipality{}, err
	}
	if id.IsPlatform() {
		return domain.Municipality{}, unknownMunicipality()
	}

	history, err := h.Store.Load(ctx, id, domain.MunicipalityOf(id))
	if err != nil {
		return domain.Municipality{}, err
	}

	m := domain.Fold[domain.Municipality](history)
	if !m.Active {
		return domain.Municipality{}, domain.Refuse(domain.CodeMunicipalityInactive,
			"This municipality is not accepting registrations.")
	}
	return m, nil
}

func codeClaim(code string) domain.Claim {
	return domain.Claim{Tenant: domain.PlatformTenant(), Kind: domain.MunicipalityCodeClaim, Value: code}
}

func nameClaim(name string) domain.Claim {
	return domain.Claim{
		Tenant: domain.PlatformTenant(), Kind: domain.MunicipalityNameClaim, Value: domain.CanonicalName(name),
	}
}

func unknownMunicipality() *domain.Error {
	return domain.Refuse(domain.CodeUnknownMunicipality, "There is no municipality with this code.")
}
