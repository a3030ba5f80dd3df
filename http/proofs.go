package http

import (
	"context"
	"fmt"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// bundleMedia is what a decision bundle is sent as.
const bundleMedia = "application/json"

type proofInput struct {
	ID string `path:"id"`
}

type proofOutput struct {
	Position    string `header:"Event-Position" doc:"The log position that states where the person's decisions end."`
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

// proveConsent hands out the file that proves a decision. The file shows somebody's data,
// so a read of it is recorded besides its issue.
func (s *server) proveConsent(ctx context.Context, call commands.Call, in *proofInput) (*proofOutput, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}

	consent := domain.ConsentID{UUID: id}
	a, err := s.config.Commands.IssueProof(ctx, call, commands.IssueProof{Consent: consent})
	if err != nil {
		return nil, s.consentRefused(ctx, call, consent, err)
	}
	if err := s.recordRead(ctx, call, "proof", nil, a.Value.Subject); err != nil {
		return nil, err
	}

	return &proofOutput{
		Position: position(a.Position), ContentType: bundleMedia,
		Disposition: fmt.Sprintf(`attachment; filename="proof-%s.json"`, a.Value.Receipt),
		Body:        a.Value.File,
	}, nil
}
