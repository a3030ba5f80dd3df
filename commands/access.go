package commands

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// RecordRead asks to record that the caller is about to be shown other people's personal
// data.
type RecordRead struct {
	Route    string
	Fields   string // the group of fields, such as "profile"
	Subjects []domain.UserID
	Filter   map[string]string // with the names of personal filters only, never their values
	Reason   string            // why, where the caller has to say so

	// Hourly is for what is asked again and again: the same look is recorded once an
	// hour.
	Hourly bool
}

// RecordRead appends it: call it after reading and before the answer leaves (POPIA s19,
// s22, s23(1)(b)). More than domain.MaxReadSubjects subjects are left to the filter. It
// returns when the look is in the log. Error: validation_failed.
func (h *Handler) RecordRead(ctx context.Context, call Call, c RecordRead) (Answer[struct{}], error) {
	c.Reason = domain.TidyText(c.Reason)

	var f domain.Faults
	f.Text("reason", c.Reason, domain.MaxReason)
	if err := f.Err(); err != nil {
		return Answer[struct{}]{}, err
	}

	var id uuid.UUID
	if c.Hourly {
		var err error
		if id, err = h.lookOfTheHour(call, c); err != nil {
			return Answer[struct{}]{}, err
		}
		// An append would find that too, but only in its turn among all others.
		found, err := h.Store.FindAppend(ctx, call.Tenant, id)
		if err != nil || len(found) > 0 {
			return Answer[struct{}]{Position: domain.Appended{Events: found}.Position()}, err
		}
	}

	head, err := h.Store.Head(ctx)
	if err != nil {
		return Answer[struct{}]{}, err
	}

	read := domain.PersonalDataRead{Route: c.Route, Fields: c.Fields, Head: head, Filter: c.Filter}
	if len(c.Subjects) <= domain.MaxReadSubjects {
		read.Subjects = c.Subjects
	}
	if c.Reason != "" {
		read.Private = domain.Known(domain.ReadFacts{Reason: c.Reason})
	}
	return h.recordAccess(ctx, call, "personal_data.read", &read, id)
}

// lookOfTheHour is the append of a look that is recorded once an hour, in whatever
// process: by this actor, at these people, at the same of them.
func (h *Handler) lookOfTheHour(call Call, c RecordRead) (uuid.UUID, error) {
	what, err := json.Marshal([]any{c.Fields, c.Subjects, c.Filter})
	if err != nil {
		return uuid.Nil, err
	}
	hour := h.now().Truncate(time.Hour).Format(time.RFC3339)
	return h.derivedID("look", call.Tenant.String(), call.User.String(), string(what), hour), nil
}

// RecordTenantMismatch asks to record that the caller named another tenant than their
// own.
type RecordTenantMismatch struct {
	Route string
	Named domain.TenantID
}

// RecordTenantMismatch appends it, at most once a minute of a caller and a tenant, and of
// ten tenants: what is counted besides goes into a later event, see tallies.
func (h *Handler) RecordTenantMismatch(
	ctx context.Context, call Call, c RecordTenantMismatch,
) (Answer[struct{}], error) {
	const name = "access.tenant_mismatch"
	e := &domain.TenantMismatch{Route: c.Route, Named: c.Named}
	number := func(n int) {
		if n > 1 {
			e.Count = n
		}
	}

	n := h.tallies.noteNaming(call.User, c.Named, happening{number: number, append: domain.Append{
		ID: h.newID(), Tenant: call.Tenant, Actor: call.User, Origin: call.Origin,
		Metadata: domain.Metadata{ActorRole: call.roleName(), Correlation: call.Correlation, Command: name},
		Writes:   []domain.Write{{Stream: newAccess(h.newID()), Events: []domain.Event{e}}},
	}})
	if n == 0 {
		return Answer[struct{}]{}, nil
	}

	number(n)
	return h.recordAccess(ctx, call, name, e, uuid.Nil)
}

// recordAccess appends an event about one request, in a stream of its own. A zero id is a
// new one.
func (h *Handler) recordAccess(
	ctx context.Context, call Call, name string, event domain.Event, id uuid.UUID,
) (Answer[struct{}], error) {
	call.Key = "" // every request counts
	r := request{name: name, tenant: call.Tenant, id: id}

	done, err := h.execute(ctx, call, r, func(context.Context, Call) (domain.Append, error) {
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: newAccess(h.newID()), Events: []domain.Event{event}}},
		}, nil
	})
	return Answer[struct{}]{Position: done.Position()}, err
}

// newAccess names the stream of one request.
func newAccess(id uuid.UUID) domain.Stream { return domain.Stream{Type: domain.AccessStream, ID: id} }
