package http

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// scopes are those of a program in bodies.
type scopes []domain.Scope

// serviceAccountBody is what a program signs in with, in answers. Its secrets are never
// among it.
type serviceAccountBody struct {
	ID        uuid.UUID  `json:"id" format:"uuid"`
	ClientID  string     `json:"client_id" doc:"What the program sends as client_id." example:"01890a5d-ac96-774b-bcce-b302099a8057"`
	Name      string     `json:"name" example:"SMS alerts"`
	Scopes    scopes     `json:"scopes" nullable:"false" enum:"consents:check,consents:record,consents:read,events:read" example:"[\"consents:check\"]"`
	IsActive  bool       `json:"is_active" doc:"false: it was revoked." example:"true"`
	CreatedAt instant    `json:"created_at"`
	CreatedBy *uuid.UUID `json:"created_by" nullable:"true" format:"uuid" doc:"The account that created it; null: an operator."`
	RotatedAt *instant   `json:"rotated_at" nullable:"true" doc:"When its newest secret was made; null: with it."`
	RevokedAt *instant   `json:"revoked_at" nullable:"true"`
	FormerEnd *instant   `json:"former_secret_until" nullable:"true" doc:"Until when a former secret is still good; null: none is."`
}

func serviceAccountOf(now time.Time) func(domain.ServiceAccount) serviceAccountBody {
	return func(a domain.ServiceAccount) serviceAccountBody {
		b := serviceAccountBody{
			ID: a.ID.UUID, ClientID: a.ID.String(), Name: a.Name, Scopes: a.Scopes, IsActive: !a.Revoked(),
			CreatedAt: instant(a.CreatedAt), CreatedBy: idOrNull(a.CreatedBy.UUID),
			RotatedAt: instantOrNull(a.RotatedAt), RevokedAt: instantOrNull(a.RevokedAt),
		}

		var last time.Time
		for _, s := range a.Secrets {
			if s.Until.After(now) && s.Until.After(last) {
				last = s.Until
			}
		}
		b.FormerEnd = instantOrNull(last)
		return b
	}
}

// ServiceAccount is serviceAccountBody under an exported name, so that huma reads it
// where it is embedded.
type ServiceAccount = serviceAccountBody

// issuedSecretBody is a service account with its new secret.
type issuedSecretBody struct {
	ServiceAccount

	ClientSecret string `json:"client_secret,omitempty" doc:"Shown only once, and left out if the request is repeated." example:"salga_secret_sR8cCkYkVzGxYQF0m3yqv6Xh2n1dJ7wP5tLbA9uEoZQ"`
}

type secretIssued struct {
	Position string `header:"Event-Position"`
	Body     issuedSecretBody
}

func (s *server) secretAnswer(a commands.Answer[commands.IssuedSecret], err error) (*secretIssued, error) {
	if err != nil {
		return nil, err
	}
	return &secretIssued{Position: position(a.Position), Body: issuedSecretBody{
		serviceAccountOf(s.config.Now())(a.Value.Account), a.Value.Secret,
	}}, nil
}

type createServiceAccountInput struct {
	Body struct {
		Name   string `json:"name" says:"min=2;max=100" doc:"Of the program, not of a person: residents see it. No two of a municipality that are not revoked share one." example:"SMS alerts"`
		Scopes scopes `json:"scopes" nullable:"false" doc:"What it may do: consents:check, consents:record, consents:read, events:read. They cannot be changed later." example:"[\"consents:check\"]"`
	} `nameHint:"CreateServiceAccountBody"`
}

func (s *server) createServiceAccount(
	ctx context.Context, call commands.Call, in *createServiceAccountInput,
) (*secretIssued, error) {
	return s.secretAnswer(s.config.Commands.CreateServiceAccount(ctx, call, domain.CreateServiceAccount{
		Name: in.Body.Name, Scopes: in.Body.Scopes,
	}))
}

type serviceAccountsInput struct {
	Paging
}

type serviceAccountsOutput struct {
	Body listBody[serviceAccountBody]
}

func (s *server) serviceAccounts(
	ctx context.Context, call commands.Call, in *serviceAccountsInput,
) (*serviceAccountsOutput, error) {
	list, err := s.pageOfServiceAccounts(ctx, call, in.Paging, func(domain.ServiceAccount) bool { return true })
	if err != nil {
		return nil, err
	}
	return &serviceAccountsOutput{Body: listOf(list, serviceAccountOf(s.config.Now()))}, nil
}

// pageOfServiceAccounts returns a page of those of the caller's municipality that are
// shown.
func (s *server) pageOfServiceAccounts(
	ctx context.Context, call commands.Call, page Paging, shown func(domain.ServiceAccount) bool,
) (projections.Listing[domain.ServiceAccount], error) {
	all, err := s.config.Commands.ServiceAccounts(ctx, call.Tenant)
	if err != nil {
		return projections.Listing[domain.ServiceAccount]{}, err
	}

	all = slices.DeleteFunc(all, func(a domain.ServiceAccount) bool { return !shown(a) })
	return pageOf(all, page, func(a domain.ServiceAccount) string {
		key := a.ID.UUID // its complement, so that the newest comes first
		for i := range key {
			key[i] = ^key[i]
		}
		return hex.EncodeToString(key[:])
	})
}

type oneServiceAccountInput struct {
	ID string `path:"id"`
}

func (in oneServiceAccountInput) account() (domain.ServiceAccountID, error) {
	id, err := namedID(in.ID)
	return domain.ServiceAccountID{UUID: id}, err
}

type serviceAccountOutput struct {
	Body serviceAccountBody
}

func (s *server) serviceAccount(
	ctx context.Context, call commands.Call, in *oneServiceAccountInput,
) (*serviceAccountOutput, error) {
	id, err := in.account()
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.ServiceAccount(ctx, call.Tenant, id)
	if err != nil {
		return nil, err
	}
	return &serviceAccountOutput{Body: serviceAccountOf(s.config.Now())(a)}, nil
}

type rotateSecretInput struct {
	ID   string `path:"id"`
	Body *struct {
		Overlap *int64 `json:"overlap_seconds,omitempty" doc:"How long the former secret stays good: 0 (it ends at once, and its tokens with it) to 604800; default: 86400." example:"3600"`
	} `nameHint:"RotateSecretBody"`
}

func (s *server) rotateSecret(ctx context.Context, call commands.Call, in *rotateSecretInput) (*secretIssued, error) {
	id, err := oneServiceAccountInput{in.ID}.account()
	if err != nil {
		return nil, err
	}

	overlap := domain.SecretOverlap
	if in.Body != nil && in.Body.Overlap != nil {
		// Beyond these bounds it is refused, and a product might overflow into them.
		seconds := min(max(*in.Body.Overlap, -1), int64(domain.MaxSecretOverlap/time.Second)+1)
		overlap = time.Duration(seconds) * time.Second
	}
	return s.secretAnswer(s.config.Commands.RotateSecret(ctx, call, commands.RotateSecret{
		Account: id, Overlap: overlap,
	}))
}

type serviceAccountChanged struct {
	Position string `header:"Event-Position"`
	Body     serviceAccountBody
}

func (s *server) revokeServiceAccount(
	ctx context.Context, call commands.Call, in *oneServiceAccountInput,
) (*serviceAccountChanged, error) {
	id, err := in.account()
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.RevokeServiceAccount(ctx, call, commands.RevokeServiceAccount{Account: id})
	if err != nil {
		return nil, err
	}
	return &serviceAccountChanged{
		Position: position(a.Position), Body: serviceAccountOf(s.config.Now())(a.Value),
	}, nil
}

// programBody is a program as residents see it.
type programBody struct {
	ID     uuid.UUID `json:"id" format:"uuid" doc:"What actor is where it read or recorded something."`
	Name   string    `json:"name" example:"SMS alerts"`
	Scopes scopes    `json:"scopes" nullable:"false" enum:"consents:check,consents:record,consents:read,events:read" doc:"consents:check: ask whether your data may be used for a purpose; consents:record: record what you decide; consents:read: read your consents; events:read: read their history." example:"[\"consents:check\"]"`
	Since  instant   `json:"since" doc:"When it was given these scopes."`
}

func programOf(a domain.ServiceAccount) programBody {
	return programBody{ID: a.ID.UUID, Name: a.Name, Scopes: a.Scopes, Since: instant(a.CreatedAt)}
}

type programsOutput struct {
	Body listBody[programBody]
}

// programs lists the programs that may ask about the caller: all of their municipality
// that are not revoked, since scopes cover every resident alike.
func (s *server) programs(
	ctx context.Context, call commands.Call, in *serviceAccountsInput,
) (*programsOutput, error) {
	list, err := s.pageOfServiceAccounts(ctx, call, in.Paging, func(a domain.ServiceAccount) bool {
		return !a.Revoked()
	})
	if err != nil {
		return nil, err
	}
	return &programsOutput{Body: listOf(list, programOf)}, nil
}
