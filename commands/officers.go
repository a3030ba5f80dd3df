package commands

import (
	"context"
	"errors"
	"slices"

	"github.com/salga-trust/engine/domain"
)

// keepOfficers adds to an append what its events in a user's stream mean for the tenant's
// officers. Every change of a role, and every opening or closing of an account, goes
// through it. It depends on the version of the user's stream, and on no version of the
// officers' stream.
func keepOfficers(a *domain.Append, before domain.User, events []domain.Event) {
	if changed := domain.OfficersAfter(before, events); len(changed) > 0 {
		a.Writes = append(a.Writes, domain.Write{
			Stream: domain.OfficersOf(a.Tenant), Expected: domain.AnyVersion, Events: changed,
		})
	}
}

// demandSecondPerson refuses to let the account that lodged an erasure also carry it out,
// as long as there is another officer. If there is none, the certificate says so. The
// append then expects the officers' stream as it was found.
func (h *Handler) demandSecondPerson(ctx context.Context, call Call, q domain.Request, a *domain.Append) error {
	if q.Lodger != call.User {
		return nil
	}

	officers, err := h.officers(ctx, call)
	if err != nil {
		return err
	}
	lacking, err := officers.SecondPerson(q, call.User)
	if err != nil {
		return err
	}

	for i, w := range a.Writes {
		for _, e := range w.Events {
			if erased, is := e.(*domain.UserErased); is {
				erased.NoSecondPerson = lacking
			}
		}
		if w.Stream == domain.OfficersOf(call.Tenant) { // the append writes it: the erased person is an officer
			a.Writes[i].Expected = officers.Version
			return nil
		}
	}

	a.Expects = append(a.Expects, domain.Expectation{
		Tenant: call.Tenant, Stream: domain.OfficersOf(call.Tenant), Version: officers.Version,
	})
	return nil
}

// officers returns a tenant's officers. Officers from before there was a stream of them
// are taken from the accounts in the log the first time that anybody asks.
func (h *Handler) officers(ctx context.Context, call Call) (domain.Officers, error) {
	stream := domain.OfficersOf(call.Tenant)
	for range maxTries {
		events, err := h.Store.Load(ctx, call.Tenant, stream)
		officers := domain.Fold[domain.Officers](events)
		if err != nil || officers.Listed {
			return officers, err
		}

		// Read after the stream: an account that changes from here on moves its version.
		listed, err := h.officersNow(ctx, call.Tenant)
		if err != nil {
			return domain.Officers{}, err
		}

		_, err = h.Store.Append(ctx, domain.Append{
			ID: h.newID(), Tenant: call.Tenant,
			Metadata: domain.Metadata{
				ActorRole: domain.RoleSystem, Correlation: call.Correlation, Command: "officers.list",
			},
			Writes: []domain.Write{{Stream: stream, Expected: officers.Version, Events: []domain.Event{
				&domain.OfficersListed{Users: listed},
			}}},
		})
		if _, moved := errors.AsType[*domain.ConflictError](err); err != nil && !moved {
			return domain.Officers{}, err
		}
	}
	return domain.Officers{}, domain.Refuse(domain.CodeBusy, "Too many changes to this at once; try again.")
}

// officersNow returns the accounts that belong to officers, according to their own
// streams.
func (h *Handler) officersNow(ctx context.Context, tenant domain.TenantID) ([]domain.UserID, error) {
	ever, err := h.Store.EverHeld(ctx, tenant, domain.OfficerRoles()...)
	if err != nil {
		return nil, err
	}

	now := []domain.UserID{}
	for some := range slices.Chunk(ever, 100) {
		streams := make([]domain.Stream, len(some))
		for i, id := range some {
			streams[i] = domain.UserOf(id)
		}

		events, err := h.Store.Load(ctx, tenant, streams...)
		if err != nil {
			return nil, err
		}

		for _, id := range some {
			if domain.Fold[domain.User](of(events, domain.UserOf(id))).IsOfficer() {
				now = append(now, id)
			}
		}
	}
	return now, nil
}
