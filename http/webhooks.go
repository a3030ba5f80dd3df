package http

import (
	"context"
	"encoding/hex"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/webhooks"
)

// webhookBody is a webhook in answers. Its secret is never among it.
type webhookBody struct {
	ID        uuid.UUID  `json:"id" format:"uuid"`
	URL       string     `json:"url" example:"https://alerts.example.org/consents"`
	Events    []string   `json:"events" nullable:"true" doc:"Types of events that are sent; null: all that may leave." example:"[\"consent.withdrawn.v1\"]"`
	Status    string     `json:"status" enum:"active,paused,deleted" example:"active"`
	Reason    *string    `json:"reason" nullable:"true" enum:"gone,unanswered" doc:"Why it is paused: gone (it answered 410) or unanswered (an event was not acknowledged for three days); null: it is not."`
	CreatedAt instant    `json:"created_at"`
	CreatedBy *uuid.UUID `json:"created_by" nullable:"true" format:"uuid" doc:"The account that registered it; null: an operator."`
	PausedAt  *instant   `json:"paused_at" nullable:"true"`
	DeletedAt *instant   `json:"deleted_at" nullable:"true"`
}

func webhookOf(w domain.Webhook) webhookBody {
	b := webhookBody{
		ID: w.ID.UUID, URL: w.URL, Events: w.Events, Status: "active", CreatedAt: instant(w.RegisteredAt),
		CreatedBy: idOrNull(w.RegisteredBy.UUID), PausedAt: instantOrNull(w.PausedAt),
		DeletedAt: instantOrNull(w.DeletedAt),
	}

	switch {
	case w.Deleted():
		b.Status = "deleted"
	case w.Paused():
		b.Status = "paused"
	}
	if w.Reason != "" {
		reason := string(w.Reason)
		b.Reason = &reason
	}
	return b
}

// Webhook is webhookBody under an exported name, so that huma reads it where it is
// embedded.
type Webhook = webhookBody

type registeredWebhookBody struct {
	Webhook

	Secret string `json:"secret,omitempty" doc:"Checks the signatures of deliveries (Standard Webhooks). Shown only once, and left out if the request is repeated." example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwsR8cCkYkVzE="`
}

type registerWebhookInput struct {
	Body struct {
		URL    string   `json:"url" doc:"https, on the public internet; others if the operator allows their network." example:"https://alerts.example.org/consents"`
		Events []string `json:"events,omitempty" nullable:"true" doc:"Types of events to send; missing or null: all that may leave, also those that later releases add." example:"[\"consent.withdrawn.v1\"]"`
	} `nameHint:"RegisterWebhookBody"`
}

type webhookRegistered struct {
	Position string `header:"Event-Position"`
	Body     registeredWebhookBody
}

func (s *server) registerWebhook(
	ctx context.Context, call commands.Call, in *registerWebhookInput,
) (*webhookRegistered, error) {
	a, err := s.config.Commands.RegisterWebhook(ctx, call, domain.RegisterWebhook{
		URL: in.Body.URL, Events: in.Body.Events,
	})
	if err != nil {
		return nil, err
	}
	return &webhookRegistered{
		Position: position(a.Position), Body: registeredWebhookBody{webhookOf(a.Value.Webhook), a.Value.Secret},
	}, nil
}

type webhooksInput struct {
	Paging
}

type webhooksOutput struct {
	Body listBody[webhookBody]
}

func (s *server) webhooks(ctx context.Context, call commands.Call, in *webhooksInput) (*webhooksOutput, error) {
	all, err := s.config.Commands.WebhooksOf(ctx, call.Tenant)
	if err != nil {
		return nil, err
	}

	list, err := pageOf(all, in.Paging, func(w domain.Webhook) string {
		key := w.ID.UUID // its complement, so that the newest comes first
		for i := range key {
			key[i] = ^key[i]
		}
		return hex.EncodeToString(key[:])
	})
	if err != nil {
		return nil, err
	}
	return &webhooksOutput{Body: listOf(list, webhookOf)}, nil
}

type oneWebhookInput struct {
	ID string `path:"id"`
}

func (in oneWebhookInput) webhook() (domain.WebhookID, error) {
	id, err := namedID(in.ID)
	return domain.WebhookID{UUID: id}, err
}

type webhookOutput struct {
	Body webhookBody
}

func (s *server) webhook(ctx context.Context, call commands.Call, in *oneWebhookInput) (*webhookOutput, error) {
	id, err := in.webhook()
	if err != nil {
		return nil, err
	}

	w, err := s.config.Commands.Webhook(ctx, call.Tenant, id)
	if err != nil {
		return nil, err
	}
	return &webhookOutput{Body: webhookOf(w)}, nil
}

type webhookChanged struct {
	Position string `header:"Event-Position"`
	Body     webhookBody
}

func webhookAnswer(a commands.Answer[domain.Webhook], err error) (*webhookChanged, error) {
	if err != nil {
		return nil, err
	}
	return &webhookChanged{Position: position(a.Position), Body: webhookOf(a.Value)}, nil
}

func (s *server) resumeWebhook(
	ctx context.Context, call commands.Call, in *oneWebhookInput,
) (*webhookChanged, error) {
	id, err := in.webhook()
	if err != nil {
		return nil, err
	}
	return webhookAnswer(s.config.Commands.ResumeWebhook(ctx, call, commands.ResumeWebhook{Webhook: id}))
}

func (s *server) deleteWebhook(
	ctx context.Context, call commands.Call, in *oneWebhookInput,
) (*webhookChanged, error) {
	id, err := in.webhook()
	if err != nil {
		return nil, err
	}
	return webhookAnswer(s.config.Commands.DeleteWebhook(ctx, call, commands.DeleteWebhook{Webhook: id}))
}

// deliveryBody is an event on its way to a webhook.
type deliveryBody struct {
	EventID        uuid.UUID `json:"event_id" format:"uuid" doc:"The webhook-id of each try."`
	EventType      string    `json:"event_type" example:"consent.withdrawn.v1"`
	Position       int64     `json:"position" example:"1207"`
	RecordedAt     instant   `json:"recorded_at" doc:"When the event was recorded."`
	Status         string    `json:"status" enum:"acknowledged,outstanding" example:"outstanding"`
	Tries          int       `json:"tries" doc:"How often it was sent; also by a process that died, which is not counted." example:"3"`
	TriedAt        *instant  `json:"tried_at" nullable:"true"`
	NextAt         *instant  `json:"next_at" nullable:"true" doc:"When it is tried next, unless the webhook is paused; null: it is acknowledged, or waits for an earlier event about the same person."`
	ResponseStatus *int      `json:"response_status" nullable:"true" doc:"HTTP status of the last answer; null: there was none." example:"503"`
	Failure        *string   `json:"failure" nullable:"true" enum:"status,redirect,timeout,tls,refused_address,connection" doc:"Why the last try failed; null: it did not." example:"status"`
	AcknowledgedAt *instant  `json:"acknowledged_at" nullable:"true"`
}

func deliveryOf(d webhooks.Delivery) deliveryBody {
	b := deliveryBody{
		EventID: d.EventID, EventType: d.EventType, Position: d.Position, RecordedAt: instant(d.RecordedAt),
		Status: string(webhooks.Outstanding), Tries: d.Tries, TriedAt: instantOrNull(d.TriedAt),
		NextAt: instantOrNull(d.NextAt), AcknowledgedAt: instantOrNull(d.AcknowledgedAt),
	}

	if b.AcknowledgedAt != nil {
		b.Status = string(webhooks.Acknowledged)
	}
	if d.Status != 0 {
		b.ResponseStatus = &d.Status
	}
	if d.Failure != "" {
		failure := string(d.Failure)
		b.Failure = &failure
	}
	return b
}

type deliveriesInput struct {
	Paging

	ID     string `path:"id"`
	Status string `query:"status" enum:"outstanding,acknowledged" doc:"Default: both."`
}

type deliveriesOutput struct {
	Body listBody[deliveryBody]
}

func (s *server) deliveries(ctx context.Context, call commands.Call, in *deliveriesInput) (*deliveriesOutput, error) {
	id, err := oneWebhookInput{in.ID}.webhook()
	if err != nil {
		return nil, err
	}
	if _, err := s.config.Commands.Webhook(ctx, call.Tenant, id); err != nil {
		return nil, err
	}

	list, err := s.config.Webhooks.Deliveries(ctx, call.Tenant, id, webhooks.Which(in.Status), in.page())
	if err != nil {
		return nil, err
	}
	return &deliveriesOutput{Body: listOf(list, deliveryOf)}, nil
}

// Webhooks is what the server needs of deliveries to webhooks. Package webhooks
// implements it.
type Webhooks interface {
	// Deliveries lists those to one of a tenant's webhooks, newest first.
	Deliveries(ctx context.Context, tenant domain.TenantID, webhook domain.WebhookID, which webhooks.Which,
		page projections.Page) (projections.Listing[webhooks.Delivery], error)
}
