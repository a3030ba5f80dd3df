package commands

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// DefinePurpose defines a purpose with its first notice: a tenant's own or, if the
// caller's tenant is the platform, a default for all tenants. Errors: validation_failed,
// forbidden, purpose_taken.
func (h *Handler) DefinePurpose(
	ctx context.Context, call Call, c domain.DefinePurpose,
) (Answer[domain.Purpose], error) {
	if err := call.demandAdmin("define purposes"); err != nil {
		return Answer[domain.Purpose]{}, err
	}

	r := request{name: "purpose.define", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, _ Call) (domain.Append, error) {
		events, err := c.Decide(domain.Purpose{}, h.now()) // for the code in its canonical form
		if err != nil {
			return domain.Append{}, err
		}
		stream := domain.PurposeOf(call.Tenant, events[0].(*domain.PurposeDefined).Code)

		history, err := h.Store.Load(ctx, call.Tenant, stream)
		if err != nil {
			return domain.Append{}, err
		}

		purpose := domain.Fold[domain.Purpose](history)
		events, err = c.Decide(purpose, h.now())
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: stream, Expected: purpose.Version, Events: events}},
		}, err
	})
	if err != nil {
		return Answer[domain.Purpose]{}, err
	}

	h.purposes.forget(done.Events[0].Stream)
	return Answer[domain.Purpose]{Value: domain.Fold[domain.Purpose](done.Events), Position: done.Position()}, nil
}

// PublishNotice asks to publish the next version of a purpose's wording.
type PublishNotice struct {
	Code       string // of the purpose
	Texts      map[domain.Language]string
	InUseSince *time.Time // nil: since its publication

	Reconsent    *time.Time // when grants under older versions lapse; nil: they do not
	ValidityDays *int       // how many days a grant under it holds; 0: for ever; nil: as before
}

// PublishNotice publishes the next version; the same wording again changes nothing.
// Errors: validation_failed, forbidden, unknown_purpose, stale.
func (h *Handler) PublishNotice(ctx context.Context, call Call, c PublishNotice) (Answer[domain.Purpose], error) {
	wish := domain.PublishNotice{
		Texts: c.Texts, InUseSince: c.InUseSince, Reconsent: c.Reconsent, ValidityDays: c.ValidityDays,
	}
	var body any = c.Texts
	if c.InUseSince != nil || c.Reconsent != nil || c.ValidityDays != nil {
		body = wish // only then, so that other fingerprints stay those of earlier releases
	}

	decide := func(p domain.Purpose) ([]domain.Event, error) { return wish.Decide(p, h.now()) }
	return h.changePurpose(ctx, call, "purpose.publish_notice", c.Code, body, decide)
}

// RetirePurpose asks to end a purpose.
type RetirePurpose struct {
	Code string
}

// RetirePurpose ends a purpose: nothing more is recorded for it. Retiring it again
// changes nothing. Errors: forbidden, unknown_purpose, stale.
func (h *Handler) RetirePurpose(ctx context.Context, call Call, c RetirePurpose) (Answer[domain.Purpose], error) {
	decide := func(p domain.Purpose) ([]domain.Event, error) { return p.Retire(), nil }
	return h.changePurpose(ctx, call, "purpose.retire", c.Code, nil, decide)
}

// changePurpose changes a purpose of the caller's own tenant. A municipality cannot
// change a default.
func (h *Handler) changePurpose(ctx context.Context, call Call, name, code string, body any,
	decide func(domain.Purpose) ([]domain.Event, error),
) (Answer[domain.Purpose], error) {
	if err := call.demandAdmin("change purposes"); err != nil {
		return Answer[domain.Purpose]{}, err
	}

	stream := domain.PurposeOf(call.Tenant, domain.CanonicalPurposeCode(code))
	var history []domain.Recorded

	r := request{name: name, tenant: call.Tenant, scope: scopeOf(call), body: []any{code, body}}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, _ Call) (domain.Append, error) {
		var err error
		if history, err = h.Store.Load(ctx, call.Tenant, stream); err != nil {
			return domain.Append{}, err
		}

		purpose := domain.Fold[domain.Purpose](history)
		if !purpose.Exists() {
			return domain.Append{}, domain.Refuse(domain.CodeUnknownPurpose,
				"This tenant has no such purpose of its own.")
		}

		if err := matching(call, purpose.Version); err != nil {
			return domain.Append{}, err
		}

		events, err := decide(purpose)
		if err != nil || len(events) == 0 {
			return domain.Append{}, err
		}

		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: stream, Expected: purpose.Version, Events: events}},
		}, nil
	})
	if err != nil {
		return Answer[domain.Purpose]{}, err
	}

	h.purposes.forget(stream)

	if done.Repeat {
		if history, err = h.Store.Load(ctx, call.Tenant, stream); err != nil {
			return Answer[domain.Purpose]{}, err
		}
		history = until(history, done.Position())
	} else {
		history = append(history, done.Events...)
	}

	return Answer[domain.Purpose]{
		Value: domain.Fold[domain.Purpose](history), Position: history[len(history)-1].Position,
	}, nil
}

// purpose returns the purpose in force for a tenant (the zero Purpose if there is none)
// and the expectations that a decision on it must be appended with. cached reports that
// it came from memory: a refusal that rests on it must be decided again.
func (h *Handler) purpose(
	ctx context.Context, tenant domain.TenantID, code string, at time.Time,
) (p domain.Purpose, expects []domain.Expectation, cached bool, err error) {
	if code == domain.PlatformRegistrationCode {
		return domain.PlatformRegistration(), nil, false, nil
	}

	own, ownCached, err := h.loadPurpose(ctx, tenant, code)
	if err != nil {
		return domain.Purpose{}, nil, false, err
	}
	expects = []domain.Expectation{{Tenant: tenant, Stream: domain.PurposeOf(tenant, code), Version: own.Version}}
	if own.WasInUse(at) || tenant.IsPlatform() {
		return own, expects, ownCached, nil
	}

	platform := domain.PlatformTenant()
	shared, sharedCached, err := h.loadPurpose(ctx, platform, code)
	expects = append(expects, domain.Expectation{
		Tenant: platform, Stream: domain.PurposeOf(platform, code), Version: shared.Version,
	})
	if own.Exists() && !shared.WasInUse(at) {
		shared = own
	}
	return shared, expects, ownCached || sharedCached, err
}

func (h *Handler) loadPurpose(ctx context.Context, tenant domain.TenantID, code string) (domain.Purpose, bool, error) {
	stream := domain.PurposeOf(tenant, code)
	if p, ok := h.purposes.get(stream); ok {
		return p, true, nil
	}

	history, err := h.Store.Load(ctx, tenant, stream)
	if err != nil {
		return domain.Purpose{}, false, err
	}

	p := domain.Fold[domain.Purpose](history)
	h.purposes.put(stream, p)
	return p, false, nil
}

// purposeCache keeps purposes in memory: they change rarely and every decision needs one.
// It may be out of date: an append expects the versions it was decided on, and a conflict
// makes the cache forget them.
type purposeCache struct {
	mu    sync.RWMutex
	known map[uuid.UUID]domain.Purpose // by stream; a purpose that does not exist is known too
}

// maxPurposes bounds the cache: 257 municipalities with 20 purposes each, and as many
// again for codes that do not exist.
const maxPurposes = 10_000

func newPurposeCache() *purposeCache { return &purposeCache{known: map[uuid.UUID]domain.Purpose{}} }

func (c *purposeCache) get(s domain.Stream) (domain.Purpose, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()

	p, ok := c.known[s.ID]
	return p, ok
}

func (c *purposeCache) put(s domain.Stream, p domain.Purpose) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if len(c.known) >= maxPurposes {
		clear(c.known)
	}
	c.known[s.ID] = p
}

func (c *purposeCache) forget(streams ...domain.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()

	for _, s := range streams {
		delete(c.known, s.ID)
	}
}
