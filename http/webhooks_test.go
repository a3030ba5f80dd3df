package http_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/webhooks"
)

const webhookURL = "https://alerts.example.org/consents"

// webhooksOfTests lets everything be called that is not on the intranet.
func webhooksOfTests() commands.Webhooks {
	return commands.Webhooks{
		Leaving: []string{"consent.granted.v1", "consent.withdrawn.v1"},
		Check: func(_ context.Context, url string) error {
			var f domain.Faults
			if strings.Contains(url, "intranet") {
				f.Add("url", "not_allowed", "Give an https address on the public internet.")
			}
			return f.Err()
		},
	}
}

// fakeDeliveries are the deliveries to whatever webhook, newest first.
type fakeDeliveries struct {
	mu   sync.Mutex
	sent []webhooks.Delivery
}

func (f *fakeDeliveries) Deliveries(
	_ context.Context, _ domain.TenantID, _ domain.WebhookID, which webhooks.Which, page projections.Page,
) (projections.Listing[webhooks.Delivery], error) {
	var before int64
	if page.After != "" {
		var err error
		if before, err = page.AfterPosition(); err != nil {
			return projections.Listing[webhooks.Delivery]{}, err
		}
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	var found []webhooks.Delivery
	for _, d := range f.sent {
		outstanding := d.AcknowledgedAt.IsZero()
		if (before == 0 || d.Position < before) && len(found) < page.Fetch() &&
			(which == webhooks.All || outstanding == (which == webhooks.Outstanding)) {
			found = append(found, d)
		}
	}
	return projections.List(found, nil, page, func(d webhooks.Delivery) (webhooks.Delivery, string) {
		return d, projections.PositionCursor(d.Position)
	})
}

func TestAWebhookIsRegisteredPausedResumedAndDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")

	made := admin.send("POST", "/api/v1/webhooks",
		`{"url":"`+webhookURL+`","events":["consent.withdrawn.v1","consent.granted.v1","consent.withdrawn.v1"]}`,
		"Idempotency-Key", "one").want(201)
	id := made.text("id")
	if !strings.HasPrefix(made.text("secret"), "whsec_") || made.text("status") != "active" ||
		!strings.Contains(made.raw, `"events":["consent.granted.v1","consent.withdrawn.v1"]`) {
		t.Errorf("registered: %s", made.raw)
	}
	again := admin.send("POST", "/api/v1/webhooks",
		`{"url":"`+webhookURL+`","events":["consent.withdrawn.v1","consent.granted.v1","consent.withdrawn.v1"]}`,
		"Idempotency-Key", "one").want(201)
	if again.text("id") != id || strings.Contains(again.raw, "whsec_") {
		t.Errorf("a repeat shows another webhook, or the secret: %s", again.raw)
	}
	if one := admin.send("GET", "/api/v1/webhooks/"+id, "").want(200); strings.Contains(one.raw, "whsec_") {
		t.Errorf("the secret is shown again: %s", one.raw)
	}

	webhook := domain.WebhookID{UUID: uuid.MustParse(id)}
	system := commands.System(w.tenants["KZN225"])
	pause := commands.PauseWebhook{Webhook: webhook, Reason: domain.PausedGone}
	_, err := w.handler.PauseWebhook(t.Context(), system, pause)
	must(t, err)
	stood, err := w.handler.PauseWebhook(t.Context(), system, pause)
	must(t, err)
	if !stood.Stood {
		t.Error("a second pause is another event")
	}
	if one := admin.send("GET", "/api/v1/webhooks/"+id, "").want(200); one.text("status") != "paused" ||
		one.text("reason") != "gone" {
		t.Errorf("paused: %s", one.raw)
	}

	if on := admin.send("POST", "/api/v1/webhooks/"+id+"/resume", "").want(200); on.text("status") != "active" {
		t.Errorf("resumed: %s", on.raw)
	}
	if gone := admin.send("DELETE", "/api/v1/webhooks/"+id, "").want(200); gone.text("status") != "deleted" {
		t.Errorf("deleted: %s", gone.raw)
	}
	admin.send("POST", "/api/v1/webhooks/"+id+"/resume", "").wantProblem(409, domain.CodeWebhookDeleted)
	if list := admin.send("GET", "/api/v1/webhooks", "").want(200); strings.Contains(list.raw, id) {
		t.Errorf("a deleted one is listed: %s", list.raw)
	}

	for _, event := range []string{"registered", "paused", "resumed", "deleted"} {
		if n := w.count("webhook." + event + ".v1"); n != 1 {
			t.Errorf("%d events webhook.%s.v1", n, event)
		}
	}
}

func TestAWebhookIsRefusedForWhatMustNotBeCalledOrMayNotLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")

	for body, field := range map[string]string{
		`{"url":"https://intranet.example/"}`:                            `"field":"url"`,
		`{"url":"` + webhookURL + `","events":[]}`:                       `"field":"events"`,
		`{"url":"` + webhookURL + `","events":["user.registered.v1"]}`:   `"field":"events"`,
		`{"url":"` + webhookURL + `","events":["consent.withdrawn.v2"]}`: `"field":"events"`,
	} {
		if got := admin.send("POST", "/api/v1/webhooks", body).want(422); !strings.Contains(got.raw, field) {
			t.Errorf("%s: %s", body, got.raw)
		}
	}

	for range domain.MaxWebhooks {
		admin.send("POST", "/api/v1/webhooks", `{"url":"`+webhookURL+`"}`).want(201)
	}
	admin.send("POST", "/api/v1/webhooks", `{"url":"`+webhookURL+`"}`).wantProblem(409, domain.CodeTooManyWebhooks)
}

func TestDeliveriesAreShownToTheAdminsOfTheirMunicipality(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	id := admin.send("POST", "/api/v1/webhooks", `{"url":"`+webhookURL+`"}`).want(201).text("id")
	w.deliveries.sent = []webhooks.Delivery{
		{
			Position: 9, EventID: uuid.New(), EventType: "consent.withdrawn.v1", RecordedAt: w.clock(), Tries: 2,
			TriedAt: w.clock(), Status: 503, Failure: webhooks.FailedStatus, NextAt: w.clock(),
		},
		{
			Position: 7, EventID: uuid.New(), EventType: "consent.granted.v1", RecordedAt: w.clock(), Tries: 1,
			TriedAt: w.clock(), Status: 204, AcknowledgedAt: w.clock(),
		},
	}

	path := "/api/v1/webhooks/" + id + "/deliveries"
	first := admin.send("GET", path+"?limit=1", "").want(200)
	if !strings.Contains(first.raw, `"failure":"status"`) || !strings.Contains(first.raw, `"response_status":503`) {
		t.Errorf("outstanding: %s", first.raw)
	}
	second := admin.send("GET", path+"?limit=1&after="+first.text("next"), "").want(200)
	if !strings.Contains(second.raw, `"status":"acknowledged"`) || !strings.Contains(second.raw, `"next":null`) {
		t.Errorf("acknowledged: %s", second.raw)
	}
	if some := admin.send("GET", path+"?status=acknowledged", "").want(200); strings.Contains(some.raw, "503") {
		t.Errorf("chosen: %s", some.raw)
	}

	w.staff(domain.Admin, "CPT").send("GET", path, "").want(404)
}
