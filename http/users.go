package http

import (
	"context"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// userBody is a person in answers, with an account or without.
type userBody struct {
	ID                uuid.UUID       `json:"id" format:"uuid"`
	TenantID          uuid.UUID       `json:"tenant_id" format:"uuid"`
	MunicipalityCode  string          `json:"municipality_code" example:"CPT"`
	Email             *string         `json:"email" nullable:"true" doc:"null: none." example:"nomsa@example.org"`
	FullName          string          `json:"full_name" example:"Nomsa Dlamini"`
	Phone             *string         `json:"phone" doc:"E.164; null: none." example:"+27821234567"`
	PreferredLanguage domain.Language `json:"preferred_language" enum:"en,zu,af" example:"zu"`
	Role              domain.Role     `json:"role" enum:"citizen,field_worker,manager,admin,saps_liaison" example:"citizen"`
	IsActive          bool            `json:"is_active" example:"true"`
	HasAccount        bool            `json:"has_account" doc:"Whether there is an account to sign in with; false: staff recorded this person." example:"true"`
	EmailVerifiedAt   *instant        `json:"email_verified_at" nullable:"true" doc:"When its owner proved that the address is theirs; null: they have not, or it has changed since."`
	CreatedAt         instant         `json:"created_at"`
	CreatedBy         *uuid.UUID      `json:"created_by" nullable:"true" format:"uuid" doc:"The account that registered this one, itself if self-registered; null: an operator."`
	UpdatedAt         instant         `json:"updated_at"`
	MergedInto        *uuid.UUID      `json:"merged_into" nullable:"true" format:"uuid" doc:"The record of the same person that goes on in place of this one; null: none."`
	Merged            []uuid.UUID     `json:"merged,omitempty" doc:"The records that were merged into this one; left out in lists."`
	UpdatedBy         *uuid.UUID      `json:"updated_by" nullable:"true" format:"uuid" doc:"The account that made the newest change; null: an operator."`
	IsDeleted         bool            `json:"is_deleted" doc:"Erased: nothing that identifies the person is left." example:"false"`
	DeletedAt         *instant        `json:"deleted_at" nullable:"true" doc:"When it was erased."`
	SecondFactor      *bool           `json:"second_factor,omitempty" doc:"Whether sign-in needs an authenticator code; shown only for your own account." example:"false"`
	ExternalIDs       []ExternalID    `json:"external_ids,omitempty" doc:"The numbers by which the municipality's other systems know this person; left out in lists."`
}

func userOf(u domain.User) userBody {
	return userBody{
		ID: u.ID.UUID, TenantID: u.Tenant.UUID, MunicipalityCode: u.MunicipalityCode,
		Email: orNull(u.Email), FullName: u.FullName, Phone: orNull(u.Phone), PreferredLanguage: u.PreferredLanguage,
		Role: u.Role, IsActive: u.Active, HasAccount: u.Account && !u.Erased,
		EmailVerifiedAt: instantOrNull(u.EmailVerifiedAt), MergedInto: idOrNull(u.MergedInto.UUID),
		CreatedAt: instant(u.CreatedAt), CreatedBy: idOrNull(u.CreatedBy.UUID),
		UpdatedAt: instant(u.UpdatedAt), UpdatedBy: idOrNull(u.UpdatedBy.UUID), IsDeleted: u.Erased,
		DeletedAt: instantOrNull(u.ErasedAt),
	}
}

type userOutput struct {
	ETag string `header:"ETag"`
	Body userBody
}

type userChanged struct {
	ETag     string `header:"ETag"`
	Position string `header:"Event-Position"`
	Body     userBody
}

func userAnswer(a commands.Answer[domain.User], err error) (*userChanged, error) {
	if err != nil {
		return nil, err
	}
	return &userChanged{ETag: etag(a.Value.Version), Position: position(a.Position), Body: userOf(a.Value)}, nil
}

// own completes the caller's own account: nobody else sees whether it has a second
// factor.
func (b userBody) own(call commands.Call) userBody {
	b.SecondFactor = new(call.SecondFactor().IsSet())
	return b
}

// own completes the answer to a change of the caller's own account.
func (out *userChanged) own(call commands.Call) *userChanged {
	if out != nil {
		out.Body = out.Body.own(call)
	}
	return out
}

func (s *server) me(ctx context.Context, call commands.Call, _ *struct{}) (*userOutput, error) {
	a, err := s.config.Commands.Resident(ctx, call.Tenant, call.User)
	if err != nil {
		return nil, err
	}
	return &userOutput{ETag: etag(a.Value.Version), Body: residentOf(a.Value).own(call)}, nil
}

type changeMeInput struct {
	Body struct {
		FullName          *string   `json:"full_name,omitempty" says:"min=2;max=100" example:"Nomsa Zulu"`
		Phone             clearable `json:"phone,omitzero" doc:"E.164 or South African national format; null or empty removes it."`
		PreferredLanguage *string   `json:"preferred_language,omitempty" says:"enum=en|zu|af"`
		Email             *string   `json:"email,omitempty" says:"max=254" doc:"A new address needs current_password."`
		CurrentPassword   string    `json:"current_password,omitempty"`
	} `nameHint:"ChangeMeBody"`
}

func (s *server) changeMe(ctx context.Context, call commands.Call, in *changeMeInput) (*userChanged, error) {
	b := in.Body
	changed, err := userAnswer(s.config.Commands.ChangeProfile(ctx, call, commands.ChangeProfile{
		FullName: b.FullName, Phone: b.Phone.pointer(), PreferredLanguage: (*domain.Language)(b.PreferredLanguage),
		Email: b.Email, CurrentPassword: b.CurrentPassword,
	}))
	return changed.own(call), err
}

type changePasswordInput struct {
	Body struct {
		CurrentPassword string `json:"current_password" example:"correct horse battery"`
		NewPassword     string `json:"new_password" says:"min=8;max=128" example:"staple of another battery"`
	} `nameHint:"ChangePasswordBody"`
}

type nothingChanged struct {
	Position string `header:"Event-Position"`
}

func (s *server) changePassword(
	ctx context.Context, call commands.Call, in *changePasswordInput,
) (*nothingChanged, error) {
	if !traceOf(ctx).inside { // to programs it is promised that a key means nothing here
		call.Key = ""
	}
	a, err := s.config.Commands.ChangePassword(ctx, call, commands.ChangePassword{
		Current: in.Body.CurrentPassword, New: in.Body.NewPassword,
	})
	return &nothingChanged{Position: position(a.Position)}, err
}
