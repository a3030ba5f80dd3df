package http

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections/reports"
)

// myDataBody is everything held about one person (POPIA s23).
type myDataBody struct {
	ExportTimestamp instant         `json:"export_timestamp"`
	Position        int64           `json:"position" doc:"Log position at which this was made." example:"1043"`
	Profile         userBody        `json:"profile"`
	Consents        []consentBody   `json:"consents" nullable:"false" doc:"Their current state, in the wording shown."`
	Requests        []requestBody   `json:"requests" nullable:"false" doc:"Requests made under POPIA."`
	Holds           []holdBody      `json:"holds" nullable:"false" doc:"Why some data must be kept."`
	Activity        []auditBody     `json:"activity" nullable:"false" doc:"What this person did and what others did about them; data that identifies others is sealed."`
	Reads           []lookBody      `json:"reads" nullable:"false" doc:"Who read this person's data, when and by which route."`
	Recipients      []recipientBody `json:"recipients" nullable:"false" doc:"Everyone who had access (POPIA s23(1)(b)), by account."`
	Programs        []programBody   `json:"programs" nullable:"false" doc:"The municipality's programs that may ask about this person."`
}

// lookBody is one read of a person's data by somebody else.
type lookBody struct {
	Timestamp instant    `json:"timestamp"`
	Actor     *uuid.UUID `json:"actor" nullable:"true" format:"uuid" doc:"The account, or the service account of a program, that read; null: an operator."`
	ActorKind string     `json:"actor_kind" enum:"person,program,operator,anonymous" doc:"What the actor is."`
	ActorName *string    `json:"actor_name" nullable:"true" doc:"The name of a program; null for anybody else."`
	ActorRole string     `json:"actor_role" example:"manager"`
	Route     string     `json:"route" example:"GET /api/v1/users/{id}"`
	Fields    string     `json:"fields" doc:"The group of fields shown." example:"profile"`
	Matched   string     `json:"matched" enum:"subject,list,filter" doc:"Shown alone, shown among others, or possibly covered by a filter."`
	Position  int64      `json:"position" example:"1043"`
}

// recipientBody is somebody who had access to a person's data.
type recipientBody struct {
	Actor     *uuid.UUID `json:"actor" nullable:"true" format:"uuid" doc:"An account, or the service account of a program; null: an operator."`
	ActorKind string     `json:"actor_kind" enum:"person,program,operator,anonymous" doc:"What the actor is."`
	ActorName *string    `json:"actor_name" nullable:"true" doc:"The name of a program; null for anybody else."`
	ActorRole string     `json:"actor_role" example:"manager"`
	Reads     int        `json:"reads" example:"3"`
	First     instant    `json:"first"`
	Last      instant    `json:"last"`
}

// myDataOf makes everything held about a person; accounts are the service accounts of
// their municipality.
func myDataOf(d reports.Dossier, accounts []domain.ServiceAccount, at time.Time) myDataBody {
	names := programNames{}
	for _, a := range accounts {
		names[a.ID.UUID] = a.Name
	}
	accounts = slices.DeleteFunc(accounts, domain.ServiceAccount.Revoked)

	b := myDataBody{
		ExportTimestamp: instant(at), Position: d.Position, Profile: residentOf(d.Profile),
		Consents: each(d.Consents, consentOf), Requests: each(d.Rights.Requests, requestOf),
		Holds: each(d.Rights.Holds, holdOf), Activity: each(d.Activity, names.auditOf),
		Reads: each(d.Reads, names.lookOf), Recipients: []recipientBody{}, Programs: each(accounts, programOf),
	}

	byAccount := map[uuid.UUID]recipientBody{}
	for _, x := range d.Reads {
		r, known := byAccount[x.Actor.UUID]
		if !known {
			r = recipientBody{
				Actor: idOrNull(x.Actor.UUID), ActorKind: actorKind(x.ActorRole), ActorName: names.of(x.Actor.UUID),
				ActorRole: x.ActorRole, First: instant(x.Timestamp),
			}
		}
		r.Reads, r.Last = r.Reads+1, instant(x.Timestamp)
		byAccount[x.Actor.UUID] = r
	}

	byText := func(a, b uuid.UUID) int { return cmp.Compare(a.String(), b.String()) }
	for _, id := range slices.SortedFunc(maps.Keys(byAccount), byText) {
		b.Recipients = append(b.Recipients, byAccount[id])
	}
	return b
}

func (n programNames) lookOf(x reports.ExposureEntry) lookBody {
	return lookBody{
		Timestamp: instant(x.Timestamp), Actor: idOrNull(x.Actor.UUID), ActorKind: actorKind(x.ActorRole),
		ActorName: n.of(x.Actor.UUID), ActorRole: x.ActorRole, Route: x.Route, Fields: x.Fields,
		Matched: string(x.Matched), Position: x.Position,
	}
}

type myDataOutput struct {
	Body myDataBody
}

// myData returns everything held about the caller.
func (s *server) myData(ctx context.Context, call commands.Call, _ *struct{}) (*myDataOutput, error) {
	d, err := s.config.Reports.Dossier(ctx, call.Tenant, call.User)
	if err != nil {
		return nil, err
	}

	accounts, err := s.config.Commands.ServiceAccounts(ctx, call.Tenant)
	if err != nil {
		return nil, err
	}
	return &myDataOutput{Body: myDataOf(d, accounts, s.config.Now())}, nil
}

// PageLanguage holds what decides the language of a page. It is exported for huma, see
// Paging.
type PageLanguage struct {
	Lang     string `query:"lang" enum:"en,zu,af" doc:"Default: the person's preferred language, else Accept-Language."`
	Language string `query:"language" enum:"en,zu,af" doc:"Former name of lang."`
	Accepted string `header:"Accept-Language"`
}

// check refuses a request that names two languages.
func (l PageLanguage) check() error {
	var f domain.Faults
	if l.Lang != "" && l.Language != "" && l.Lang != l.Language {
		f.Add("language", "invalid", "This is the former name of lang and differs from it: give only one of them.")
	}
	return f.Err()
}

// of returns the language for a person's page.
func (l PageLanguage) of(person domain.User) domain.Language {
	asked := cmp.Or(domain.Language(l.Lang), domain.Language(l.Language), person.PreferredLanguage)

	for part := range strings.SplitSeq(l.Accepted, ",") {
		tag, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ";")
		primary, _, _ := strings.Cut(tag, "-")

		if asked == "" && slices.Contains(domain.Languages(), domain.Language(primary)) {
			asked = domain.Language(primary)
		}
	}

	return cmp.Or(asked, domain.English)
}

type myPageInput struct {
	PageLanguage
}

type myPageOutput struct {
	ContentType string `header:"Content-Type"`
	Policy      string `header:"Content-Security-Policy"`
	Body        []byte
}

// myPage is myData as a page that a person can read and print.
func (s *server) myPage(ctx context.Context, call commands.Call, in *myPageInput) (*myPageOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	d, err := s.config.Reports.Dossier(ctx, call.Tenant, call.User)
	if err != nil {
		return nil, err
	}
	return s.page(ctx, call, d, in.PageLanguage)
}

// page makes a person's page.
func (s *server) page(
	ctx context.Context, call commands.Call, d reports.Dossier, language PageLanguage,
) (*myPageOutput, error) {
	in := language.of(d.Profile.User)
	accounts, err := s.config.Commands.ServiceAccounts(ctx, call.Tenant)
	if err != nil {
		return nil, err
	}
	body := myDataOf(d, accounts, s.config.Now())

	purposes, err := s.purposeTitles(ctx, call.Tenant, in, purposesIn(body))
	if err != nil {
		return nil, err
	}

	names := map[string]string{}
	// Without its name, the page shows the municipality's code.
	if m, err := s.config.Queries.Municipality(ctx, call.Tenant.String()); err == nil {
		names[m.Code] = m.Name
	}

	page, err := renderMyData(body, in, purposes, names)
	return &myPageOutput{ContentType: "text/html; charset=utf-8", Policy: paperPolicy, Body: page}, err
}

// purposeTitles returns the titles of purposes in a language, by code: of all those in
// force, and of the named ones that are retired.
func (s *server) purposeTitles(
	ctx context.Context, tenant domain.TenantID, in domain.Language, named []string,
) (map[string]string, error) {
	registered, err := s.config.Commands.Purposes(ctx, tenant)
	if err != nil {
		return nil, err
	}

	titles := map[string]string{}
	for _, p := range registered {
		titles[p.Code] = p.Current().Texts[in]
	}

	for _, code := range named {
		if _, known := titles[code]; known {
			continue
		}
		p, err := s.config.Commands.Purpose(ctx, tenant, code)
		if refusal, is := errors.AsType[*domain.Error](err); is && refusal.Code == domain.CodeUnknownPurpose {
			continue // the page shows its code
		}
		if err != nil {
			return nil, err
		}
		titles[code] = p.Current().Texts[in]
	}
	return titles, nil
}

// purposesIn lists the codes of the purposes that a person's data names.
func purposesIn(data myDataBody) []string {
	var codes []string
	for _, c := range data.Consents {
		codes = append(codes, c.Purpose)
	}

	for _, a := range data.Activity {
		fields := []string{"purpose"}
		if _, table := domain.OperationOf(a.EventType); table == "purposes" || table == "notices" {
			fields = append(fields, "code")
		}
		for _, field := range fields {
			if code, is := a.Changes[field].New.(string); is {
				codes = append(codes, code)
			}
		}

		if filter, is := a.Changes["filter"].New.(map[string]string); is && filter["purpose"] != "" {
			codes = append(codes, filter["purpose"])
		}
	}

	slices.Sort(codes)
	return slices.Compact(codes)
}

type requestDataInput struct {
	ID string `path:"id"`
}

// requestData returns to an officer the data of a person who requested access and has no
// account to fetch it with.
func (s *server) requestData(ctx context.Context, call commands.Call, in *requestDataInput) (*myDataOutput, error) {
	d, err := s.dossierFor(ctx, call, in.ID)
	if err != nil {
		return nil, err
	}

	accounts, err := s.config.Commands.ServiceAccounts(ctx, call.Tenant)
	if err != nil {
		return nil, err
	}
	return &myDataOutput{Body: myDataOf(d, accounts, s.config.Now())}, nil
}

type requestPageInput struct {
	PageLanguage

	ID string `path:"id"`
}

// requestPage is requestData as a page to print and hand over.
func (s *server) requestPage(ctx context.Context, call commands.Call, in *requestPageInput) (*myPageOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	d, err := s.dossierFor(ctx, call, in.ID)
	if err != nil {
		return nil, err
	}
	return s.page(ctx, call, d, in.PageLanguage)
}

// dossierFor reads everything held about the person who requested access, and records the
// read.
func (s *server) dossierFor(ctx context.Context, call commands.Call, request string) (reports.Dossier, error) {
	id, err := namedID(request)
	if err != nil {
		return reports.Dossier{}, err
	}

	q, err := s.config.Commands.RightsRequest(ctx, call, domain.RequestID{UUID: id})
	if err != nil {
		return reports.Dossier{}, err
	}
	if q.Kind != domain.AccessRequest {
		return reports.Dossier{}, domain.Refuse(domain.CodeNotFound, "This is not a request for access.")
	}

	d, err := s.config.Reports.Dossier(ctx, call.Tenant, q.Subject)
	if err != nil {
		return reports.Dossier{}, err
	}

	err = s.recordRead(ctx, call, "everything", map[string]string{"request_id": q.ID.String()}, q.Subject)
	return d, err
}
