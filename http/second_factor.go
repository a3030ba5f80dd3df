package http

import (
	"context"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

type setUpTOTPInput struct {
	Body struct {
		CurrentPassword string `json:"current_password" example:"correct horse battery"`
	} `nameHint:"SetUpTOTPBody"`
}

type setUpTOTPOutput struct {
	Position string `header:"Event-Position"`
	Body     newTOTPBody
}

// newTOTPBody is a second factor that waits for its first code.
type newTOTPBody struct {
	Secret     string  `json:"secret,omitempty" doc:"Base32, for typing in; shown only once and left out if the request is repeated." example:"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"`
	OTPAuthURI string  `json:"otpauth_uri,omitempty" doc:"The same, for a QR code." example:"otpauth://totp/SALGA%20Trust%20Engine:sipho@example.org?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"`
	ExpiresAt  instant `json:"expires_at" doc:"It must be confirmed before this."`
}

func (s *server) setUpTOTP(ctx context.Context, call commands.Call, in *setUpTOTPInput) (*setUpTOTPOutput, error) {
	a, err := s.config.Commands.BeginSecondFactor(ctx, call,
		commands.BeginSecondFactor{CurrentPassword: in.Body.CurrentPassword})
	if err != nil {
		return nil, err
	}

	begun := newTOTPBody{Secret: a.Value.Secret, OTPAuthURI: a.Value.URI, ExpiresAt: instant(a.Value.ExpiresAt)}
	return &setUpTOTPOutput{Position: position(a.Position), Body: begun}, nil
}

type confirmTOTPInput struct {
	Body struct {
		TOTP string `json:"totp" doc:"The 6 digits your authenticator shows now." example:"492039"`
	} `nameHint:"ConfirmTOTPBody"`
}

func (s *server) confirmTOTP(ctx context.Context, call commands.Call, in *confirmTOTPInput) (*nothingChanged, error) {
	a, err := s.config.Commands.ConfirmSecondFactor(ctx, call, commands.ConfirmSecondFactor{Code: in.Body.TOTP})
	return &nothingChanged{Position: position(a.Position)}, err
}

type removeTOTPInput struct {
	Body struct {
		CurrentPassword string `json:"current_password" example:"correct horse battery"`
		TOTP            string `json:"totp,omitempty" needed:"true" doc:"The 6 digits your authenticator shows now." example:"492039"`
	} `nameHint:"RemoveTOTPBody"`
}

func (s *server) removeTOTP(ctx context.Context, call commands.Call, in *removeTOTPInput) (*nothingChanged, error) {
	a, err := s.config.Commands.RemoveSecondFactor(ctx, call, commands.RemoveSecondFactor{
		CurrentPassword: in.Body.CurrentPassword, Code: in.Body.TOTP,
	})
	return &nothingChanged{Position: position(a.Position)}, err
}

type recoverTOTPInput struct {
	ID   string `path:"id"`
	Body struct {
		Reason   string        `json:"reason" says:"max=1000" doc:"How you know that the person asked for it." example:"Phone stolen; she came in person with her ID."`
		Evidence *evidenceBody `json:"evidence,omitempty"`
	} `nameHint:"RecoverTOTPBody"`
}

func (s *server) recoverTOTP(ctx context.Context, call commands.Call, in *recoverTOTPInput) (*userChanged, error) {
	id, err := oneUserInput{in.ID}.user()
	if err != nil {
		return nil, err
	}

	c := commands.RecoverSecondFactor{User: id, Reason: in.Body.Reason}
	if e := in.Body.Evidence; e != nil {
		c.Evidence = &domain.Evidence{SHA256: e.SHA256, Reference: e.Reference}
	}
	return userAnswer(s.config.Commands.RecoverSecondFactor(ctx, call, c))
}
