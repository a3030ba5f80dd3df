package http

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// requestBody is a data subject's request in answers.
type requestBody struct {
	ID        uuid.UUID            `json:"id" format:"uuid"`
	SubjectID uuid.UUID            `json:"subject_id" format:"uuid"`
	Kind      domain.RequestKind   `json:"kind" enum:"access,correction,erasure,objection"`
	Status    domain.RequestStatus `json:"status" enum:"open,fulfilled,refused"`
	LodgedBy  string               `json:"lodged_by" enum:"self,staff"`
	LodgedAt  instant              `json:"lodged_at" doc:"When it arrived: as staff stated it, or when it was recorded."`
	DueOn     domain.Date          `json:"due_on" doc:"30 days after it arrived, by the South African calendar." example:"2026-03-31"`
	ClosedAt  *instant             `json:"closed_at" nullable:"true"`
	Ground    *string              `json:"ground" doc:"Ground of a refusal; null: none."`
	Details   *string              `json:"details" doc:"What exactly was asked for; null also if erased."`
	Note      *string              `json:"note" doc:"Note of the officer who closed it; null also if erased."`
	Position  int64                `json:"position" doc:"Position of its newest event." example:"1043"`

	CertificateID *uuid.UUID `json:"certificate_id" nullable:"true" format:"uuid" doc:"Certificate of the erasure; null: none."`
}

func requestOf(q domain.Request) requestBody {
	return requestBody{
		ID: q.ID.UUID, SubjectID: q.Subject.UUID, Kind: q.Kind, Status: q.Status, LodgedBy: q.LodgedBy,
		LodgedAt: instant(q.LodgedAt), DueOn: q.DueOn, ClosedAt: instantOrNull(q.ClosedAt),
		Ground: orNull(string(q.Ground)), Details: textOrNull(q.Details), Note: textOrNull(q.Note),
		Position: q.Position, CertificateID: idOrNull(q.Certificate),
	}
}

func textOrNull(p domain.Personal[domain.FreeText]) *string {
	free, _ := p.Get()
	return orNull(free.Text)
}

// holdBody is a retention hold in answers.
type holdBody struct {
	ID        uuid.UUID `json:"id" format:"uuid"`
	SubjectID uuid.UUID `json:"subject_id" format:"uuid"`
	PlacedAt  instant   `json:"placed_at"`
	LiftedAt  *instant  `json:"lifted_at" nullable:"true" doc:"null: still in force."`
	Reason    *string   `json:"reason" doc:"null if erased."`
	Position  int64     `json:"position" doc:"Position of its newest event." example:"1043"`
}

func holdOf(h domain.Hold) holdBody {
	return holdBody{
		ID: h.ID.UUID, SubjectID: h.Subject.UUID, PlacedAt: instant(h.PlacedAt), LiftedAt: instantOrNull(h.LiftedAt),
		Reason: textOrNull(h.Reason), Position: h.Position,
	}
}

type requestChanged struct {
	Position string `header:"Event-Position"`
	Body     requestBody
}

func subjectOfRequest(q domain.Request) domain.UserID { return q.Subject }

func subjectOfHold(h domain.Hold) domain.UserID { return h.Subject }

func requestAnswer(a commands.Answer[domain.Request], err error) (*requestChanged, error) {
	if err != nil {
		return nil, err
	}
	return &requestChanged{Position: position(a.Position), Body: requestOf(a.Value)}, nil
}

type lodgeInput struct {
	Body struct {
		SubjectID string `json:"subject_id,omitempty" minLength:"1" says:"format=uuid" doc:"Another person of your municipality; staff only."`
		Kind      string `json:"kind" says:"enum=access|correction|erasure|objection" example:"correction"`
		Details   string `json:"details,omitempty" doc:"What exactly is asked for." example:"My surname is spelt Ṋemavhola."`

		ReceivedAt *moment `json:"received_at,omitempty" doc:"When their letter arrived, if it is recorded later: at most 365 days ago. The 30 days run from then. Staff only; default: now."`
	} `nameHint:"LodgeRequestBody"`
}

func (s *server) lodgeRequest(ctx context.Context, call commands.Call, in *lodgeInput) (*requestChanged, error) {
	subject, err := subjectOf(call, in.Body.SubjectID)
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.LodgeRequest(ctx, call, commands.LodgeRequest{
		Subject: subject, Kind: domain.RequestKind(in.Body.Kind), Details: in.Body.Details,
		ReceivedAt: in.Body.ReceivedAt.orZero(),
	})
	err = s.recordRefusal(ctx, call, err, "requests", subject)
	return requestAnswer(a, recordUnchanged(ctx, s, call, a, err, "requests", subjectOfRequest))
}

type rightsInput struct {
	Paging
	SubjectID string `query:"subject_id" format:"uuid" doc:"Another person of your municipality; manager or admin only."`
}

type rightsOutput struct {
	Body struct {
		Requests []requestBody `json:"requests" nullable:"false"`
		Holds    []holdBody    `json:"holds" nullable:"false"`
		Next     *string       `json:"next" doc:"Pass as after for the next page; null: this is the last."`
	} `nameHint:"Rights"`
}

// rightsRow is a request or a hold.
type rightsRow struct {
	request *domain.Request
	hold    *domain.Hold
}

func (r rightsRow) id() uuid.UUID {
	if r.request != nil {
		return r.request.ID.UUID
	}
	return r.hold.ID.UUID
}

// rightsPage cuts a page out of a person's requests and holds: first the requests, then
// the holds, each in the order they were made.
func rightsPage(all domain.Rights, page projections.Page) (projections.Listing[rightsRow], error) {
	rows := make([]rightsRow, 0, len(all.Requests)+len(all.Holds))
	for i := range all.Requests {
		rows = append(rows, rightsRow{request: &all.Requests[i]})
	}
	for i := range all.Holds {
		rows = append(rows, rightsRow{hold: &all.Holds[i]})
	}

	var err error
	if page.After != "" {
		var after uuid.UUID
		after, err = page.AfterID()
		rows = rows[slices.IndexFunc(rows, func(r rightsRow) bool { return r.id() == after })+1:]
	}
	rows = rows[:min(len(rows), page.Fetch())]
	return projections.List(rows, err, page, func(r rightsRow) (rightsRow, string) {
		return r, projections.IDCursor(r.id())
	})
}

// rights returns one person's requests and holds.
func (s *server) rights(ctx context.Context, call commands.Call, in *rightsInput) (*rightsOutput, error) {
	subject, err := subjectOf(call, in.SubjectID)
	if err != nil {
		return nil, err
	}

	r, err := s.config.Commands.Rights(ctx, call.Tenant, subject)
	if err != nil {
		return nil, err
	}
	list, err := rightsPage(r, in.page())
	if err != nil {
		return nil, err
	}

	// Recorded even if there are none: that is information about the person, too.
	if err := s.recordRead(ctx, call, "requests", nil, subject); err != nil {
		return nil, err
	}

	var out rightsOutput
	out.Body.Requests, out.Body.Holds, out.Body.Next = []requestBody{}, []holdBody{}, orNull(list.Next)
	for _, row := range list.Items {
		if row.request != nil {
			out.Body.Requests = append(out.Body.Requests, requestOf(*row.request))
		} else {
			out.Body.Holds = append(out.Body.Holds, holdOf(*row.hold))
		}
	}
	return &out, nil
}

type requestsInput struct {
	Paging
	Status string `query:"status" enum:"open,fulfilled,refused" default:"open"`
}

type requestsOutput struct {
	Body listBody[requestBody]
}

// tenantRequests lists the municipality's requests, earliest due date first.
func (s *server) tenantRequests(ctx context.Context, call commands.Call, in *requestsInput) (*requestsOutput, error) {
	list, err := s.config.Reports.Requests(ctx, call.Tenant, domain.RequestStatus(in.Status), in.page())
	if err != nil {
		return nil, err
	}

	people := each(list.Items, subjectOfRequest)
	if err := s.recordRead(ctx, call, "requests", map[string]string{"status": in.Status}, people...); err != nil {
		return nil, err
	}
	return &requestsOutput{Body: listOf(list, requestOf)}, nil
}

type requestInput struct {
	ID string `path:"id"`
}

type requestOutput struct {
	Body requestBody
}

// request returns one request of the municipality.
func (s *server) request(ctx context.Context, call commands.Call, in *requestInput) (*requestOutput, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}
	q, err := s.config.Commands.RightsRequest(ctx, call, domain.RequestID{UUID: id})
	if err != nil {
		return nil, err
	}

	if err := s.recordRead(ctx, call, "requests", nil, q.Subject); err != nil {
		return nil, err
	}
	return &requestOutput{Body: requestOf(q)}, nil
}

type fulfilInput struct {
	ID   string `path:"id"`
	Body *struct {
		Note string `json:"note,omitempty" example:"corrected at the counter"`
	} `nameHint:"FulfilRequestBody"`
}

func (s *server) fulfilRequest(ctx context.Context, call commands.Call, in *fulfilInput) (*requestChanged, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}

	note := ""
	if in.Body != nil {
		note = in.Body.Note
	}

	a, err := s.config.Commands.FulfilRequest(ctx, call, commands.FulfilRequest{
		Request: domain.RequestID{UUID: id}, Note: note,
	})
	err = s.closingRefused(ctx, call, domain.RequestID{UUID: id}, err)
	return requestAnswer(a, recordUnchanged(ctx, s, call, a, err, "requests", subjectOfRequest))
}

// closingRefused records a read where the refusal to close a request reveals something
// about the person. It returns the refusal.
func (s *server) closingRefused(ctx context.Context, call commands.Call, id domain.RequestID, refusal error) error {
	if refusal == nil {
		return nil
	}

	q, err := s.config.Commands.RightsRequest(ctx, call, id)
	if err != nil {
		return refusal // there is no such request
	}
	return s.recordRefusal(ctx, call, refusal, "requests", q.Subject)
}

type refuseInput struct {
	ID   string `path:"id"`
	Body struct {
		Ground string `json:"ground" says:"enum=identity_not_proved|legal_obligation|lawful_purpose|paia_ground|unfounded" example:"identity_not_proved"`
		Note   string `json:"note,omitempty"`
	} `nameHint:"RefuseRequestBody"`
}

func (s *server) refuseRequest(ctx context.Context, call commands.Call, in *refuseInput) (*requestChanged, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.RefuseRequest(ctx, call, commands.RefuseRequest{
		Request: domain.RequestID{UUID: id}, Ground: domain.Ground(in.Body.Ground), Note: in.Body.Note,
	})
	err = s.closingRefused(ctx, call, domain.RequestID{UUID: id}, err)
	return requestAnswer(a, recordUnchanged(ctx, s, call, a, err, "requests", subjectOfRequest))
}

type holdChanged struct {
	Position string `header:"Event-Position"`
	Body     holdBody
}

func holdAnswer(a commands.Answer[domain.Hold], err error) (*holdChanged, error) {
	if err != nil {
		return nil, err
	}
	return &holdChanged{Position: position(a.Position), Body: holdOf(a.Value)}, nil
}

type placeHoldInput struct {
	Body struct {
		SubjectID string `json:"subject_id" doc:"Whose data must be kept." format:"uuid"`
		Reason    string `json:"reason" example:"case 114/2026 in the High Court"`
	} `nameHint:"PlaceHoldBody"`
}

func (s *server) placeHold(ctx context.Context, call commands.Call, in *placeHoldInput) (*holdChanged, error) {
	var f domain.Faults
	subject := domain.UserID{UUID: optionalID(&f, "subject_id", in.Body.SubjectID)}
	if in.Body.SubjectID == "" {
		f.Add("subject_id", "required", "This must be given.")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}

	a, err := s.config.Commands.PlaceHold(ctx, call, commands.PlaceHold{Subject: subject, Reason: in.Body.Reason})
	err = s.recordRefusal(ctx, call, err, "requests", subject)
	return holdAnswer(a, recordUnchanged(ctx, s, call, a, err, "requests", subjectOfHold))
}

type holdsInput struct {
	Paging
	Status string `query:"status" enum:"in_force,lifted" default:"in_force"`
}

type holdsOutput struct {
	Body listBody[holdBody]
}

// holds lists the municipality's holds, newest first.
func (s *server) holds(ctx context.Context, call commands.Call, in *holdsInput) (*holdsOutput, error) {
	list, err := s.config.Reports.Holds(ctx, call.Tenant, in.Status == "lifted", in.page())
	if err != nil {
		return nil, err
	}

	people := each(list.Items, subjectOfHold)
	if err := s.recordRead(ctx, call, "requests", map[string]string{"status": in.Status}, people...); err != nil {
		return nil, err
	}
	return &holdsOutput{Body: listOf(list, holdOf)}, nil
}

type holdInput struct {
	ID string `path:"id"`
}

type holdOutput struct {
	Body holdBody
}

// hold returns one hold of the municipality, lifted or not.
func (s *server) hold(ctx context.Context, call commands.Call, in *holdInput) (*holdOutput, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}
	h, err := s.config.Commands.RetentionHold(ctx, call, domain.HoldID{UUID: id})
	if err != nil {
		return nil, err
	}

	if err := s.recordRead(ctx, call, "requests", nil, h.Subject); err != nil {
		return nil, err
	}
	return &holdOutput{Body: holdOf(h)}, nil
}

type liftHoldInput struct {
	ID   string `path:"id"`
	Body struct {
		Reason string `json:"reason" example:"case 114/2026 was settled"`
	} `nameHint:"LiftHoldBody"`
}

func (s *server) liftHold(ctx context.Context, call commands.Call, in *liftHoldInput) (*holdChanged, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.LiftHold(ctx, call, commands.LiftHold{
		Hold: domain.HoldID{UUID: id}, Reason: in.Body.Reason,
	})
	return holdAnswer(a, recordUnchanged(ctx, s, call, a, err, "requests", subjectOfHold))
}
