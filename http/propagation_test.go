package http_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/propagation"
)

func TestHowLongWithdrawalsTakeIsShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.recipients = []propagation.Recipient{
		{
			Kind: propagation.Webhook, ID: uuid.New(), Name: "alerts.example.org", Paused: true,
			Figures: propagation.Figures{
				Measured: 412, P50: 85 * time.Millisecond, P99: 95 * time.Second, Outstanding: 3, Overdue: 2,
				Oldest: w.clock().Add(-90 * time.Minute),
			},
		},
		{Kind: propagation.Consumer, Name: "warehouse"},
	}
	officer := w.staff(domain.Manager, "KZN225")

	a := officer.send("GET", "/api/v1/compliance/propagation", "").want(200)
	for _, want := range []string{
		`"since":"2026-01-30T12:00:00.000000Z"`, `"overdue_after_seconds":3600`,
		`"kind":"webhook"`, `"name":"alerts.example.org","paused":true`, `"p50_ms":85,"p99_ms":95000`,
		`"outstanding":3,"overdue":2,"oldest_outstanding_at":"2026-03-01T10:30:00.000000Z"`,
		`"kind":"consumer","id":null,"name":"warehouse","paused":false,"measured":0,"p50_ms":null,"p99_ms":null,` +
			`"outstanding":0,"overdue":0,"oldest_outstanding_at":null`,
	} {
		if !strings.Contains(a.raw, want) {
			t.Errorf("%s is not in %s", want, a.raw)
		}
	}

	b := officer.browserOf("KZN225")
	for _, lang := range []string{"zu", "af", "en"} {
		b.get("/console/overview?lang=" + lang).want(200)
	}
	b.says("Withdrawals on their way",
		"alerts.example.org webhook, paused 0.09 s 1.6 min 3 Overdue: 2 1 March 2026, 12:30",
		"warehouse reads the stream – – 0 –")

	w.recipients = nil
	b.get("/console/overview").want(200)
	b.hides("Withdrawals on their way")
}
