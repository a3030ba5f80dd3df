package http

import (
	"context"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections/reports"
)

type activityInput struct {
	Days int `query:"days" minimum:"7" maximum:"366" default:"30" doc:"How many days, up to today."`
}

type activityOutput struct {
	Position string       `header:"Event-Position" doc:"The log position that the counts were made at."`
	Body     activityBody `nameHint:"Activity"`
}

type activityBody struct {
	Position int64       `json:"position" doc:"As known at this position." example:"1050"`
	From     domain.Date `json:"from" doc:"The first day, by the South African calendar." example:"2026-03-01"`
	To       domain.Date `json:"to" doc:"The last day: today." example:"2026-03-30"`

	Days     []dayBody    `json:"days" nullable:"false" doc:"What was recorded on each day for each purpose; what had none is left out. Claims by other systems do not count. What was annulled later counts on the day when it was recorded."`
	Readers  []readerBody `json:"readers" nullable:"false" doc:"The 50 accounts with the most looks at other people's data in the period, in its last 30 days at most."`
	Requests openBody     `json:"requests" doc:"Requests of data subjects that are open."`
}

type dayBody struct {
	Day       domain.Date `json:"day" doc:"When it was recorded, by the South African calendar." example:"2026-03-14"`
	Purpose   string      `json:"purpose" example:"sms_alert"`
	Granted   int         `json:"granted" example:"41"`
	Refused   int         `json:"refused" example:"6"`
	Withdrawn int         `json:"withdrawn" example:"2"`
}

type readerBody struct {
	Actor     *uuid.UUID `json:"actor" nullable:"true" format:"uuid" doc:"The account, or the service account of a program, that read; null: operators."`
	ActorKind string     `json:"actor_kind" enum:"person,program,operator,anonymous" doc:"What the actor is."`
	ActorName *string    `json:"actor_name" nullable:"true" doc:"The name of a program; null for anybody else."`
	ActorRole string     `json:"actor_role" doc:"The actor's role at the newest look." example:"manager"`
	Looks     int        `json:"looks" example:"117"`
	People    int        `json:"people" doc:"How many people were named in these looks, each time counted. A look at more people than are listed names nobody." example:"204"`
}

func (n programNames) readerOf(r reports.ReaderCount) readerBody {
	return readerBody{
		Actor: idOrNull(r.Actor.UUID), ActorKind: actorKind(r.Role), ActorName: n.of(r.Actor.UUID),
		ActorRole: r.Role, Looks: r.Looks, People: r.People,
	}
}

type openBody struct {
	Open    int `json:"open" example:"12"`
	Overdue int `json:"overdue" doc:"Of these, were due before today." example:"1"`
	DueSoon int `json:"due_in_7_days" doc:"Of these, are due today or within 7 days." example:"3"`
}

// activity counts what happened in the municipality of late. Counts are about no person,
// so this is not recorded as a read.
func (s *server) activity(ctx context.Context, call commands.Call, in *activityInput) (*activityOutput, error) {
	a, err := s.config.Reports.Activity(ctx, call.Tenant, in.Days, s.config.Now())
	if err != nil {
		return nil, err
	}

	roles := each(a.Readers, func(r reports.ReaderCount) string { return r.Role })
	names, err := s.namesOf(ctx, call.Tenant, roles...)
	if err != nil {
		return nil, err
	}

	out := activityBody{
		Position: a.Position, From: a.From, To: a.To, Days: []dayBody{}, Readers: each(a.Readers, names.readerOf),
		Requests: openBody(a.Requests),
	}
	for _, d := range a.Days {
		out.Days = append(out.Days, dayBody(d))
	}
	return &activityOutput{Position: position(a.Position), Body: out}, nil
}
