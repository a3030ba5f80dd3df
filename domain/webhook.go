package domain

import (
	"encoding/base64"
	"slices"
	"time"

	"github.com/google/uuid"
)

// WebhookID names a webhook: an address of another system that events of one tenant are
// sent to.
type WebhookID struct{ uuid.UUID }

// IsZero reports whether no webhook is named.
func (w WebhookID) IsZero() bool { return w.UUID == uuid.Nil }

// Events of a webhook's stream. Nothing in them identifies a person, and none holds the
// secret that its deliveries are signed with: see WebhookSecret.
type (
	// WebhookRegistered has events sent to an address, from then on.
	WebhookRegistered struct {
		URL string `json:"url"`
		// Events are the types that are sent; empty: all that may leave.
		Events []string `json:"events,omitempty"`
	}
	// WebhookPaused stops sending, and keeps what is still to be sent.
	WebhookPaused struct {
		Reason PauseReason `json:"reason"`
	}
	// WebhookResumed sends on, beginning with what was not acknowledged.
	WebhookResumed struct{}
	// WebhookDeleted stops sending for good.
	WebhookDeleted struct{}
)

// EventType implements Event.
func (*WebhookRegistered) EventType() string { return "webhook.registered.v1" }

// EventType implements Event.
func (*WebhookPaused) EventType() string { return "webhook.paused.v1" }

// EventType implements Event.
func (*WebhookResumed) EventType() string { return "webhook.resumed.v1" }

// EventType implements Event.
func (*WebhookDeleted) EventType() string { return "webhook.deleted.v1" }

func (e *WebhookPaused) changes() []FieldChange {
	return []FieldChange{turned("paused", true), {Field: "reason", New: string(e.Reason)}}
}

func (*WebhookResumed) changes() []FieldChange { return []FieldChange{turned("paused", false)} }

func (*WebhookDeleted) changes() []FieldChange { return []FieldChange{turned("deleted", true)} }

// PauseReason says why nothing is sent to a webhook any more.
type PauseReason string

// The reasons.
const (
	// PausedGone: the recipient answered 410 Gone.
	PausedGone PauseReason = "gone"
	// PausedUnanswered: an event was not acknowledged for three days.
	PausedUnanswered PauseReason = "unanswered"
)

// Webhook is the state its events fold into.
type Webhook struct {
	ID           WebhookID
	Tenant       TenantID
	URL          string
	Events       []string // empty: all that may leave
	RegisteredAt time.Time
	RegisteredBy UserID    // zero: an operator
	PausedAt     time.Time // zero: not paused
	Reason       PauseReason
	DeletedAt    time.Time // zero: not deleted
	Version      int
}

// Evolve returns the state after one more event.
func (w Webhook) Evolve(r Recorded) Webhook {
	switch e := r.Event.(type) {
	case *WebhookRegistered:
		w = Webhook{
			ID: WebhookID{r.Stream.ID}, Tenant: r.Tenant, URL: e.URL, Events: e.Events,
			RegisteredAt: r.RecordedAt, RegisteredBy: r.Actor,
		}
	case *WebhookPaused:
		w.PausedAt, w.Reason = r.RecordedAt, e.Reason
	case *WebhookResumed:
		w.PausedAt, w.Reason = time.Time{}, ""
	case *WebhookDeleted:
		w.DeletedAt = r.RecordedAt
	}

	w.Version = r.Version
	return w
}

// Exists reports whether the webhook was ever registered.
func (w Webhook) Exists() bool { return !w.ID.IsZero() }

// Paused reports whether nothing is sent to it until it is resumed.
func (w Webhook) Paused() bool { return !w.PausedAt.IsZero() }

// Deleted reports whether it was deleted.
func (w Webhook) Deleted() bool { return !w.DeletedAt.IsZero() }

// Wants reports whether events of a type are sent to it.
func (w Webhook) Wants(eventType string) bool {
	return len(w.Events) == 0 || slices.Contains(w.Events, eventType)
}

// MaxWebhooks is how many webhooks a tenant may have.
const MaxWebhooks = 20

// RegisterWebhook asks to register one.
type RegisterWebhook struct {
	URL    string   `json:"url"`
	Events []string `json:"events"` // nil: all that may leave
}

// Decide returns the event. leaving lists the types of events that may leave, others
// those webhooks of the tenant that are not deleted. Whether the address may be called
// was checked before. Errors: validation_failed, too_many_webhooks.
func (c RegisterWebhook) Decide(leaving []string, others int) ([]Event, error) {
	var f Faults
	if c.Events != nil && len(c.Events) == 0 {
		f.Add("events", "required", "Name at least one type of event, or leave this out for all.")
	}
	if i := slices.IndexFunc(c.Events, func(t string) bool { return !slices.Contains(leaving, t) }); i >= 0 {
		OneOf(&f, "events", c.Events[i], leaving)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	if others >= MaxWebhooks {
		return nil, Refuse(CodeTooManyWebhooks, "This municipality already has 20 webhooks: delete one first.")
	}

	// In one order and each once, however they were named.
	events := slices.Compact(slices.Sorted(slices.Values(c.Events)))
	return []Event{&WebhookRegistered{URL: c.URL, Events: events}}, nil
}

// Pause returns the event, or nothing if nothing is sent anyway.
func (w Webhook) Pause(reason PauseReason) []Event {
	if w.Paused() || w.Deleted() {
		return nil
	}
	return []Event{&WebhookPaused{Reason: reason}}
}

// Resume returns the event, or nothing if it is not paused. Error: webhook_deleted.
func (w Webhook) Resume() ([]Event, error) {
	if w.Deleted() {
		return nil, Refuse(CodeWebhookDeleted, "This webhook was deleted: register another.")
	}
	if !w.Paused() {
		return nil, nil
	}
	return []Event{&WebhookResumed{}}, nil
}

// Delete returns the event, or nothing if it was deleted before.
func (w Webhook) Delete() []Event {
	if w.Deleted() {
		return nil
	}
	return []Event{&WebhookDeleted{}}
}

// WebhookSecret returns the secret that deliveries to a webhook are signed with, as
// Standard Webhooks writes it. It is stored nowhere: digest is the installation's keyed
// hash, whose key is stored sealed under the master key.
func WebhookSecret(digest func(parts ...string) [32]byte, id WebhookID) string {
	key := digest("webhook secret", id.String())
	return webhookSecretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

const webhookSecretPrefix = "whsec_"
