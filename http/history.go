package http

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// historyBody is one consent event of a person, in full.
type historyBody struct {
	Position   int64      `json:"position" example:"1042"`
	EventID    uuid.UUID  `json:"event_id" format:"uuid"`
	EventType  string     `json:"event_type" example:"consent.granted.v1"`
	RecordedAt instant    `json:"recorded_at" doc:"When it was recorded."`
	GivenAt    instant    `json:"given_at" doc:"When the person decided; it takes effect then."`
	Actor      *uuid.UUID `json:"actor" nullable:"true" format:"uuid" doc:"The account, or the service account of a program, that recorded it; null: an operator."`
	ActorKind  string     `json:"actor_kind" enum:"person,program,operator,anonymous" doc:"What the actor is."`
	ActorName  *string    `json:"actor_name" nullable:"true" doc:"The name of a program; null for anybody else."`
	ActorRole  string     `json:"actor_role" doc:"The actor's role at that moment." example:"field_worker"`
	RecordedBy string     `json:"recorded_by" enum:"self,staff,program" example:"staff"`
	ConsentID  uuid.UUID  `json:"consent_id" format:"uuid"`
	Purpose    string     `json:"purpose" example:"sms_alert"`

	NoticeVersion      *int    `json:"notice_version" doc:"null for a withdrawal, as are the fields below up to evidence_sha256." example:"1"`
	PurposeDescription *string `json:"purpose_description" doc:"The wording that was shown." example:"Ukukuthumelela izaziso ze-SMS mayelana nokuphazamiseka kwamanzi nogesi."`
	SHA256             *string `json:"sha256" doc:"SHA-256 of the wording shown." example:"73ddd2a0da691577a089bdafe694337a82a03ea8ed8d2270340d41a12b3da39e"`
	Language           *string `json:"language" enum:"en,zu,af" example:"zu"`
	Channel            *string `json:"channel" enum:"web,counter,phone,whatsapp,ussd,paper" example:"paper"`
	GivenBy            *string `json:"given_by" enum:"self,competent_person" example:"competent_person"`
	Basis              *string `json:"basis" doc:"The POPIA s11 ground." example:"consent"`
	EvidenceSHA256     *string `json:"evidence_sha256" doc:"null also if there is no evidence." example:"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`

	ValidUntil *instant `json:"valid_until" nullable:"true" doc:"From this instant on a grant no longer holds, as was agreed; null: no end was agreed."`
	LapsesAt   *instant `json:"lapses_at" nullable:"true" doc:"From this instant on a grant no longer holds, because a newer notice requires a new answer; null: none does."`

	EvidenceGrade *string    `json:"evidence_grade" enum:"claimed,documented,witnessed" doc:"Set if this is only claimed by another source; null: recorded here. In a claim, null above means not known."`
	Claim         *claimBody `json:"claim" doc:"Who claims it, and where; null: recorded here."`

	Personal          personalState        `json:"personal" example:"open"`
	EvidenceReference *string              `json:"evidence_reference" doc:"Where the evidence is kept." example:"form 114"`
	CompetentPerson   *competentPersonBody `json:"competent_person" doc:"Who decided for the subject (POPIA s35)."`
	Reason            *string              `json:"reason" doc:"Reason of a withdrawal or an annulment."`
	Cause             *string              `json:"cause" enum:"account_closed,merged,unmerged" nullable:"true" doc:"account_closed: a withdrawal caused by closing the account; merged, unmerged: an annulment that moved the entry to another record of the same person; otherwise null."`

	Entry      *string    `json:"entry" enum:"decision,withdrawal" nullable:"true" doc:"What an annulment annuls; otherwise null."`
	Annuls     *uuid.UUID `json:"annuls" nullable:"true" format:"uuid" doc:"The event that an annulment annuls; otherwise null."`
	AnnulledAt *instant   `json:"annulled_at" nullable:"true" doc:"Since when this event is known to count for nothing; null: it counts."`
}

// claimBody says who claims a decision, and where.
type claimBody struct {
	Decided    domain.Outcome `json:"decided" enum:"granted,refused,withdrawn" doc:"What the person is said to have decided."`
	Source     string         `json:"source" example:"newsletter list of 2025"`
	FileSHA256 string         `json:"file_sha256" doc:"SHA-256 of the file that says so." example:"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`
	Line       int            `json:"line" doc:"The line of that file." example:"12"`
	DayOnly    bool           `json:"day_only" doc:"Only the day is known: given_at is its beginning in South Africa." example:"true"`
}

type competentPersonBody struct {
	Name      string `json:"name" example:"Thandi Dlamini"`
	Relation  string `json:"relation" example:"mother"`
	Authority string `json:"authority" doc:"The document that gives them authority." example:"birth certificate"`
}

// personalState is the state of the fields that identify a person.
type personalState string

// Schema implements huma.SchemaProvider.
func (personalState) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Enum: []any{"none", "open", "sealed", "erased"},
		Description: "State of the fields that identify a person. none: there never were any; open: shown; " +
			"sealed: hidden from you; erased: their key was destroyed.",
	}
}

func stateOf(s domain.PersonalState) personalState {
	return [...]personalState{
		domain.Absent: "none", domain.Open: "open", domain.Erased: "erased",
		domain.Withheld: "sealed",
	}[s]
}

func (n programNames) historyOf(h reports.HistoryEntry) historyBody {
	b := historyBody{
		Position: h.Position, EventID: h.EventID, EventType: h.EventType, RecordedAt: instant(h.RecordedAt),
		GivenAt: instant(h.GivenAt), Actor: idOrNull(h.Actor.UUID), ActorRole: h.ActorRole,
		ActorKind: actorKind(h.ActorRole), ActorName: n.of(h.Actor.UUID),
		RecordedBy: h.RecordedBy, ConsentID: h.ConsentID.UUID, Purpose: h.Purpose,

		PurposeDescription: orNull(h.Wording), SHA256: orNull(h.SHA256), Language: orNull(string(h.Language)),
		Channel: orNull(string(h.Channel)), GivenBy: orNull(h.GivenBy), Basis: orNull(string(h.Basis)),
		EvidenceSHA256: orNull(h.EvidenceSHA256),
		ValidUntil:     instantOrNull(h.ValidUntil), LapsesAt: instantOrNull(h.LapsesAt),

		Personal: stateOf(h.Personal), EvidenceReference: orNull(h.EvidenceReference),
		Reason: orNull(h.Reason), Cause: orNull(h.Cause),
		Entry: orNull(string(h.Entry)), Annuls: idOrNull(h.Annuls), AnnulledAt: instantOrNull(h.AnnulledAt),
	}
	if h.NoticeVersion > 0 {
		b.NoticeVersion = &h.NoticeVersion
	}
	if claim := h.Claim; claim.Grade != "" {
		b.EvidenceGrade = orNull(string(claim.Grade))
		b.Claim = &claimBody{
			Decided: claim.Decided, Source: claim.Source, FileSHA256: claim.FileSHA256, Line: claim.Line,
			DayOnly: claim.DayOnly,
		}
	}
	if p := h.CompetentPerson; p != nil {
		b.CompetentPerson = &competentPersonBody{Name: p.Name, Relation: p.Relation, Authority: p.Authority}
	}
	return b
}

// mostHistory is how many events a page of a history may have. Hardly anybody has more,
// so one answer is usually the whole history.
const mostHistory = 1000

type historyInput struct {
	ID    string `path:"id"`
	Order string `query:"order" enum:"oldest,newest" default:"oldest" doc:"Which events come first."`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"Maximum number of items."`
	After string `query:"after" doc:"next of the previous page, asked for in the same order; empty: from the start."`
}

type historyOutput struct {
	Body listBody[historyBody] `nameHint:"History"`
}

// history lists the consent events of one person. It is complete even for an erased
// person.
func (s *server) history(ctx context.Context, call commands.Call, in *historyInput) (*historyOutput, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}

	subject := domain.UserID{UUID: id}
	if err := s.config.Commands.KnownPerson(ctx, call.Tenant, subject); err != nil {
		return nil, err
	}

	list, err := s.config.Reports.History(ctx, call.Tenant,
		reports.HistoryQuery{Subject: subject, Newest: in.Order == "newest"},
		projections.Page{Limit: in.Limit, After: in.After, Most: mostHistory})
	if err != nil {
		return nil, err
	}

	if err := s.recordRead(ctx, call, "history", nil, subject); err != nil {
		return nil, err
	}

	roles := each(list.Items, func(h reports.HistoryEntry) string { return h.ActorRole })
	names, err := s.namesOf(ctx, call.Tenant, roles...)
	if err != nil {
		return nil, err
	}
	return &historyOutput{Body: listOf(list, names.historyOf)}, nil
}
