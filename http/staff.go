package http

import (
	"context"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

type usersInput struct {
	Paging
	Role       string `query:"role" enum:"citizen,field_worker,manager,admin,saps_liaison"`
	IsActive   string `query:"is_active" enum:"true,false"`
	Q          string `query:"q" doc:"Part of the name or of the e-mail address."`
	Email      string `query:"email" doc:"The whole address, in any letter case."`
	HasAccount string `query:"has_account" enum:"true,false" doc:"false: people whom staff recorded, who cannot sign in."`
	ExternalID string `query:"external_id" doc:"TYPE:VALUE, such as meter:04123456789: the one person who has it."`
	Phone      string `query:"phone" doc:"The whole number, in E.164 or South African national format; write + as %2B."`
}

type usersOutput struct {
	Body listBody[userBody]
}

// filter returns the tidied filter. Permission, query and record all go by it, not by
// what was sent.
func (in *usersInput) filter() (projections.UserFilter, domain.ExternalID, error) {
	var f domain.Faults
	wanted := projections.UserFilter{
		Role: domain.Role(in.Role), Active: optionalBool(in.IsActive), Account: optionalBool(in.HasAccount),
		Q:     tidied(&f, "q", in.Q, domain.TidyName),
		Email: tidied(&f, "email", in.Email, domain.CanonicalEmail),
		Phone: tidied(&f, "phone", in.Phone, domain.CanonicalPhone),
	}
	f.Phone("phone", wanted.Phone)
	x := externalIDAsked(&f, in.ExternalID)
	return wanted, x, f.Err()
}

// users lists people of the caller's tenant. Field workers serve one person at a counter,
// so they must give the exact address or number. Who has an external id is in no read
// table: the claim says it.
func (s *server) users(ctx context.Context, call commands.Call, in *usersInput) (*usersOutput, error) {
	wanted, x, err := in.filter()
	if err != nil {
		return nil, err
	}
	if call.Role() == domain.FieldWorker && wanted.Email == "" && wanted.Phone == "" && x.Value == "" {
		return nil, domain.Refuse(domain.CodeForbidden,
			"Field workers may search only by exact email, phone or external_id.")
	}
	if x.Value != "" {
		var found bool
		if wanted.ID, found, err = s.config.Commands.FindResident(ctx, call.Tenant, x); err != nil || !found {
			return &usersOutput{Body: listOf(projections.Listing[domain.User]{}, userOf)}, err
		}
	}

	list, err := s.config.Queries.Users(ctx, call.Tenant, wanted, in.page())
	if err != nil {
		return nil, err
	}

	filter := map[string]string{
		"role": string(wanted.Role), "is_active": in.IsActive, "has_account": in.HasAccount,
		"external_id": masked(x.Value),
		"q":           masked(wanted.Q), "email": masked(wanted.Email), "phone": masked(wanted.Phone),
	}
	people := each(list.Items, func(u domain.User) domain.UserID { return u.ID })
	if err := s.recordRead(ctx, call, "profile", filter, people...); err != nil {
		return nil, err
	}
	return &usersOutput{Body: listOf(list, userOf)}, nil
}

type oneUserInput struct {
	ID string `path:"id"`
}

func (in oneUserInput) user() (domain.UserID, error) {
	id, err := namedID(in.ID)
	return domain.UserID{UUID: id}, err
}

func (s *server) user(ctx context.Context, call commands.Call, in *oneUserInput) (*userOutput, error) {
	id, err := in.user()
	if err != nil {
		return nil, err
	}

	u, err := s.config.Queries.User(ctx, call.Tenant, id)
	if err != nil {
		return nil, err
	}

	if err := s.recordRead(ctx, call, "profile", nil, u.ID); err != nil {
		return nil, err
	}
	return &userOutput{ETag: etag(u.Version), Body: userOf(u)}, nil
}

type createUserInput struct {
	Body struct {
		Email             string `json:"email" says:"max=254" example:"sipho@example.org"`
		Password          string `json:"password" says:"min=8;max=128" example:"correct horse battery"`
		FullName          string `json:"full_name" says:"min=2;max=100" example:"Sipho Zulu"`
		Phone             string `json:"phone,omitempty" doc:"E.164 or South African national format."`
		PreferredLanguage string `json:"preferred_language,omitempty" minLength:"1" says:"enum=en|zu|af" doc:"Default: en." example:"zu"`
		MunicipalityCode  string `json:"municipality_code,omitempty" minLength:"1" doc:"Your own municipality; may be left out."`
		Role              string `json:"role" says:"enum=field_worker|manager|admin|saps_liaison" doc:"Citizens register themselves." example:"manager"`
	} `nameHint:"CreateUserBody"`
}

func (s *server) createUser(ctx context.Context, call commands.Call, in *createUserInput) (*userChanged, error) {
	b := in.Body
	return userAnswer(s.config.Commands.CreateUser(ctx, call, commands.CreateUser{
		Email: b.Email, Password: b.Password, FullName: b.FullName, Phone: b.Phone,
		PreferredLanguage: domain.Language(b.PreferredLanguage), MunicipalityCode: b.MunicipalityCode,
		Role: domain.Role(b.Role),
	}))
}

type changeRoleInput struct {
	ID   string `path:"id"`
	Body struct {
		Role string `json:"role" says:"enum=citizen|field_worker|manager|admin|saps_liaison" doc:"citizen requires consent to platform_registration in force." example:"manager"`
	} `nameHint:"ChangeRoleBody"`
}

func (s *server) changeRole(ctx context.Context, call commands.Call, in *changeRoleInput) (*userChanged, error) {
	id, err := oneUserInput{in.ID}.user()
	if err != nil {
		return nil, err
	}
	a, err := s.config.Commands.ChangeRole(ctx, call, commands.ChangeRole{User: id, Role: domain.Role(in.Body.Role)})
	return s.staffAnswer(ctx, call, id, a, err)
}

// staffAnswer answers a change of an account. A change that was refused or changed
// nothing is recorded as a read.
func (s *server) staffAnswer(
	ctx context.Context, call commands.Call, id domain.UserID, a commands.Answer[domain.User], err error,
) (*userChanged, error) {
	err = s.recordRefusal(ctx, call, err, "profile", id)
	return userAnswer(a, recordUnchanged(ctx, s, call, a, err, "profile", func(u domain.User) domain.UserID {
		return u.ID
	}))
}

func (s *server) deactivateUser(ctx context.Context, call commands.Call, in *oneUserInput) (*userChanged, error) {
	id, err := in.user()
	if err != nil {
		return nil, err
	}
	a, err := s.config.Commands.DeactivateUser(ctx, call, commands.DeactivateUser{User: id})
	return s.staffAnswer(ctx, call, id, a, err)
}

func (s *server) reactivateUser(ctx context.Context, call commands.Call, in *oneUserInput) (*userChanged, error) {
	id, err := in.user()
	if err != nil {
		return nil, err
	}
	a, err := s.config.Commands.ReactivateUser(ctx, call, commands.ReactivateUser{User: id})
	return s.staffAnswer(ctx, call, id, a, err)
}
