package commands

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// RecordRead asks to record that the caller is about to see other people's personal data.
type RecordRead struct {
	Route    string
	Fields   string // the group of fields, such as "profile"
	Subjects []domain.UserID
	Filter   map[string]string // of personal filters only the names, never the values
	Reason   string            // why, where the caller must say so

	// Hourly is for reads that are repeated again and again: the same read is recorded
	// once an hour.
	Hourly bool
}

// RecordRead records the read and returns when it is in the log. Call it after reading
// and before the answer leaves (POPIA s19, s22, s23(1)(b)). If there are more than
// domain.MaxReadSubjects subjects, it records only the filter. Error: validation_failed.
func (h *Handler) RecordRead(ctx context.Context, call Call, c RecordRead) (Answer[struct{}], error) {
	var id uuid.UUID
	if c.Hourly {
		var err error
		if id, err = h.readOfTheHour(call, c); err != nil {
			return Answer[struct{}]{}, err
		}
		// An append would find it too, but only after waiting its turn among all others.
		found, err := h.Store.FindAppend(ctx, call.Tenant, id)
		if err != nil || len(found) > 0 {
			return Answer[struct{}]{Position: domain.Appended{Events: found}.Position()}, err
		}
	}

	return h.recordReads(ctx, call, id, c)
}

// RecordReads asks to record all the reads of one answer, none of them hourly.
type RecordReads struct{ Reads []RecordRead }

// RecordReads is RecordRead for several reads: each is an event of its own, and all are
// in the log or none. Call it after the last of them.
func (h *Handler) RecordReads(ctx context.Context, call Call, c RecordReads) (Answer[struct{}], error) {
	return h.recordReads(ctx, call, uuid.Nil, c.Reads...)
}

func (h *Handler) recordReads(
	ctx context.Context, call Call, id uuid.UUID, reads ...RecordRead,
) (Answer[struct{}], error) {
	head, err := h.Store.Head(ctx)
	if err != nil {
		return Answer[struct{}]{}, err
	}

	events := make([]domain.Event, len(reads))
	for i, c := range reads {
		if events[i], err = c.event(head); err != nil {
			return Answer[struct{}]{}, err
		}
	}
	return h.recordAccess(ctx, call, "personal_data.read", id, events...)
}

// event says what was read, from a log that had at most this head.
func (c RecordRead) event(head int64) (*domain.PersonalDataRead, error) {
	c.Reason = domain.TidyText(c.Reason)

	var f domain.Faults
	f.Text("reason", c.Reason, domain.MaxReason)
	if err := f.Err(); err != nil {
		return nil, err
	}

	read := &domain.PersonalDataRead{Route: c.Route, Fields: c.Fields, Head: head, Filter: c.Filter}
	if len(c.Subjects) <= domain.MaxReadSubjects {
		read.Subjects = c.Subjects
	}
	if c.Reason != "" {
		read.Private = domain.Known(domain.ReadFacts{Reason: c.Reason})
	}
	return read, nil
}

// readOfTheHour returns the id of the append that records a read once an hour, in
// whatever process: by this actor, of these people, with the same fields and filter.
func (h *Handler) readOfTheHour(call Call, c RecordRead) (uuid.UUID, error) {
	what, err := json.Marshal([]any{c.Fields, c.Subjects, c.Filter})
	if err != nil {
		return uuid.Nil, err
	}

	hour := h.now().Truncate(time.Hour).Format(time.RFC3339)
	// The log has ids made with the word "look": it must stay.
	return h.derivedID("look", call.Tenant.String(), call.ActorID().String(), string(what), hour), nil
}

// RecordTenantMismatch asks to record that the caller named a tenant other than their
// own.
type RecordTenantMismatch struct {
	Route string
	Named domain.TenantID
}

// RecordTenantMismatch records it at most once a minute for each caller and tenant, and
// for at most ten tenants of a caller. The rest is counted and goes into a later event:
// see tallies.
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

	n := h.tallies.noteNaming(call.ActorID(), c.Named, happening{number: number, append: domain.Append{
		ID: h.newID(), Tenant: call.Tenant, Actor: call.ActorID(), Origin: call.Origin,
		Metadata: domain.Metadata{ActorRole: call.roleName(), Correlation: call.Correlation, Command: name},
		Writes:   []domain.Write{{Stream: newAccess(h.newID()), Events: []domain.Event{e}}},
	}})
	if n == 0 {
		return Answer[struct{}]{}, nil
	}

	number(n)
	return h.recordAccess(ctx, call, name, uuid.Nil, e)
}

// recordAccess appends events about what a caller asked for, each in a stream of its own.
// A zero id means a new one.
func (h *Handler) recordAccess(
	ctx context.Context, call Call, name string, id uuid.UUID, events ...domain.Event,
) (Answer[struct{}], error) {
	call.Key = "" // every request counts
	r := request{name: name, tenant: call.Tenant, id: id}

	done, err := h.execute(ctx, call, r, func(context.Context, Call) (domain.Append, error) {
		a := domain.Append{Tenant: call.Tenant}
		for _, e := range events {
			a.Writes = append(a.Writes, domain.Write{Stream: newAccess(h.newID()), Events: []domain.Event{e}})
		}
		return a, nil
	})
	return Answer[struct{}]{Position: done.Position()}, err
}

// newAccess names the stream of one request.
func newAccess(id uuid.UUID) domain.Stream { return domain.Stream{Type: domain.AccessStream, ID: id} }
