package http

import (
	"context"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// municipalityBody is a municipality in answers.
type municipalityBody struct {
	ID           uuid.UUID `json:"id" format:"uuid"`
	Code         string    `json:"code" example:"CPT"`
	Name         string    `json:"name" example:"City of Cape Town"`
	Province     string    `json:"province" example:"Western Cape"`
	Category     *string   `json:"category" enum:"A,B,C" doc:"null: not given." example:"A"`
	DistrictCode *string   `json:"district_code"`
	Population   *int      `json:"population" example:"4772846"`
	ContactEmail *string   `json:"contact_email" example:"info@capetown.example.org"`
	IsActive     bool      `json:"is_active" example:"true"`
	CreatedAt    instant   `json:"created_at"`
	UpdatedAt    instant   `json:"updated_at"`
}

func municipalityOf(m domain.Municipality) municipalityBody {
	return municipalityBody{
		ID: m.ID.UUID, Code: m.Code, Name: m.Name, Province: m.Province, Category: orNull(m.Category),
		DistrictCode: orNull(m.DistrictCode), Population: m.Population,
		ContactEmail: orNull(domain.ShownEmail(m.ContactEmail)), IsActive: m.Active,
		CreatedAt: instant(m.CreatedAt), UpdatedAt: instant(m.UpdatedAt),
	}
}

type municipalityOutput struct {
	ETag string `header:"ETag"`
	Body municipalityBody
}

type municipalityChanged struct {
	ETag     string `header:"ETag"`
	Position string `header:"Event-Position"`
	Body     municipalityBody
}

func municipalityAnswer(a commands.Answer[domain.Municipality], err error) (*municipalityChanged, error) {
	if err != nil {
		return nil, err
	}
	return &municipalityChanged{
		ETag: etag(a.Value.Version), Position: position(a.Position), Body: municipalityOf(a.Value),
	}, nil
}

type registerMunicipalityInput struct {
	Body struct {
		Name         string `json:"name" says:"min=3;max=100" doc:"Unique." example:"Ethekwini"`
		Code         string `json:"code" says:"pattern=^[A-Za-z0-9]{2,10}$" doc:"Unique; stored in upper case." example:"ETH"`
		Province     string `json:"province" says:"enum=Eastern Cape|Free State|Gauteng|KwaZulu-Natal|Limpopo|Mpumalanga|Northern Cape|North West|Western Cape" example:"KwaZulu-Natal"`
		Category     string `json:"category,omitempty" minLength:"1" says:"enum=A|B|C" example:"A"`
		DistrictCode string `json:"district_code,omitempty" minLength:"1"`
		Population   *int   `json:"population,omitempty" example:"4239901"`
		ContactEmail string `json:"contact_email,omitempty" minLength:"1" says:"max=254"`
	} `nameHint:"RegisterMunicipalityBody"`
}

func (s *server) registerMunicipality(
	ctx context.Context, call commands.Call, in *registerMunicipalityInput,
) (*municipalityChanged, error) {
	b := in.Body
	return municipalityAnswer(s.config.Commands.RegisterMunicipality(ctx, call, domain.RegisterMunicipality{
		Code: b.Code, Name: b.Name, Province: b.Province, Category: b.Category, DistrictCode: b.DistrictCode,
		Population: b.Population, ContactEmail: b.ContactEmail,
	}))
}

type municipalitiesInput struct {
	Paging
	IsActive string `query:"is_active" enum:"true,false"`
	Province string `query:"province" enum:"Eastern Cape,Free State,Gauteng,KwaZulu-Natal,Limpopo,Mpumalanga,Northern Cape,North West,Western Cape"`
	Category string `query:"category" enum:"A,B,C"`
	Q        string `query:"q" doc:"Part of the name, or the start of the code."`
}

type municipalitiesOutput struct {
	Body listBody[municipalityBody]
}

func (s *server) municipalities(
	ctx context.Context, _ commands.Call, in *municipalitiesInput,
) (*municipalitiesOutput, error) {
	var f domain.Faults
	q := tidied(&f, "q", in.Q, domain.TidyName)
	if err := f.Err(); err != nil {
		return nil, err
	}

	list, err := s.config.Queries.Municipalities(ctx, projections.MunicipalityFilter{
		Active: optionalBool(in.IsActive), Province: in.Province, Category: in.Category, Q: q,
	}, in.page())
	if err != nil {
		return nil, err
	}
	return &municipalitiesOutput{Body: listOf(list, municipalityOf)}, nil
}

// byIDOrCode is the one route whose path takes an id or a code.
const byIDOrCode = "get_municipality"

type municipalityInput struct {
	ID string `path:"id" doc:"Id, or code in any letter case."`
}

func (s *server) municipality(
	ctx context.Context, _ commands.Call, in *municipalityInput,
) (*municipalityOutput, error) {
	m, err := s.config.Queries.Municipality(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &municipalityOutput{ETag: etag(m.Version), Body: municipalityOf(m)}, nil
}

type changeMunicipalityInput struct {
	ID   string `path:"id"`
	Body struct {
		Name         *string   `json:"name,omitempty" says:"min=3;max=100" doc:"Unique."`
		ContactEmail clearable `json:"contact_email,omitzero" doc:"null or empty removes it." example:"info@ethekwini.example.org"`
		Population   *int      `json:"population,omitempty" example:"4239901"`
	} `nameHint:"ChangeMunicipalityBody"`
}

func (s *server) changeMunicipality(
	ctx context.Context, call commands.Call, in *changeMunicipalityInput,
) (*municipalityChanged, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}
	return municipalityAnswer(s.config.Commands.ChangeMunicipality(ctx, call, commands.ChangeMunicipality{
		Municipality: domain.TenantID{UUID: id},
		Details: domain.ChangeMunicipality{
			Name: in.Body.Name, ContactEmail: in.Body.ContactEmail.pointer(), Population: in.Body.Population,
		},
	}))
}

type oneMunicipalityInput struct {
	ID string `path:"id"`
}

func (s *server) deactivateMunicipality(
	ctx context.Context, call commands.Call, in *oneMunicipalityInput,
) (*municipalityChanged, error) {
	return s.setMunicipalityActive(ctx, call, in, false)
}

func (s *server) reactivateMunicipality(
	ctx context.Context, call commands.Call, in *oneMunicipalityInput,
) (*municipalityChanged, error) {
	return s.setMunicipalityActive(ctx, call, in, true)
}

func (s *server) setMunicipalityActive(
	ctx context.Context, call commands.Call, in *oneMunicipalityInput, active bool,
) (*municipalityChanged, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}
	return municipalityAnswer(s.config.Commands.SetMunicipalityActive(ctx, call, commands.SetMunicipalityActive{
		Municipality: domain.TenantID{UUID: id}, Active: active,
	}))
}
