package http

import (
	"context"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

type passwordResetInput struct {
	Body struct {
		Email            string `json:"email" says:"max=254" example:"nomsa@example.org"`
		MunicipalityCode string `json:"municipality_code" example:"CPT"`
	} `nameHint:"PasswordResetBody"`
}

// accepted is an answer that says nothing: nothing has happened yet that could be told.
type accepted struct{}

func (s *server) requestPasswordReset(
	ctx context.Context, call commands.Call, in *passwordResetInput,
) (*accepted, error) {
	// Whether or not the address has an account, and in whichever municipality.
	if err := s.pass(ctx, s.gates[resetRate].person, emailKey(in.Body.Email)); err != nil {
		return nil, err
	}

	_, err := s.config.Commands.RequestPasswordReset(ctx, call, commands.RequestPasswordReset{
		Email: in.Body.Email, MunicipalityCode: in.Body.MunicipalityCode,
	})
	return &accepted{}, err
}

type redeemInput struct {
	Body struct {
		Code     string `json:"code" doc:"In any letter case, with or without hyphens and blanks." example:"the code that you were given"`
		Password string `json:"password" says:"min=8;max=128" doc:"The new one." example:"staple of another battery"`
		Email    string `json:"email,omitempty" says:"max=254" doc:"For a code from /residents/{id}/sign-in: the address to sign in with."`
		Consent  *struct {
			Purpose            string `json:"purpose" example:"platform_registration"`
			PurposeDescription string `json:"purpose_description,omitempty" doc:"The wording that was shown; must match the registry."`
			Language           string `json:"language" says:"enum=en|zu|af" example:"zu"`
			Consented          bool   `json:"consented" example:"true"`
		} `json:"consent,omitempty" doc:"For the same: to platform_registration, which every account rests on."`
	} `nameHint:"RedeemBody"`
}

func (s *server) redeemCode(ctx context.Context, call commands.Call, in *redeemInput) (*nothingChanged, error) {
	wish := commands.RedeemCode{Code: in.Body.Code, Password: in.Body.Password, Email: in.Body.Email}
	if c := in.Body.Consent; c != nil {
		wish.Consent = &commands.RegisterConsent{
			Purpose: c.Purpose, Description: c.PurposeDescription, Language: domain.Language(c.Language),
			Consented: c.Consented,
		}
	}
	a, err := s.config.Commands.RedeemCode(ctx, call, wish)
	return &nothingChanged{Position: position(a.Position)}, err
}

type resetCodeInput struct {
	ID   string `path:"id"`
	Body struct {
		IdentityDocument string `json:"identity_document" says:"max=500" doc:"Which document of theirs you have seen; kept sealed." example:"ID card, number ending in 083"`
	} `nameHint:"ResetCodeBody"`
}

type codeOutput struct {
	Position string `header:"Event-Position"`
	Body     codeBody
}

// codeBody is a one-time code in answers.
type codeBody struct {
	Code      string  `json:"code,omitempty" doc:"To be handed over or read out; shown only once and left out if the request is repeated." example:"four groups of four letters and digits"`
	ExpiresAt instant `json:"expires_at" doc:"It must be redeemed before this."`
}

func (s *server) issueResetCode(ctx context.Context, call commands.Call, in *resetCodeInput) (*codeOutput, error) {
	id, err := oneUserInput{in.ID}.user()
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.IssueResetCode(ctx, call, commands.IssueResetCode{
		User: id, IdentityDocument: in.Body.IdentityDocument,
	})
	if err != nil {
		return nil, err
	}

	made := codeBody{Code: a.Value.Text.String(), ExpiresAt: instant(a.Value.ExpiresAt)}
	return &codeOutput{Position: position(a.Position), Body: made}, nil
}

type verifyEmailInput struct {
	Body *struct {
		Code *string `json:"code,omitempty" doc:"The one that was sent; leave it out to have one sent." example:"the code that was sent"`
	} `nameHint:"VerifyEmailBody"`
}

func (s *server) verifyEmail(ctx context.Context, call commands.Call, in *verifyEmailInput) (*userChanged, error) {
	if in.Body != nil && in.Body.Code != nil {
		// Guesses at codes have one limit, wherever they are made.
		if err := s.pass(ctx, s.gates[redeemRate].address, addressKey(traceOf(ctx).address)); err != nil {
			return nil, err
		}

		verified, err := userAnswer(s.config.Commands.VerifyEmail(ctx, call, commands.VerifyEmail{Code: *in.Body.Code}))
		return verified.own(call), err
	}

	me, err := s.config.Commands.Me(ctx, call)
	if err != nil {
		return nil, err
	}
	// Anybody can name somebody else's address as their own: that must not fill a
	// mailbox.
	if me.Value.EmailVerifiedAt.IsZero() {
		if err := s.pass(ctx, s.gates[resetRate].person, emailKey(me.Value.Email)); err != nil {
			return nil, err
		}
	}

	begun, err := userAnswer(s.config.Commands.BeginEmailVerification(ctx, call, commands.BeginEmailVerification{}))
	return begun.own(call), err
}
