package http

import (
	"context"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections/reports"
)

type exposureBody struct {
	Position  int64             `json:"position" example:"1050"`
	EventID   uuid.UUID         `json:"event_id" format:"uuid"`
	Timestamp instant           `json:"timestamp"`
	Actor     *uuid.UUID        `json:"actor" nullable:"true" format:"uuid" doc:"The account, or the service account of a program, that read; null: an operator."`
	ActorKind string            `json:"actor_kind" enum:"person,program,operator,anonymous" doc:"What the actor is."`
	ActorName *string           `json:"actor_name" nullable:"true" doc:"The name of a program; null for anybody else."`
	ActorRole string            `json:"actor_role" doc:"The actor's role at that moment." example:"manager"`
	Route     string            `json:"route" example:"GET /api/v1/users"`
	Fields    string            `json:"fields" doc:"The group of fields shown." example:"profile"`
	Head      int64             `json:"head" doc:"The log's newest position at that moment." example:"1049"`
	Subjects  []uuid.UUID       `json:"subjects" format:"uuid" nullable:"false" doc:"Whose data was shown; empty: too many people to list, see filter."`
	Filter    map[string]string `json:"filter" nullable:"false" doc:"What was searched for; values that identify a person are left out." example:"{\"email\":\"given\"}"`
	Reason    *string           `json:"reason" doc:"The reason, where one is required."`
	Matched   *string           `json:"matched" enum:"subject,list,filter" doc:"How this concerns subject_id: named alone, named among others, or possibly covered by the filter." example:"subject"`
}

func (n programNames) exposureOf(x reports.ExposureEntry) exposureBody {
	facts, _ := x.Reason.Get()
	b := exposureBody{
		Position: x.Position, EventID: x.EventID, Timestamp: instant(x.Timestamp), Actor: idOrNull(x.Actor.UUID),
		ActorKind: actorKind(x.ActorRole), ActorName: n.of(x.Actor.UUID), ActorRole: x.ActorRole, Route: x.Route,
		Fields: x.Fields, Head: x.Head,
		Subjects: each(x.Subjects, func(u domain.UserID) uuid.UUID { return u.UUID }), Filter: x.Filter,
		Reason: orNull(facts.Reason), Matched: orNull(string(x.Matched)),
	}
	if b.Filter == nil {
		b.Filter = map[string]string{}
	}
	return b
}

// Period is a period of time in a query. It is exported for huma, see Paging.
type Period struct {
	From moment `query:"from" doc:"Recorded at this instant or later."`
	To   moment `query:"to" doc:"Recorded before this instant."`
}

type exposureInput struct {
	Paging
	Period
	SubjectID string `query:"subject_id" format:"uuid" doc:"The person whose data was read; give this or actor_id."`
	ActorID   string `query:"actor_id" format:"uuid" doc:"The account, or the service account of a program, that read; give this or subject_id."`
}

type exposureOutput struct {
	Body listBody[exposureBody]
}

// exposure lists who read whose personal data. It shows ids and routes but nothing
// personal, so it is not recorded itself.
func (s *server) exposure(ctx context.Context, call commands.Call, in *exposureInput) (*exposureOutput, error) {
	var f domain.Faults
	filter := reports.ExposureFilter{
		Subject: domain.UserID{UUID: optionalID(&f, "subject_id", in.SubjectID)},
		Actor:   domain.UserID{UUID: optionalID(&f, "actor_id", in.ActorID)},
		From:    in.From.Time, To: in.To.Time,
	}
	if err := f.Err(); err != nil {
		return nil, err
	}

	// A read of more people than are listed may have covered anybody, but not a person
	// who does not exist.
	if !filter.Subject.IsZero() {
		if err := s.config.Commands.KnownPerson(ctx, call.Tenant, filter.Subject); err != nil {
			return nil, err
		}
	}
	if !filter.Actor.IsZero() {
		if err := s.config.Commands.KnownActor(ctx, call.Tenant, filter.Actor); err != nil {
			return nil, err
		}
	}

	list, err := s.config.Reports.Exposure(ctx, call.Tenant, filter, in.page())
	if err != nil {
		return nil, err
	}

	roles := each(list.Items, func(x reports.ExposureEntry) string { return x.ActorRole })
	names, err := s.namesOf(ctx, call.Tenant, roles...)
	if err != nil {
		return nil, err
	}
	return &exposureOutput{Body: listOf(list, names.exposureOf)}, nil
}

type myReadsInput struct {
	Paging
	Period
}

type myReadsOutput struct {
	Body listBody[lookBody]
}

// myReads lists who read the caller's data, as their dossier does.
func (s *server) myReads(ctx context.Context, call commands.Call, in *myReadsInput) (*myReadsOutput, error) {
	period := reports.Period{From: in.From.Time, To: in.To.Time}
	list, err := s.config.Reports.Reads(ctx, call.Tenant, call.User, period, in.page())
	if err != nil {
		return nil, err
	}

	roles := each(list.Items, func(x reports.ExposureEntry) string { return x.ActorRole })
	names, err := s.namesOf(ctx, call.Tenant, roles...)
	if err != nil {
		return nil, err
	}
	return &myReadsOutput{Body: listOf(list, names.lookOf)}, nil
}
