package http

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections/reports"
)

// auditBody is one event as an auditor reads it.
type auditBody struct {
	ID        uuid.UUID             `json:"id" format:"uuid" doc:"Id of the event."`
	Timestamp instant               `json:"timestamp"`
	TenantID  uuid.UUID             `json:"tenant_id" format:"uuid"`
	UserID    *uuid.UUID            `json:"user_id" nullable:"true" format:"uuid" doc:"Who did it: an account, or the service account of a program; null: an operator, or unknown."`
	UserRole  string                `json:"user_role" doc:"Their role at that moment, or program, system or anonymous." example:"citizen"`
	ActorKind string                `json:"actor_kind" enum:"person,program,operator,anonymous" doc:"What user_id is."`
	ActorName *string               `json:"actor_name" nullable:"true" doc:"The name of a program; null for anybody else."`
	Operation string                `json:"operation" enum:"CREATE,READ,UPDATE,DELETE" example:"UPDATE"`
	TableName string                `json:"table_name" example:"consents"`
	RecordID  uuid.UUID             `json:"record_id" format:"uuid"`
	SubjectID *uuid.UUID            `json:"subject_id" nullable:"true" format:"uuid" doc:"The person it is about; null: nobody."`
	Changes   map[string]changeBody `json:"changes" nullable:"false" doc:"By field." example:"{\"withdrawn\":{\"old\":false,\"new\":true,\"personal\":\"none\"}}"`
	IPAddress *string               `json:"ip_address" doc:"sealed or erased: it cannot be shown." example:"196.25.1.1"`
	UserAgent *string               `json:"user_agent" doc:"sealed or erased: it cannot be shown." example:"Mozilla/5.0"`
	EventType string                `json:"event_type" example:"consent.withdrawn.v1"`
	Position  int64                 `json:"position" example:"1043"`
}

// changeBody is one field before and after a change.
type changeBody struct {
	Old      any           `json:"old" doc:"null: none before; sealed or erased: it cannot be shown."`
	New      any           `json:"new" doc:"null: none now; sealed or erased: it cannot be shown."`
	Personal personalState `json:"personal"`
}

func (n programNames) auditOf(e reports.AuditEntry) auditBody {
	b := auditBody{
		ID: e.ID, Timestamp: instant(e.Timestamp), TenantID: e.Tenant.UUID, UserID: idOrNull(e.User.UUID),
		UserRole: e.UserRole, ActorKind: actorKind(e.UserRole), ActorName: n.of(e.User.UUID),
		Operation: string(e.Operation), TableName: e.Table, RecordID: e.Record,
		SubjectID: idOrNull(e.Subject.UUID), Changes: map[string]changeBody{}, EventType: e.EventType,
		Position: e.Position,
	}

	for _, c := range e.Changes {
		change := changeBody{Old: c.Old, New: c.New, Personal: stateOf(c.Personal)}
		if hidden(c.Personal) {
			change.New = change.Personal
			if e.Operation == domain.OpUpdate {
				change.Old = change.Personal
			}
		}
		b.Changes[c.Field] = change
	}

	b.IPAddress, b.UserAgent = originOf(e.Origin)
	return b
}

func hidden(s domain.PersonalState) bool { return s == domain.Withheld || s == domain.Erased }

func originOf(origin domain.Personal[domain.Origin]) (address, agent *string) {
	if state := origin.State(); hidden(state) {
		return new(string(stateOf(state))), new(string(stateOf(state)))
	}
	from, _ := origin.Get()
	return orNull(from.IP), orNull(from.UserAgent)
}

type auditInput struct {
	Paging
	Period
	Operation string `query:"operation" enum:"CREATE,READ,UPDATE,DELETE"`
	TableName string `query:"table_name" doc:"Such as users, consents, purposes, personal_data."`
	RecordID  string `query:"record_id" format:"uuid"`
	UserID    string `query:"user_id" format:"uuid" doc:"Who did it: an account, or the service account of a program."`
	TenantID  string `query:"tenant_id" format:"uuid" doc:"Your own; SALGA's admins may name another, or omit it for all, and see others' personal values sealed."`
}

type auditOutput struct {
	Body listBody[auditBody]
}

// auditLog lists what happened, newest first.
func (s *server) auditLog(ctx context.Context, call commands.Call, in *auditInput) (*auditOutput, error) {
	var f domain.Faults
	filter := reports.AuditFilter{
		Operation: domain.Operation(in.Operation), Table: in.TableName,
		Record: optionalID(&f, "record_id", in.RecordID),
		User:   domain.UserID{UUID: optionalID(&f, "user_id", in.UserID)}, From: in.From.Time, To: in.To.Time,
	}
	if err := f.Err(); err != nil {
		return nil, err
	}

	scope, err := auditScope(ctx, call, in.TenantID)
	if err != nil {
		return nil, err
	}

	list, err := s.config.Reports.Audit(ctx, scope, filter, in.page())
	if err != nil {
		return nil, err
	}
	if err := s.recordAudit(ctx, call, in, list.Items); err != nil {
		return nil, err
	}

	names, err := s.namesIn(ctx, list.Items)
	if err != nil {
		return nil, err
	}
	return &auditOutput{Body: listOf(list, names.auditOf)}, nil
}

// namesIn returns the names of the programs in entries of any municipalities.
func (s *server) namesIn(ctx context.Context, entries []reports.AuditEntry) (programNames, error) {
	roles := map[domain.TenantID][]string{}
	for _, e := range entries {
		roles[e.Tenant] = append(roles[e.Tenant], e.UserRole)
	}

	all := programNames{}
	for tenant, of := range roles {
		names, err := s.namesOf(ctx, tenant, of...)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, names)
	}
	return all, nil
}

// recordAudit records a read of the people shown. If only other municipalities' sealed
// entries were shown, no person's data was read, but it is still an official act: it is
// recorded without people.
func (s *server) recordAudit(
	ctx context.Context, call commands.Call, in *auditInput, shown []reports.AuditEntry,
) error {
	filter, people := in.named(), shownIn(call.Tenant, shown)
	ofOthers := slices.ContainsFunc(people, func(p domain.UserID) bool { return !p.IsZero() && p != call.User })
	elsewhere := slices.ContainsFunc(shown, func(e reports.AuditEntry) bool { return e.Tenant != call.Tenant })

	if elsewhere && !ofOthers {
		filter["tenant_id"] = cmp.Or(in.TenantID, "all")
		return s.recordReadOfAll(ctx, call, "audit", filter)
	}
	return s.recordRead(ctx, call, "audit", filter, people...)
}

// auditScope returns what the caller may see of the municipality asked for: their own;
// for SALGA's admins any one, or all.
func auditScope(ctx context.Context, call commands.Call, tenant string) (reports.AuditScope, error) {
	var f domain.Faults
	asked := domain.TenantID{UUID: optionalID(&f, "tenant_id", tenant)}
	if err := f.Err(); err != nil {
		return reports.AuditScope{}, err
	}

	if reachOf(ctx) < everything {
		if asked.IsZero() {
			asked = call.Tenant
		}
		if asked != call.Tenant {
			return reports.AuditScope{}, domain.Refuse(domain.CodeForbidden,
				"You may name only your own municipality.")
		}
	}
	return reports.ScopeOf(call.Tenant, asked)
}

// named returns the filter for the record of the read.
func (in *auditInput) named() map[string]string {
	return map[string]string{
		"operation": in.Operation, "table_name": in.TableName, "record_id": in.RecordID, "user_id": in.UserID,
		"from": printed(instantOrNull(in.From.Time)), "to": printed(instantOrNull(in.To.Time)),
	}
}

// shownIn lists the people about whom entries reveal something: the person an entry is
// about, since it shows who they are and what they decided, and where an origin is shown,
// the person who acted. An entry that records a read reveals only that there was one,
// plus any personal value in it. In another municipality's entries, everything that
// identifies their person is sealed.
func shownIn(tenant domain.TenantID, entries []reports.AuditEntry) (people []domain.UserID) {
	for _, e := range entries {
		isLook := e.EventType == new(domain.PersonalDataRead).EventType()
		isOpen := slices.ContainsFunc(e.Changes, func(c domain.FieldChange) bool { return c.Personal == domain.Open })
		if isOpen || e.Tenant == tenant && !isLook {
			people = append(people, e.Subject)
		}

		if from, open := e.Origin.Get(); open && from != (domain.Origin{}) {
			people = append(people, e.User)
		}
	}
	return people
}
