package http

import (
	"context"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

type registerInput struct {
	Body registerBody
}

type registerBody struct {
	Email             string               `json:"email" says:"max=254" example:"nomsa@example.org"`
	Password          string               `json:"password" says:"min=8;max=128" example:"correct horse battery"`
	FullName          string               `json:"full_name" says:"min=2;max=100" example:"Nomsa Dlamini"`
	Phone             string               `json:"phone,omitempty" doc:"E.164 or South African national format." example:"082 123 4567"`
	PreferredLanguage string               `json:"preferred_language,omitempty" minLength:"1" says:"enum=en|zu|af" doc:"Default: en." example:"zu"`
	MunicipalityCode  string               `json:"municipality_code" example:"CPT"`
	Consent           *registerConsentBody `json:"consent,omitempty" needed:"true"`
}

type registerConsentBody struct {
	Purpose            string `json:"purpose,omitempty" needed:"true" doc:"Always platform_registration." example:"platform_registration"`
	PurposeDescription string `json:"purpose_description,omitempty" minLength:"1" doc:"The wording that was shown."`
	Language           string `json:"language,omitempty" needed:"true" says:"enum=en|zu|af" doc:"That of the wording shown." example:"zu"`
	Consented          bool   `json:"consented,omitempty" needed:"true" example:"true"`
}

func (s *server) register(ctx context.Context, call commands.Call, in *registerInput) (*userChanged, error) {
	b := in.Body
	if err := s.pass(ctx, s.gates[registerRate].person, emailKey(b.Email)); err != nil {
		return nil, err
	}

	c := commands.Register{
		Email: b.Email, Password: b.Password, FullName: b.FullName, Phone: b.Phone,
		PreferredLanguage: domain.Language(b.PreferredLanguage), MunicipalityCode: b.MunicipalityCode,
	}
	if b.Consent != nil {
		c.Consent = &commands.RegisterConsent{
			Purpose: b.Consent.Purpose, Description: b.Consent.PurposeDescription,
			Language: domain.Language(b.Consent.Language), Consented: b.Consent.Consented,
		}
	}

	registered, err := userAnswer(s.config.Commands.Register(ctx, call, c))
	return registered.own(call), err
}

type loginInput struct {
	Body struct {
		Email            string `json:"email" example:"nomsa@example.org"`
		Password         string `json:"password" example:"correct horse battery"`
		MunicipalityCode string `json:"municipality_code,omitempty" doc:"Required if you are registered in more than one." example:"CPT"`
		TOTP             string `json:"totp,omitempty" doc:"The 6 digits your authenticator shows now; required if the account has a second factor."`
	} `nameHint:"LoginBody"`
}

// tokens is a pair of tokens in answers.
type tokens struct {
	AccessToken  string `json:"access_token" example:"eyJhbGciOiJIUzI1NiJ9.e30.YWNjZXNz"`
	RefreshToken string `json:"refresh_token" example:"eyJhbGciOiJIUzI1NiJ9.e30.cmVmcmVzaA"`
	TokenType    string `json:"token_type" enum:"bearer"`
	ExpiresIn    int    `json:"expires_in" doc:"Lifetime of the access token in seconds." example:"1800"`
}

type signedIn struct {
	Position string `header:"Event-Position"`
	Body     tokens
}

// refreshed has no position: exchanging a token appends nothing.
type refreshed struct {
	Body tokens
}

func (s *server) login(ctx context.Context, call commands.Call, in *loginInput) (*signedIn, error) {
	a, err := s.config.Commands.SignIn(ctx, call, commands.SignIn{
		Email: in.Body.Email, Password: in.Body.Password, MunicipalityCode: in.Body.MunicipalityCode,
		Code: in.Body.TOTP,
	})
	if err != nil {
		return nil, err
	}

	b, err := s.tokens(ctx, a.Value)
	return &signedIn{Position: position(a.Position), Body: b}, err
}

func (s *server) tokens(ctx context.Context, session commands.Session) (b tokens, err error) {
	traceOf(ctx).user = session.User
	b.TokenType, b.ExpiresIn = "bearer", int(s.config.Tokens.Access.Seconds())
	b.AccessToken, b.RefreshToken, err = s.config.Tokens.issue(session)
	return b, err
}

type refreshInput struct {
	Body struct {
		RefreshToken string `json:"refresh_token" example:"eyJhbGciOiJIUzI1NiJ9.e30.cmVmcmVzaA"`
	} `nameHint:"RefreshBody"`
}

func (s *server) refresh(ctx context.Context, call commands.Call, in *refreshInput) (*refreshed, error) {
	call, b, err := s.holder(ctx, call, in)
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.RefreshSession(ctx, call, commands.RefreshSession{Token: b.id})
	if err != nil {
		return nil, err
	}

	body, err := s.tokens(ctx, a.Value)
	return &refreshed{Body: body}, err
}

func (s *server) logout(ctx context.Context, call commands.Call, in *refreshInput) (*nothingChanged, error) {
	call, _, err := s.holder(ctx, call, in)
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.SignOut(ctx, call, commands.SignOut{})
	if err == nil && a.Position == 0 { // the session had ended before: the log up to here says so
		a.Position, err = s.config.Commands.Store.Head(ctx)
	}
	return &nothingChanged{Position: position(a.Position)}, err
}

// holder makes the caller from their refresh token.
func (s *server) holder(ctx context.Context, call commands.Call, in *refreshInput) (commands.Call, bearer, error) {
	b, err := s.config.Tokens.verify(in.Body.RefreshToken, refreshToken)
	if err != nil {
		return call, b, err
	}

	traceOf(ctx).user = b.user
	call.Tenant, call.User, call.Session = b.tenant, b.user, b.session
	return call, b, nil
}
