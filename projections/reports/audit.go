package reports

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// AuditScope says whose events an audit shows, and whether personal values are opened.
// The zero scope shows nothing.
type AuditScope struct {
	tenant domain.TenantID // zero: all, if sealed
	sealed bool
}

// ScopeOf returns what an account of the viewer's tenant sees when it asks for a tenant,
// or for none in particular (zero): the events of its own tenant, opened. Accounts of the
// platform see those of every tenant, sealed, and those of their own tenant opened if
// they ask for it. Error: forbidden.
func ScopeOf(viewer, asked domain.TenantID) (AuditScope, error) {
	switch {
	case viewer.IsZero():
	case asked == viewer, asked.IsZero() && !viewer.IsPlatform():
		return AuditScope{tenant: viewer}, nil
	case viewer.IsPlatform():
		return AuditScope{tenant: asked, sealed: true}, nil
	}
	return AuditScope{}, domain.Refuse(domain.CodeForbidden,
		"You may read only the audit log of your own municipality.")
}

// Sealed reports whether personal values stay sealed.
func (s AuditScope) Sealed() bool { return s.sealed }

// AuditFilter narrows an audit; zero fields do not.
type AuditFilter struct {
	Operation domain.Operation
	Table     string
	Record    uuid.UUID
	User      domain.UserID // who did it
	From      time.Time     // recorded at this instant or later
	To        time.Time     // recorded before this instant
}

// AuditEntry is one event as an auditor reads it.
type AuditEntry struct {
	ID        uuid.UUID // of the event
	Timestamp time.Time // when it was recorded
	Tenant    domain.TenantID
	User      domain.UserID // who did it; zero: an operator or nobody known
	UserRole  string
	Subject   domain.UserID // the person it is about; zero: nobody
	Operation domain.Operation
	Table     string
	Record    uuid.UUID
	Changes   []domain.FieldChange
	Origin    domain.Personal[domain.Origin] // IP address and user agent
	EventType string
	Position  int64
}

// Audit lists events as changes of records, newest first. Errors: validation_failed,
// unavailable.
func (r *Reports) Audit(
	ctx context.Context, scope AuditScope, filter AuditFilter, page projections.Page,
) (projections.Listing[AuditEntry], error) {
	types, err := filter.types()
	if err != nil {
		return projections.Listing[AuditEntry]{}, err
	}

	events, err := r.newest(ctx, scope, eventstore.Query{
		Actor: filter.User, Record: filter.Record, From: filter.From, To: filter.To, Types: types,
	}, page)
	if err != nil {
		return projections.Listing[AuditEntry]{}, err
	}

	return projections.List(events, nil, page, func(r domain.Recorded) (AuditEntry, string) {
		return auditEntry(r), projections.PositionCursor(r.Position)
	})
}

func auditEntry(r domain.Recorded) AuditEntry {
	eventType := r.Event.EventType()
	operation, table := domain.OperationOf(eventType)
	return AuditEntry{
		ID: r.EventID, Timestamp: r.RecordedAt, Tenant: r.Tenant, User: r.Actor, UserRole: r.Metadata.ActorRole,
		Subject: r.Subject, Operation: operation, Table: table, Record: r.Record,
		Changes: domain.ChangesOf(r.Event), Origin: r.Origin, EventType: eventType, Position: r.Position,
	}
}

// types returns the event types of an operation on a table; nil: all.
func (f AuditFilter) types() ([]string, error) {
	if f.Operation == "" && f.Table == "" {
		return nil, nil
	}

	found := []string{}
	var tables []string
	for _, name := range domain.EventTypes() {
		operation, table := domain.OperationOf(name)
		if (f.Operation == "" || f.Operation == operation) && (f.Table == "" || f.Table == table) {
			found = append(found, name)
		}
		if !slices.Contains(tables, table) {
			tables = append(tables, table)
		}
	}
	slices.Sort(tables)

	var faults domain.Faults
	if f.Operation != "" {
		domain.OneOf(&faults, "operation", f.Operation, domain.Operations())
	}
	if f.Table != "" {
		domain.OneOf(&faults, "table_name", f.Table, tables)
	}
	return found, faults.Err()
}
