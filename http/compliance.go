package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// historyBody is one consent event of a person, in full.
type historyBody struct {
	Position   int64      `json:"position" example:"1042"`
	EventID    uuid.UUID  `json:"event_id" format:"uuid"`
	EventType  string     `json:"event_type" example:"consent.granted.v1"`
	RecordedAt instant    `json:"recorded_at" doc:"When the log learned of it."`
	GivenAt    instant    `json:"given_at" doc:"When the person said so: from when it holds."`
	Actor      *uuid.UUID `json:"actor" nullable:"true" format:"uuid" doc:"The account that recorded it; null: an operator."`
	ActorRole  string     `json:"actor_role" doc:"The actor's role at that moment." example:"field_worker"`
	RecordedBy string     `json:"recorded_by" enum:"self,staff" example:"staff"`
	ConsentID  uuid.UUID  `json:"consent_id" format:"uuid"`
	Purpose    string     `json:"purpose" example:"sms_alert"`

	NoticeVersion      *int    `json:"notice_version" doc:"This and what follows up to evidence_sha256: null for a withdrawal." example:"1"`
	PurposeDescription *string `json:"purpose_description" doc:"The wording as shown." example:"Ukukuthumelela izaziso ze-SMS mayelana nokuphazamiseka kwamanzi nogesi."`
	SHA256             *string `json:"sha256" doc:"Of the wording as shown." example:"73ddd2a0da691577a089bdafe694337a82a03ea8ed8d2270340d41a12b3da39e"`
	Language           *string `json:"language" enum:"en,zu,af" example:"zu"`
	Channel            *string `json:"channel" enum:"web,counter,phone,whatsapp,ussd,paper" example:"paper"`
	GivenBy            *string `json:"given_by" enum:"self,competent_person" example:"competent_person"`
	Basis              *string `json:"basis" doc:"The ground of POPIA s11." example:"consent"`
	EvidenceSHA256     *string `json:"evidence_sha256" doc:"null also where there is no evidence." example:"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`

	Personal          personalState        `json:"personal" example:"open"`
	EvidenceReference *string              `json:"evidence_reference" doc:"Where the evidence is kept." example:"form 114"`
	CompetentPerson   *competentPersonBody `json:"competent_person" doc:"Who decided for the subject (POPIA s35)."`
	Reason            *string              `json:"reason" doc:"Of a withdrawal."`
}

type competentPersonBody struct {
	Name      string `json:"name" example:"Thandi Dlamini"`
	Relation  string `json:"relation" example:"mother"`
	Authority string `json:"authority" doc:"Reference of what gives them the authority." example:"birth certificate"`
}

// personalState says what can be said of fields that identify a person.
type personalState string

// Schema implements huma.SchemaProvider.
func (personalState) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Enum: []any{"none", "open", "sealed", "erased"},
		Description: "Of the fields that identify a person: there never were any, they are shown, they are sealed from you, or their key was destroyed.",
	}
}

func stateOf(s domain.PersonalState) personalState {
	return [...]personalState{domain.Absent: "none", domain.Open: "open", domain.Erased: "erased", domain.Withheld: "sealed"}[s]
}

func historyOf(h projections.HistoryEntry) historyBody {
	b := historyBody{
		Position: h.Position, EventID: h.EventID, EventType: h.EventType, RecordedAt: instant(h.RecordedAt), GivenAt: instant(h.GivenAt),
		Actor: idOrNull(h.Actor.UUID), ActorRole: h.ActorRole, RecordedBy: h.RecordedBy, ConsentID: h.ConsentID.UUID, Purpose: h.Purpose,
		PurposeDescription: orNull(h.Wording), SHA256: orNull(h.SHA256), Language: orNull(string(h.Language)),
		Channel: orNull(string(h.Channel)), GivenBy: orNull(h.GivenBy), Basis: orNull(string(h.Basis)),
		EvidenceSHA256: orNull(h.EvidenceSHA256), Personal: stateOf(h.Personal), EvidenceReference: orNull(h.EvidenceReference),
		Reason: orNull(h.Reason),
	}
	if h.NoticeVersion > 0 {
		b.NoticeVersion = &h.NoticeVersion
	}
	if p := h.CompetentPerson; p != nil {
		b.CompetentPerson = &competentPersonBody{Name: p.Name, Relation: p.Relation, Authority: p.Authority}
	}
	return b
}

type historyInput struct {
	ID string `path:"id"`
}

type historyOutput struct {
	Body struct {
		Items []historyBody `json:"items" nullable:"false"`
	} `nameHint:"History"`
}

// history gives every consent event of one person, oldest first. It is whole also for a person who was erased.
func (s *server) history(ctx context.Context, call commands.Call, in *historyInput) (*historyOutput, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}
	subject := domain.UserID{UUID: id}
	if err := s.config.Commands.KnownPerson(ctx, call.Tenant, subject); err != nil {
		return nil, err
	}
	entries, err := s.config.Readings.History(ctx, call.Tenant, subject)
	if err != nil {
		return nil, err
	}
	if err := s.recordRead(ctx, call, "history", nil, subject); err != nil {
		return nil, err
	}
	var out historyOutput
	out.Body.Items = make([]historyBody, len(entries))
	for i, h := range entries {
		out.Body.Items[i] = historyOf(h)
	}
	return &out, nil
}

type exposureBody struct {
	Position  int64             `json:"position" example:"1050"`
	EventID   uuid.UUID         `json:"event_id" format:"uuid"`
	Timestamp instant           `json:"timestamp"`
	Actor     *uuid.UUID        `json:"actor" nullable:"true" format:"uuid" doc:"The account that read; null: an operator."`
	ActorRole string            `json:"actor_role" doc:"The actor's role at that moment." example:"manager"`
	Route     string            `json:"route" example:"GET /api/v1/users"`
	Fields    string            `json:"fields" doc:"The group of fields that was shown." example:"profile"`
	Head      int64             `json:"head" doc:"The log's newest position at that moment: what there was to see." example:"1049"`
	Subjects  []uuid.UUID       `json:"subjects" format:"uuid" nullable:"false" doc:"Whose data was shown; empty: of more people than are named, see filter."`
	Filter    map[string]string `json:"filter" nullable:"false" doc:"What was asked for; values that identify a person are left out." example:"{\"email\":\"given\"}"`
	Reason    *string           `json:"reason" doc:"Why, where one has to say so."`
	Matched   *string           `json:"matched" enum:"subject,list,filter" doc:"Why this is about subject_id: named alone, named among others, or perhaps covered by the filter." example:"subject"`
}

func exposureOf(x projections.ExposureEntry) exposureBody {
	facts, _ := x.Reason.Get()
	b := exposureBody{
		Position: x.Position, EventID: x.EventID, Timestamp: instant(x.Timestamp), Actor: idOrNull(x.Actor.UUID), ActorRole: x.ActorRole,
		Route: x.Route, Fields: x.Fields, Head: x.Head, Subjects: make([]uuid.UUID, len(x.Subjects)), Filter: x.Filter,
		Reason: orNull(facts.Reason), Matched: orNull(string(x.Matched)),
	}
	for i, subject := range x.Subjects {
		b.Subjects[i] = subject.UUID
	}
	if b.Filter == nil {
		b.Filter = map[string]string{}
	}
	return b
}

// Period is a stretch of time in a query. It is exported for huma, see Paging.
type Period struct {
	From time.Time `query:"from" doc:"Recorded at this instant or later."`
	To   time.Time `query:"to" doc:"Recorded before this instant."`
}

type exposureInput struct {
	Paging
	Period
	SubjectID string `query:"subject_id" doc:"Who saw this person? Give this or actor_id."`
	ActorID   string `query:"actor_id" doc:"Whom did this account see?"`
}

type exposureOutput struct {
	Body listBody[exposureBody]
}

// exposure lists who read whose personal data. It shows ids and routes, nothing personal, and so is not recorded itself.
func (s *server) exposure(ctx context.Context, call commands.Call, in *exposureInput) (*exposureOutput, error) {
	var f domain.Faults
	filter := projections.ExposureFilter{
		Subject: domain.UserID{UUID: optionalID(&f, "subject_id", in.SubjectID)},
		Actor:   domain.UserID{UUID: optionalID(&f, "actor_id", in.ActorID)},
		From:    in.From, To: in.To,
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	for _, named := range []domain.UserID{filter.Subject, filter.Actor} {
		if named.IsZero() {
			continue
		}
		// Reads of more people than are named may have covered anybody, but not somebody who is not there.
		if err := s.config.Commands.KnownPerson(ctx, call.Tenant, named); err != nil {
			return nil, err
		}
	}
	list, err := s.config.Readings.Exposure(ctx, call.Tenant, filter, in.page())
	if err != nil {
		return nil, err
	}
	return &exposureOutput{Body: listOf(list, exposureOf)}, nil
}

type exportInput struct {
	AsOf     time.Time `query:"as_of" doc:"What held at this instant; missing: at the end of what was known."`
	KnownAt  time.Time `query:"known_at" doc:"As known at this instant; missing: now."`
	Position int64     `query:"position" minimum:"1" doc:"As known at this position, which an earlier answer named: the same bytes again."`
	Purpose  string    `query:"purpose" doc:"Only for this purpose."`
	Format   string    `query:"format" enum:"json,csv,ndjson" default:"json"`
}

type exportOutput struct {
	Position    string `header:"Event-Position" doc:"The position that the question was resolved to."`
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        func(huma.Context)
}

// exportsAtOnce is how many exports run at the same time: each holds a connection and a snapshot while it streams.
const exportsAtOnce = 4

// export streams the state of all consents of the tenant, replayed from events, in constant memory.
func (s *server) export(ctx context.Context, call commands.Call, in *exportInput) (*exportOutput, error) {
	q := projections.ReplayQuery{At: in.AsOf, Purpose: strings.ToLower(in.Purpose)}
	if q.Purpose != "" {
		if err := s.config.Commands.KnownPurpose(ctx, call.Tenant, q.Purpose); err != nil {
			return nil, err
		}
	}
	var err error
	if q.Position, err = s.config.Readings.Resolve(ctx, in.KnownAt, in.Position); err != nil {
		return nil, err
	}
	filter := map[string]string{"purpose": q.Purpose, "as_of": text(in.AsOf), "position": position(q.Position)}
	if err := s.recordReadOfAll(ctx, call, "consents", filter); err != nil {
		return nil, err
	}
	format := Format(in.Format)
	out := &exportOutput{
		Position: position(q.Position), ContentType: format.mediaType(),
		Disposition: fmt.Sprintf(`attachment; filename="consents-%d.%s"`, q.Position, format),
	}
	out.Body = func(c huma.Context) {
		_, w := humachi.Unwrap(c)
		s.stream(ctx, call, q, format, w)
	}
	return out, nil
}

// stream writes the export. What fails before the first byte is a problem like any other; after it only the connection can say so.
func (s *server) stream(ctx context.Context, call commands.Call, q projections.ReplayQuery, format Format, w http.ResponseWriter) {
	select {
	case s.exports <- struct{}{}:
		defer func() { <-s.exports }()
	default:
		s.refuse(ctx, w, domain.Refuse(domain.CodeOverloaded, "Enough exports are running; try again later."))
		return
	}
	slow := &patient{to: w, control: http.NewResponseController(w)}
	err := s.replay(ctx, call, q, format, slow)
	switch {
	case err == nil:
		slow.done()
	case !slow.began:
		s.refuse(ctx, w, err)
	default:
		s.log(ctx, slog.LevelWarn, "an export was cut off", err)
		panic(http.ErrAbortHandler)
	}
}

// refuse answers with a problem where headers of a success were set.
func (s *server) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	for _, name := range []string{headerPosition, "Content-Disposition"} {
		w.Header().Del(name)
	}
	s.problemOf(ctx, err, nil).write(w)
}

func (s *server) replay(ctx context.Context, call commands.Call, q projections.ReplayQuery, format Format, w io.Writer) error {
	x, err := NewConsentExport(w, format, q.Position, q.At, false)
	if err != nil {
		return err
	}
	err = s.config.Readings.Replay(ctx, call.Tenant, q, func(c domain.Consent) error { return x.Write(c, Revealed{}) })
	if err != nil {
		return err
	}
	return x.Close()
}

// patient gives a client some time for each piece: as long as it reads, an export may take; one that stopped reading lets go of
// the connection to the database.
type patient struct {
	to      io.Writer
	control *http.ResponseController
	began   bool
}

const patience = 30 * time.Second

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	p.began = true
	if err := p.control.SetWriteDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.to.Write(b)
}

// done lets the connection serve other requests.
func (p *patient) done() { _ = p.control.SetWriteDeadline(time.Time{}) }

// text gives an instant as answers write it; nothing for the zero time.
func text(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(instantForm)
}
