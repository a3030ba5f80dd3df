package commands

import (
	"context"

	"github.com/salga-trust/engine/domain"
)

// Me gives the caller's own account from the log, personal fields included.
func (h *Handler) Me(ctx context.Context, call Call) (Answer[domain.User], error) {
	user, events, err := h.person(ctx, call.Tenant, call.User)
	if err != nil {
		return Answer[domain.User]{}, err
	}
	return Answer[domain.User]{Value: user, Position: events[len(events)-1].Position}, nil
}

// KnownPerson refuses an id that is no person's of a tenant. Who was erased is known. Error: not_found.
func (h *Handler) KnownPerson(ctx context.Context, tenant domain.TenantID, id domain.UserID) error {
	events, err := h.Store.Load(ctx, tenant, domain.UserOf(id))
	if err == nil && len(events) == 0 {
		err = domain.Refuse(domain.CodeNotFound, "There is no such person.")
	}
	return err
}

// person loads one account with its personal fields.
func (h *Handler) person(ctx context.Context, tenant domain.TenantID, id domain.UserID) (domain.User, []domain.Recorded, error) {
	events, err := h.Store.LoadPersonal(ctx, tenant, domain.UserOf(id))
	if err != nil {
		return domain.User{}, nil, err
	}
	user := domain.Fold[domain.User](events)
	if !user.Exists() {
		return domain.User{}, nil, domain.Refuse(domain.CodeNotFound, "There is no such user.")
	}
	return user, events, nil
}

// userAnswer gives the account as an append left it, which for a repeat may be long ago.
func (h *Handler) userAnswer(ctx context.Context, tenant domain.TenantID, done domain.Appended) (Answer[domain.User], error) {
	for _, e := range done.Events {
		if e.Stream.Type != domain.UserStream {
			continue
		}
		events, err := h.Store.LoadPersonal(ctx, tenant, e.Stream)
		if err != nil {
			return Answer[domain.User]{}, err
		}
		user := domain.Fold[domain.User](until(events, done.Position()))
		return Answer[domain.User]{Value: user, Position: done.Position()}, nil
	}
	return Answer[domain.User]{}, domain.Refuse(domain.CodeIdempotencyKeyReused, "This idempotency key was used for another request.")
}

// until cuts events off after a position.
func until(events []domain.Recorded, position int64) []domain.Recorded {
	for i, e := range events {
		if e.Position > position {
			return events[:i]
		}
	}
	return events
}

// matching refuses a change that was meant for another version.
func matching(call Call, version int) error {
	if call.IfMatch != 0 && call.IfMatch != version {
		return domain.Refuse(domain.CodeStale, "This has changed since you read it: read it again.")
	}
	return nil
}
