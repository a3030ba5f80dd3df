package commands

import (
	"context"

	"github.com/salga-trust/engine/domain"
)

// Webhooks says which webhooks may be registered.
type Webhooks struct {
	// Leaving are the types of events that may leave this system.
	Leaving []string
	// Check refuses an address that must not be called. Nil: none may be. Error:
	// validation_failed.
	Check func(ctx context.Context, url string) error
}

// RegisteredWebhook is a webhook with its secret, which is shown only once: the answer to
// a repeat leaves it out.
type RegisteredWebhook struct {
	Webhook domain.Webhook
	Secret  string
}

// RegisterWebhook has events of the caller's tenant sent to an address, from now on.
// Errors: validation_failed, forbidden, too_many_webhooks; for a repeat
// idempotency_key_reused.
func (h *Handler) RegisterWebhook(
	ctx context.Context, call Call, c domain.RegisterWebhook,
) (Answer[RegisteredWebhook], error) {
	if err := call.demandAdmin("register webhooks"); err != nil {
		return Answer[RegisteredWebhook]{}, err
	}

	id := domain.WebhookID{UUID: h.newID()}
	r := request{name: "webhook.register", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, _ Call) (domain.Append, error) {
		events, err := h.decideWebhook(ctx, call.Tenant, c)
		if err != nil {
			return domain.Append{}, err
		}
		return domain.Append{
			Tenant: call.Tenant, Writes: []domain.Write{{Stream: domain.WebhookOf(id), Events: events}},
		}, nil
	})
	if err != nil {
		return Answer[RegisteredWebhook]{}, err
	}

	a, err := h.webhookAnswer(ctx, done)
	registered := RegisteredWebhook{Webhook: a.Value}
	if !done.Repeat {
		registered.Secret = domain.WebhookSecret(h.Store.Digest, a.Value.ID)
	}
	return Answer[RegisteredWebhook]{Value: registered, Position: a.Position}, err
}

// decideWebhook decides about a webhook. What costs nothing to check comes before the
// address, for which names may have to be looked up.
func (h *Handler) decideWebhook(
	ctx context.Context, tenant domain.TenantID, c domain.RegisterWebhook,
) ([]domain.Event, error) {
	others, err := h.WebhooksOf(ctx, tenant)
	if err != nil {
		return nil, err
	}
	events, err := c.Decide(h.webhooks.Leaving, len(others))
	if err != nil {
		return nil, err
	}

	if h.webhooks.Check == nil {
		var f domain.Faults
		f.Add("url", "not_allowed", "This system calls no other system.")
		return nil, f.Err()
	}
	return events, h.webhooks.Check(ctx, c.URL)
}

// ResumeWebhook asks to send to a webhook again.
type ResumeWebhook struct {
	Webhook domain.WebhookID `json:"webhook_id"`
}

// ResumeWebhook sends to a webhook again, beginning with what it did not acknowledge.
// Doing so again changes nothing. Errors: forbidden, not_found, webhook_deleted; for a
// repeat idempotency_key_reused.
func (h *Handler) ResumeWebhook(ctx context.Context, call Call, c ResumeWebhook) (Answer[domain.Webhook], error) {
	return h.changeWebhook(ctx, call, "webhook.resume", c.Webhook, c, domain.Webhook.Resume)
}

// DeleteWebhook asks to send nothing to a webhook any more.
type DeleteWebhook struct {
	Webhook domain.WebhookID `json:"webhook_id"`
}

// DeleteWebhook ends a webhook for good; what it did not acknowledge is sent no more.
// Doing so again changes nothing. Errors: forbidden, not_found; for a repeat
// idempotency_key_reused.
func (h *Handler) DeleteWebhook(ctx context.Context, call Call, c DeleteWebhook) (Answer[domain.Webhook], error) {
	return h.changeWebhook(ctx, call, "webhook.delete", c.Webhook, c, func(w domain.Webhook) ([]domain.Event, error) {
		return w.Delete(), nil
	})
}

// PauseWebhook asks to stop sending to a webhook until an admin resumes it.
type PauseWebhook struct {
	Webhook domain.WebhookID   `json:"webhook_id"`
	Reason  domain.PauseReason `json:"reason"`
}

// PauseWebhook pauses a webhook, for the process that sends to it. If nothing is sent to
// it anyway, this changes nothing. Errors: forbidden, not_found.
func (h *Handler) PauseWebhook(ctx context.Context, call Call, c PauseWebhook) (Answer[domain.Webhook], error) {
	return h.changeWebhook(ctx, call, "webhook.pause", c.Webhook, c, func(w domain.Webhook) ([]domain.Event, error) {
		return w.Pause(c.Reason), nil
	})
}

// changeWebhook changes a webhook of the caller's tenant.
func (h *Handler) changeWebhook(
	ctx context.Context, call Call, name string, id domain.WebhookID, body any,
	decide func(domain.Webhook) ([]domain.Event, error),
) (Answer[domain.Webhook], error) {
	if err := call.demandAdmin("change webhooks"); err != nil {
		return Answer[domain.Webhook]{}, err
	}

	r := request{name: name, tenant: call.Tenant, scope: scopeOf(call), body: body}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, _ Call) (domain.Append, error) {
		w, err := h.Webhook(ctx, call.Tenant, id)
		if err != nil {
			return domain.Append{}, err
		}

		events, err := decide(w)
		if err != nil || len(events) == 0 {
			return domain.Append{}, err
		}
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: domain.WebhookOf(id), Expected: w.Version, Events: events}},
		}, nil
	})
	if err != nil {
		return Answer[domain.Webhook]{}, err
	}

	if len(done.Events) == 0 {
		return h.standingWebhook(ctx, call.Tenant, id)
	}
	return h.webhookAnswer(ctx, done)
}

// standingWebhook answers a command that changed nothing.
func (h *Handler) standingWebhook(
	ctx context.Context, tenant domain.TenantID, id domain.WebhookID,
) (Answer[domain.Webhook], error) {
	history, err := h.Store.Load(ctx, tenant, domain.WebhookOf(id))
	return Answer[domain.Webhook]{
		Value: domain.Fold[domain.Webhook](history), Position: domain.Appended{Events: history}.Position(), Stood: true,
	}, err
}

// webhookAnswer returns the webhook as an append left it.
func (h *Handler) webhookAnswer(ctx context.Context, done domain.Appended) (Answer[domain.Webhook], error) {
	first := done.Events[0]
	history, err := h.Store.Load(ctx, first.Tenant, first.Stream)
	if err != nil {
		return Answer[domain.Webhook]{}, err
	}

	w := domain.Fold[domain.Webhook](until(history, done.Position()))
	return Answer[domain.Webhook]{Value: w, Position: done.Position()}, nil
}
